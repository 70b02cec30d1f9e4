"""Exact Gaussian process regression: a squared exponential with a length-scale an input, and noise.

Hyperparameters maximise the marginal likelihood (Rasmussen, Williams 2006, chapter 5): from two starts on 150 rows,
then from the better of them on 500; predictions are from all rows. Noise may be as small as rounding, so that tasks
without any are predicted to many digits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

Array = npt.NDArray[np.float64]

FIRST, SEARCHED = 150, 500
"""Rows that hyperparameters are searched on."""
STARTS = ((0.0, -4.0, 0.7), (0.0, -9.0, 1.6))
"""Logarithms of signal variance, noise variance, and length-scales."""
BOUNDS = ((-7.0, 9.0), (-18.0, 1.0), (-3.0, 7.0))
JITTER = 1e-9
"""Times the signal variance, on the diagonal."""


def fitted(x: Array, y: Array) -> Process | None:
    """The process for standardised inputs [N, K] and targets [N]; None where these are constant."""
    if np.ptp(y) < 1e-12:
        return None
    order = np.random.default_rng(0).permutation(len(y))
    few, many = order[:FIRST], order[:SEARCHED]
    starts = [np.array([signal, noise, *[length] * x.shape[1]]) for signal, noise, length in STARTS]
    found = min((searched(start, x[few], y[few]) for start in starts), key=lambda found: float(found.fun))
    if len(many) > len(few):
        found = searched(found.x, x[many], y[many])
    return Process.condition(found.x, x, y)


def searched(start: Array, x: Array, y: Array) -> Any:
    """A local maximum of the marginal likelihood near `start`."""
    bounds = [*BOUNDS[:2], *[BOUNDS[2]] * x.shape[1]]
    return minimize(lost_evidence, start, (x, y), "L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 50})


class Process(NamedTuple):
    """A Gaussian process that has seen data. x: [N, K] over the length-scales. factor: [N, N] lower. alpha: [N]."""

    signal: float
    noise: float
    lengths: Array
    x: Array
    factor: Array
    alpha: Array

    @classmethod
    def condition(cls, theta: Array, x: Array, y: Array) -> Process:
        """That of hyperparameters theta [2 + K] and data x [N, K], y [N]."""
        signal, noise, lengths = math.exp(theta[0]), math.exp(theta[1]), np.exp(theta[2:])
        scaled = x / lengths
        factor = cholesky(covariance(scaled, scaled, signal) + (noise + JITTER * signal) * np.eye(len(x)), lower=True)
        return cls(signal, noise, lengths, scaled, factor, cho_solve((factor, True), y))

    def mean(self, x: Array) -> Array:
        """[Q, K] -> [Q]."""
        return covariance(x / self.lengths, self.x, self.signal) @ self.alpha

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of an observation, [Q] each."""
        across = covariance(x / self.lengths, self.x, self.signal)
        known = np.square(solve_triangular(self.factor, across.T, lower=True)).sum(0)
        return across @ self.alpha, np.sqrt(np.maximum(self.signal - known, 0) + self.noise)


def covariance(left: Array, right: Array, signal: float) -> Array:
    """Squared exponential of scaled inputs, [N, K], [M, K] -> [N, M]."""
    square = np.square(left).sum(1)[:, None] + np.square(right).sum(1) - 2 * left @ right.T
    found: Array = signal * np.exp(-0.5 * np.maximum(square, 0))
    return found


def lost_evidence(theta: Array, x: Array, y: Array) -> tuple[float, Array]:
    """Negative log marginal likelihood of y [N] at x [N, K], and its slope by theta [2 + K].

    The slope by a length-scale needs no [N, N, K]: sum_ij W_ij (z_i - z_j)^2 / 2 = sum_i z_i^2 sum_j W_ij - z'Wz.
    """
    signal, noise, z = math.exp(theta[0]), math.exp(theta[1]), x / np.exp(theta[2:])
    smooth = covariance(z, z, signal)
    try:
        factor = cholesky(smooth + (noise + JITTER * signal) * np.eye(len(y)), lower=True)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(theta)
    alpha = cho_solve((factor, True), y)
    inverse, _ = lapack.dpotri(factor, lower=1)
    inverse += np.tril(inverse, -1).T
    slope = np.outer(alpha, alpha) - inverse
    weight = slope * smooth
    by_length = weight.sum(1) @ z**2 - np.einsum("ik,ij,jk->k", z, weight, z, optimize=True)
    gradient = np.concatenate(([0.5 * weight.sum(), 0.5 * noise * np.trace(slope)], by_length))
    evidence = -0.5 * y @ alpha - np.log(np.diag(factor)).sum() - 0.5 * len(y) * math.log(2 * math.pi)
    return -float(evidence), -gradient
