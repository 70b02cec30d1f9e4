"""How alike two pipelines are by their settings: a kernel whose length scales are learned from runs.

Each column of the encoded settings has a weight, found by the marginal likelihood of Gaussian processes that share the
kernel, one a task (MacKay 1994: relevance is determined by the evidence). A column that is masked lies a standard
deviation beside the middle of those that are not, so that it is a point like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthenv.ranking.checks import Floats
from synthenv.ranking.space import Encoded

TASKS, PIPELINES = 16, 96
"""At most so many tasks, and of each so many pipelines, tell the weights."""
LANDMARKS = 512
"""At most so many pipelines carry a regression."""


@dataclass(frozen=True)
class Kernel:
    """A squared exponential over F columns.

    weights: [F] inverse squared length scales.
    noise:   variance of what settings do not tell, where they tell 1.
    """

    weights: Floats
    noise: float

    def __call__(self, a: Encoded, b: Encoded) -> Floats:
        """Similarities [A, B] in 0..1."""
        left, right = (_flat(encoded, np.sqrt(self.weights)) for encoded in (a, b))
        distance = (left**2).sum(1)[:, None] + (right**2).sum(1) - 2 * left @ right.T
        alike: Floats = np.exp(-np.maximum(distance, 0) / 2)
        return alike

    def regression(self, known: Encoded, wanted: Encoded) -> Regression:
        """How values at M known pipelines tell those at W wanted ones."""
        m = len(known.values)
        chosen = np.unique(np.linspace(0, m - 1, min(m, LANDMARKS)).astype(int))
        some = rows(known, chosen)
        root = torch.linalg.cholesky(torch.from_numpy(self(some, some) + self.noise * np.eye(len(chosen))))
        cross = torch.from_numpy(self(some, wanted))
        half = torch.linalg.solve_triangular(root, cross, upper=False)
        return Regression(chosen, root, cross, (1 - half.square().sum(0)).clamp(min=0).numpy())


class Regression(NamedTuple):
    """Values at some pipelines, told by those at others.

    chosen: [L] int64, which of the known ones carry it.  root: [L, L], of their covariance.  cross: [L, W].
    left:   [W], the variance left of 1.
    """

    chosen: npt.NDArray[np.int64]
    root: Tensor
    cross: Tensor
    left: Floats

    def __call__(self, values: Floats) -> Floats:
        """Values [..., M, K] of mean 0 at the known pipelines, as those [..., W, K] at the wanted ones."""
        carried = np.moveaxis(values[..., self.chosen, :], -2, 0)  # [L, ..., K]
        flat = torch.from_numpy(carried.reshape(len(carried), -1))
        told = (self.cross.mT @ torch.cholesky_solve(flat, self.root)).numpy()
        return np.moveaxis(told.reshape(-1, *carried.shape[1:]), 0, -2)


def rows(encoded: Encoded, index: npt.NDArray[np.int64]) -> Encoded:
    """Some of the pipelines."""
    return Encoded(encoded.values[index], encoded.active[index], encoded.columns)


def learn(encoded: Encoded, values: Floats, steps: int = 60) -> Kernel | None:
    """The kernel that explains values [T, M] of M encoded pipelines best, nan where unknown; None without columns."""
    used = encoded.active.any(0)
    if not used.any():
        return None
    chosen = [(t, _spread(np.flatnonzero(np.isfinite(values[t])), PIPELINES)) for t in range(len(values))]
    chosen = [(t, index) for t, index in chosen if len(index) >= 4 and np.ptp(values[t, index]) > 0]
    chosen = [chosen[i] for i in _spread(np.arange(len(chosen)), TASKS)]
    start = np.where(used, 1.0 / used.sum(), 0.0)
    if not chosen:
        return Kernel(start, 0.1)
    n = max(len(index) for _, index in chosen)
    index = np.stack([np.resize(index, n) for _, index in chosen])  # [S, n], padded by repeating
    real = np.stack([np.arange(n) < len(index) for _, index in chosen])
    target = np.stack([_standard(values[t, i], len(own)) for (t, own), i in zip(chosen, index, strict=True)])
    apart, wanted, exists = (torch.from_numpy(a) for a in (_apart(encoded, index), target, real))
    weights, noise = _most_likely(apart, wanted, exists, steps)
    return Kernel(weights.numpy() * used, noise)


def _most_likely(apart: Tensor, target: Tensor, real: Tensor, steps: int) -> tuple[Tensor, float]:
    """Weights [F] and noise that make targets [S, n] likely; apart [F, S, n, n] are squared distances by column."""
    columns, n = len(apart), target.shape[1]
    apart, target = apart.float(), target.float()
    logs = torch.full((columns + 2,), -float(np.log(columns)))  # weights, then log variance and log noise
    logs[-2:] = torch.tensor([-0.3, -1.0])
    logs.requires_grad_()
    optimizer = torch.optim.Adam([logs], lr=0.1)
    both = (real[:, :, None] & real[:, None, :]).float()
    for _ in range(steps):
        distance = torch.einsum("f,fsij->sij", logs[:-2].exp(), apart)
        covariance = logs[-2].exp() * (-distance / 2).exp() * both
        # what is padded is independent of all else
        diagonal = torch.where(real, logs[-1].exp() + 1e-3, 1.0)
        root = torch.linalg.cholesky(covariance + torch.diag_embed(diagonal))
        half = torch.linalg.solve_triangular(root, (target * real)[..., None], upper=False)
        likelihood = -0.5 * half.square().sum() - root.diagonal(dim1=1, dim2=2).log().sum()
        prior = -0.5 * ((logs[:-2] + float(np.log(columns))) / 2).square().sum() - 0.5 * logs[-2:].square().sum()
        loss = -(likelihood / n + prior / 10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    final = logs.detach().double()
    return final[:-2].exp(), float((final[-1] - final[-2]).exp().clamp(1e-3, 1e2))


def _apart(encoded: Encoded, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Squared distances [F, S, n, n] in each column between pipelines index [S, n]."""
    flat = _flat(encoded, np.ones(len(encoded.columns))).astype(np.float32)[index]
    square = (flat[:, :, None] - flat[:, None]) ** 2  # [S, n, n, 2 F]
    values, masks = np.split(np.moveaxis(square, -1, 0), 2)
    apart: npt.NDArray[np.float32] = values + masks
    return apart


def _flat(encoded: Encoded, root: Floats) -> Floats:
    """Coordinates [M, 2 F]: values, and whether they are known."""
    flat: Floats = np.concatenate((np.where(encoded.active, encoded.values, 0.0) * root, encoded.active * root), 1)
    return flat


def _spread(index: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """At most so many of the indices, evenly spread."""
    return index if len(index) <= most else index[np.linspace(0, len(index) - 1, most).astype(int)]


def _standard(values: Floats, n: int) -> Floats:
    """Values with the mean and spread of the first n taken out."""
    standard: Floats = (values - values[:n].mean()) / (values[:n].std() or 1.0)
    return standard
