"""A Gaussian process over curves of many tasks: each pipeline a line and a wandering trend, in part the same in all.

Curves are taken as they lie about the mean curve of their task, and in units of their spread there. A deviation is a
level, a slope over doublings of the budget, a trend whose slope wanders (integrated Brownian motion, as in smoothing
splines; Wahba 1978) and steps of its own; of each of these a share is the pipeline's in all tasks. Variances and shares
are found by marginal likelihood over all that was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthenv.ranking.checks import Floats

UNIT = 0.2
"""Deviations of a task are scaled to this root mean square, for which the numbers below are meant."""
START = (-1.6, -3.5, 0.0, -9.2, -9.2, -9.2, 0.0, 0.0, -1.0)
WIDTH = (1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5)
"""Expected values of the parameters and their standard deviations: logarithms of the deviations of level and slope,
their correlation (hyperbolic arc tangent), logarithms of the variances of trend, noise and steps, and shares (logit) of
level, slope and trend that tasks have in common."""
STEPS, JITTER = 60, 1e-6
JUMP, COMPARED = 3.0, 8
"""A step so many standard deviations from the median of pipelines at that budget is a jump; so many tell the median."""


class Cells(NamedTuple):
    """Places [N] of curves: doublings of the budget, and which task."""

    doublings: Tensor
    task: Tensor


def without_jumps(curves: Floats) -> Floats:
    """Curves [M, K] in which no step is far from those of others at the same budget: what is beyond is a level of its
    own and no trend, and is taken from all that came before, so that ends stay where they are."""
    step = np.diff(curves, axis=1)
    seen = np.isfinite(step)
    excess = np.zeros_like(step)
    for k in np.flatnonzero(seen.sum(0) >= COMPARED):
        own = step[seen[:, k], k]
        middle = np.median(own)
        far = JUMP * 1.4826 * np.median(np.abs(own - middle))
        excess[seen[:, k], k] = own - np.clip(own, middle - far, middle + far)
    level: Floats = curves.copy()
    level[:, :-1] += excess[:, ::-1].cumsum(1)[:, ::-1]
    return level


def local_line(curves: Floats, doublings: Floats, target: int, points: int = 3) -> Floats:
    """Lines [M] through the last points seen of curves [M, K], at budget `target`; nan where only one was seen."""
    seen = np.isfinite(curves)
    after = seen[:, ::-1].cumsum(1)[:, ::-1]
    used = seen & (after <= points)
    count = np.maximum(used.sum(1), 1)
    x = np.where(used, doublings, 0.0)
    y = np.where(used, curves, 0.0)
    apart = np.where(used, doublings - (x.sum(1) / count)[:, None], 0.0)
    wide = (apart**2).sum(1)
    slope = np.divide((apart * y).sum(1), wide, out=np.full(len(wide), np.nan), where=wide > 0)
    line: Floats = y.sum(1) / count + slope * (doublings[target] - x.sum(1) / count)
    return line


def mean_curve(curves: Floats) -> Floats:
    """The mean [K] of curves [M, K] with holes, stepped by those seen on both sides; nan after the last seen."""
    seen = np.isfinite(curves)
    columns = np.flatnonzero(seen.any(0))
    mean = np.full(curves.shape[1], np.nan)
    if not len(columns):
        return mean
    mean[columns[0]] = curves[seen[:, columns[0]], columns[0]].mean()
    for before, here in pairwise(columns):
        both = seen[:, before] & seen[:, here]
        step = (curves[both, here] - curves[both, before]).mean() if both.any() else 0.0
        mean[here] = mean[before] + step
    return mean


def extrapolate(
    curves: Sequence[Floats], doublings: Floats, target: int, few: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Mean and standard deviation [M] of a task's curves at budget `target`.

    curves: of tasks [M, K], nan where not seen, the one asked about first.  few: pipelines that the numbers are
    learned of. The mean curve goes on as a line, and its own doubt, the same for all, is not in the answer.
    """
    means = [mean_curve(task) for task in curves]
    apart = [task - mean for task, mean in zip(curves, means, strict=True)]
    size = [np.sqrt(np.nanmean(a**2)) or 1.0 for a in apart]
    columns = [np.flatnonzero(np.isfinite(mean)) for mean in means]
    cells = Cells(
        torch.from_numpy(np.concatenate([doublings[c] for c in columns])),
        torch.from_numpy(np.repeat(np.arange(len(curves)), [len(c) for c in columns])),
    )
    told = [UNIT * a[:, c] / s for a, c, s in zip(apart, columns, size, strict=True)]
    z = torch.from_numpy(np.concatenate(told, 1))
    theta = most_likely(z[torch.from_numpy(few)], cells)
    there = Cells(torch.full((1,), doublings[target], dtype=torch.float64), torch.zeros(1, dtype=torch.long))
    with torch.no_grad():
        inverse, pattern, _ = _inverses(theta, z, cells)
        cross = covariance(theta, cells, there)[:, 0]
        whole = covariance(theta, there, there)[0, 0]
        mean = torch.einsum("n,mnk,mk->m", cross, inverse[pattern], z.nan_to_num())
        known = ~z.isnan()
        masked = torch.where(known, cross, 0.0)
        left = whole - torch.einsum("mn,mnk,mk->m", masked, inverse[pattern], masked)
        sd = (left.clamp_min(0) + theta[4].exp()).sqrt()
    scale = size[0] / UNIT
    level = local_line(means[0][None], doublings, target)[0]
    if not np.isfinite(level):
        level = means[0][columns[0][-1]]
    return level + scale * mean.numpy(), scale * sd.numpy()


