"""The four CSV files that quicktunetool learns from, one row a run in each, the first column its index.

config.csv  the settings, one a column
curve.csv   the score after 1, 2, ... epochs, one a column, empty where not trained
cost.csv    the seconds of the whole run, or of each epoch where there are as many columns as in the curve
meta.csv    features of the task, one a column; may be missing
names.csv   written by `write` alone, ignored by the tool: task, pipeline and seed of each row

Without names.csv a pipeline is called by its settings and a task by its features. The seconds of a whole run are spread
evenly over its epochs. The tool writes 0 for epochs never trained: tails of zeros are refused, or cut by `repair`.
Layout as in quicktunetool 0.0.4, examples/metatrain.py.
"""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthenv.ranking import plain
from synthenv.ranking.checks import REPAIR, Floats
from synthenv.ranking.plain import as_cell, as_number, as_value
from synthenv.ranking.runs import RunTable
from synthenv.ranking.space import called

Cells = tuple[list[str], list[str], list[list[str]]]
"""Index of n rows, names of c columns, and the cells, n rows of c."""
NAMES = ("task", "pipeline", "seed")


def read(folder: str | Path, *, task: str | None = None, repair: bool = False) -> RunTable:
    """Read a folder; `task` names the one task of files without meta.csv."""
    folder = Path(folder)
    try:
        return _read(folder, task, repair)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def write(table: RunTable, folder: str | Path) -> None:
    """Write a table whose budgets are whole numbers; of its seconds the files keep those of whole runs."""
    if not table.maximize:
        raise ValueError("quicktunetool maximises: negate the scores and say maximize=True")
    if (table.budget != np.trunc(table.budget)).any() or table.budget.max(initial=1) > LONGEST:
        raise ValueError(f"quicktunetool counts epochs: budgets must be whole numbers up to {LONGEST:,}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    runs: dict[tuple[str, str, int], list[int]] = {}
    columns = (table.task.tolist(), table.pipeline.tolist(), table.seed.tolist())
    for i, key in enumerate(zip(*columns, strict=True)):
        runs.setdefault(key, []).append(i)
    longest = int(table.budget.max(initial=1))
    curves, costs = np.full((len(runs), longest), np.nan), np.full((len(runs), 1), np.nan)
    for n, rows in enumerate(runs.values()):
        curves[n, table.budget[rows].astype(int) - 1] = table.score[rows]
        costs[n, 0] = table.seconds[max(rows, key=table.budget.__getitem__)]
    hyper = sorted({name for told in table.settings.values() for name in told})
    known = sorted({name for told in table.features.values() for name in told})
    files: dict[str, tuple[Sequence[str], list[list[Any]]]] = {
        "config": (hyper, [[table.settings[p].get(name) for name in hyper] for _, p, _ in runs]),
        "curve": ([str(k) for k in range(1, longest + 1)], curves.tolist()),
        "cost": (["cost"], costs.tolist()),
        "meta": (known, [[table.features[t].get(name) for name in known] for t, _, _ in runs]),
        "names": (NAMES, [list(run) for run in runs]),
    }
    for name, (header, cells) in files.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["", *header])
            lines.writerows([n, *map(as_cell, row)] for n, row in enumerate(cells, 1))


LONGEST = 10_000
"""Epochs, and so columns, of the longest curve that is written."""


