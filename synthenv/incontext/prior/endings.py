"""Where episodes end: beyond a plane, outside a box or a ball, inside a goal.

An ending is a number that grows towards the place, and a level above which it is reached. The level is chosen when it
is known what happened: as high as lets a wanted share of steps survive, so that endings are rare or frequent but never
all or nothing. What an episode lived after it reached the place is then cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.settings import weights

MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "halfspace": lambda away: away.sum(1),
    "box": lambda away: away.abs().amax(1),
    "ball": lambda away: away.square().sum(1).sqrt_(),
    "goal": lambda away: MEASURES["ball"](away).neg_(),
}
"""What grows [B, R] towards a place, by how far away from its centre [B, 4, R]: ends are beyond a plane; outside an
interval or box; outside a ball; inside a ball."""
KINDS = ("none", *MEASURES)
APART = 1e6
"""Added from one episode to the next, so that one running maximum over a lane serves all; float64 keeps the digits."""


class Endings(NamedTuple):
    """kind: [B] int64 in KINDS. centre: [B, 4, 1] of the place. weight: [B, 4, 1] of the coordinates it is about.
    reached, kept: [B, R] bool, the state that follows is in the place; the step is one that an agent sees."""

    kind: Tensor
    centre: Tensor
    weight: Tensor
    reached: Tensor
    kept: Tensor


def draw(dice: Dice, possible: Tensor, told: dict[str, float]) -> Tensor:
    """Kinds of ending [B] int64 in KINDS; none where possible [B] is False, for a world that has endings of its own."""
    return dice.pick(weights(told, KINDS, "kind of ending"), len(possible)) * possible


def find(
    dice: Dice,
    places: Tensor,
    valid: Tensor,
    origin: Tensor,
    start: Tensor,
    kind: Tensor,
    needed: int,
) -> Endings:
    """Endings for what was lived.

    places [B, 4, R] standardised coordinates of the states that followed, valid [B, 4] bool; origin [B, 4] the natural
    zero in these units; start [B, T, N] bool; kind [B] in KINDS; at least `needed` of a task's R steps survive.
    """
    tasks, size, rows = places.shape
    about = dice.some(valid, 0.3).float() * dice.uniform(0.5, 1.5, tasks, size)
    visited = places[torch.arange(tasks, device=dice.device), :, dice.whole(0, rows - 1, tasks)]
    around = torch.where(dice.chance(0.6, tasks, 1), origin.clamp(-2, 2), torch.zeros_like(origin))
    centre = torch.where((kind == KINDS.index("goal"))[:, None], visited, around)[..., None]
    weight = torch.where((kind == 1)[:, None], about * dice.signs(tasks, size), about)[..., None]
    reached = torch.zeros((tasks, rows), dtype=torch.bool, device=dice.device)
    kept = torch.ones_like(reached)
    for number, measure in enumerate(MEASURES.values(), 1):
        index = (kind == number).nonzero()[:, 0]
        if len(index):
            away = places[index].sub_(centre[index]).mul_(weight[index])
            reached[index], kept[index] = _cut(measure(away), start[index], dice.uniform(0, 1, len(index)), needed)
    return Endings(kind, centre, weight, reached, kept)


def _cut(measure: Tensor, start: Tensor, luck: Tensor, needed: int) -> tuple[Tensor, Tensor]:
    """Which steps reach the place and which come before it, [B, R] bool, for measure [B, R] and luck [B] in [0, 1)."""
    rows = measure.shape[1]
    apart = APART * start.long().cumsum(1).double()  # [B, T, N], one step of it an episode
    highest = (measure.unflatten(1, start.shape[1:]) + apart).cummax(1).values - apart
    before = torch.cat((highest[:, :1], highest[:, :-1]), 1).masked_fill(start, -APART).flatten(1).float()
    survivors = (needed + (rows - needed) * luck.square()).long().clamp(needed, rows)
    level = before.sort(-1).values.gather(1, survivors[:, None] - 1)
    every = level == -APART  # so many steps are the first of an episode that any level lets enough survive
    level = torch.where(every, measure.mean(1, keepdim=True), level)
    return highest.flatten(1).float() > level, before <= level
