"""Gaussian perturbations around a mean: drawn, and read back from candidates."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian(generator: torch.Generator, population: int, mean: Tensor) -> Tensor:
    """Independent standard normal noise [P, D] for a mean [D], on its device and in its dtype."""
    return torch.randn((population, *mean.shape), generator=generator, dtype=mean.dtype, device=mean.device)


def mirrored(generator: torch.Generator, population: int, mean: Tensor) -> Tensor:
    """Standard normal noise [P, D] in pairs of opposite sign: row i + P/2 is minus row i. P must be even."""
    if population % 2:
        raise ValueError(f"mirrored sampling needs an even population, got {population}; try {population + 1}")
    half = gaussian(generator, population // 2, mean)
    return torch.cat((half, -half))
