"""The loop over time: every episode of every world of a batch takes a step at once.

Lanes are episodes side by side; an episode that reaches its time limit, or a place where its world ends it, begins
again in the same lane. Places that end episodes by their geometry are found afterwards (see `endings`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.prior.base import LIMIT, STATE, Drawn, Family
from synthenv.incontext.prior.behaviour import Behaviour
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.nuisance import Disturbance

STARTS = 17
"""Fresh states a lane, one a step and then over again; a prime, so that episodes of any other length get all."""


class Group(NamedTuple):
    """A family's worlds and their places among all tasks."""

    family: Family
    drawn: Drawn
    place: slice


class Lived(NamedTuple):
    """What happened.

    state, following: [T, B, S, N]. action: [B, A, T, N]. ended, start: [B, T, N] bool.
    """

    state: Tensor
    action: Tensor
    following: Tensor
    ended: Tensor
    start: Tensor


def simulate(groups: list[Group], behaviour: Behaviour, disturbance: Disturbance, limit: Tensor, dice: Dice) -> Lived:
    """As many steps of as many lanes as there are actions; limit [B] int64, steps of an episode at most."""
    action = behaviour.action
    tasks, _, steps, lanes = action.shape
    fresh = _starts(groups, min(steps + 1, STARTS), lanes, dice)
    ended = torch.zeros((tasks, steps, lanes), dtype=torch.bool, device=dice.device)
    count = torch.arange(steps, device=dice.device)[:, None]
    start = (count % limit[:, None, None] == 0).repeat(1, 1, lanes)
    state, following = (torch.empty((steps, *fresh[0].shape), device=dice.device) for _ in range(2))
    state[0] = fresh[0]
    for step in range(steps):
        now, after = state[step], following[step]
        behaviour.look(step, now)
        effect = disturbance.delay(action, step, start[:, step])
        torch.cat([family.step(drawn.params, now[at], effect[at], dice) for family, drawn, at in groups], out=after)
        disturbance.push(step, after)
        after.clamp_(-LIMIT, LIMIT)
        for family, drawn, at in groups:
            if (over := family.ended(drawn.params, after[at])) is not None:
                ended[at, step] = over
        if step + 1 < steps:
            again = start[:, step + 1].logical_or_(ended[:, step]).float()[:, None]
            torch.lerp(after, fresh[(step + 1) % len(fresh)], again, out=state[step + 1])  # exact at 0 and 1
    return Lived(state, action, following, ended, start)


def _starts(groups: list[Group], pool: int, lanes: int, dice: Dice) -> Tensor:
    """Fresh states [pool, B, S, N]."""
    tasks = groups[-1].place.stop
    fresh = torch.empty((pool, tasks, STATE, lanes), device=dice.device)
    for family, drawn, place in groups:
        own = family.begin(drawn.params, dice, lanes * pool).unflatten(2, (pool, lanes))
        fresh[:, place] = own.permute(2, 0, 1, 3)
    return fresh
