"""What steps are worth: constants, distances, thresholds, goals, speeds, networks, with what actions cost.

A reward is about the same coordinates as the ending, and often about the same place; it looks at the state before the
step or after it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.endings import Endings
from synthenv.incontext.prior.settings import weights
from synthenv.incontext.rows import ACTIONS

KINDS = ("constant", "distance", "quadratic", "threshold", "goal", "velocity", "network")
"""The same each step; minus the distance from a place; its square; paid beyond a plane; paid inside a ball; along a
direction, of velocities or coordinates; a small network's."""
NETWORK = KINDS.index("network")
HIDDEN = 8


class Rewards(NamedTuple):
    """kind: [B] int64 in KINDS, the first of a task's terms. value: [B, R]."""

    kind: Tensor
    value: Tensor


def pay(
    dice: Dice,
    before: Tensor,
    after: Tensor,
    action: Tensor,
    valid: Tensor,
    origin: Tensor,
    endings: Endings,
    told: dict[str, float],
) -> Rewards:
    """Rewards for steps from before to after [B, 4, R], standardised coordinates of which valid [B, 4] exist.

    action [B, A, R]; origin [B, 4] the natural zero in these units.
    """
    tasks, size, _ = before.shape
    kind = dice.pick(weights(told, KINDS, "kind of reward"), tasks)
    kind = torch.where(valid.any(-1), kind, 0)
    second = torch.where(dice.chance(0.25, tasks), dice.pick([1.0] * len(KINDS), tasks), kind)
    seen = torch.where(dice.chance(0.65, tasks, 1, 1), after, before)
    about = (dice.some(valid, 0.4).float() * dice.uniform(0.3, 1.5, tasks, size))[..., None]
    about = torch.where(dice.chance(0.4, tasks, 1, 1) & (endings.weight != 0).any(1, True), endings.weight, about)
    natural = torch.where(dice.chance(0.6, tasks, 1), origin, 0.8 * dice.normal(tasks, size))[..., None]
    centre = torch.where(dice.chance(0.4, tasks, 1, 1) & (endings.kind > 0)[:, None, None], endings.centre, natural)
    away = (seen - centre) * about
    squares = away.square().sum(1)
    distance = torch.where(dice.chance(0.5, tasks, 1), squares.sqrt(), away.abs().sum(1))
    along = torch.bmm((about * dice.signs(tasks, size, 1)).mT, seen)[:, 0]
    terms = torch.stack((
        torch.zeros_like(squares),
        -distance,
        -squares,
        (along > 0.8 * dice.normal(tasks, 1)).float(),
        (squares < dice.log_uniform(0.05, 1.5, tasks, 1)).float(),
        along,
        torch.zeros_like(squares),
    ), 1)  # fmt: skip
    if len(index := ((kind == NETWORK) | (second == NETWORK)).nonzero()[:, 0]):
        terms[:, NETWORK].index_copy_(0, index, _network(dice, seen[index], action[index]))
    share = torch.zeros((tasks, 1, len(KINDS)), device=dice.device)
    share.scatter_(2, second[:, None, None], 0.5 * dice.signs(tasks, 1, 1)).scatter_(2, kind[:, None, None], 1.0)
    flip = torch.where(dice.chance(0.15, tasks, 1), -1.0, 1.0)
    value = torch.bmm(share, terms)[:, 0] * flip
    value = value * torch.where(dice.chance(0.5, tasks, 1), dice.log_uniform(0.1, 10, tasks, 1), 1.0)
    constant = dice.signs(tasks, 1) * torch.where(
        dice.chance(0.6, tasks, 1), 1.0, dice.log_uniform(0.01, 10, tasks, 1)
    ) * ((kind == 0)[:, None] | dice.chance(0.35, tasks, 1))  # fmt: skip
    price = (
        dice.log_uniform(1e-3, 1, tasks, 1, 1)
        * dice.chance(0.4, tasks, 1, 1)
        * (action.amin((1, 2)) < 0)[:, None, None]
    )
    cost = (action.square() * price).sum(1)
    bonus = dice.log_uniform(0.5, 100, tasks, 1) * dice.signs(tasks, 1) * dice.chance(0.5, tasks, 1)
    value = value + constant - cost + endings.reached * bonus
    scale = torch.where(dice.chance(0.7, tasks, 1), 1.0, dice.log_uniform(0.01, 100, tasks, 1))
    return Rewards(kind, value * scale)


def _network(dice: Dice, seen: Tensor, action: Tensor) -> Tensor:
    """A random network of coordinates [B, 4, R] and actions [B, A, R]: [B, R], within +-1 or so."""
    tasks, size = len(seen), seen.shape[1] + ACTIONS
    first = dice.sparse(0.5, tasks, HIDDEN, size) * dice.log_uniform(0.3, 2, tasks, 1, 1)
    hidden = torch.baddbmm(dice.normal(tasks, HIDDEN, 1), first, torch.cat((seen, action), 1)).tanh_()
    return torch.bmm(dice.normal(tasks, 1, HIDDEN) / HIDDEN**0.5, hidden)[:, 0]