def _read(folder: Path, task: str | None, repair: bool) -> RunTable:
    index, hyper, config = _cells(folder / "config.csv")
    curves, epochs = _numbers(folder / "curve.csv", index)
    costs, _ = _numbers(folder / "cost.csv", index)
    settings = [{name: as_value(cell) for name, cell in zip(hyper, row, strict=True) if cell} for row in config]
    features: list[dict[str, float]] = [{} for _ in index]
    if (folder / "meta.csv").is_file():
        meta, known = _numbers(folder / "meta.csv", index)
        features = [
            {name: x for name, x in zip(known, row, strict=True) if x == x} for row in meta.tolist()
        ]  # nan differs from itself
    if not index:
        raise ValueError("config.csv holds no runs")
    names = _names(folder, index, settings, features, task)
    if any(not name.isdigit() for name in epochs) or [*map(int, epochs)] != [*range(1, len(epochs) + 1)]:
        raise ValueError(f"curve.csv has the columns 1, 2, ... beside its index, got {', '.join(epochs[:5])}")
    if costs.shape[1] not in (1, len(epochs)):
        raise ValueError(f"cost.csv has one column or one an epoch ({len(epochs)}), got {costs.shape[1]}")
    lengths = _lengths(curves, repair)
    seconds = np.cumsum(costs, 1) if costs.shape[1] > 1 else costs * np.arange(1, len(epochs) + 1) / lengths[:, None]
    kept = ~np.isnan(curves) & (np.arange(len(epochs)) < lengths[:, None])
    rows, k = np.nonzero(kept)
    tasks, pipelines, seeds = (np.array(column)[rows] for column in zip(*names, strict=True))
    return RunTable.of(
        tasks,
        pipelines,
        curves[rows, k],
        k + 1.0,
        seconds[rows, k],
        seeds,
        repair=repair,
        settings={name[1]: told for name, told in zip(names, settings, strict=True)},
        features={name[0]: told for name, told in zip(names, features, strict=True)},
    )


def _names(
    folder: Path, index: list[str], settings: list[dict[str, Any]], features: list[dict[str, float]], task: str | None
) -> list[tuple[str, str, int]]:
    """Task, pipeline and seed of n rows."""
    if (folder / "names.csv").is_file():
        _, header, cells = _cells(folder / "names.csv", index)
        if tuple(header) != NAMES:
            raise ValueError(f"names.csv has the columns {', '.join(NAMES)}, got {', '.join(header)}")
        return [(row[0], row[1], int(as_number("seed", i, row[2]))) for i, row in enumerate(cells)]
    if task is None and not all(features):
        raise ValueError("there is no meta.csv that tells tasks apart; say task='NAME' for the runs of one task")
    seen: Counter[tuple[str, str]] = Counter()
    names = []
    for told, known in zip(settings, features, strict=True):
        pair = (task or called(known), called(told))
        names.append((*pair, seen[pair]))
        seen[pair] += 1
    return names


def _lengths(curves: Floats, repair: bool) -> Floats:
    """Epochs [n] that runs were trained, of curves [n, K], padding with zeros left out."""
    trained = np.arange(1, curves.shape[1] + 1) * ~np.isnan(curves)
    length = trained.max(1, initial=1)
    real = (trained * (curves != 0)).max(1, initial=0)
    padded = (real > 0) & (real < length)
    if padded.any():
        many = f"{padded.sum()} of {len(curves)} curves end in zeros, which stand for epochs never trained"
        if not repair:
            raise ValueError(f"{many} (the first: row {np.argmax(padded) + 2}); leave such cells empty, or {REPAIR}")
        warnings.warn(f"cut the tails of zeros: {many}", stacklevel=4)
    lengths: Floats = np.where(padded, real, length).astype(np.float64)
    return lengths


def _numbers(path: Path, index: list[str]) -> tuple[Floats, list[str]]:
    """The numbers [n, c] of a file and the names of its columns."""
    _, names, cells = _cells(path, index)
    read = [[as_number(f"{path.name}: {name}", i, cell) for name, cell in zip(names, row, strict=True)]
            for i, row in enumerate(cells)]  # fmt: skip
    return np.array(read, np.float64).reshape(len(cells), len(names)), names


def _cells(path: Path, index: list[str] | None = None) -> Cells:
    """Index, columns and cells of a file; raises ValueError unless its index is the one given."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing; quicktunetool's files are config.csv, curve.csv, cost.csv, meta.csv")
    rows = plain.cells(path)
    own = [row[0] for row in rows[1:]]
    if index is not None and own != index:
        raise ValueError(f"{path.name} and config.csv differ in their first column, the index of runs")
    return own, rows[0][1:], [row[1:] for row in rows[1:]]
