"""Regression in closed form, many tasks at once: polynomial ridge and a Gaussian process, each usable alone.

What a few transitions tell without any training. Each solver is fitted on C rows of B tasks and has two faces: what it
says of new rows, and its leave-one-out residuals on its own, which cost no second fit and say how far to trust it.

Inputs are standardised by the context and outputs scaled by the caller; everything is solved in float64, for one-hot
actions make the columns collinear and float32 factors fail.

Letters: B tasks, C context rows, Q queries, D inputs, Y outputs, F features, M inducing rows.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from synthenv.incontext.leaving_out import left_out

PENALTIES = tuple(10.0**k for k in range(-10, 4))
"""Ridge penalties tried, each for every output; features are standardised and penalties are a share of C."""


class Solved(Protocol):
    """A fitted regressor of B tasks."""

    residual: Tensor
    """[B, C, Y] leave-one-out errors on the context, y minus what the other rows say."""
    apart: Tensor
    """[B, C, Y] the same with the stretch of rows around each left out as well (see `leaving_out`)."""

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, Q, Y] of the outputs at x [B, Q, D]."""


class Scaling(NamedTuple):
    """How columns are put into units of their own: centre and spread [B, 1, D]; a constant column has spread 1."""

    centre: Tensor
    spread: Tensor
    varies: Tensor
    """[B, 1, D] bool, which columns are not constant."""

    def __call__(self, x: Tensor) -> Tensor:
        """x [B, N, D] in units of the context's spread."""
        return (x - self.centre) / self.spread

    def near(self, x: Tensor) -> Tensor:
        """The same of x [B, N, D], but what never varied is at most 1 from what it was: it only says that it is not."""
        scaled = self(x)
        return torch.where(self.varies, scaled, scaled.clamp(-1, 1))

    def widened(self, aside: float) -> Scaling:
        """With spreads of at least a share `aside` of how far the centre is from 0, where columns vary at all.

        Few rows of an episode vary far less than what they measure does: a car at -0.5, give or take 0.002, is at home
        in tenths.
        """
        return self._replace(spread=torch.where(self.varies, self.spread.hypot(aside * self.centre), self.spread))


def scaling(x: Tensor) -> Scaling:
    """Centre and standard deviation of the rows x [B, C, D]."""
    centre, spread = x.mean(1, keepdim=True), x.std(1, correction=0, keepdim=True)
    small = 1e-6 * centre.abs() + 1e-12  # what rounding leaves of a constant
    varies = spread > small
    return Scaling(centre, torch.where(varies, spread, torch.ones_like(spread)), varies)


def polynomial(x: Tensor, degree: int) -> Tensor:
    """Features of degree 1 or 2 without the constant: x [B, N, D] -> [B, N, F]."""
    if degree == 1:
        return x
    rows, columns = torch.triu_indices(x.shape[-1], x.shape[-1], device=x.device)
    return torch.cat((x, x[..., rows] * x[..., columns]), -1)


class Ridge(NamedTuple):
    """Ridge regression on polynomial features, a penalty an output, chosen by leave-one-out error."""

    degree: int
    inputs: Scaling
    features: Scaling
    weights: Tensor
    """[B, F, Y]"""
    offset: Tensor
    """[B, 1, Y]"""
    basis: Tensor
    """[B, F, R], directions that the context spans."""
    length: Tensor
    """[B, R, Y], posterior variance along them in units of the noise's."""
    penalty: Tensor
    """[B, 1, Y], the inverse of that variance across them."""
    noise: Tensor
    """[B, 1, Y] standard deviation of the leave-one-out errors."""
    residual: Tensor
    """[B, C, Y]"""
    apart: Tensor
    """[B, C, Y]"""

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, Q, Y] at x [B, Q, D]."""
        phi = self.features(polynomial(self.inputs(x.double()), self.degree))  # [B, Q, F]
        mean = phi @ self.weights + self.offset
        along = (phi @ self.basis).square()  # [B, Q, R]
        across = (phi.square().sum(-1) - along.sum(-1)).clamp(min=0)  # [B, Q], directions that no row has shown
        leverage = along @ self.length + across[..., None] / self.penalty  # [B, Q, Y]
        return mean, self.noise * (1 + leverage).sqrt()


def ridge(x: Tensor, y: Tensor, degree: int = 1) -> Ridge:
    """Fit ridge regression on x [B, C, D], y [B, C, Y].

    The penalty of every output minimises its leave-one-out error, which has a closed form (Allen's PRESS, 1974): with
    the eigenvectors of the Gram matrix every penalty costs one product.
    """
    x, y = x.double(), y.double()
    count = x.shape[1]
    inputs = scaling(x)
    raw = polynomial(inputs(x), degree)
    features = scaling(raw)
    phi, offset = features(raw), y.mean(1, keepdim=True)
    left, singular, right = _thin(phi)  # [B, C, R], [B, R], [B, F, R]
    target = left.mT @ (y - offset)  # [B, R, Y]
    power = singular.square()
    penalties = count * torch.tensor(PENALTIES, dtype=x.dtype, device=x.device)
    share = power[..., None] / (power[..., None] + penalties)  # [B, R, K]
    error = (y - offset)[..., None] - torch.einsum("bcr,brk,bry->bcyk", left, share, target)
    leverage = left.square() @ share + 1 / count  # [B, C, K]
    alone = error / (1 - leverage).clamp(min=1e-6)[:, :, None]
    best = alone.square().mean(1).argmin(-1)  # [B, Y]
    residual, error = (found.gather(-1, best[:, None, :, None].expand(*y.shape, 1))[..., 0] for found in (alone, error))
    length = 1 / (power[..., None] + penalties[best][:, None])  # [B, R, Y]
    half = (power[..., None] * length).sqrt().mT[..., None] * left.mT[:, None]  # [B, Y, R, C]
    half = functional.pad(half, (0, 0, 0, 1), value=count**-0.5)
    apart = left_out(error.mT.flatten(0, 1)[..., None], half.flatten(0, 1)).reshape(error.mT.shape).mT
    weights = right @ (singular[..., None] * length * target)
    noise = residual.square().mean(1, keepdim=True).sqrt()
    penalty = penalties[best][:, None]
    return Ridge(degree, inputs, features, weights, offset, right, length, penalty, noise, residual, apart)


def _thin(phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular vectors and values of phi [B, C, F] by the smaller Gram matrix: [B, C, R], [B, R], [B, F, R]."""
    rows, columns = phi.shape[1:]
    if columns <= rows:
        power, right = torch.linalg.eigh(phi.mT @ phi)
        singular = power.clamp(min=1e-14 * float(rows)).sqrt()
        return phi @ right / singular[:, None], singular, right
    power, left = torch.linalg.eigh(phi @ phi.mT)
    singular = power.clamp(min=1e-14 * float(columns)).sqrt()
    return left, singular, phi.mT @ left / singular[:, None]
