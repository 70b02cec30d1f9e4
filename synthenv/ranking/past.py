"""Runs of other tasks as dense arrays in a common unit: what rankers that compare pipelines learn from.

A score is told as `(score - median) / (best - median)` of its task at the end of its curves: 0 is a median pipeline, 1
the best one. Far below the median of its budget it is squashed, so that a diverged run weighs little more than a bad
one. A pipeline's score at a budget is the best it had until then, since a run keeps its best checkpoint; one that
failed before it had any is as bad as the worst.

What was not run is estimated: the end of a curve from the ends of others, a pipeline in a task from what it did in
others and from pipelines with similar settings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from synthenv.ranking import kernel
from synthenv.ranking.checks import Floats
from synthenv.ranking.kernel import Kernel
from synthenv.ranking.runs import RunTable, Settings
from synthenv.ranking.space import Encoded, PipelineSpace

KNEE, BEND, LOWEST = -0.5, 0.5, -1.5
"""What is further below the median than KNEE goes on as a logarithm, in units of BEND, and ends at LOWEST."""
BUDGETS = 16
"""So many budgets are kept of those in the runs, denser at the beginning; between them is interpolated."""
PLACED = 2 / 3
"""Share of a pipeline's place in its `standing`."""


@dataclass(frozen=True, eq=False)
class Past:
    """Runs of T tasks with M pipelines at K budgets.

    value:   [T, M, K] best score until the budget, 0 median, 1 best, estimated where not run.
    place:   [T, M, K] share of a task's pipelines that are worse, from -1, all are better, to 1; estimated likewise.
    known:   [T, M] bool; whether the task has a run of the pipeline.
    level:   [T, K] medians of tasks at each budget.
    doubt:   [M] what settings leave open of a pipeline's values, 0..1; 0 where it was run.
    seconds: [M, K] typical time until the budget; nan where no run tells.
    """

    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    pipelines: tuple[str, ...]
    budgets: Floats
    value: Floats
    place: Floats
    level: Floats
    known: npt.NDArray[np.bool_]
    doubt: Floats
    seconds: Floats
    encoded: Encoded
    space: PipelineSpace
    kernel: Kernel | None
    maximize: bool

    @classmethod
    def of(cls, runs: RunTable) -> Past:
        """Read a table; raises ValueError where it holds no score."""
        grid = runs.grid()
        if not np.isfinite(grid.score).any():
            raise ValueError("expected runs of other tasks with scores, got none")
        keep = kept(len(grid.budgets))
        best, extent = checkpoints(grid.score, failures(runs))
        # a budget between the kept ones counts as the next lower
        last = np.searchsorted(keep, extent, side="right") - 1
        score = np.where(np.arange(len(keep)) <= last[..., None], best[:, :, keep], np.nan)
        known = extent >= 0
        settings = {name: runs.settings.get(name, {}) for name in grid.pipelines}
        space = PipelineSpace.infer(settings)
        encoded = space.encode(settings)
        value, level = in_units(score)
        value = _ends(value, known)
        learned = kernel.learn(encoded, np.where(known, value[:, :, -1], np.nan))
        value = _gaps(value, known, encoded, learned)
        place = _gaps(_ends(places(score), known, rising=False), known, encoded, learned)
        seconds = _seconds(grid.seconds, grid.budgets, keep)
        groups = tuple(runs.group.get(task, task) for task in grid.tasks)
        doubt = np.zeros(len(grid.pipelines))
        return cls(grid.tasks, groups, grid.pipelines, grid.budgets[keep], value, place, level, known, doubt, seconds,
                   encoded, space, learned, runs.maximize)  # fmt: skip

    @property
    def final(self) -> Floats:
        """Values [T, M] at the largest budget."""
        return self.value[:, :, -1]

    @property
    def standing(self) -> Floats:
        """Values [T, M] at the largest budget, a part of each its place among the task's pipelines.

        Of a dozen tasks the one whose best pipelines are far ahead of the median would otherwise choose for all.
        """
        return (1 - PLACED) * self.final + PLACED * self.place[:, :, -1]

    def ranked(self) -> Past:
        """The same with places for values, so that only the order of scores counts."""
        return replace(self, value=self.place)

    @property
    def levels(self) -> tuple[Floats, Floats]:
        """What a task's medians [K] are, and their standard deviation between tasks; at the end they are 0."""
        mean = self.level.mean(0)
        # a third of the level stands for what few tasks cannot tell
        variance = ((self.level - mean) ** 2).sum(0) + (mean / 3) ** 2
        return mean, np.sqrt(variance / len(self.level))

    def tasks_of(self, groups: Collection[str]) -> Past:
        """The part of some groups of tasks."""
        chosen = np.flatnonzero(np.isin(self.groups, list(groups)))
        return replace(
            self, tasks=tuple(self.tasks[t] for t in chosen), groups=tuple(self.groups[t] for t in chosen),
            value=self.value[chosen], place=self.place[chosen], level=self.level[chosen], known=self.known[chosen],
        )  # fmt: skip

    def over(self, candidates: Mapping[str, Settings]) -> Past:
        """The same tasks with these candidates in their order; those never run are estimated from their settings."""
        place = {name: m for m, name in enumerate(self.pipelines)}
        if list(candidates) == list(place):
            return self
        old = np.array([place.get(name, -1) for name in candidates])
        fresh = np.flatnonzero(old < 0)
        part = replace(
            self, pipelines=tuple(candidates), value=self.value[:, old], place=self.place[:, old],
            known=self.known[:, old] & (old >= 0), doubt=np.where(old < 0, 1.0, self.doubt[old]),
            seconds=self.seconds[old], encoded=kernel.rows(self.encoded, old),
        )  # fmt: skip
        if not len(fresh):
            return part
        given = list(candidates.values())
        told = self.space.encode([given[i] for i in fresh])
        estimate = None if self.kernel is None else self.kernel.regression(self.encoded, told)
        part.doubt[fresh] = 1.0 if estimate is None else estimate.left
        for new, whole in ((part.value, self.value), (part.place, self.place)):
            mean = whole.mean(1, keepdims=True)
            new[:, fresh] = mean if estimate is None else mean + estimate(whole - mean)  # [T, W, K]
        part.seconds[fresh] = _nanmedian(self.seconds)
        part.encoded.values[fresh], part.encoded.active[fresh] = told.values, told.active
        return part


