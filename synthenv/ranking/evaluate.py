"""How well rankers do on a table of one's own: each core dataset is held out in turn, everything is fitted to the rest.

Regret is `(best - found) / (best - median)` over a task's own runs, 0 for its best pipeline and 1 for a median one;
`found` is the best score so far. A pipeline's score is the best of its curve. Differences between rankers are paired by
task and resampled by group: with 20 datasets, those under 0.1 after one run cannot be told from chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from synthenv.ranking.checks import Floats
from synthenv.ranking.past import LOWEST, checkpoints, failures, kept
from synthenv.ranking.rankers.base import Ranker, Ranking
from synthenv.ranking.runs import RunTable
from synthenv.ranking.select import Selector

MARKS = (1, 2, 3, 5, 10, 20)
"""Regret is told after so many runs."""
CHECKED = (3, 5, 10)
"""After so many runs the intervals are compared with what was not seen."""
RESAMPLES = 2_000
NORMAL_80 = 1.2816
RANDOM = "random"
Fit = Callable[[RunTable], Ranker]


class Case(NamedTuple):
    """A held-out task with M pipelines.

    score: [M] best of each curve, higher is better; -inf where every run failed.
    best, median: of the scores that there are.
    """

    task: str
    group: str
    own: RunTable
    pipelines: tuple[str, ...]
    score: Floats
    best: float
    median: float

    def regret(self, found: Floats | float) -> Floats:
        """Regret [...] of scores found."""
        return np.asarray((self.best - found) / ((self.best - self.median) or 1.0))


@dataclass(frozen=True)
class Trace:
    """One ranker on one task.

    regret:  [R] after each run. covered: [C] share of 80 % intervals that hold the score, at the marks `CHECKED`.
    agreed:  rank correlation of the first ranking, before any run, with the scores.
    """

    ranker: str
    task: str
    group: str
    regret: Floats
    covered: Floats
    agreed: float


def folds(runs: RunTable) -> Iterator[tuple[RunTable, list[Case]]]:
    """For each group of tasks the runs of all others, and its tasks as cases.

    Raises ValueError where there are less than two groups.
    """
    groups = sorted({runs.group[task] for task in runs.tasks})
    if len(groups) < 2:
        raise ValueError(
            f"holding datasets out needs two or more, got {len(groups)}; `group` tells which tasks are one"
        )
    for group in groups:
        inside = [task for task in runs.tasks if runs.group[task] == group]
        rest = runs.only(tasks=[task for task in runs.tasks if task not in set(inside)])
        yield rest, [case for task in inside if (case := case_of(runs, task)) is not None]


def case_of(runs: RunTable, task: str) -> Case | None:
    """A task as a case; None where it has less than two scores."""
    own = runs.only(tasks=[task])
    grid = own.grid()
    best, _ = checkpoints(grid.score, failures(own))
    known = np.isfinite(grid.score[0])
    score = np.where(known.any(1), np.max(np.where(known, grid.score[0], -np.inf), 1, initial=-np.inf), -np.inf)
    real = np.isfinite(best[0, :, -1])
    some = score[np.isfinite(score)]
    if len(some) < 2:
        return None
    median = np.median(np.where(np.isfinite(score), score, some.min())[real | np.isfinite(score)])
    return Case(task, runs.group[task], own, grid.pipelines, score, float(some.max()), float(median))


def by_runs(ranker: Ranker, case: Case, label: str, runs: int = MARKS[-1]) -> Trace:
    """Run what the ranker puts first among what has not run yet, again and again."""
    names = np.array(case.pipelines)
    settings = {name: case.own.settings[name] for name in case.pipelines}
    order: list[int] = []
    covered = np.full(len(CHECKED), math.nan)
    agreed = math.nan
    for run in range(min(runs, len(names))):
        seen = case.own.only(pipelines=names[order].tolist()) if order else None
        ranking = ranker.rank(case.task, settings, seen, features=case.own.features[case.task])
        if not order:
            agreed = rank_correlation(place(ranking), case.score)
        if run in CHECKED:
            covered[CHECKED.index(run)] = coverage(ranking, case, order)
        ahead = ranking.order
        order.append(int(ahead[~np.isin(ahead, order)][0]))
    if len(order) in CHECKED and len(order) < len(names):
        seen = case.own.only(pipelines=names[order].tolist())
        covered[CHECKED.index(len(order))] = coverage(ranker.rank(case.task, settings, seen), case, order)
    return Trace(label, case.task, case.group, curve_of(case, order), covered, agreed)


def curve_of(case: Case, order: Sequence[int]) -> Floats:
    """Regret after each run of an order; a task whose runs all failed so far stands where its worst score is."""
    worst = case.score[np.isfinite(case.score)].min()
    return case.regret(np.maximum.accumulate(np.where(np.isfinite(case.score), case.score, worst)[list(order)]))


def at_random(case: Case, runs: int = MARKS[-1], times: int = 500) -> Trace:
    """What drawing pipelines does on average."""
    generator = np.random.default_rng(0)
    length = min(runs, len(case.pipelines))
    drawn = [curve_of(case, generator.permutation(len(case.pipelines))[:length].tolist()) for _ in range(times)]
    return Trace(RANDOM, case.task, case.group, np.mean(drawn, 0), np.full(len(CHECKED), math.nan), 0.0)


def by_budget(
    ranker: Ranker, case: Case, total: float, budgets: Sequence[float] | None = None
) -> list[tuple[float, float]]:
    """Freeze-thaw: the regret, step by step, of a `Selector` that spends `total` seconds; (seconds, regret) pairs.

    Where runs tell no seconds, a unit of budget takes one.
    """
    grid = case.own.grid()
    timed = bool(np.isfinite(grid.seconds).any())
    axis = grid.budgets[kept(len(grid.budgets))] if budgets is None else np.asarray(budgets)
    settings = {name: case.own.settings[name] for name in case.pipelines}
    selector = Selector(ranker, settings, total, axis.tolist(), case.task, case.own.features[case.task] or None,
                        maximize=case.own.maximize, unit=case.own.unit)  # fmt: skip
    sign = 1.0 if case.own.maximize else -1.0
    row = {name: m for m, name in enumerate(grid.pipelines)}
    spent, found, steps = 0.0, -math.inf, []
    while (step := selector.ask()) is not None:
        m = row[step.pipeline]
        inside = (grid.budgets > step.start) & (grid.budgets <= step.budget)
        score, seconds = grid.score[0, m, inside], grid.seconds[0, m] if timed else grid.budgets
        before = seconds[grid.budgets <= step.start]
        passed = seconds[inside] - (before[-1] if len(before) else 0.0)
        for value, clock in zip(score, passed, strict=True):
            found = max(found, value) if math.isfinite(value) else found
            steps.append((spent + float(clock), float(case.regret(found))))
        spent += float(passed[-1])
        selector.tell(step.pipeline, step.budget, sign * score[-1], float(seconds[inside][-1]))
    return steps


def coverage(ranking: Ranking, case: Case, seen: Sequence[int]) -> float:
    """Share of 80 % intervals that hold the score of what was not seen.

    What is far worse than a median pipeline counts as just that far, as in the rankers' own unit.
    """
    floor = case.median + LOWEST * (case.best - case.median)
    low, high = ranking.mean - NORMAL_80 * ranking.sd, ranking.mean + NORMAL_80 * ranking.sd
    score = np.maximum(case.score, floor)
    held = (np.where(low <= floor, -np.inf, low) <= score) & (score <= np.maximum(high, floor))
    return float(np.delete(held, list(seen)).mean())


def place(ranking: Ranking) -> Floats:
    """Places [M] in the order of running, as numbers of which higher is better."""
    places = np.empty(len(ranking.pipelines))
    places[ranking.order] = -np.arange(len(places))
    return places


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's correlation of two columns [M], ties in the middle; nan where one is constant."""
    a, b = (middle_ranks(column) for column in (one, other))
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else math.nan


