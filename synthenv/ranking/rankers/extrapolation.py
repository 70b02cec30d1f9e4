"""Partial curves of all candidates carried on to the budget wanted, in three ways that are averaged.

Where every candidate was trained for a while, or on a part of the data, the question is no longer what other tasks say
but where these curves go. A line through the last points in double logarithms (the power law), a rectified power law
with a learned prior, and a Gaussian process whose trends are in part those of the same pipeline in other tasks, are
wrong in different ways. Asked about a task without such curves, it answers as the process over tasks does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np

from synthenv.ranking import laws, trends
from synthenv.ranking.belief import Places
from synthenv.ranking.checks import Floats
from synthenv.ranking.past import checkpoints, failures, kept
from synthenv.ranking.rankers.base import Candidates, Ranking, asked, chances, improvement
from synthenv.ranking.rankers.task_gp import TaskCovarianceGP
from synthenv.ranking.runs import RunTable

BEGUN, POINTS = 0.5, 3
"""Share that must have been begun of the candidates that are not at their ends, and at how many budgets each."""
TASKS, CURVES = 3, 64
"""At most so many other tasks are looked at, those that ran most of the candidates; of each, priors are learned from so
many curves."""
LEAST = 1e-3
"""The smallest loss that is told from none, where scores are shares."""


class Extrapolation:
    """Carries partial curves on."""

    name: ClassVar[str] = "extrapolation"

    def fit(self, runs: RunTable) -> Extrapolation:
        """Keep the curves of other tasks, and learn the process for tasks that have none."""
        self.runs_ = runs
        self.process_ = TaskCovarianceGP().fit(runs)
        return self

    def rank(
        self,
        task: str = "new",
        candidates: Candidates | None = None,
        observed: RunTable | None = None,
        budget: float | None = None,
        features: Mapping[str, float] | None = None,
    ) -> Ranking:
        """Rank candidates [M]; the gain is the expected improvement on the best score seen."""
        named, own = asked(self.runs_, task, candidates, observed)
        plain = self.process_.ranking(named, own, budget)
        horizon = self.process_.past_.budgets[-1] if budget is None else budget
        return plain if own is None else carried_on(plain, self.runs_, own, tuple(named), horizon)


def carried_on(plain: Ranking, runs: RunTable, own: RunTable, names: tuple[str, ...], horizon: float) -> Ranking:
    """The ranking `plain` with scores of curves that were carried on, or as it is where too few were begun."""
    curves = Curves.of(own, names)
    short = curves.upto(horizon)
    done = np.isfinite(curves.score[:, curves.budgets >= horizon]).any(1)
    begun = ~done & (np.isfinite(short.score).sum(1) >= POINTS)
    if not begun.any() or begun.sum() < BEGUN * (~done).sum():
        return plain
    others = [Curves.of(runs.only(tasks=[task]), names) for task in overlapping(runs, own, set(names))]
    ahead = [other.budgets[(other.budgets > short.budgets[-1]) & (other.budgets < horizon)] for other in others]
    axis = np.unique(np.concatenate([short.budgets, *ahead, [horizon]]))
    tasks = [curves.on(axis, exactly=True), *(other.on(axis) for other in others)]
    losses, to_score = as_losses(tasks, runs.maximize)
    losses = [trends.without_jumps(task) for task in losses]
    last, doublings = len(axis) - 1, np.log2(axis / axis[0])
    few = np.unique(np.linspace(0, len(names) - 1, min(len(names), CURVES)).astype(int))
    trend, sd = trends.extrapolate(losses, doublings, last, few)
    law = laws.extrapolate(losses, doublings, last, few)
    line = trends.local_line(losses[0], doublings, last)
    ways = np.stack((trend, law, np.where(np.isfinite(line), line, (trend + law) / 2)))
    loss = ways.mean(0)
    spread = np.sqrt(sd**2 + ways.var(0))
    mean = np.where(begun, to_score(loss), plain.mean)
    doubt = np.where(begun, np.abs(to_score(loss - spread) - to_score(loss + spread)) / 2, plain.sd)
    gain = np.where(done, 0.0, improvement(mean, doubt, np.full(len(names), np.nanmax(curves.score))))
    return replace(plain, mean=mean, sd=doubt, best=chances(mean, doubt), gain=gain)


class Curves(NamedTuple):
    """Best scores [M, K] of a task's M pipelines until budgets [K], nan where they did not get so far."""

    score: Floats
    budgets: Floats

    @classmethod
    def of(cls, runs: RunTable, names: tuple[str, ...]) -> Curves:
        """The curves of the only task in a table."""
        grid = runs.grid()
        keep = kept(len(grid.budgets))
        best, extent = checkpoints(grid.score, failures(runs))
        reached = np.searchsorted(keep, extent[0], side="right") - 1
        known = np.where(np.arange(len(keep)) <= reached[:, None], best[0][:, keep], np.nan)
        place = {name: m for m, name in enumerate(grid.pipelines)}
        score = np.full((len(names), len(keep)), np.nan)
        there = np.array([m for m, name in enumerate(names) if name in place], int)
        score[there] = known[[place[names[m]] for m in there]]
        return cls(score, grid.budgets[keep])

    def upto(self, horizon: float) -> Curves:
        """What lies before a budget."""
        before = self.budgets < horizon
        return Curves(self.score[:, before], self.budgets[before])

    def on(self, axis: Floats, exactly: bool = False) -> Floats:
        """Scores [M, A] at budgets [A], between two of them by logarithm unless only what was measured is wanted."""
        if exactly:
            found = np.full((len(self.score), len(axis)), np.nan)
            inside = np.isin(self.budgets, axis)
            found[:, np.searchsorted(axis, self.budgets[inside])] = self.score[:, inside]
            return found
        cells = Places.at(np.zeros(len(axis), int), axis, self.budgets)
        low, high = self.score[:, cells.below], self.score[:, cells.above]
        between = np.where(cells.share > 0, (1 - cells.share) * low + cells.share * high, low)
        known = (axis >= self.budgets[0]) & (axis <= self.budgets[-1])
        return np.where(known, between, np.nan)


def overlapping(runs: RunTable, own: RunTable, names: set[str]) -> list[str]:
    """The other tasks that ran most of the pipelines, their curves at two budgets or more."""
    grid = runs.grid()
    mine = np.array([name in names for name in grid.pipelines])
    shared = (np.isfinite(grid.score).sum(2) >= POINTS)[:, mine].sum(1)
    best = [t for t in np.argsort(-shared, kind="stable") if shared[t] and grid.tasks[t] not in own.tasks]
    return [grid.tasks[t] for t in best[:TASKS]]


def as_losses(tasks: list[Floats], maximize: bool) -> tuple[list[Floats], Callable[[Floats], Floats]]:
    """Scores of tasks as what falls along curves, and how the first task's become scores again.

    Losses and shares of errors are told by their logarithm, in which power laws are lines; other scores in units of
    their spread in each task.
    """
    told = np.concatenate([task[np.isfinite(task)] for task in tasks])
    if not maximize and (told < 0).all():
        return [np.log(-task) for task in tasks], lambda y: -np.exp(y)
    if maximize and ((told >= 0) & (told <= 1)).all():
        return [np.log(np.maximum(1 - task, LEAST)) for task in tasks], lambda y: 1 - np.exp(np.minimum(y, 0.0))
    wide = [float(np.nanstd(task)) / trends.UNIT or 1.0 for task in tasks]
    return [-task / w for task, w in zip(tasks, wide, strict=True)], lambda y: -wide[0] * y
