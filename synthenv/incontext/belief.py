"""What is needed of an engine to make a simulator of it, and what its quantiles say.

Letters: B tasks, Q queries, O observation slots, A action slots, L levels.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Protocol

import torch
from torch import Tensor

from synthenv.incontext.model import LEVELS, Belief
from synthenv.incontext.rows import Rows, Shape


class Engine(Protocol):
    """A model that is shown transitions once and is then asked about any number of steps at a time.

    `model.Network` is one, and so is anything in closed form that keeps to these two calls.
    """

    def condition(self, rows: Rows, shape: Shape) -> Any:
        """All that later queries need of contexts, leaves [B, C, ...]: tensors, in whatever holds them."""

    def believe(self, known: Any, observation: Tensor, action: Tensor) -> Belief:
        """What follows from observation [B, Q, O] and action [B, Q, A], on all slots as `rows` lays them out."""


def level(probability: float) -> int:
    """Where a probability stands in LEVELS; raises ValueError where it does not."""
    if probability not in LEVELS:
        raise ValueError(f"expected one of the levels {', '.join(map(str, LEVELS))}, got {probability}")
    return LEVELS.index(probability)


def drawn(quantiles: Tensor, share: Tensor) -> Tensor:
    """The quantile function at shares [...] in [0, 1): quantiles [..., L] -> [...].

    Linear between levels; shares beyond the outermost levels give what stands there.
    """
    levels = share.new_tensor(LEVELS)
    above = torch.bucketize(share, levels).clamp(1, len(LEVELS) - 1)
    low, high = levels[above - 1], levels[above]
    ends = quantiles.gather(-1, torch.stack((above - 1, above), -1))  # [..., 2]
    return torch.lerp(ends[..., 0], ends[..., 1], ((share - low) / (high - low)).clamp(0, 1))


def deviation(quantiles: Tensor) -> Tensor:
    """Standard deviation of what quantiles [..., L] describe: [...]; that of a Gaussian is exact."""
    return _piecewise(quantiles) * _TAILS


def _piecewise(quantiles: Tensor) -> Tensor:
    """Standard deviation where the quantile function is linear between levels and flat beyond them: [..., L] -> [...].

    The integral of a squared line from a to b over its width is (a a + a b + b b) / 3.
    """
    centred = quantiles - quantiles[..., len(LEVELS) // 2, None]
    left, right = centred[..., :-1], centred[..., 1:]
    width = quantiles.new_tensor(LEVELS).diff()
    outer, low, high = LEVELS[0], centred[..., 0], centred[..., -1]
    mean = (left + right) @ width / 2 + outer * (low + high)
    square = (left.square() + left * right + right.square()) @ width / 3 + outer * (low.square() + high.square())
    return (square - mean.square()).clamp(min=0).sqrt()


GAUSSIAN = tuple(NormalDist().inv_cdf(share) for share in LEVELS)
"""Quantiles of the standard normal distribution: a Gaussian's are its mean + its deviation * GAUSSIAN."""
_TAILS = 1 / float(_piecewise(torch.tensor(GAUSSIAN, dtype=torch.float64)))
"""Makes up for the tails that flat ends leave out."""
