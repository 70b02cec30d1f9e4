"""How whoever collected a task's transitions behaved: from random actions to half-trained agents.

All are noise with something added: held for a while, mixed from step to step, swinging, or a linear function of the
state. The sum is clipped (Box) or its largest entry is chosen (Discrete). What does not depend on the state is drawn
beforehand, so that the loop over time works for those alone who look.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.prior.base import Actions
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.settings import PriorSettings, weights

KINDS = ("uniform", "sticky", "wandering", "sinusoid", "feedback", "greedy")
"""Random anew each step; random and held for a while; Ornstein-Uhlenbeck; sinusoids of random pace; a linear function
of the state with noise; the same function nearly without, as by an agent that has learned something."""
UNIFORM, STICKY, WANDERING, SINUSOID, FEEDBACK, GREEDY = range(len(KINDS))
NEVER = -1e12
"""The wish for a Discrete action that does not exist."""


class Behaviour(NamedTuple):
    """kind: [B] int64 in KINDS. action: [B, A, T, N], right already for those who do not look.
    looking: [L] tasks that look at the state, the `choosing` Discrete ones of them first; noise [L, A, T, N], what they
    add to their gain on it [L, A, S]."""

    kind: Tensor
    action: Tensor
    looking: Tensor
    noise: Tensor
    gain: Tensor
    choosing: int

    def look(self, step: int, state: Tensor) -> None:
        """Decide the actions of a step in states [B, S, N] for those who look."""
        if len(self.looking):
            wish = torch.baddbmm(self.noise[:, :, step], self.gain, state[self.looking])
            _choose(wish[: self.choosing])
            self.action[:, :, step].index_copy_(0, self.looking, wish.clamp_(-1, 1))


def draw(
    dice: Dice, actions: Actions, reach: Tensor, steer: Tensor, steps: int, lanes: int, settings: PriorSettings
) -> Behaviour:
    """Behaviours for B tasks whose states have sizes reach [B, S] and are steered by steer [B, A, S]."""
    tasks, size = actions.acting.shape
    kind = dice.pick(weights(settings.behaviours, KINDS, "behaviour"), tasks)
    acting = actions.acting.flatten().nonzero()[:, 0]
    noise = torch.where(actions.discrete, NEVER, 0.0)[:, None, None, None].repeat(1, size, steps, lanes)
    noise.flatten(0, 1).index_copy_(0, acting, dice.uniform(-1, 1, len(acting), steps, lanes))
    _stick(dice, (kind == STICKY) | ((kind >= FEEDBACK) & dice.chance(0.6, tasks)), noise)
    _wander(dice, kind == WANDERING, noise)
    amplitude = torch.where(dice.chance(0.1, tasks), dice.log_uniform(0.1, 1, tasks), 1.0)
    amplitude = torch.where(kind == FEEDBACK, dice.log_uniform(0.1, 1, tasks), amplitude)
    amplitude = torch.where(kind == GREEDY, dice.log_uniform(0.01, 0.5, tasks), amplitude)
    noise.mul_(amplitude[:, None, None, None])
    _swing(dice, kind == SINUSOID, noise, actions.acting)
    random = dice.sparse(0.4, *steer.shape)
    wish = torch.where(dice.chance(0.5, tasks, 1, 1), steer, random) * dice.log_uniform(0.3, 3, tasks, 1, 1)
    gain = (wish / reach[:, None]).mul_(actions.acting[..., None])
    looks, picks = kind >= FEEDBACK, actions.discrete.nonzero()[:, 0]
    choosing = (looks & actions.discrete).nonzero()[:, 0]
    looking = torch.cat((choosing, (looks & ~actions.discrete).nonzero()[:, 0]))
    own, chosen = noise[looking], _choose(noise[picks])
    return Behaviour(
        kind, noise.clamp_(-1, 1).index_copy_(0, picks, chosen), looking, own, gain[looking], len(choosing)
    )


def _choose(wish: Tensor) -> Tensor:
    """Wishes [B, A, ...] become 1 where they are a choice's largest, else 0: in place, much quicker than by a mask."""
    return wish.ge_(wish.amax(1, keepdim=True))


def _stick(dice: Dice, chosen: Tensor, noise: Tensor) -> None:
    """Hold the noise [B, A, T, N] of chosen [B] tasks for random whiles, in place."""
    index = chosen.nonzero()[:, 0]
    if len(index):
        own = noise[index]
        anew = dice.uniform(0, 1, len(index), *own.shape[2:]) > dice.uniform(0.3, 0.95, len(index), 1, 1)
        time = torch.arange(own.shape[2], device=dice.device)[:, None]
        since = torch.where(anew, time, 0).cummax(1).values
        noise[index] = own.gather(2, since[:, None].expand_as(own))


def _wander(dice: Dice, chosen: Tensor, noise: Tensor) -> None:
    """Make the noise [B, A, T, N] of chosen [B] tasks an Ornstein-Uhlenbeck process, in place."""
    index = chosen.nonzero()[:, 0]
    if len(index):
        own = noise[index]
        stay = dice.uniform(0.7, 0.98, len(index), 1, 1)
        for step in range(1, own.shape[2]):
            own[:, :, step].lerp_(own[:, :, step - 1], stay)
        size = ((1 + stay) / (1 - stay)).sqrt() * dice.log_uniform(0.5, 2, len(index), 1, 1)
        noise[index] = own * size[..., None]


def _swing(dice: Dice, chosen: Tensor, noise: Tensor, acting: Tensor) -> None:
    """Replace the noise [B, A, T, N] of chosen [B] tasks, where acting [B, A], by sinusoids with a little of it."""
    index = chosen.nonzero()[:, 0]
    if len(index):
        _, size, steps, lanes = noise.shape
        pace = dice.log_uniform(0.02, 1.5, len(index), size, 1, 1)
        phase = dice.uniform(0, 2 * math.pi, len(index), size, 1, lanes)
        time = torch.arange(steps, device=dice.device)[:, None]
        own = noise[index]
        swung = 1.1 * (pace * time + phase).sin() + 0.1 * own
        noise[index] = torch.where(acting[index][..., None, None], swung, own)
