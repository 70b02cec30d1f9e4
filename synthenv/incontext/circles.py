"""Angles that a task shows as cosine and sine: two numbers that lie on a circle, and turn.

What a joint does from one step to the next is a turn, nearly the same function of its speed wherever it stands; of its
cosine and its sine it is another one everywhere. So what is foretold of such a pair is the angle it turns by, and what
follows lies on the circle again. Nobody says which numbers are a pair: on every row shown their squares add up to 1.

Letters: B tasks, N rows or queries, O observation size, K circles, L quantile levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

Circles = Sequence[tuple[int, int]]
"""Which numbers of an observation are the two of a circle, K pairs; no number is of two."""
ROUND = 1e-5
"""By so much squares may miss 1: float32 rounds ten times finer, sensors do not."""


def found(seen: Tensor) -> Circles:
    """The circles among observations [N, O].

    Pairs that were always whole numbers are switches (one of two is on), and pairs that never moved are nothing yet.
    """
    square = seen.double().square()
    moved = (seen != seen[:1]).any(0)
    broken = (seen != seen.round()).any(0)
    pairs: list[tuple[int, int]] = []
    for pair in combinations((moved & broken).nonzero()[:, 0].tolist(), 2):
        taken = {number for other in pairs for number in other}
        if taken.isdisjoint(pair) and (square[:, pair].sum(1) - 1).abs().max() < ROUND:
            pairs.append(pair)
    return tuple(pairs)


def rolled(circles: Circles, observation: Tensor, change: Tensor) -> Tensor:
    """A change [B, N, O] from observation [B, N, O]: of each circle first its turn, and then 0."""
    if not circles:
        return change
    change = change.clone()
    for first, second in circles:
        here, there = observation[..., (first, second)], (observation + change)[..., (first, second)]
        across = here[..., 0] * there[..., 1] - here[..., 1] * there[..., 0]
        change[..., first], change[..., second] = torch.atan2(across, (here * there).sum(-1)), 0.0
    return change


def unrolled(circles: Circles, observation: Tensor, change: Tensor) -> Tensor:
    """The inverse of `rolled`, [B, N, O]; what follows lies on the circle, wherever the observation was."""
    if not circles:
        return change
    change = change.clone()
    for first, second in circles:
        here = observation[..., (first, second)]
        there = turned(here, change[..., first, None])[..., 0]
        change[..., (first, second)] = there - here
    return change


def spread(circles: Circles, observation: Tensor, quantiles: Tensor) -> Tensor:
    """Quantiles [B, N, O, L] of changes as `rolled` has them, as quantiles of each number's own change.

    A pair is as far as the quantiles of its turn take it, in ascending order: exact unless one of its numbers is at a
    turning point on the way.
    """
    if not circles:
        return quantiles
    quantiles = quantiles.clone()
    for first, second in circles:
        here = observation[..., (first, second)]
        apart = turned(here, quantiles[..., first, :]) - here[..., None]  # [B, N, 2, L]
        quantiles[..., (first, second), :] = apart.sort(-1).values
    return quantiles


def turned(here: Tensor, angle: Tensor) -> Tensor:
    """Points [..., 2] as seen from a circle's middle, turned by angles [..., L], on the circle: [..., 2, L]."""
    x, y = (here / here.square().sum(-1, keepdim=True).sqrt().clamp(min=ROUND)).unsqueeze(-1).unbind(-2)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((x * cos - y * sin, x * sin + y * cos), -2)


def onto(circles: Circles, observation: Tensor) -> Tensor:
    """Observations [..., O] with every pair put on its circle, in the direction that it points."""
    return observation + unrolled(circles, observation, torch.zeros_like(observation))