def middle_ranks(values: Floats) -> Floats:
    """Ranks [M] from 0, those of equal values their mean."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2


def evaluate(runs: RunTable, fits: Mapping[str, Fit], length: int = MARKS[-1]) -> list[Trace]:
    """Every ranker, by label, on every task with its group held out; random search beside them."""
    traces = []
    for rest, cases in folds(runs):
        fitted = {label: fit(rest) for label, fit in fits.items()}
        for case in cases:
            traces += [by_runs(ranker, case, label, length) for label, ranker in fitted.items()]
            traces.append(at_random(case, length))
    return traces


class Difference(NamedTuple):
    """A mean over tasks with its 95 % interval by resampling groups."""

    mean: float
    low: float
    high: float


def bootstrap(values: Floats, groups: Sequence[str]) -> Difference:
    """Mean of values [tasks], groups of tasks resampled together; equal values, equal interval."""
    known = np.isfinite(values)
    names, member = np.unique(np.asarray(groups)[known], return_inverse=True)
    total, count = np.bincount(member, values[known]), np.bincount(member)
    draws = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    means = total[draws].sum(1) / count[draws].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Difference(float(total.sum() / count.sum()), float(low), float(high))


def at_marks(traces: Sequence[Trace], marks: Sequence[int] = MARKS) -> dict[str, Floats]:
    """Regret [tasks, marks] of each ranker, tasks in the same order; what ended before a mark stays where it was."""
    found: dict[str, dict[str, Floats]] = {}
    for trace in traces:
        found.setdefault(trace.ranker, {})[trace.task] = trace.regret[np.minimum(marks, len(trace.regret)) - 1]
    return {label: np.array([regrets[task] for task in sorted(regrets)]) for label, regrets in found.items()}


def summary(
    traces: Sequence[Trace], marks: Sequence[int] = MARKS, against: str = "average_rank"
) -> list[dict[str, float | str]]:
    """A row a ranker: regret at each mark, mean rank and win rate over tasks and marks, coverage, and its advantage.

    `advantage` is the regret of `against` minus its own, a mean over the marks, with an interval: above 0 is better.
    """
    regrets = at_marks(traces, marks)
    group = {trace.task: trace.group for trace in traces}
    groups = [group[task] for task in sorted(group)]
    stacked = np.stack(list(regrets.values()))  # [rankers, tasks, marks]
    worse = (stacked[:, None] > stacked[None]).sum(1) + 0.5 * (stacked[:, None] == stacked[None]).sum(1) + 0.5
    winners = (stacked == stacked.min(0)) / (stacked == stacked.min(0)).sum(0)
    rows: list[dict[str, float | str]] = []
    for i, (label, regret) in enumerate(regrets.items()):
        held = np.array([trace.covered for trace in traces if trace.ranker == label])
        row: dict[str, float | str] = {"ranker": label}
        row |= {f"regret@{mark}": float(mean) for mark, mean in zip(marks, regret.mean(0), strict=True)}
        row |= {"rank": float(worse[i].mean()), "wins": float(winners[i].mean())}
        row["covered"] = float(held[np.isfinite(held)].mean()) if np.isfinite(held).any() else math.nan
        gained = bootstrap((regrets.get(against, regret) - regret).mean(1), groups)
        row |= {"advantage": gained.mean, "low": gained.low, "high": gained.high}
        rows.append(row)
    return rows


def report(rows: Sequence[Mapping[str, float | str]]) -> str:
    """The rows of `summary` as text."""

    def cell(value: float | str) -> str:
        return value if isinstance(value, str) else "" if math.isnan(value) else f"{value:.3f}"

    cells = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = [
        [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        for line in cells
    ]
    return "\n".join("  ".join(line) for line in lines)
