"""What a question costs: CPU seconds of fitting, and of ranking thousands of candidates, on made-up runs.

Scores are bumps over four settings, with curves of five budgets. Nobody has run the candidates beyond the first
thousand, so their settings are all that is known of them. The first question about candidates places them among those
that were run; later ones find that done. Medians of several; one process, one thread.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import clocked
from synthenv.ranking import rankers
from synthenv.ranking.runs import RunTable, Settings
from synthenv.threads import one_thread

RANKERS = ("guarded", "in_context", "task_gp", "average_rank")
TASKS, PIPELINES, BUDGETS = 12, 1_000, 5
CANDIDATES = (1_000, 10_000)
OBSERVED = (0, 20, 5_000)
"""Cells of the new task that are known: pipelines at budgets."""
FIRST, TIMES = 3, 7
"""How often a first question is asked, and a later one."""


def speed() -> list[dict[str, Any]]:
    """A row a ranker, number of candidates and number of observed cells."""
    settings, runs, own = made_up(np.random.default_rng(0))
    rows = []
    with one_thread():
        for name in RANKERS:
            ranker = rankers.ranker(name)
            fitting = clocked(partial(ranker.fit, runs))
            for count in CANDIDATES:
                candidates = dict(list(settings.items())[:count])
                for cells in OBSERVED:
                    seen = own.take(np.arange(len(own)) < cells) if cells else None
                    ask, first = partial(ranker.rank, "new", candidates, seen), []
                    for _ in range(FIRST):
                        ranker.rank("new", list(settings)[:2])  # so that the candidates are new again
                        first.append(clocked(ask))
                    later = median(clocked(ask) for _ in range(TIMES))
                    rows.append({
                        "ranker": name, "tasks": TASKS, "pipelines": PIPELINES, "candidates": count, "observed": cells,
                        "cpu_seconds": f"{later:.4f}", "first_cpu_seconds": f"{median(first):.4f}",
                        "fit_cpu_seconds": f"{fitting:.2f}",
                    })  # fmt: skip
    return rows


def made_up(generator: np.random.Generator) -> tuple[dict[str, Settings], RunTable, RunTable]:
    """Settings of all candidates, runs of the first of them on some tasks, and runs of those on a new one."""
    place = generator.uniform(size=(max(CANDIDATES), 4))
    names = [f"p{number:05d}" for number in range(len(place))]
    settings: dict[str, Settings] = {
        name: {f"x{axis}": float(at) for axis, at in enumerate(row)} for name, row in zip(names, place, strict=True)
    }
    peaks = generator.normal(0.5, 0.15, (TASKS + 1, 4))
    end = -((place[:PIPELINES] - peaks[:, None]) ** 2).sum(-1)  # [tasks, pipelines]
    budget = np.arange(1, BUDGETS + 1)
    score = end[..., None] - 0.5 / budget + generator.normal(0, 0.01, (*end.shape, BUDGETS))
    task, pipeline, at = (axis.ravel() for axis in np.indices(score.shape))
    whole = RunTable.of(
        [f"t{number:02d}" for number in task], np.array(names)[pipeline], score.ravel(), budget[at],
        settings={name: settings[name] for name in names[:PIPELINES]},
    )  # fmt: skip
    return settings, whole.take(whole.task != "t00"), whole.take(whole.task == "t00")
