"""What `synthenv rank` does between reading its arguments and printing: files in, a ranking and its words out."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from synthenv import catalogue
from synthenv.ranking import evaluate, rankers
from synthenv.ranking.rankers.base import Ranker, Ranking
from synthenv.ranking.runs import RunTable
from synthenv.ranking.select import worth

BASELINES = ("average_rank", "portfolio")
"""Rankers that others are measured against."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Letters behind a duration, in seconds."""


class Answer(NamedTuple):
    """A ranking of candidates, in words what it was made from, and the runs that fit into a budget of seconds."""

    ranking: Ranking
    basis: str
    scale: str
    """Of the scores in it."""
    plan: str | None


def duration(text: str) -> float:
    """Seconds from the command line: 90, 90s, 30m, 1.5h, 2d."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 30m, 1.5h or 2d, got '{text}'")
    return seconds


def answer(
    runs: Path,
    task: str,
    observed: Path | None = None,
    *,
    seconds: float | None = None,
    horizon: float | None = None,
    ranker: str | None = None,
    minimize: bool = False,
    repair: bool = False,
) -> Answer:
    """Rank all pipelines that `runs` tells of for a task, from the runs of other tasks and those of its own so far.

    seconds: to spend from now on.  horizon: budget that scores are wanted at, by default the largest of `runs`.
    """
    table = read(runs, minimize, repair)
    others = [name for name in table.tasks if name != task]
    if not others:
        raise ValueError(f"{runs} holds runs of '{task}' alone; ranking learns from those of other tasks")
    mine = table.only(tasks=[task]) if task in table.features else None
    if observed is not None:
        told = RunTable.read(observed, maximize=table.maximize, unit=table.unit, repair=repair)
        if told.tasks not in ((), (task,)):
            raise ValueError(f"{observed} should hold runs of '{task}' alone, got {', '.join(told.tasks)}")
        mine = told if mine is None else mine.join(told)
    candidates = {**table.settings, **(mine.settings if mine is not None else {})}
    seen = 0 if mine is None else len(mine)
    past = table.only(tasks=others)
    learned = (rankers.ranker(ranker) if ranker else rankers.default()).fit(past)
    features = mine.features.get(task) if mine is not None else None
    ranking = learned.rank(task, candidates, mine if seen else None, horizon, features)
    basis = (
        f"{len(candidates):,} pipelines, ranked by {learned.name} from {len(past):,} rows of "
        f"{len(others)} other tasks and {seen or 'none'} of '{task}'"
    )
    until = horizon if horizon is not None else float(table.budget.max())
    finished = mine.pipeline[mine.budget >= until].tolist() if mine is not None else []
    top = 1 if table.maximize else -1
    scale = "score" if seen else f"score in spreads of a task: 0 a median pipeline, {top} the best"
    return Answer(ranking, basis, scale, None if seconds is None else plan(ranking, seconds, finished))


def evaluation(runs: Path, ranker: str | None = None, *, minimize: bool = False, repair: bool = False) -> str:
    """Regret of rankers on a table of one's own, each core dataset held out in turn, as text.

    All rankers that there are, or the list, the portfolio and the one called `ranker`.
    """
    table = read(runs, minimize, repair)
    names = sorted({*BASELINES, ranker} if ranker else catalogue.names(rankers.ROOM))
    traces = evaluate.evaluate(table, {name: partial(fitted, name) for name in names})
    if not traces:
        raise ValueError(f"{runs} holds no task with two scores: there is nothing to choose between")
    lines = [
        f"{len(table.tasks)} tasks of {len({table.group[task] for task in table.tasks})} core datasets, each held out "
        "in turn; regret is (best - found) / (best - median)",
        evaluate.report(evaluate.summary(traces)),
        "rank, wins: over tasks and marks; covered: share of 80 % intervals that held; advantage: of regret over "
        f"{BASELINES[0]}, with its 95 % interval over core datasets",
    ]
    if few := sorted(set(table.tasks) - {trace.task for trace in traces}):
        lines.append(f"left out, for they have fewer than two scores: {', '.join(few)}")
    return "\n\n".join(lines)


def fitted(name: str, runs: RunTable) -> Ranker:
    """The ranker called `name`, fitted."""
    return rankers.ranker(name).fit(runs)


def plan(ranking: Ranking, seconds: float, finished: Collection[str] = ()) -> str:
    """The runs to finish one after another, most worth a second first, as long as the seconds last."""
    if np.isnan(ranking.seconds).all():
        return "the runs tell no seconds, so nobody knows what fits into the budget"
    chosen, left = [], seconds
    for m in np.argsort(-worth(ranking), kind="stable"):
        cost = ranking.seconds[m]
        if cost <= left and ranking.pipelines[m] not in finished:
            chosen.append(f"{ranking.pipelines[m]} ({spoken(cost)})")
            left -= cost
    return f"within {spoken(seconds)}: " + (", ".join(chosen) or "no run is expected to finish")


def spoken(seconds: float) -> str:
    """A duration as a person would say it."""
    unit = next((name for name in ("d", "h", "m") if seconds >= 2 * UNITS[name] or seconds == UNITS[name]), "s")
    return f"{seconds / UNITS[unit]:.3g} {'min' if unit == 'm' else unit}"


def read(runs: Path, minimize: bool, repair: bool) -> RunTable:
    """A table from a file; `minimize` is for one that does not say so itself."""
    return RunTable.read(runs, maximize=False if minimize else None, repair=repair)
