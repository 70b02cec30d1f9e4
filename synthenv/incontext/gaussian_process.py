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

from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.closed_form import Scaling, scaling

INDUCING = 256
"""Rows that the kernel is projected on at most."""
SEARCHED = 128
"""Rows that hyperparameters are fitted on at most."""
STEPS = 24
"""Steps of that search where it sees as many rows; more where it sees fewer, which are quicker."""
LARGEST = 8.0
"""Logarithms of hyperparameters end here, and at three times as much below."""
SHORTEST = -3.0
"""Logarithm of the shortest length scale: distances in units of shorter ones lose too many digits."""
JITTER = 1e-9
"""Added to the diagonal, in units of the outputs' variance: the error that is never undercut."""


class Kernel(NamedTuple):
    """Logarithms of the hyperparameters of G processes.

    lengths: [G, D]. smooth, linear, noise: [G, 1], variances.
    """

    lengths: Tensor
    smooth: Tensor
    linear: Tensor
    noise: Tensor

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        """Covariances [G, N, M] of rows x [G, N, D] and z [G, M, D], noise left out."""
        smooth = self.alike(x, z).mul_(self.smooth.exp()[..., None])
        return smooth.baddbmm_(self.linear.exp()[..., None] * x, z.mT).add_(1)

    def variance(self, x: Tensor) -> Tensor:
        """Prior variance [G, N] of rows x [G, N, D], noise left out."""
        return 1 + self.linear.exp() * x.square().sum(-1) + self.smooth.exp()

    def alike(self, x: Tensor, z: Tensor) -> Tensor:
        """The smooth part's correlations [G, N, M]."""
        scale = (-self.lengths).exp()[:, None]
        x, z = x * scale, z * scale
        square = torch.baddbmm(x.square().sum(-1)[..., None] + z.square().sum(-1)[:, None], x, z.mT, alpha=-2)
        return square.clamp_(min=0).mul_(-0.5).exp_()


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


