"""The kernel of Gaussian processes: a linear and a smooth part, each as large as its hyperparameters say.

k(x, x') = c + a x.x' + b exp(-|(x - x') / l|^2 / 2), with a length scale l an input; c is 1, or 0 where nothing is
expected far from the data.

Letters: G processes, N and M rows, D inputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

JITTER = 1e-9
"""Added to the diagonal, in units of the outputs' variance: the error that is never undercut."""


class Kernel(NamedTuple):
    """Logarithms of the hyperparameters of G processes.

    lengths: [G, D]. smooth, linear, noise: [G, 1], variances. constant: one variance for all, not a logarithm.
    """

    lengths: Tensor
    smooth: Tensor
    linear: Tensor
    noise: Tensor
    constant: float = 1.0

    def pick(self, some: Tensor) -> Kernel:
        """Those of some processes, by index or bool [G]."""
        lengths, smooth, linear, noise, constant = self
        return Kernel(lengths[some], smooth[some], linear[some], noise[some], constant)

    def flat(self) -> Tensor:
        """All hyperparameters but the constant, [G, D + 3]."""
        return torch.cat(self[:4], 1)

    def variance(self, x: Tensor) -> Tensor:
        """Prior variance [G, N] of rows x [G, N, D], noise left out."""
        return self.constant + self.linear.exp() * x.square().sum(-1) + self.smooth.exp()

    def beside(self, z: Tensor) -> Beside:
        """What covariances with rows z [G, M, D] take, whatever the others are."""
        scale, most = (-self.lengths).exp()[:, None], self.smooth[..., None]
        short, sloped = z * scale, self.linear.exp()[..., None] * z
        near = most - short.square().sum(-1)[:, None] / 2
        return Beside(scale, short.mT, near, most, sloped.mT, self.constant)


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
    constant: float

    def __call__(self, x: Tensor) -> Tensor:
        """Covariances [G, N, M] of rows x [G, N, D], noise left out."""
        return self.smooth(x).baddbmm_(x, self.sloped).add_(self.constant)

    def smooth(self, x: Tensor) -> Tensor:
        """The smooth part of the covariances [G, N, M] of rows x [G, N, D]."""
        x = x * self.scale
        exponent = torch.baddbmm(self.near - x.square().sum(-1, keepdim=True) / 2, x, self.short)
        return exponent.clamp_(max=self.most).exp_()

    def pick(self, some: Tensor) -> Beside:
        """Those of some processes, by bool [G]."""
        scale, short, near, most, sloped, constant = self
        return Beside(scale[some], short[some], near[some], most[some], sloped[some], constant)
