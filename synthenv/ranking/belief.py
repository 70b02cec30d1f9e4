"""Gaussian beliefs about a new task's curves, conditioned on what was seen, with its offset and spread integrated out.

A task's values over pipelines m and budgets k are taken to be

    z[m, k] = mean[m, k] + basis[m, k] @ c + r[m, k],   c ~ N(0, I),   r[m] ~ N(0, scale[m] * residual)

so that conditioning costs what a linear regression does: cubic in the width R of the basis and linear in the pipelines
seen. Scores are offset + spread * z for an offset and a spread that nobody knows; both are summed over a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from synthenv.ranking.checks import Floats
from synthenv.ranking.past import BEND, KNEE, LOWEST

CELLS = 4
"""At most so many cells of one curve are looked at: its end, and others evenly spread before."""
NUGGET = 0.01**2
"""Variance of a single score, in squared units of spread: runs are never told apart to the last digit."""
LOGS = np.linspace(-2.0, 2.5, 14)
HEIGHTS = np.linspace(-1.0, 1.5, 16)
"""The grid: logarithms of spreads relative to that of what was seen, and where the best score seen stands in units of
spread."""
SHARES = 24
"""So many points of the grid, the most likely, are carried on."""
FINER, POINTS, SPAN = 6, 7, 2.5
"""At most so many times the grid is drawn closer, with so many points an axis, to so many standard deviations to each
side: what many runs tell of offset and spread is far finer than any grid that suits a few."""


class Places(NamedTuple):
    """Cells of the arrays over pipelines and budgets, between two budgets where need be.

    pipeline: [n] index.
    below:    [n] index of the budget below; above: that of the next.
    share:    [n] of the one above.
    """

    pipeline: npt.NDArray[np.int64]
    below: npt.NDArray[np.int64]
    above: npt.NDArray[np.int64]
    share: Floats

    @classmethod
    def at(cls, pipeline: npt.ArrayLike, budget: npt.ArrayLike, budgets: Floats) -> Places:
        """Cells [n] at budgets [n] on the axis of `budgets` [K], in between by logarithm, beyond its ends at them."""
        wanted = np.clip(np.asarray(budget, float), budgets[0], budgets[-1])
        below = np.clip(np.searchsorted(budgets, wanted, side="right") - 1, 0, len(budgets) - 1)
        above = np.minimum(below + 1, len(budgets) - 1)
        width = np.log(budgets[above] / budgets[below])
        share = np.divide(np.log(wanted / budgets[below]), width, out=np.zeros_like(width), where=width > 0)
        return cls(np.asarray(pipeline, int), below, above, share)

    def of(self, array: Floats) -> Floats:
        """Values [n, ...] of an array [M, K, ...]."""
        share = self.share.reshape(-1, *(1,) * (array.ndim - 2))
        return (1 - share) * array[self.pipeline, self.below] + share * array[self.pipeline, self.above]

    def weights(self, budgets: int) -> Floats:
        """What each budget counts in the cells, [n, K]."""
        rows = np.arange(len(self.share))
        weights = np.zeros((len(rows), budgets))
        np.add.at(weights, (rows, self.below), 1 - self.share)
        np.add.at(weights, (rows, self.above), self.share)
        return weights

    def take(self, index: npt.NDArray[np.int64]) -> Places:
        """Some of the cells."""
        return Places(self.pipeline[index], self.below[index], self.above[index], self.share[index])


@dataclass(frozen=True)
class Prior:
    """What is believed of a task before anything of it was seen.

    mean: [M, K]. curves: [M, K, R1] basis that goes through curves. still: [M, R2] basis that each budget sees by
    load [K]. common: [K, R3] basis that all pipelines share. residual: [K, K]; scale: [M] of it.
    knee: [K] below which values are squashed.
    """

    mean: Floats
    curves: Floats
    still: Floats
    load: Floats
    common: Floats
    residual: Floats
    scale: Floats
    knee: Floats

    def at(self, places: Places) -> tuple[Floats, Floats]:
        """Mean [n] and basis [n, R] of cells."""
        weights = places.weights(len(self.load))
        still = (weights @ self.load)[:, None] * self.still[places.pipeline]
        return places.of(self.mean), np.concatenate((places.of(self.curves), still, weights @ self.common), 1)


class Belief(NamedTuple):
    """A mixture of G normals over M candidates at one budget, in units of spread, and how units become scores.

    weight: [G]. mean: [G, M]. sd: [M]. top: [G] the best value seen. offset, spread: [G]. knee: [M].
    evidence: logarithm of the probability of what was seen, up to a constant that all priors share.
    """

    weight: Floats
    mean: Floats
    sd: Floats
    top: Floats
    offset: Floats
    spread: Floats
    knee: Floats
    evidence: float


def unseen(prior: Prior, target: Places) -> Belief:
    """The belief before anything was seen; units of spread stay what they are, and the best so far is the median."""
    mean, basis = prior.at(target)
    weights = target.weights(len(prior.load))
    variance = (basis**2).sum(1) + prior.scale * np.einsum("mk,kl,ml->m", weights, prior.residual, weights)
    one = np.ones(1)
    return Belief(one, mean[None], np.sqrt(variance), np.zeros(1), np.zeros(1), one, weights @ prior.knee, 0.0)


class Sightings(NamedTuple):
    """What was seen of a task, in blocks: B pipelines with J cells each, some of them padding.

    cells: [B*J]. real: [B, J] bool. owner: [B] the pipelines. weights: [B, J, K] of budgets in cells, 0 for padding.
    score: [n] of all cells seen, higher is better; blocks: [B, J] the place of each in it.
    """

    cells: Places
    real: npt.NDArray[np.bool_]
    owner: npt.NDArray[np.int64]
    weights: Floats
    score: Floats
    blocks: npt.NDArray[np.int64]

    @classmethod
    def of(cls, seen: Places, score: Floats, budgets: int) -> Sightings:
        """Scores [n] at cells, n > 0, of K budgets."""
        blocks, real = _blocks(seen)
        cells = seen.take(blocks.ravel())
        weights = cells.weights(budgets).reshape(*blocks.shape, budgets) * real[..., None]
        return cls(cells, real, seen.pipeline[blocks[:, 0]], weights, score, blocks)


def condition(prior: Prior, seen: Sightings, target: Places) -> Belief:
    """The belief after what was seen; `target` are M cells, one a candidate, the pipelines in their order."""
    real, blocks, owner = seen.real, seen.blocks, seen.owner
    mean, basis = (a.reshape(*blocks.shape, *a.shape[1:]) for a in prior.at(seen.cells))
    spread_by = seen.weights @ prior.residual  # [B, J, K]
    inner = prior.scale[owner, None, None] * spread_by @ seen.weights.transpose(0, 2, 1)
    inner += np.where(real, NUGGET, 1.0)[..., None] * np.eye(blocks.shape[1])
    unroot = np.linalg.inv(np.linalg.cholesky(inner))

    variance = (basis**2).sum(2) + np.diagonal(inner, axis1=1, axis2=2)
    width = basis.shape[2]
    slope = unroot @ (basis * real[..., None])
    flat_slope = slope.reshape(-1, width)
    inside = np.linalg.inv(np.linalg.cholesky(np.eye(width) + flat_slope.T @ flat_slope))
    whole = np.log(np.diagonal(unroot, axis1=1, axis2=2)).sum() + np.log(np.diagonal(inside)).sum()
    knee = np.zeros(len(seen.score))
    knee[blocks[real]] = (seen.weights @ prior.knee)[real]
    used = np.zeros(len(seen.score), bool)
    used[blocks[real]] = True

    def weigh(grid: Scales) -> Weighed:
        """How likely what was seen is under G offsets and spreads."""
        raw = (seen.score - grid.offset[:, None]) / grid.spread[:, None]  # [G, n]
        bent = np.log1p(np.clip((knee - raw) / BEND, 0.0, None))
        z = np.where(bent > 0, knee - np.minimum(BEND * bent, KNEE - LOWEST), raw)  # squashed
        rest = unroot @ np.where(real[..., None], z.T[blocks] - mean[..., None], 0.0)  # [B, J, G]
        flat = rest.reshape(-1, len(z))
        pull = inside @ (flat_slope.T @ flat)  # [R, G]
        logs = -0.5 * ((flat**2).sum(0) - (pull**2).sum(0)) + whole
        # densities of scores, not of units, those at the floor of units too, or a spread that puts all there would be
        # the likeliest; the grid is even in the height of the best, not in the offset
        logs = logs - (used.sum() - 1) * np.log(grid.spread) - bent[:, used].sum(1)
        return Weighed(logs + np.log(grid.cell), z, rest, pull)

    grid = _grid(seen.score, mean[real], variance[real])
    weighed = weigh(grid)
    for _ in range(FINER):
        if (closer := grid.closer(weighed.logs, seen.score.max())) is None:
            break
        grid, weighed = closer, weigh(closer)
    logs, rest = weighed.logs, weighed.rest
    kept = np.argsort(-logs, kind="stable")[:SHARES]
    weight = np.exp(logs[kept] - logs[kept[0]])

    mean_at, basis_at = prior.at(target)
    loads = target.weights(len(prior.load))
    coefficients = inside.T @ weighed.pull[:, kept]  # [R, G]
    after = mean_at + (basis_at @ coefficients).T  # [G, M]
    carried = inside @ basis_at.T  # [R, M]
    own = prior.scale * np.einsum("mk,mk->m", loads @ prior.residual, loads)
    # of a pipeline that was seen, its own residual too is known in part
    cross = prior.scale[owner, None] * np.einsum("bjk,bk->bj", spread_by, loads[owner])
    lean = (unroot @ cross[..., None])[..., 0]  # [B, J]
    leaned = np.einsum("bj,bjr->br", lean, slope)
    after[:, owner] += np.einsum("bj,bjg->gb", lean, rest[..., kept]) - (leaned @ coefficients).T
    own[owner] -= (lean**2).sum(1)
    carried[:, owner] -= inside @ leaned.T
    sd = np.sqrt(np.maximum((carried**2).sum(0) + own, NUGGET))
    top = weighed.z[kept].max(1)
    return Belief(
        weight / weight.sum(),
        after,
        sd,
        top,
        grid.offset[kept],
        grid.spread[kept],
        loads @ prior.knee,
        float(np.logaddexp.reduce(logs)),
    )


def _blocks(seen: Places) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Cells [B, J] of each pipeline seen, and which are real: at most J of a curve, its end among them."""
    order = np.lexsort((seen.below + seen.share, seen.pipeline))
    names, first, count = np.unique(seen.pipeline[order], return_index=True, return_counts=True)
    most = int(min(count.max(), CELLS))
    taken = np.minimum(count, most)
    back = np.arange(most)  # 0 is the end of the curve
    stride = np.where(count > most, (count - 1) / max(most - 1, 1), 1.0)
    index = first[:, None] + count[:, None] - 1 - np.floor(back * stride[:, None]).astype(int)
    real = back < taken[:, None]
    return order[np.where(real, index, first[:, None])], real