def kept(budgets: int) -> npt.NDArray[np.int64]:
    """Indices of the budgets that are kept of so many, first and last among them."""
    if budgets <= BUDGETS:
        return np.arange(budgets)
    return np.unique(np.round(np.geomspace(1, budgets, BUDGETS)).astype(int)) - 1


def checkpoints(score: Floats, failed: npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Best score [T, M, K] until each budget, nan before the first, and the last budget [T, M] known of, -1 for none.

    A run that failed keeps what it had; one that had nothing is as bad as its task's worst score.
    """
    seen = np.isfinite(score)
    budget = np.arange(score.shape[2])
    extent = np.where(seen, budget, -1).max(2)
    failed_at = np.where(failed & ~seen, budget, -1).max(2)
    worst = np.array([np.nanmin(task) if np.isfinite(task).any() else np.nan for task in score])
    filled = np.where((failed & ~seen & (budget > extent[..., None])), worst[:, None, None], score)
    best = np.fmax.accumulate(filled, 2)
    # until a failed run's end, and beyond: it goes no further
    return best, np.where(failed_at > extent, score.shape[2] - 1, extent)


def failures(runs: RunTable) -> npt.NDArray[np.bool_]:
    """Where [T, M, K] on the grid of a table a run failed."""
    grid = runs.grid()
    failed = np.zeros(grid.score.shape, bool)
    lost = np.isnan(runs.score)
    places = (np.searchsorted(names, column[lost]) for names, column in
              ((grid.tasks, runs.task), (grid.pipelines, runs.pipeline), (grid.budgets, runs.budget)))  # fmt: skip
    failed[tuple(places)] = True
    return failed


def in_units(best: Floats) -> tuple[Floats, Floats]:
    """Scores [T, M, K] in units of their task's spread, from the curves that got furthest, and medians [T, K]."""
    unit, level = np.full_like(best, np.nan), np.zeros((len(best), best.shape[2]))
    for t, task in enumerate(best):
        reached = np.where(np.isfinite(task), np.arange(task.shape[1]), -1).max(1)
        if (reached < 0).all():
            continue
        ends = task[np.arange(len(task)), reached][reached >= max(0, np.median(reached[reached >= 0]))]
        median, top = np.median(ends), ends.max()
        z = (task - median) / (top - median or ends.std() or 1.0)
        some = np.isfinite(z).any(0)
        level[t, some] = np.nanmedian(z[:, some], 0)
        level[t, ~some] = np.interp(np.flatnonzero(~some), np.flatnonzero(some), level[t, some])
        level[t] = np.minimum(level[t], 0.0)
        unit[t] = squash(z, level[t] + KNEE)
    return unit, level


def squash(z: Floats, knee: Floats) -> Floats:
    """Values [...] with what is below a knee [...] brought nearer to it."""
    far = np.maximum(knee - z, 0.0)
    return np.where(far > 0, knee - np.minimum(BEND * np.log1p(far / BEND), KNEE - LOWEST), z)


def unsquash(z: Floats, knee: Floats) -> Floats:
    """What `squash` made values [...] of, up to where it ends."""
    far = np.clip(knee - z, 0.0, KNEE - LOWEST)
    return np.where(far > 0, knee - BEND * np.expm1(far / BEND), z)


def places(score: Floats) -> Floats:
    """Share of the task's pipelines [T, M, K] known at a budget that are worse, from -1 to 1; ties in the middle."""
    place = np.full_like(score, np.nan)
    for t, k in np.ndindex(score.shape[0], score.shape[2]):
        column = np.flatnonzero(np.isfinite(score[t, :, k]))
        values = np.sort(score[t, column, k])
        below, upto = (np.searchsorted(values, score[t, column, k], side) for side in ("left", "right"))
        place[t, column, k] = (below + upto - len(column)) / max(len(column) - 1, 1)
    return place


def _ends(value: Floats, known: npt.NDArray[np.bool_], rising: bool = True) -> Floats:
    """Curves [T, M, K] carried on to the last budget, and back to the first, as those that were seen there went."""
    value = value.copy()
    budgets = value.shape[2]
    for steps in (range(1, budgets), range(budgets - 2, -1, -1)):
        ahead = 1 if steps.step > 0 else -1
        for k in steps:
            here, before = value[:, :, k], value[:, :, k - ahead]
            missing = known & np.isnan(here) & np.isfinite(before)
            if not missing.any():
                continue
            both = np.isfinite(here) & np.isfinite(before)
            slope, level = _line(before[both], here[both])
            guess = level + slope * before[missing]
            if rising:
                guess = np.maximum(guess, before[missing]) if ahead > 0 else np.minimum(guess, before[missing])
            here[missing] = guess
    return value


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope and level of y over x, shrunk to y = x where points are few."""
    if len(x) == 0:
        return 1.0, 0.0
    mean_x, mean_y = x.mean(), y.mean()
    spread = ((x - mean_x) ** 2).sum() + 1.0
    slope = float((((x - mean_x) * (y - mean_y)).sum() + 1.0) / spread)
    return slope, float(mean_y - slope * mean_x) * len(x) / (len(x) + 1.0)


def _gaps(value: Floats, known: npt.NDArray[np.bool_], encoded: Encoded, alike: Kernel | None) -> Floats:
    """Values [T, M, K] where a task did not run a pipeline: the pipeline's mean, and what its likes did in the task."""
    if known.all():
        return value
    counts = known.sum(0)
    prior = np.nanmean(np.where(known[..., None], value, np.nan), (0, 1))  # [K]
    # a pipeline's mean leans to that of all until two tasks have run it
    total = np.where(known[..., None], value - prior, 0.0).sum(0)
    mean = prior + total / (counts + 0.5)[:, None]
    rest = np.where(known[..., None], value - mean, 0.0)
    filled = np.where(known[..., None], value, mean)
    if alike is None:
        return filled
    seen, unseen = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    if len(unseen):
        told = alike.regression(kernel.rows(encoded, seen), kernel.rows(encoded, unseen))
        filled[:, unseen] = prior + told(mean[seen] - prior)
    for t in np.flatnonzero(~known.all(1) & known.any(1)):
        ran, lacks = np.flatnonzero(known[t]), np.flatnonzero(~known[t])
        told = alike.regression(kernel.rows(encoded, ran), kernel.rows(encoded, lacks))
        filled[t, lacks] += told(rest[t, ran])
    return filled


def _seconds(seconds: Floats, budgets: Floats, keep: npt.NDArray[np.int64]) -> Floats:
    """Typical seconds [M, K] of runs: geometric means over tasks; budgets that no run reached, in proportion."""
    known = np.isfinite(seconds)
    count = known.sum(0)
    total = np.log(np.where(known, seconds, 1.0)).sum(0)
    mean = np.exp(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))
    last = np.where(count > 0, np.arange(len(budgets)), 0).max(1)
    rate = (mean / budgets)[np.arange(len(mean)), last]  # [M]
    whole: Floats = np.where(count > 0, mean, rate[:, None] * budgets)[:, keep]
    return whole


def _nanmedian(values: Floats) -> Floats:
    """Medians [K] of columns, nan where a column is nan."""
    finite = (column[np.isfinite(column)] for column in values.T)
    return np.array([np.median(column) if len(column) else np.nan for column in finite])