class GaussianProcess(NamedTuple):
    """Fitted processes: one for every output in use of B tasks, G in all."""

    inputs: Scaling
    task: Tensor
    """[G] int64, whose process it is."""
    slot: Tensor
    """[G] int64, of which output."""
    kernel: Kernel
    anchors: Tensor
    """[G, M, D]"""
    weights: Tensor
    """[G, M, 1], of the covariances with the anchors, for the mean."""
    told: Tensor
    """[G, M, M]: what the context takes from the variance at x is |told k(x)|^2."""
    offset: Tensor
    """[B, 1, Y]"""
    residual: Tensor
    """[B, C, Y] leave-one-out errors."""

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, Q, Y] at x [B, Q, D]; of outputs not in use, those of the context and 0."""
        rows = self.inputs(x.double())[self.task]  # [G, Q, D]
        common = self.kernel(rows, self.anchors)  # [G, Q, M]
        mean = (common @ self.weights)[..., 0]
        left = self.kernel.variance(rows) - torch.bmm(common, self.told.mT).square().sum(-1)
        variance = left.clamp_(min=0) + self.kernel.noise.exp() + JITTER
        return self._outputs(mean) + self.offset, self._outputs(variance.sqrt())

    def _outputs(self, flat: Tensor) -> Tensor:
        """[G, N] -> [B, N, Y]."""
        full = flat.new_zeros((*self.offset.shape[::2], flat.shape[1]))  # [B, Y, N]
        return full.index_put((self.task, self.slot), flat).mT


def gaussian_process(
    x: Tensor, y: Tensor, varied: Tensor | None = None, used: Tensor | None = None,
    steps: int = STEPS, most: int = INDUCING, trend: bool = True,
) -> GaussianProcess:  # fmt: skip
    """Fit processes on x [B, C, D], y [B, C, Y], outputs scaled to about 1.

    varied [B, D] and used [B, Y] bool say which inputs and outputs mean something, all unless given; `most` is the
    number of rows that the kernel is projected on at most.
    """
    x, y = x.double(), y.double()
    varied = torch.ones_like(x[:, 0], dtype=torch.bool) if varied is None else varied
    used = torch.ones_like(y[:, 0], dtype=torch.bool) if used is None else used
    task, slot = used.nonzero(as_tuple=True)
    inputs, offset = scaling(x), y.mean(1, keepdim=True)
    rows, targets = inputs(x)[task], (y - offset).mT[task, slot][..., None]  # [G, C, D], [G, C, 1]
    some = spread_over(x.shape[1], min(most, SEARCHED))
    steps = round(steps * (SEARCHED / len(some)) ** 0.5)
    kernel = search(rows[:, some], targets[:, some], usual(varied.sum(1)[task], x.shape[-1], trend), steps)

    anchors = rows[:, spread_over(x.shape[1], most)]
    own = kernel(anchors, anchors)
    own.diagonal(dim1=1, dim2=2).add_(JITTER * kernel.variance(anchors).mean(1, keepdim=True))
    factor = _inverse(own)
    phi = factor @ kernel(anchors, rows)  # [G, M, C]
    noise = kernel.noise.exp()[..., None] + JITTER  # [G, 1, 1]
    precision = phi @ phi.mT / noise
    precision.diagonal(dim1=1, dim2=2).add_(1.0)
    spread = _inverse(precision)
    seen = spread @ phi  # [G, M, C]
    weights = spread.mT @ (seen @ targets) / noise  # [G, M, 1]
    leverage = (seen.square().sum(1)[..., None] / noise).clamp(max=1 - 1e-9)  # [G, C, 1]
    residual = (targets - phi.mT @ weights) / (1 - leverage)
    share = torch.eye(spread.shape[-1], dtype=x.dtype, device=x.device) - spread.mT @ spread
    told = _root(share, 1e-8).mT @ factor
    fitted = GaussianProcess(inputs, task, slot, kernel, anchors, factor.mT @ weights, told, offset, targets)
    return fitted._replace(residual=fitted._outputs(residual[..., 0]))


def _root(matrix: Tensor, added: float = 0.0) -> Tensor:
    """Lower Cholesky factor [G, M, M], of the matrix with this share of its mean diagonal added.

    Rounding can make small eigenvalues negative; where it did, more is added, ten times as much at every try.
    """
    level = matrix.diagonal(dim1=1, dim2=2).mean(1)
    extra = added * level
    while True:
        root: Tensor
        root, failed = torch.linalg.cholesky_ex(matrix + torch.diag_embed(extra[:, None].expand(matrix.shape[:2])))
        if not failed.any() or not torch.isfinite(level).all():
            return root
        extra = torch.where(failed > 0, (10 * extra).maximum(1e-9 * level), extra)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of the lower Cholesky factor, [G, M, M]."""
    root = _root(matrix)
    eye = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
    inverse: Tensor = torch.linalg.solve_triangular(root, eye.expand_as(root), upper=False)
    return inverse


def spread_over(count: int, most: int) -> Tensor:
    """Indices of at most so many of `count` rows, evenly spread."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def search(x: Tensor, y: Tensor, prior: Prior, steps: int) -> Kernel:
    """Hyperparameters of greatest posterior density for rows x [G, N, D], centred targets y [G, N, 1].

    Every number has a step of its own, which grows while the gradient keeps its sign and is halved when it turns
    (Rprop, Riedmiller and Braun 1993): scales that differ by orders of magnitude do not matter to it.
    """
    size = x.shape[-1]
    middle, width = torch.cat(prior.mean, 1), torch.cat(prior.spread, 1)  # [G, D + 3]
    at, length, before = middle, torch.full_like(middle, 0.4), torch.zeros_like(middle)
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
    smooth = kernel.smooth.exp()[..., None] * kernel.alike(x, x)
    total = 1 + linear + smooth
    total.diagonal(dim1=1, dim2=2).add_(noise[..., 0] + JITTER * kernel.variance(x).mean(1, keepdim=True))
    inverse = torch.cholesky_inverse(_root(total))
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
