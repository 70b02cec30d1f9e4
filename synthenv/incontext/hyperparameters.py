"""Hyperparameters of Gaussian processes: what they are like before any data, the likeliest, and draws of the plausible.

Letters: G processes, N rows, D inputs, P = D + 3 hyperparameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.cholesky import root
from synthenv.incontext.kernel import JITTER, Kernel

LARGEST = 8.0
"""Logarithms of hyperparameters end here, and at three times as much below."""
SHORTEST = -3.0
"""Logarithm of the shortest length scale, in standard deviations of the input: distances in units of shorter ones lose
too many digits."""
MOVES, LEAPS = 8, 4
"""Proposals of a chain, and steps to each."""
ASIDE, FIRST_STRIDE = 0.5, 0.3
"""Chains begin so far from the mode, and with steps of this size, in its own coordinates."""
WIDE, NEARBY = 2.0, 0.05
"""Standard deviations that are believed at most of a logarithm, and how far around the mode curvature is measured."""


@dataclass(frozen=True)
class Search:
    """How long hyperparameters are looked for."""

    rows: int = 96
    """Rows that they are fitted on at most."""
    steps: int = 24
    """Steps where it sees as many rows; more where it sees fewer, which are quicker."""
    refined: bool = True
    """Look a second time: with many rows, on as many as the kernel is projected on and with twice as many of these, at
    outputs for which that pays; with very few, draw from the posterior instead of taking the likeliest."""


class Prior(NamedTuple):
    """What hyperparameters are like before any data: normal distributions of their logarithms."""

    mean: Kernel
    spread: Kernel
    shortest: Tensor
    """[G, D], where logarithms of length scales end below."""

    def pick(self, some: Tensor) -> Prior:
        """Those of some processes, by index or bool [G]."""
        return Prior(self.mean.pick(some), self.spread.pick(some), self.shortest[some])

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The least and the largest that hyperparameters may be, [G, P] each."""
        at = self.mean.flat()
        low, high = torch.full_like(at, -3 * LARGEST), torch.full_like(at, LARGEST)
        low[:, :-3] = self.shortest
        return low, high


def usual(sizes: Tensor, deviation: Tensor, trend: bool = True) -> Prior:
    """Prior for outputs of variance about 1 and centred inputs, of which sizes [G] out of D vary; leaves [G, ...].

    deviation: [G, D] standard deviations of the inputs on the context.

    Without a trend there is no linear part and no constant: far from the data the process expects 0, not a line.
    Found by CMA-ES on tasks of the synthetic prior with 8 to 60 rows, for the smallest error on other rows: scales are
    long and noise is small until the rows say otherwise.
    """
    size = sizes.double().clamp(min=1).log()[:, None]  # [G, 1]
    flat = torch.zeros_like(size)

    def kernel(lengths: Tensor, smooth: Tensor, linear: Tensor, noise: Tensor, constant: float = 1.0) -> Kernel:
        return Kernel(lengths.expand_as(deviation), smooth, linear, noise, constant)

    shortest = SHORTEST + deviation.log()
    if not trend:
        mean = kernel(flat + 1.0, flat, flat - 3 * LARGEST, flat - 10, constant=0.0)
        return Prior(mean, kernel(flat + 10, flat + 4, flat + 0.01, flat + 8), shortest)
    mean = kernel(flat + 1.45, flat - 1.0, 0.7 - 0.7 * size, flat - 12.5)
    return Prior(mean, kernel(flat + 10, flat + 4, flat + 4, flat + 8), shortest)


def likeliest(x: Tensor, y: Tensor, prior: Prior, begin: Kernel, steps: int) -> Kernel:
    """Hyperparameters of greatest posterior density for rows x [G, N, D], centred targets y [G, N, 1].

    Every number has a step of its own, which grows while the gradient keeps its sign and is halved when it turns
    (Rprop, Riedmiller and Braun 1993): scales that differ by orders of magnitude do not matter to it.
    """
    at = begin.flat()
    low, high = prior.bounds()
    length, before = torch.full_like(at, 0.4), torch.zeros_like(at)
    for _ in range(steps):
        slope = density(at, x, y, prior)[1]
        turned = slope * before
        length = length * torch.where(turned > 0, 1.25, torch.where(turned < 0, 0.5, 1.0))
        slope = torch.where(turned < 0, 0.0, slope)
        at = (at + length.clamp_(max=1.0) * slope.sign()).clamp(low, high)
        before = slope
    return unpacked(at, prior)


