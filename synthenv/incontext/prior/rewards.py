"""What steps are worth: constants, distances, thresholds, goals, speeds, networks, with what actions cost.

A reward is about the same coordinates as the ending, and often about the same place; it looks at the state before the
step or after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.endings import Endings
from synthenv.incontext.prior.settings import weights

HIDDEN = 8


class Rewards(NamedTuple):
    """kind: [B] int64 in KINDS, the first of a task's terms. value: [B, R]."""

    kind: Tensor
    value: Tensor


class Matter(NamedTuple):
    """What a term is about, for the K tasks that have it.

    seen: [K, 4, R] coordinates. about: [K, 4, 1] weight of each. centre: [K, 4, 1] of a place. action: [B, A, R] of all
    tasks, which: [K] int64 among them.
    """

    seen: Tensor
    about: Tensor
    centre: Tensor
    action: Tensor
    which: Tensor

    def away(self) -> Tensor:
        """How far from the place, [K, 4, R]."""
        return (self.seen - self.centre).mul_(self.about)

    def along(self, dice: Dice) -> Tensor:
        """How far along a direction, [K, R]."""
        return torch.bmm((self.about * dice.signs(*self.about.shape)).mT, self.seen)[:, 0]


def _distance(dice: Dice, matter: Matter) -> Tensor:
    away = matter.away()
    straight = dice.chance(0.5, len(away), 1)
    return torch.where(straight, away.square().sum(1).sqrt_(), away.abs().sum(1)).neg_()


def _quadratic(dice: Dice, matter: Matter) -> Tensor:
    return matter.away().square_().sum(1).neg_()


def _threshold(dice: Dice, matter: Matter) -> Tensor:
    return matter.along(dice).gt_(0.8 * dice.normal(len(matter.seen), 1))


def _goal(dice: Dice, matter: Matter) -> Tensor:
    return matter.away().square_().sum(1).lt_(dice.log_uniform(0.05, 1.5, len(matter.seen), 1))


def _velocity(dice: Dice, matter: Matter) -> Tensor:
    return matter.along(dice)


def _network(dice: Dice, matter: Matter) -> Tensor:
    x = torch.cat((matter.seen, matter.action[matter.which]), 1)
    first = dice.sparse(0.5, len(x), HIDDEN, x.shape[1]) * dice.log_uniform(0.3, 2, len(x), 1, 1)
    hidden = torch.baddbmm(dice.normal(len(x), HIDDEN, 1), first, x).tanh_()
    return torch.bmm(dice.normal(len(x), 1, HIDDEN) / HIDDEN**0.5, hidden)[:, 0]


TERMS: dict[str, Callable[[Dice, Matter], Tensor]] = {
    "distance": _distance,
    "quadratic": _quadratic,
    "threshold": _threshold,
    "goal": _goal,
    "velocity": _velocity,
    "network": _network,
}
"""What is paid [K, R]: minus the distance from a place, or its square; 1 beyond a plane; 1 inside a ball; how far along
a direction, of velocities or coordinates; what a small random network says of coordinates and actions."""
KINDS = ("constant", *TERMS)


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
    tasks, size, rows = before.shape
    kind = dice.pick(weights(told, KINDS, "kind of reward"), tasks)
    kind = torch.where(valid.any(-1), kind, 0)
    second = torch.where(dice.chance(0.25, tasks), dice.pick([1.0] * len(KINDS), tasks), kind)
    seen = torch.lerp(before, after, dice.chance(0.65, tasks, 1, 1).float())
    about = (dice.some(valid, 0.4).float() * dice.uniform(0.3, 1.5, tasks, size))[..., None]
    about = torch.where(dice.chance(0.4, tasks, 1, 1) & (endings.weight != 0).any(1, True), endings.weight, about)
    natural = torch.where(dice.chance(0.6, tasks, 1), origin, 0.8 * dice.normal(tasks, size))[..., None]
    centre = torch.where(dice.chance(0.4, tasks, 1, 1) & (endings.kind > 0)[:, None, None], endings.centre, natural)
    constant = dice.signs(tasks, 1) * torch.where(
        dice.chance(0.6, tasks, 1), 1.0, dice.log_uniform(0.01, 10, tasks, 1)
    ) * ((kind == 0)[:, None] | dice.chance(0.35, tasks, 1))  # fmt: skip
    bonus = dice.log_uniform(0.5, 100, tasks, 1) * dice.signs(tasks, 1) * dice.chance(0.5, tasks, 1)
    value = torch.zeros((tasks, rows), device=dice.device)
    for number, term in enumerate(TERMS.values(), 1):
        first, also = (kind == number).nonzero()[:, 0], ((second == number) & (kind != number)).nonzero()[:, 0]
        if len(index := torch.cat((first, also))):
            share = torch.cat((torch.ones((len(first), 1), device=dice.device), 0.5 * dice.signs(len(also), 1)))
            matter = Matter(seen[index], about[index], centre[index], action, index)
            value.index_add_(0, index, term(dice, matter).mul_(share))
    flip = torch.where(dice.chance(0.15, tasks, 1), -1.0, 1.0)
    value.mul_(flip * torch.where(dice.chance(0.5, tasks, 1), dice.log_uniform(0.1, 10, tasks, 1), 1.0)).add_(constant)
    value.addcmul_(endings.reached.float(), bonus)
    index = dice.chance(0.4, tasks).nonzero()[:, 0]
    value.index_add_(0, index, _cost(dice, action[index]), alpha=-1)
    scale = torch.where(dice.chance(0.7, tasks, 1), 1.0, dice.log_uniform(0.01, 100, tasks, 1))
    return Rewards(kind, value.mul_(scale))


def _cost(dice: Dice, action: Tensor) -> Tensor:
    """What actions [B, A, R] cost, [B, R]: their squares, where they are numbers."""
    price = dice.log_uniform(1e-3, 1, len(action), 1) * (action.amin((1, 2)) < 0)[:, None]
    return action.square().sum(1).mul_(price)
