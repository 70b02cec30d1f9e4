"""Models that nobody has run: each is ranked among all by its features, from the runs of the others alone.

A model is held out with all its weights and resolutions, alone where there are few, else with a tenth of all; what is
foretold of each is compared with the truth by rank correlation over all models of a task. Beside it stand rankings by
size and by public score alone, each over the models of which it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import ranking_data as tables
from benchmarks import ranking_models as described
from synthenv.ranking import rankers
from synthenv.ranking.checks import Floats
from synthenv.ranking.evaluate import rank_correlation
from synthenv.ranking.runs import RunTable

FEW, PARTS = 40, 10
"""Up to so many models are held out one at a time, more in so many parts."""
RIVALS = {"size": "model.parameters", "public": tables.PUBLIC}
"""Ranking by one feature alone."""
MEAN = "mean of tasks"
RESAMPLES = 1000


def unseen(data: Path) -> list[dict[str, Any]]:
    """A row a suite and task, and one for the mean of a suite's tasks."""
    rows = []
    for suite, load, model in (
        ("timm", tables.timm, architecture),
        ("imagenet_testbed", described.imagenet_testbed, str),
        ("llm", described.llm, str),
    ):
        rows += compared(suite, load(data), model)
    return rows


def architecture(name: str) -> str:
    """The model behind a name of timm: what is before its weights and resolution."""
    return name.split(" ")[0].split(".")[0]


def compared(suite: str, runs: RunTable, model: Callable[[str], str]) -> list[dict[str, Any]]:
    """Rank correlations over the pipelines of each task and their mean, with its interval over models."""
    foretold, grid = left_out(runs, model), runs.grid()
    feature = {
        rival: np.array([runs.settings[name].get(key, np.nan) for name in grid.pipelines], float)
        for rival, key in RIVALS.items()
    }
    truth = np.stack([np.fmax.reduce(task, 1) for task in grid.score])  # [T, M]
    told = np.array([[foretold[task].get(name, np.nan) for name in grid.pipelines] for task in grid.tasks])
    everyone = np.arange(len(grid.pipelines))
    whole = agreement(told, truth, feature, everyone)
    rows: list[dict[str, Any]] = [
        {"suite": suite, "task": task, **rounded({name: column[t] for name, column in whole.items()})}
        for t, task in enumerate(grid.tasks)
    ]
    owner = np.unique([model(name) for name in grid.pipelines], return_inverse=True)[1]
    members = [np.flatnonzero(owner == m) for m in range(owner.max() + 1)]
    draws = np.random.default_rng(0).integers(len(members), size=(RESAMPLES, len(members)))
    means = [
        {name: column.mean() for name, column in agreement(told, truth, feature, index).items()}
        for index in (np.concatenate([members[m] for m in draw]) for draw in draws)
    ]
    mean: dict[str, Any] = {"suite": suite, "task": MEAN, **rounded({k: v.mean() for k, v in whole.items()})}
    for rival in RIVALS:
        ahead = [drawn[f"ours_{rival}"] - drawn[rival] for drawn in means]
        for end, level in (("low", 0.025), ("high", 0.975)):
            mean[f"{rival}_{end}"] = f"{np.nanquantile(ahead, level):.3f}"
    return [mean, *({**dict.fromkeys(mean, ""), **row} for row in rows)]


def agreement(
    told: Floats, truth: Floats, feature: Mapping[str, Floats], index: npt.NDArray[np.int64]
) -> dict[str, Floats]:
    """Rank correlations [T] with the truth [T, M] over the pipelines at an index.

    ours: of what is told [T, M].  A rival's name: of its feature [M], over pipelines that have it; `ours_` and this
    name: of what is told, over the same. Their numbers beside them.
    """
    found: dict[str, list[float]] = {}
    for mine, real in zip(told[:, index], truth[:, index], strict=True):
        known = np.isfinite(real)
        row = {"models": known.sum(), "ours": rank_correlation(mine[known], real[known])}
        for rival, values in feature.items():
            both = known & np.isfinite(values[index])
            row |= {
                f"models_{rival}": both.sum(),
                f"ours_{rival}": rank_correlation(mine[both], real[both]),
                rival: rank_correlation(values[index][both], real[both]),
            }
        for name, value in row.items():
            found.setdefault(name, []).append(float(value))
    return {name: np.array(column) for name, column in found.items()}


def rounded(row: Mapping[str, float]) -> dict[str, str]:
    """Numbers as text: how many models, and correlations."""
    return {name: f"{value:.0f}" if name.startswith("models") else f"{value:.3f}" for name, value in row.items()}


def left_out(runs: RunTable, model: Callable[[str], str]) -> dict[str, dict[str, float]]:
    """What is foretold of each pipeline in each task by the runs of other models."""
    models = sorted({model(name) for name in runs.pipelines})
    parts = len(models) if len(models) <= FEW else PARTS
    part = {name: i % parts for i, name in enumerate(models)}
    foretold: dict[str, dict[str, float]] = {task: {} for task in runs.tasks}
    for number in range(parts):
        hidden = {name: runs.settings[name] for name in runs.pipelines if part[model(name)] == number}
        shown = runs.only(pipelines=[name for name in runs.pipelines if name not in hidden])
        ranker = rankers.default().fit(shown)
        for task in runs.tasks:
            told = ranker.rank(task, hidden, shown.only(tasks=[task]))
            foretold[task] |= dict(zip(told.pipelines, told.mean.tolist(), strict=True))
    return foretold