class Weighed(NamedTuple):
    """G points of a grid: logarithms of their probabilities [G], values seen in units [G, n], residuals of these after
    whitening [B, J, G], and what they say of the basis [R, G]."""

    logs: Floats
    z: Floats
    rest: Floats
    pull: Floats


class Scales(NamedTuple):
    """G offsets and spreads that scores may have, a grid even in log spread and in the height of the best score.

    heights: [G] of the best score, in units of spread. steps: between neighbours on both axes, 0 for a single point.
    cell: area of one.
    """

    spread: Floats
    heights: Floats
    offset: Floats
    steps: tuple[float, float]
    cell: float

    @classmethod
    def over(cls, logs: Floats, heights: Floats, best: float) -> Scales:
        """All pairs of logarithms of spreads and heights, both evenly spaced."""
        steps = float(logs[1] - logs[0]), float(heights[1] - heights[0])
        log, height = (a.ravel() for a in np.meshgrid(logs, heights))
        spread = np.exp(log)
        return cls(spread, height, best - spread * height, steps, steps[0] * steps[1])

    def closer(self, logs: Floats, best: float) -> Scales | None:
        """A finer grid around what is likely, by logarithms [G]; None where this one is fine enough."""
        weight = np.exp(logs - logs.max())
        weight /= weight.sum()
        axes, narrower = [], False
        for axis, step in ((np.log(self.spread), self.steps[0]), (self.heights, self.steps[1])):
            middle = float(weight @ axis)
            sd = max(float(np.sqrt(weight @ (axis - middle) ** 2)), step / 2)
            ahead = min(SPAN * sd, np.ptp(axis) / 2)
            narrower |= 2 * ahead / (POINTS - 1) < 0.7 * step
            axes.append(np.linspace(middle - ahead, middle + ahead, POINTS))
        return Scales.over(axes[0], axes[1], best) if narrower else None


def _grid(score: Floats, mean: Floats, variance: Floats) -> Scales:
    """Offsets and spreads [G] that scores [n] may have, expected as mean and variance [c]."""
    typical = np.sqrt(max(np.var(mean) + variance.mean(), 0.05**2))
    wide = np.quantile(score, 0.9) - np.quantile(score, 0.1) if len(score) > 10 else np.ptp(score)
    if wide <= 0:  # a single score tells no spread
        height = mean.max() + np.sqrt(variance.max()) * np.linspace(-2, 2, 9)
        spread = np.full(9, max(abs(score[0]), 1e-12))
        return Scales(spread, height, score.max() - spread * height, (0.0, 0.0), 1.0)
    return Scales.over(np.log(wide / (2 * typical)) + LOGS, HEIGHTS, score.max())
