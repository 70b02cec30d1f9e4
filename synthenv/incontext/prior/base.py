"""What a family of synthetic worlds is, and what all of them share: actions and how they push.

A family draws B worlds at once, says where their episodes begin and how a state follows another, and what can be seen
of a state. Its states live in the first rows of [B, S, N], S the same for every family, so that all families of a
batch advance together; episodes lie side by side in memory, which makes every operation several times as quick as the
other order. What is seen, rewarded and ended is chosen among the features that it shows.

Letters: B tasks, N episodes in parallel, T time, R = N * T rows, S state, A action slots, F features, O slots.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.settings import PriorSettings
from synthenv.incontext.rows import ACTIONS
from synthenv.tree import Tree

STATE = 12
"""Numbers of a state; a family that needs fewer leaves the rest at 0."""
LIMIT = 1e4
"""No state leaves +-LIMIT: a guard against worlds that diverge, which are then dropped."""


class Actions(NamedTuple):
    """discrete: [B] bool, one-hot. acting: [B, A] bool, slots in use."""

    discrete: Tensor
    acting: Tensor


class Drawn(NamedTuple):
    """B worlds of a family.

    params:  leaves [B, ...], the family's own.
    actions: what their agents can do.
    shown:   [B, F] bool, features that are observed.
    place:   [B, F] how likely a feature serves as a place that rewards and endings are about; 0 for never.
    reach:   [B, S] typical size of a state, for policies that look at it.
    steer:   [B, A, S] how actions push the state: what a policy that wants to get somewhere looks at.
    own:     [B] bool, observations keep the family's own units (integers, say).
    """

    params: Tree
    actions: Actions
    shown: Tensor
    place: Tensor
    reach: Tensor
    steer: Tensor
    own: Tensor


class Family(Protocol):
    """A kind of synthetic world. Nothing here loops over worlds or episodes."""

    name: ClassVar[str]

    def __init__(self, dice: Dice, settings: PriorSettings) -> None:
        """Draws what all its worlds of a batch have in common (the width of networks, say)."""

    def draw(self, dice: Dice, tasks: int) -> Drawn:
        """`tasks` worlds."""

    def begin(self, params: Tree, dice: Dice, n: int) -> Tensor:
        """First states of n episodes, [B, S, n]."""

    def step(self, params: Tree, state: Tensor, action: Tensor, dice: Dice) -> Tensor:
        """States [B, S, N] after actions [B, A, N]; dice for worlds with luck of their own."""

    def ended(self, params: Tree, state: Tensor) -> Tensor | None:
        """Where episodes end at once [B, N] bool; None for families whose endings come from `endings`."""

    def features(self, params: Tree, state: Tensor) -> Tensor:
        """What can be seen of states: [B, S, R] -> [B, F, R]."""


def draw_actions(dice: Dice, tasks: int, share: float) -> Actions:
    """A share of Discrete ones with 2 to 6 choices, few more often than many; else a Box of 1 to 4 numbers."""
    discrete = dice.chance(share, tasks)
    choices = 2 + dice.pick((0.34, 0.3, 0.16, 0.1, 0.1), tasks)
    numbers = 1 + dice.pick((0.55, 0.25, 0.12, 0.08), tasks)
    return Actions(discrete, dice.first(torch.where(discrete, choices, numbers), ACTIONS))


def draw_effects(dice: Dice, actions: Actions, chosen: Tensor) -> Tensor:
    """How actions push the numbers chosen [B, K] bool: [B, A, K], of order 1, or 0 where they do not.

    A number of a Box pushes mostly one of them. Choices are mostly levels along one direction (left, nothing, right),
    sometimes a direction each; their order is random.
    """
    tasks, size = chosen.shape
    pushed = dice.some(chosen, 0.3)[:, None]  # [B, 1, K]
    own = torch.nn.functional.one_hot(
        dice.uniform(0, 1, tasks, ACTIONS, size).masked_fill_(~chosen[:, None], -1.0).argmax(-1), size
    )
    apart = torch.where(dice.chance(0.8, tasks, 1, 1), own * dice.signs(tasks, ACTIONS, 1), pushed * dice.normal(
        tasks, ACTIONS, size
    ))  # fmt: skip
    count = actions.acting.sum(1, keepdim=True)
    even = 2 * torch.arange(ACTIONS, device=dice.device) / (count - 1).clamp(min=1) - 1  # [B, A] from -1 to 1
    even = torch.where(dice.chance(0.3, tasks, 1), dice.uniform(-1, 1, tasks, ACTIONS), even)
    level = (even[:, :, None] * pushed * dice.normal(tasks, 1, size)).sign() * even.abs()[:, :, None]
    along = dice.chance(0.7, tasks, 1, 1) & actions.discrete[:, None, None]
    effects = torch.where(along, level, apart) * dice.uniform(0.5, 1.5, tasks, 1, size)
    return effects * actions.acting[:, :, None] * chosen[:, None]


def steering(dice: Dice, push: Tensor) -> Tensor:
    """Linear policies [B, A, S] along push [B, A, S]: mostly against what a state is, sometimes with it."""
    return push * dice.uniform(-1.5, 0.5, len(push), 1, push.shape[2])


def scattered(dice: Dice, centre: Tensor, spread: Tensor, n: int) -> Tensor:
    """States [B, S, n] uniform within spread [B, S, 1] about a centre [B, S, 1]; what has no spread costs nothing."""
    state = centre.repeat(1, 1, n)
    some = spread.flatten().nonzero()[:, 0]
    state.flatten(0, 1).index_add_(0, some, dice.uniform(-1, 1, len(some), n).mul_(spread.flatten()[some][:, None]))
    return state


def upright(params: Tree) -> Tree:
    """Parameters drawn to multiply from the right, leaves [B, I, K] or [B, 1, K], turned to do so from the left."""
    return {name: leaf.mT.contiguous() for name, leaf in params.items()}


def only(chosen: Tensor) -> Tensor:
    """chosen [B, K] as a factor [B, 1, K] of 0 and 1."""
    return chosen.float()[:, None]