def plausible(
    x: Tensor, y: Tensor, prior: Prior, mode: Kernel, draws: int, generator: torch.Generator
) -> tuple[Kernel, Tensor]:
    """Hyperparameters drawn from the posterior of processes whose modes [G, ...] are known, from x and y as above.

    Returns the draws, leaves [G * draws, ...], and whose each of them is, int64 [G * draws].

    Hamiltonian Monte Carlo (Neal 2011), a chain a draw: a ball rolls over the log density, pushed anew again and again,
    and stays where it got to by Metropolis' rule. It rolls in coordinates in which the density is about normal at the
    mode, so that a few pushes suffice; each chain finds its stride by how often it stays.
    """
    middle = mode.flat()
    axes = principal(middle, x, y, prior)  # [G, P, P]
    of = torch.arange(len(middle), device=x.device).repeat_interleave(draws)
    x, y, prior, middle, axes = x[of], y[of], prior.pick(of), middle[of], axes[of]
    low, high = prior.bounds()

    def noise() -> Tensor:
        return torch.randn(middle.shape, generator=generator, dtype=x.dtype).to(x.device)

    def seen(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hyperparameters at z [G, P], within bounds, their log density and its gradient in z; it falls off outside."""
        free = middle + (axes @ z[..., None])[..., 0]
        at = free.clamp(low, high)
        level, slope = density(at, x, y, prior)
        beyond = free - at
        return at, level - beyond.square().sum(1), (axes.mT @ (slope - 2 * beyond)[..., None])[..., 0]

    z = noise() * ASIDE
    stride = torch.full_like(z[:, :1], FIRST_STRIDE)
    at, level, slope = seen(z)
    for _ in range(MOVES):
        push = noise()
        before = level - push.square().sum(1) / 2
        there, pull = z, slope
        for _ in range(LEAPS):
            push = push + stride * pull / 2
            there = there + stride * push
            where, found, pull = seen(there)
            push = push + stride * pull / 2
        odds = (found - push.square().sum(1) / 2 - before).nan_to_num(-math.inf)
        chance = torch.rand(odds.shape, generator=generator, dtype=odds.dtype).to(odds.device)
        taken = (chance.log() < odds)[:, None]
        z, at, slope = torch.where(taken, there, z), torch.where(taken, where, at), torch.where(taken, pull, slope)
        level = torch.where(taken[:, 0], found, level)
        stride = stride * torch.where(taken, 1.2, 0.7)
    return unpacked(at, prior), of


def principal(at: Tensor, x: Tensor, y: Tensor, prior: Prior) -> Tensor:
    """Axes [G, P, P], none longer than WIDE, along which the log density at `at` [G, P] is curved by 1."""
    size = at.shape[1]
    aside = NEARBY * torch.eye(size, dtype=at.dtype, device=at.device)
    of = torch.arange(len(at), device=at.device).repeat_interleave(2 * size)
    beside = (at[:, None] + torch.cat((aside, -aside))).flatten(0, 1)
    slope = density(beside, x[of], y[of], prior.pick(of))[1].unflatten(0, (-1, 2, size))
    curvature = (slope[:, 1] - slope[:, 0]) / (2 * NEARBY)
    values, vectors = torch.linalg.eigh(((curvature + curvature.mT) / 2).nan_to_num())
    axes: Tensor = vectors * values.clamp(min=WIDE**-2).rsqrt()[:, None]
    return axes


def unpacked(at: Tensor, prior: Prior) -> Kernel:
    """Hyperparameters [G, P] under their names, with the prior's constant."""
    lengths, smooth, linear, noise = at.split([at.shape[1] - 3, 1, 1, 1], 1)
    return Kernel(lengths, smooth, linear, noise, prior.mean.constant)


def density(at: Tensor, x: Tensor, y: Tensor, prior: Prior) -> tuple[Tensor, Tensor]:
    """Logarithm of the posterior density [G], without constants, and its gradient [G, P], at hyperparameters [G, P]."""
    off, width = at - prior.mean.flat(), prior.spread.flat()
    level, slope = likelihood(unpacked(at, prior), x, y)
    return level - (off / width).square().sum(1) / 2, slope - off / width.square()


def likelihood(kernel: Kernel, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Log marginal likelihood [G], without constants, and its gradient [G, P] in the hyperparameters."""
    inner = x @ x.mT
    linear, noise = kernel.linear.exp()[..., None] * inner, kernel.noise.exp()[..., None]
    smooth = kernel.beside(x).smooth(x)
    total = kernel.constant + linear + smooth
    total.diagonal(dim1=1, dim2=2).add_(noise[..., 0] + JITTER * kernel.variance(x).mean(1, keepdim=True))
    factor = root(total)
    inverse = torch.cholesky_inverse(factor)
    alpha = inverse @ y
    weight = alpha @ alpha.mT - inverse  # [G, N, N]
    bent = weight * smooth
    pull = (bent.sum(1, keepdim=True) @ x.square() - (x * (bent @ x)).sum(1, keepdim=True))[:, 0]  # [G, D]
    parts = [
        pull * (-2 * kernel.lengths).exp(),
        0.5 * bent.sum((1, 2))[:, None],
        0.5 * (weight * linear).sum((1, 2))[:, None],
        0.5 * noise[..., 0] * weight.diagonal(dim1=1, dim2=2).sum(1, keepdim=True),
    ]
    level = -0.5 * (y * alpha).sum((1, 2)) - factor.diagonal(dim1=1, dim2=2).log().sum(1)
    return level, torch.cat(parts, 1)