def covariance(theta: Tensor, a: Cells, b: Cells) -> Tensor:
    """Covariance [A, B] of a pipeline's deviations."""
    level, slope, together = theta[0].exp(), theta[1].exp(), theta[2].tanh()
    trend, step = theta[3].exp(), theta[5].exp()
    same = a.task[:, None] == b.task
    shares = theta[6:].sigmoid()
    levels, slopes, trends = (torch.where(same, 1.0, share) for share in shares)
    # what all tasks share is correlated as what each has of its own is, or this would be no covariance
    alike, apart = shares[:2].prod().sqrt(), (1 - shares[:2]).prod().sqrt()
    mixed = torch.where(same, alike + apart, alike)
    x, y = a.doublings[:, None], b.doublings
    early, late = torch.minimum(x, y) + 1, torch.maximum(x, y) + 1
    return (
        levels * level**2
        + mixed * together * level * slope * (x + y)
        + slopes * slope**2 * x * y
        + trends * (trend * early**2 * (3 * late - early) / 6 + step * early)
    )


def most_likely(z: Tensor, cells: Cells) -> Tensor:
    """Parameters [9] under which deviations [M, N], nan where not seen, are most likely."""
    start, width = (torch.tensor(numbers, dtype=torch.float64) for numbers in (START, WIDTH))
    theta = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([theta], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        inverse, pattern, size = _inverses(theta, z, cells)
        told = z.nan_to_num()
        square = torch.einsum("mn,mnk,mk->", told, inverse[pattern], told)
        value = 0.5 * square + 0.5 * size[pattern].sum() + 0.5 * ((theta - start) / width).square().sum()
        value.backward()
        return value

    try:
        with torch.enable_grad():
            optimizer.step(loss)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # a step too far
        return start
    found = theta.detach()
    return found if bool(found.isfinite().all()) else start


def _inverses(theta: Tensor, z: Tensor, cells: Cells) -> tuple[Tensor, Tensor, Tensor]:
    """Inverse covariances [P, N, N] of the P ways in which curves [M, N] were seen, which is whose [M], and their
    logarithms of determinants [P]; what was not seen is independent of all else."""
    known, pattern = (~z.isnan()).unique(dim=0, return_inverse=True)
    noise = theta[4].exp() + JITTER
    whole = covariance(theta, cells, cells)
    both = known[:, :, None] & known[:, None]
    root = torch.linalg.cholesky(torch.where(both, whole, 0.0) + torch.diag_embed(torch.where(known, noise, 1.0)))
    size = 2 * root.diagonal(dim1=1, dim2=2).log().sum(1)
    return torch.cholesky_inverse(root), pattern, size
