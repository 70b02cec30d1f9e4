"""What makes any world harder to see through: late actions, random pushes, inexact sight, distractors, dead dimensions.

All of it goes on top of any family, and is worked out only for the few tasks that have it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.settings import PriorSettings

DISTRACTORS = 3
"""Observations at most that have nothing to do with the task."""


class Disturbance(NamedTuple):
    """What happens to the worlds themselves.

    late: [L] tasks whose actions are mixed with the one before, share [L, 1, 1] of it.
    pushed: [M] tasks with random pushes [M, S, T, N], of size steady + swayed * |state|, [M, S, 1] each.
    """

    late: Tensor
    share: Tensor
    pushed: Tensor
    pushes: Tensor
    steady: Tensor
    swayed: Tensor

    def delay(self, action: Tensor, step: int, start: Tensor) -> Tensor:
        """What takes effect [B, A, N] of a step's action [B, A, T, N]: itself where an episode starts [B, N]."""
        if not len(self.late) or step == 0:
            return action[:, :, step]
        own, before = (action[:, :, at][self.late] for at in (step, step - 1))
        mixed = torch.lerp(own, before, self.share)
        return action[:, :, step].index_copy(0, self.late, torch.where(start[self.late][:, None], own, mixed))

    def push(self, step: int, state: Tensor) -> None:
        """Add the pushes of a step to states [B, S, N], in place."""
        if len(self.pushed):
            size = torch.addcmul(self.steady, self.swayed, state[self.pushed].abs())
            state.index_add_(0, self.pushed, self.pushes[:, :, step] * size)


def draw_disturbance(
    dice: Dice, reach: Tensor, smooth: Tensor, steps: int, lanes: int, settings: PriorSettings
) -> Disturbance:
    """For tasks whose states have sizes reach [B, S]; pushes only where smooth [B], for a grid has no half cells."""
    tasks, size = reach.shape
    late = dice.chance(settings.lag, tasks).nonzero()[:, 0]
    pushed = (dice.chance(settings.noise, tasks) & smooth).nonzero()[:, 0]
    some = len(pushed)
    which = dice.chance(0.5, some, size, 1)
    strength = dice.log_uniform(1e-4, 0.05, some, 1, 1) * reach[pushed][..., None] * which
    swayed = dice.chance(0.4, some, 1, 1)
    return Disturbance(
        late,
        torch.where(dice.chance(0.4, len(late), 1, 1), 1.0, dice.uniform(0.1, 0.9, len(late), 1, 1)),
        pushed,
        dice.normal(some, size, steps, lanes),
        strength * torch.where(swayed, 0.2, 1.0),
        dice.log_uniform(1e-3, 0.03, some, 1, 1) * swayed * which,
    )


def distract(dice: Dice, tasks: int, lanes: int, steps: int) -> tuple[Tensor, Tensor]:
    """Observations that have nothing to do with `tasks` tasks, before and after each step, [B, 3, T * N] each.

    Each is noise, a random walk, a clock, a constant of the task or a constant of the lane.
    """
    shape = (tasks, DISTRACTORS, steps + 1, lanes)
    noise = dice.normal(*shape)
    time = torch.arange(steps + 1, device=dice.device)[:, None]
    clock = time * dice.log_uniform(0.01, 1, tasks, DISTRACTORS, 1, 1)
    swing = (clock + dice.uniform(0, 2 * math.pi, tasks, DISTRACTORS, 1, lanes)).sin()
    constant = noise[:, :, :1, :1].expand(shape)
    kinds = torch.stack((noise, 0.2 * noise.cumsum(2), swing, constant, noise[:, :, :1].expand(shape)))
    chosen = dice.pick((0.2, 0.2, 0.1, 0.35, 0.15), tasks, DISTRACTORS, 1, 1)
    path = kinds.gather(0, chosen.expand(shape)[None])[0]
    return path[:, :, :-1].flatten(2), path[:, :, 1:].flatten(2)


def blur(dice: Dice, before: Tensor, after: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Observations [B, T, N, O] before and after steps, seen with errors of standard deviation size [B, O]."""
    tasks, steps, lanes, slots = before.shape
    error = dice.normal(tasks, steps + 1, lanes, slots) * size[:, None, None]
    return before + error[:, :-1], after + error[:, 1:]
