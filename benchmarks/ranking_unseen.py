"""Models that nobody has run: each is ranked among all by its features, from the runs of the others alone.

Models are held out fold by fold, all their weights and resolutions together; what is foretold of each is compared with
the truth by rank correlation over all models of a task. Beside it stand ranking by size and by public score alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ranking_data as tables
from synthenv.ranking import rankers
from synthenv.ranking.evaluate import rank_correlation
from synthenv.ranking.runs import RunTable

FOLDS = 10


def unseen(data: Path) -> list[dict[str, Any]]:
    """A row a suite and task."""
    rows = []
    for suite, load in (("timm", tables.timm), ("llm", tables.llm)):
        runs = load(data)
        rows += left_out(runs, suite, by_model)
    return rows


def by_model(name: str) -> str:
    """The model behind a pipeline's name: what is before its weights and resolution."""
    return name.split(" ")[0].split(".")[0] if " " in name else name


def left_out(runs: RunTable, suite: str, model: Callable[[str], str]) -> list[dict[str, Any]]:
    """Rank correlations over pipelines of each task, every model told by the others."""
    models = sorted({model(name) for name in runs.pipelines})
    fold = {name: i % FOLDS for i, name in enumerate(models)}
    foretold: dict[str, dict[str, float]] = {task: {} for task in runs.tasks}
    for part in range(FOLDS):
        hidden = [name for name in runs.pipelines if fold[model(name)] == part]
        shown = runs.only(pipelines=[name for name in runs.pipelines if fold[model(name)] != part])
        ranker = rankers.ranker("task_gp").fit(shown)
        for task in runs.tasks:
            told = ranker.rank(task, {name: runs.settings[name] for name in hidden}, shown.only(tasks=[task]))
            foretold[task] |= dict(zip(told.pipelines, told.mean.tolist(), strict=True))
    grid = runs.grid()
    rows = []
    for t, task in enumerate(grid.tasks):
        known = np.flatnonzero(np.isfinite(grid.score[t]).any(1))
        names = [grid.pipelines[m] for m in known]
        truth = np.nanmax(grid.score[t, known], 1)
        row: dict[str, Any] = {"suite": suite, "task": task, "models": len(names)}
        row["ours"] = f"{rank_correlation(np.array([foretold[task][name] for name in names]), truth):.3f}"
        for column, feature in (("size", "model.parameters"), ("public", "model.public_score")):
            values = [runs.settings[name].get(feature) for name in names]
            row[column] = "" if None in values else f"{rank_correlation(np.array(values, float), truth):.3f}"
        rows.append(row)
    return rows
