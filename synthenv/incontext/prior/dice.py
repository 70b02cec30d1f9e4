"""Draws from a generator, in the words that the prior uses. All land on the generator's device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Dice:
    """A generator that is asked for what is wanted. Every method takes the shape of its answer."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.device = generator.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform in [low, high), [shape]."""
        return torch.rand(shape, generator=self.generator, device=self.device).mul_(high - low).add_(low)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, [shape]."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Log-uniform in [low, high), [shape]."""
        return self.uniform(math.log(low), math.log(high), *shape).exp_()

    def chance(self, probability: float, *shape: int) -> Tensor:
        """True with this probability, [shape] bool."""
        return torch.rand(shape, generator=self.generator, device=self.device) < probability

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high, both included, [shape] int64."""
        return torch.randint(low, high + 1, shape, generator=self.generator, device=self.device)

    def pick(self, weights: Sequence[float], *shape: int) -> Tensor:
        """Places in `weights`, each as often as its weight says, [shape] int64."""
        ends = torch.tensor(weights, device=self.device).cumsum(0)
        return torch.bucketize(self.uniform(0, 1, *shape) * ends[-1], ends[:-1], right=True)

    def signs(self, *shape: int) -> Tensor:
        """-1 or 1, [shape] float."""
        return self.chance(0.5, *shape).float().mul_(2).sub_(1)

    def first(self, counts: Tensor, size: int) -> Tensor:
        """True at the first counts [B] of `size` places, [B, size] bool."""
        return torch.arange(size, device=self.device) < counts[:, None]

    def some(self, chosen: Tensor, probability: float) -> Tensor:
        """A random part of chosen [B, K] bool, each with this probability, but at least one where there is any."""
        drawn = torch.rand(chosen.shape, generator=self.generator, device=self.device).masked_fill_(~chosen, 2.0)
        return chosen & ((drawn < probability) | (drawn == drawn.amin(-1, keepdim=True)))

    def sparse(self, probability: float, *shape: int) -> Tensor:
        """Standard normal where chance has it, else 0, [shape]."""
        return self.normal(*shape).mul_(self.chance(probability, *shape))
