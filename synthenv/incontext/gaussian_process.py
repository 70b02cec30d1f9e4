"""A Gaussian process for every output of every task: a linear and a smooth part, each as large as the data say.

The kernel is 1 + a x.x' + b exp(-|(x - x') / l|^2 / 2), with a length scale l an input: far from the data it goes on as
a line and says that it is unsure. Hyperparameters are those of greatest posterior density on a few rows
of the context (Rasmussen, Williams 2006, section 5.4), found by sign-based steps along the exact gradient; a weak prior
over them keeps ten rows from being explained by a hundred wiggles.

Up to `INDUCING` rows the process is exact. Beyond, it is that of the kernel's projection on so many rows spread over
the context (deterministic training conditional, Seeger, Williams, Lawrence 2003): a linear model with as many features,
which is how either case is solved, leave-one-out errors included.

Letters: B tasks, C context rows, Q queries, D inputs, Y outputs, G = B * Y processes, M inducing rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.cholesky import inverse_root, root
from synthenv.incontext.closed_form import Scaling, scaling
from synthenv.incontext.leaving_out import left_out

INDUCING = 256
"""Rows that the kernel is projected on at most."""
FEW = 8
"""Rows below which an output that was constant is not taken to be."""
PAYS = (1e-9, 0.02)
"""A second look pays where leave-one-out errors, squared, are between: below nobody minds, above nothing is smooth."""
DECADES = 8
"""By so many powers of ten the noise may have been underestimated on few rows."""
LARGEST = 8.0
"""Logarithms of hyperparameters end here, and at three times as much below."""
SHORTEST = -3.0
"""Logarithm of the shortest length scale: distances in units of shorter ones lose too many digits."""
JITTER = 1e-9
"""Added to the diagonal, in units of the outputs' variance: the error that is never undercut."""


@dataclass(frozen=True)
class Search:
    """How long hyperparameters are looked for."""

    rows: int = 96
    """Rows that they are fitted on at most."""
    steps: int = 24
    """Steps where it sees as many rows; more where it sees fewer, which are quicker."""
    refined: bool = True
    """Look a second time, on as many rows as the kernel is projected on and with twice as many of these, at outputs for
    which that pays."""


class Kernel(NamedTuple):
    """Logarithms of the hyperparameters of G processes.

    lengths: [G, D]. smooth, linear, noise: [G, 1], variances.
    """

    lengths: Tensor
    smooth: Tensor
    linear: Tensor
    noise: Tensor

    def pick(self, some: Tensor) -> Kernel:
        """Those of some processes, by index or bool [G]."""
        return Kernel(*(leaf[some] for leaf in self))

    def variance(self, x: Tensor) -> Tensor:
        """Prior variance [G, N] of rows x [G, N, D], noise left out."""
        return 1 + self.linear.exp() * x.square().sum(-1) + self.smooth.exp()

    def beside(self, z: Tensor) -> Beside:
        """What covariances with rows z [G, M, D] take, whatever the others are."""
        scale, most = (-self.lengths).exp()[:, None], self.smooth[..., None]
        short, sloped = z * scale, self.linear.exp()[..., None] * z
        return Beside(scale, short.mT, most - short.square().sum(-1)[:, None] / 2, most, sloped.mT)


class Beside(NamedTuple):
    """Rows z [G, M, D] laid out for covariances with other rows; see `Kernel.beside`."""

    scale: Tensor
    """[G, 1, D], inverse length scales."""
    short: Tensor
    """[G, D, M], z in length scales."""
    near: Tensor
    """[G, 1, M], logarithm of the smooth part's covariance with the origin."""
    most: Tensor
    """[G, 1, 1], logarithm of its variance, which rounding must not exceed."""
    sloped: Tensor
    """[G, D, M], z times the linear part's variance."""

    def __call__(self, x: Tensor) -> Tensor:
        """Covariances [G, N, M] of rows x [G, N, D], noise left out."""
        return self.smooth(x).baddbmm_(x, self.sloped).add_(1)

    def smooth(self, x: Tensor) -> Tensor:
        """The smooth part of the covariances [G, N, M] of rows x [G, N, D]."""
        x = x * self.scale
        exponent = torch.baddbmm(self.near - x.square().sum(-1, keepdim=True) / 2, x, self.short)
        return exponent.clamp_(max=self.most).exp_()

    def pick(self, some: Tensor) -> Beside:
        """Those of some processes, by bool [G]."""
        return Beside(*(leaf[some] for leaf in self))


