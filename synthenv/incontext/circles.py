"""Angles that a task shows as cosine and sine: two numbers that lie on a circle, and turn.

What a joint does from one step to the next is a turn, nearly the same function of its speed wherever it stands; of its
cosine and its sine it is another one everywhere. So what is foretold of such a pair is the angle it turns by, and what
follows lies on the circle again. Nobody says which numbers are a pair: on every row shown their squares add up to 1.

A joint moves by small turns. A heading that is commanded, or turned around, jumps: as an angle it would be cut in two
where half a turn one way is half a turn the other, so where large turns are common the numbers are left as they are.

Letters: B tasks, N rows or queries, O observation size, K circles, L quantile levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

Circles = Sequence[tuple[int, int]]
"""Which numbers of an observation are the two of a circle, K pairs; no number is of two."""
ROUND = 1e-5
"""By so much squares may miss 1: float32 rounds a hundred times finer, five decimals do not."""
MOVED = 1e-4
"""What moves less may be rounding, and is nothing yet."""
LARGE, RARE = 3 * math.pi / 4, 0.1
"""Turns beyond this are large, and common from this share of the rows on."""
MIDDLE = 1e-6
"""Nearer to a circle's middle nothing points anywhere."""


def found(observation: Tensor, following: Tensor) -> Circles:
    """The circles among transitions, [N, O] each.

    Pairs that were always whole numbers are switches (one of two is on).
    """
    seen = torch.cat((observation, following)).double()
    free = (seen.amax(0) - seen.amin(0) > MOVED) & (seen != seen.round()).any(0)
    missed = {
        pair: float((seen[:, pair].square().sum(1) - 1).abs().max())
        for pair in combinations(free.nonzero()[:, 0].tolist(), 2)
    }
    pairs: list[tuple[int, int]] = []
    for pair in sorted(missed, key=missed.__getitem__):
        taken = {number for other in pairs for number in other}
        if missed[pair] < ROUND and taken.isdisjoint(pair):
            pairs.append(pair)
    before, change = observation.double(), (following.double() - observation.double())
    turn = rolled(pairs, before, change).abs()
    return tuple(pair for pair in sorted(pairs) if (turn[:, pair[0]] > LARGE).double().mean() < RARE)


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
    """The inverse of `rolled`, [B, N, O]; what follows lies on the circle, wherever but in its middle one begins."""
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

    A pair is as far as the quantiles of its turn take it, in ascending order: exact but for a number that has its
    turning point on the way, whose intervals are then too narrow (at worst 90 % hold 75).
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
    x, y = (here / here.square().sum(-1, keepdim=True).sqrt().clamp(min=MIDDLE)).unsqueeze(-1).unbind(-2)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((x * cos - y * sin, x * sin + y * cos), -2)


def onto(circles: Circles, observation: Tensor) -> Tensor:
    """Observations [..., O] with every pair put on its circle, in the direction that it points."""
    return observation + unrolled(circles, observation, torch.zeros_like(observation))
