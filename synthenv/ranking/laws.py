"""Rectified power laws for curves of loss against budget, with a prior that is learned from the curves themselves.

Lin et al. (2024), "Selecting large language model to fine-tune via rectified scaling law": a model's loss first falls
slowly, as if it had seen data before, then as a power of the budget, until an irreducible rest. Here, in logarithms of
loss y over doublings x of the budget,

    y = s + log(e + (1 - e) / (1 + 2 ** (b (x - x0)))) + noise

Few points tell little of the four numbers, so what is usual is learned: all curves of a task share a mean, all tasks a
spread, and a pipeline that was unusual in other tasks is expected to be so again. The shapes (x0, b, e) are a grid, so
that everything else has a closed form; means, spread and noise are found by expectation maximisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from synthenv.ranking.checks import Floats

STEEP = np.geomspace(0.1, 1.4, 10)
REST = np.array([0.0, 0.05, 0.12, 0.22, 0.35, 0.5])
"""Powers, and irreducible shares of the loss."""
BEFORE, BEYOND = 4.0, 5.0
"""A fall may begin so many doublings before the first budget or after the last."""
UNIT = np.array([4.0, 0.6, 0.25])
"""What counts as a step in x0, log b, sqrt e: the spread of shapes before any curve was seen."""
TYPICAL, WIDE = 0.3, np.diag([1.0, 1.0, 1.0, 0.3**2])
"""Usual sqrt e, and the covariance of shapes and levels before any was seen."""
PRIOR, SHARED = 4.0, 5.0
"""That covariance counts as so many curves, and the mean over tasks as so many of each."""
KINSHIP = 0.6
"""Share of a pipeline's deviation in other tasks that is expected again."""
NOISE = (0.02, 0.01, 0.04, 0.08)
ROUNDS, SETTLED = 8, 3
"""Of expectation maximisation; noise is chosen in those after the first few."""


class Shapes(NamedTuple):
    """G shapes.

    units: [G, 3] x0, log b and sqrt e, in their units. of: [G, K] their logarithm at doublings [K].
    """

    units: Floats
    of: Floats


class Found(NamedTuple):
    """What a task's M curves are likely to be.

    weight: [M, G] of shapes. level: [M, G] expected s under each; doubt: [M] its variance.
    evidence: logarithm of the probability of what was seen.
    """

    weight: Floats
    level: Floats
    doubt: Floats
    evidence: float


def shapes(doublings: Floats) -> Shapes:
    """The grid over budgets [K] in doublings from the first."""
    reach = doublings[-1]
    delay = np.arange(-BEFORE, reach + BEYOND + 1)
    x0, steep, root = (a.ravel() for a in np.meshgrid(delay, np.log(STEEP), np.sqrt(REST), indexing="ij"))
    rest = (root**2)[:, None]
    fall = np.exp(steep)[:, None] * (doublings - x0[:, None])
    return Shapes(np.stack((x0, steep, root), 1) / UNIT, np.log(rest + (1 - rest) / (1 + 2.0**fall)))


def extrapolate(curves: Sequence[Floats], doublings: Floats, target: int, few: npt.NDArray[np.int64]) -> Floats:
    """Expected logarithm of loss [M] of a task at budget `target`.

    curves: of tasks [M, K], nan where not seen, the one asked about first.  few: pipelines that tell the prior.
    """
    grid = shapes(doublings)
    means, spread, kin, noise = learn([task[few] for task in curves], grid)
    deviation = np.zeros((len(curves[0]), 4))
    deviation[few] = kin[0]
    others = np.setdiff1d(np.arange(len(curves[0])), few)
    if len(others) and len(curves) > 1:
        apart = [moments(believe(task[others], grid, np.tile(mean, (len(others), 1)), spread, sigma), grid)[0] - mean
                 for task, mean, sigma in zip(curves[1:], means[1:], noise[1:], strict=True)]  # fmt: skip
        deviation[others] = KINSHIP * np.mean(apart, 0)
    found = believe(curves[0], grid, means[0] + deviation, spread, noise[0])
    told: Floats = (found.weight * (found.level + grid.of[:, target])).sum(1)
    return told