class Prior(NamedTuple):
    """What hyperparameters are like before any data: normal distributions of their logarithms."""

    mean: Kernel
    spread: Kernel


def usual(sizes: Tensor, inputs: int, trend: bool = True) -> Prior:
    """Prior for outputs of variance about 1 and standardised inputs, of which sizes [G] out of D vary; leaves [G, ...].

    Without a trend there is no linear part: far from the data the process expects the mean, not a line.
    Found by CMA-ES on tasks of the synthetic prior with 8 to 60 rows, for the smallest error on other rows: scales are
    long and noise is small until the rows say otherwise.
    """
    size = sizes.double().clamp(min=1).log()[:, None]  # [G, 1]
    flat = torch.zeros_like(size)

    def kernel(lengths: Tensor, *others: Tensor) -> Kernel:
        return Kernel(lengths.expand(-1, inputs), *others)

    if not trend:
        return Prior(
            kernel(flat + 1.0, flat, flat - 3 * LARGEST, flat - 10), kernel(*(flat + w for w in (10, 4, 0.01, 8)))
        )
    mean = kernel(flat + 1.45, flat - 1.0, 0.7 - 0.7 * size, flat - 12.5)
    return Prior(mean, kernel(*(flat + width for width in (10, 4, 4, 8))))


class Part(NamedTuple):
    """Fitted processes that have equally many anchors."""

    of: Tensor
    """[G] int64, which of all they are."""
    kernel: Kernel
    anchors: Beside
    """M rows that others are compared with."""
    told: Tensor
    """[G, M, M + 1] from covariances k(x) with the anchors to the mean, which comes last; the squares of the others are
    what the context takes from the variance."""
    residual: Tensor
    """[G, C] leave-one-out errors."""
    apart: Tensor
    """[G, C] the same with the stretch of rows around each left out as well."""

    def predict(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [G, Q] at rows [G, Q, D]."""
        found = self.anchors(rows) @ self.told  # [G, Q, M + 1]
        left = self.kernel.variance(rows) - found[..., :-1].square().sum(-1)
        return found[..., -1], (left.clamp_(min=0) + self.kernel.noise.exp() + JITTER).sqrt()

    def pick(self, some: Tensor) -> Part:
        """Some [G] bool of them."""
        of, kernel, anchors, *rest = self
        return Part(of[some], kernel.pick(some), anchors.pick(some), *(leaf[some] for leaf in rest))


class GaussianProcess(NamedTuple):
    """Fitted processes: one for every output of B tasks that is in use and varies, G in all."""

    inputs: Scaling
    task: Tensor
    """[G] int64, whose process it is."""
    slot: Tensor
    """[G] int64, of which output."""
    parts: tuple[Part, ...]
    offset: Tensor
    """[B, 1, Y]"""
    residual: Tensor
    """[B, C, Y] leave-one-out errors."""
    apart: Tensor
    """[B, C, Y]"""

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, Q, Y] at x [B, Q, D]; of other outputs, those of the context and 0."""
        rows = self.inputs(x.double())[self.task]  # [G, Q, D]
        mean, spread = in_order(self.parts, [part.predict(rows[part.of]) for part in self.parts])
        return self.full(mean) + self.offset, self.full(spread)

    def full(self, flat: Tensor) -> Tensor:
        """What is known of each process, [G, N], by task and output: [B, N, Y]."""
        every = flat.new_zeros((*self.offset.shape[::2], flat.shape[1]))  # [B, Y, N]
        return every.index_put((self.task, self.slot), flat).mT


def gaussian_process(
    x: Tensor, y: Tensor, varied: Tensor | None = None, used: Tensor | None = None,
    search: Search | None = None, most: int = INDUCING, trend: bool = True,
) -> GaussianProcess:  # fmt: skip
    """Fit processes on x [B, C, D], y [B, C, Y], outputs scaled to about 1.

    varied [B, D] and used [B, Y] bool say which inputs and outputs mean something, all unless given; `most` is the
    number of rows that the kernel is projected on at most.
    """
    search = search or Search()
    x, y = x.double(), y.double()
    varied = torch.ones_like(x[:, 0], dtype=torch.bool) if varied is None else varied
    used = torch.ones_like(y[:, 0], dtype=torch.bool) if used is None else used
    inputs, offset = scaling(x), y.mean(1, keepdim=True)
    varies = (y != y[:, :1]).any(1) | (x.shape[1] < FEW)
    task, slot = (used & varies).nonzero(as_tuple=True)
    rows, targets = inputs(x)[task], (y - offset).mT[task, slot][..., None]  # [G, C, D], [G, C, 1]
    prior = usual(varied.sum(1)[task], x.shape[-1], trend)
    some = spread_over(x.shape[1], min(most, search.rows))
    steps = round(search.steps * (search.rows / len(some)) ** 0.75)
    kernel = likeliest(rows[:, some], targets[:, some], prior, prior.mean, steps)
    parts: tuple[Part, ...] = (
        fit(torch.arange(len(task), device=x.device), rows, targets, kernel, most, x.shape[1] > len(some)),
    )
    error = parts[0].residual.square().mean(1)
    again = (error > PAYS[0]) & (error < PAYS[1])
    if search.refined and x.shape[1] > len(some) and again.any():
        some, prior = spread_over(x.shape[1], most), Prior(*(leaf.pick(again) for leaf in prior))
        rows, targets = rows[again], targets[again]
        kernel = likeliest(rows[:, some], targets[:, some], prior, kernel.pick(again), steps)
        second = fit(again.nonzero()[:, 0], rows, targets, kernel, 2 * most, x.shape[1] > len(some))
        parts = (parts[0].pick(~again), second)
    fitted = GaussianProcess(inputs, task, slot, parts, offset, targets, targets)
    alone, apart = in_order(parts, [(part.residual, part.apart) for part in parts])
    return fitted._replace(residual=fitted.full(alone), apart=fitted.full(apart))


def in_order(parts: Sequence[Part], found: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What was found of each part's processes, two leaves [G, ...] a part, as two leaves in the order of all."""
    if len(parts) == 1:
        return found[0]
    back = torch.cat([part.of for part in parts]).argsort()
    first, second = (torch.cat(leaf)[back] for leaf in zip(*found, strict=True))
    return first, second


def fit(of: Tensor, rows: Tensor, targets: Tensor, kernel: Kernel, most: int, noisier: bool) -> Part:
    """Processes `of` [G] for rows [G, C, D], centred targets [G, C, 1] and hyperparameters.

    noisier: hyperparameters are those of fewer rows, so that the noise may be larger than they say.
    """
    anchors = rows[:, spread_over(rows.shape[1], most)]
    beside = kernel.beside(anchors)
    own = beside(anchors)
    own.diagonal(dim1=1, dim2=2).add_(JITTER * kernel.variance(anchors).mean(1, keepdim=True))
    factor = inverse_root(own)
    phi = factor @ beside(rows).mT  # [G, M, C]
    gram, drawn = phi @ phi.mT, phi @ targets
    if noisier:
        kernel = kernel._replace(noise=noise(kernel.noise, gram, drawn, targets))
    level = (kernel.noise.exp() + JITTER)[..., None]  # [G, 1, 1]
    half = inverse_root(unit_added(gram / level))
    seen = half @ phi / level.sqrt()  # [G, M, C], of which the hat matrix is the square
    error = targets - seen.mT @ (seen @ targets)
    residual = error / (1 - seen.square().sum(1)[..., None]).clamp(min=1e-9)
    weights = factor.mT @ (half.mT @ (half @ drawn)) / level
    told = torch.cat((factor.mT @ root(unit_added(-half.mT @ half), 1e-8), weights), -1)
    return Part(of, kernel, beside, told, residual[..., 0], left_out(error, seen)[..., 0])


def noise(least: Tensor, gram: Tensor, drawn: Tensor, targets: Tensor) -> Tensor:
    """Logarithm of the noise's variance [G, 1], from `least` [G, 1] up, of greatest evidence for all rows.

    gram [G, M, M] and drawn [G, M, 1] are features times features and times targets [G, C, 1].
    """
    step, best, active = math.log(10.0), least.clone(), torch.arange(len(least), device=least.device)
    before = evidence(best, gram, drawn, targets)
    for _ in range(DECADES):
        now = evidence(best[active] + step, gram[active], drawn[active], targets[active])
        up = now > before[active]
        active, now = active[up], now[up]
        if not len(active):
            break
        best[active] += step
        before[active] = now
    return best


def evidence(noise: Tensor, gram: Tensor, drawn: Tensor, targets: Tensor) -> Tensor:
    """Log marginal likelihood [G] of targets, without constants, if the noise's variance has this logarithm [G, 1]."""
    level = noise.exp() + JITTER
    factor = root(unit_added(gram / level[..., None]))
    found = torch.linalg.solve_triangular(factor, drawn, upper=False).square().sum((1, 2)) / level[:, 0]
    missed = (targets.square().sum((1, 2)) - found) / level[:, 0]
    spread = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1) + targets.shape[1] * level[:, 0].log()
    likelihood: Tensor = -0.5 * (missed + spread)
    return likelihood


def unit_added(matrix: Tensor) -> Tensor:
    """The unit matrix plus a matrix [G, M, M]."""
    return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def spread_over(count: int, most: int) -> Tensor:
    """Indices [M] int64 of at most so many of `count` rows, evenly spread."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def likeliest(x: Tensor, y: Tensor, prior: Prior, begin: Kernel, steps: int) -> Kernel:
    """Hyperparameters of greatest posterior density for rows x [G, N, D], centred targets y [G, N, 1].

    Every number has a step of its own, which grows while the gradient keeps its sign and is halved when it turns
    (Rprop, Riedmiller and Braun 1993): scales that differ by orders of magnitude do not matter to it.
    """
    size = x.shape[-1]
    middle, width = torch.cat(prior.mean, 1), torch.cat(prior.spread, 1)  # [G, D + 3]
    at = torch.cat(begin, 1)
    length, before = torch.full_like(at, 0.4), torch.zeros_like(at)
    for _ in range(steps):
        slope = _slope(_kernel(at, size), x, y) - (at - middle) / width.square()
        turned = slope * before
        length = length * torch.where(turned > 0, 1.25, torch.where(turned < 0, 0.5, 1.0))
        slope = torch.where(turned < 0, 0.0, slope)
        at = (at + length.clamp_(max=1.0) * slope.sign()).clamp(-3 * LARGEST, LARGEST)
        at[:, :size].clamp_(min=SHORTEST)
        before = slope
    return _kernel(at, size)


def _kernel(at: Tensor, size: int) -> Kernel:
    return Kernel(*at.split([size, 1, 1, 1], 1))


def _slope(kernel: Kernel, x: Tensor, y: Tensor) -> Tensor:
    """Gradient [G, D + 3] of the log marginal likelihood in the logarithms of the hyperparameters."""
    inner = x @ x.mT
    linear, noise = kernel.linear.exp()[..., None] * inner, kernel.noise.exp()[..., None]
    smooth = kernel.beside(x).smooth(x)
    total = 1 + linear + smooth
    total.diagonal(dim1=1, dim2=2).add_(noise[..., 0] + JITTER * kernel.variance(x).mean(1, keepdim=True))
    inverse = torch.cholesky_inverse(root(total))
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
    return torch.cat(parts, 1)
