"""Which way to finetune one language model: 63 of Hugging Face's PEFT benchmark, by the default ranker as it is.

There is one data set, and so nothing to hold out: what is known besides are 31 finetunings of an image model, other
pipelines on another task. Budgets are counted in whole runs of a pipeline. Whole: pipelines run to their ends one after
the other. Halted: freeze-thaw, successive halving, Hyperband. Begun: all were run for a part, and the best at the end
is to be told, beside taking the one that is ahead.

Against seconds the same is measured on both tasks, each with the other known: runs differ in price, and hours are those
of the benchmark's own machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ranking_data as tables
from benchmarks.ranking_halting import averaged, halving, hyperband, reading
from synthenv.ranking import rankers
from synthenv.ranking.checks import Floats
from synthenv.ranking.evaluate import Case, at_random, by_budget, by_runs, case_of, rank_correlation
from synthenv.ranking.runs import RunTable

SPENT = (1, 2, 3, 5, 10)
BEGUN = (0.1, 0.25, 0.5)
DRAWS = 50
HOURS = (1, 2, 5, 10)
Curve = Callable[[float], float]
"""Regret by what was spent."""


def peft(data: Path) -> list[dict[str, Any]]:
    """A row a method and what was spent: regret, and where all were begun rank correlation with the truth."""
    other, own = (untimed(tables.peft(data, task)) for task in ("image_gen", "metamathqa"))
    case = case_of(own, "metamathqa")
    assert case is not None
    ranker = rankers.default().fit(other)
    cells = own.grid().score[0]  # [M, K]
    whole = {"whole, default": by_runs(ranker, case, "", max(SPENT)).regret,
             "whole, random": at_random(case, max(SPENT)).regret}  # fmt: skip
    curves: dict[str, Curve] = {
        "halted, default": reading(by_budget(ranker, case, max(SPENT))),
        **halted_at_random(case, max(SPENT), np.full_like(cells, 1 / cells.shape[1])),
    }
    curves |= {name: lambda runs, regret=regret: float(regret[int(runs) - 1]) for name, regret in whole.items()}
    rows = [
        line(name, runs, curve(runs), None, len(case.pipelines)) for name, curve in curves.items() for runs in SPENT
    ]
    for share in BEGUN:
        seen = own.take(own.budget <= share * (1 + 1e-9))
        grid = seen.grid()
        ahead = np.fmax.reduce(grid.score[0], axis=1)
        foretold = ranker.rank(case.task, {name: own.settings[name] for name in case.pipelines}, seen, budget=1.0).mean
        for name, told in (("begun, default", foretold), ("begun, the one ahead", ahead)):
            regret = float(case.regret(case.score[int(np.argmax(told))]))
            rows.append(line(name, share, regret, rank_correlation(told, case.score), len(case.pipelines)))
    return rows


def seconds(data: Path) -> list[dict[str, Any]]:
    """A row a task, method and hours: regret."""
    rows = []
    for task, known in permutations(tables.PEFT):
        ranker = rankers.default().fit(tables.peft(data, known))
        case = case_of(tables.peft(data, task), task)
        assert case is not None
        grid = case.own.grid()
        clock = np.nan_to_num(np.fmax.accumulate(grid.seconds[0], 1))  # what was not run takes no time
        cost, total = np.diff(clock, axis=1, prepend=0.0), 3600.0 * max(HOURS)
        curves = {
            "halted, default": reading(by_budget(ranker, case, total)),
            "whole, default": reading(by_budget(ranker, case, total, grid.budgets[-1:])),
            "whole, random": averaged(
                [reading(halving(case, order, total, rungs=1, cost=cost)) for order in orders(case)]
            ),
            **halted_at_random(case, total, cost),
        }
        usual = float(np.median(clock[:, -1])) / 3600
        rows += [
            {"task": task, "method": method, "hours": hours, "regret": f"{curve(3600 * hours):.4f}",
             "pipelines": len(case.pipelines), "usual_hours": f"{usual:.2f}"}
            for method, curve in curves.items() for hours in HOURS
        ]  # fmt: skip
    return rows


def halted_at_random(case: Case, total: float, cost: Floats) -> dict[str, Curve]:
    """Regret by what was spent of methods that halt pipelines in random orders; cost [M, K] of each step."""
    halved = [reading(halving(case, order, total, cost=cost)) for order in orders(case)]
    bracketed = [reading(hyperband(case, order, total, cost)) for order in orders(case)]
    return {
        "halted, random and successive halving": averaged(halved),
        "halted, random and Hyperband": averaged(bracketed),
    }


def orders(case: Case) -> list[list[int]]:
    """Random orders of pipelines, always the same."""
    generator = np.random.default_rng(0)
    return [generator.permutation(len(case.pipelines)).tolist() for _ in range(DRAWS)]


def untimed(runs: RunTable) -> RunTable:
    """The same without seconds: every run then costs the same."""
    return replace(runs, seconds=np.full_like(runs.seconds, math.nan))


def line(method: str, spent: float, regret: float, agreed: float | None, count: int) -> dict[str, Any]:
    """A row of the result file."""
    return {"method": method, "runs": spent, "regret": f"{regret:.4f}",
            "rank correlation": "" if agreed is None else f"{agreed:.3f}", "pipelines": count}  # fmt: skip