def learn(curves: Sequence[Floats], grid: Shapes) -> tuple[list[Floats], Floats, list[Floats], list[float]]:
    """Means of tasks [4], covariance [4, 4], deviations [M, 4] expected of pipelines and noise, of tasks' curves."""
    # before any curve was seen, the fall begins in the middle of the budgets
    middle_of_all = (grid.units[:, 0].max() - BEYOND / UNIT[0]) / 2
    start = np.array([middle_of_all, np.log(0.5) / UNIT[1], TYPICAL / UNIT[2]])
    means = [np.append(start, _first(task) + 0.2) for task in curves]
    kin = [np.zeros((len(task), 4)) for task in curves]
    noise, spread = [NOISE[0]] * len(curves), WIDE
    for turn in range(ROUNDS):
        middle, each = [], []
        for t, task in enumerate(curves):
            tried = {sigma: believe(task, grid, means[t] + kin[t], spread, sigma)
                     for sigma in (NOISE if turn >= SETTLED else NOISE[:1])}  # fmt: skip
            noise[t] = max(tried, key=lambda sigma: tried[sigma].evidence)
            mean, covariance = moments(tried[noise[t]], grid)
            middle.append(mean)
            each.append(covariance)
        centre = np.mean([mean.mean(0) for mean in middle], 0)
        total, count = PRIOR * WIDE, PRIOR
        for t, mean in enumerate(middle):
            own = mean.mean(0)
            share = len(mean) / (len(mean) + SHARED)
            means[t] = np.append(share * own[:3] + (1 - share) * centre[:3], own[3])
            apart = mean - means[t]
            total, count = total + apart.T @ apart + each[t].sum(0), count + len(mean)
        spread = total / count
        # the task asked about says nothing of how its pipelines do elsewhere
        for t in range(len(curves)):
            rest = [mean - means[u] for u, mean in enumerate(middle) if u not in (0, t)]
            kin[t] = KINSHIP * np.mean(rest, 0) if rest else np.zeros_like(middle[t])
    return means, spread, kin, noise


def believe(task: Floats, grid: Shapes, mean: Floats, spread: Floats, sigma: float) -> Found:
    """Shapes and levels of curves [M, K], nan where not seen, expected as mean [M, 4] with covariance [4, 4]."""
    seen = np.isfinite(task)
    y, count = np.where(seen, task, 0.0), seen.sum(1)
    lean = np.linalg.solve(spread[:3, :3], spread[:3, 3])
    free = max(spread[3, 3] - lean @ spread[:3, 3], 1e-9)
    tight = np.linalg.inv(spread[:3, :3])
    pulled = grid.units @ tight
    prior = -0.5 * ((pulled * grid.units).sum(1) - 2 * mean[:, :3] @ pulled.T)
    expected = mean[:, 3:] + grid.units @ lean - (mean[:, :3] @ lean)[:, None]  # [M, G]
    total = y.sum(1)[:, None] - seen @ grid.of.T
    square = (y**2).sum(1)[:, None] - 2 * y @ grid.of.T + seen @ (grid.of.T**2)
    middle = total / np.maximum(count, 1)[:, None]
    known = (count / sigma**2)[:, None]
    logs = prior - 0.5 * np.maximum(square - total * middle, 0) / sigma**2
    logs = logs - 0.5 * (middle - expected) ** 2 * known / (1 + known * free)
    top = logs.max(1, keepdims=True)
    weight = np.exp(logs - top)
    lot = weight.sum(1, keepdims=True)
    evidence = top[:, 0] + np.log(lot[:, 0]) - count * np.log(sigma) - 0.5 * np.log1p(known[:, 0] * free)
    level = (known * middle + expected / free) / (known + 1 / free)
    return Found(weight / lot, level, 1 / (known[:, 0] + 1 / free), float(evidence.sum()))


def moments(found: Found, grid: Shapes) -> tuple[Floats, Floats]:
    """Mean [M, 4] and covariance [M, 4, 4] of shapes and levels."""
    weight, level = found.weight, found.weight * found.level
    mean = np.concatenate((weight @ grid.units, level.sum(1, keepdims=True)), 1)
    square = np.empty((len(mean), 4, 4))
    pairs = (grid.units[:, :, None] * grid.units[:, None]).reshape(len(grid.units), 9)
    square[:, :3, :3] = (weight @ pairs).reshape(-1, 3, 3)
    square[:, 3, :3] = square[:, :3, 3] = level @ grid.units
    square[:, 3, 3] = (level * found.level).sum(1) + found.doubt
    return mean, square - mean[:, :, None] * mean[:, None]


def _first(task: Floats) -> float:
    """Mean loss at the first budget that has any."""
    seen = np.isfinite(task)
    column = int(np.argmax(seen.any(0)))
    return float(task[seen[:, column], column].mean()) if seen.any() else 0.0
