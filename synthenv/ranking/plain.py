"""A table of runs as one plain CSV file in UTF-8.

| column | meaning |
| --- | --- |
| `task`, `pipeline`, `score` | needed; an empty score is a run that failed |
| `budget` | how long the run had been trained, > 0, in `unit`; 1 where the column is missing |
| `seconds` | from the start of the run up to this budget, > 0; empty where unknown |
| `seed` | a whole number; 0 where the column is missing |
| `group` | the core dataset that a task was cut from: tasks of one group stay on one side of any split |
| `direction` | `max` or `min`, the same in all rows; `max` where the column is missing |
| `unit` | of the budget, the same in all rows; `epochs` where the column is missing |
| `hp:NAME` | a hyperparameter of the pipeline, or a feature of its model; empty where inactive or unknown |
| `task:NAME` | a feature of the task, a number; empty where unknown |

Cells of `hp:` are read as JSON where they are (`1e-3`, `true`, `"1"`), else as text. A value may be told in one row or
in many, but only in one way. A row without `task` describes a pipeline that was never run, a row without `pipeline` a
task. Any other column is refused: a typo is no hyperparameter.
"""

from __future__ import annotations

import csv
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthenv.catalogue import unknown

COLUMNS = ("task", "pipeline", "budget", "score", "seconds", "seed", "group", "direction", "unit")
NEEDED = ("task", "pipeline", "score")
SETTING, FEATURE = "hp:", "task:"
DIRECTIONS = {"max": True, "min": False}
MISSING = {"budget": 1.0, "seconds": math.nan, "seed": 0.0}
"""What a column that a file lacks stands for."""


def read(path: Path, maximize: bool | None = None, unit: str | None = None) -> dict[str, Any]:
    """What `RunTable.of` takes, out of a CSV file; raises ValueError naming the line or column at fault.

    `maximize` and `unit` are for files that do not say, and must not contradict one that does.
    """
    column = columns(path)
    tasks, pipelines = column["task"], column["pipeline"]
    for i, (task, pipeline, score) in enumerate(zip(tasks, pipelines, column["score"], strict=True)):
        if not task and not pipeline:
            raise ValueError(f"row {i + 2} names neither task nor pipeline; remove it")
        if score and not (task and pipeline):
            raise ValueError(f"row {i + 2} has a score and lacks its {'pipeline' if task else 'task'}")
    runs = [i for i, (task, pipeline) in enumerate(zip(tasks, pipelines, strict=True)) if task and pipeline]
    numbers = {
        name: [as_number(name, i, column[name][i]) for i in runs] if name in column else [MISSING[name]] * len(runs)
        for name in ("budget", "score", "seconds", "seed")
    }
    if failed := sum(map(math.isnan, numbers["score"])):
        warnings.warn(f"{path}: {failed} of {len(runs)} runs have no score: they count as failed", stacklevel=4)
    word = None if maximize is None else _word(maximize)
    direction = _agreed("direction", column.get("direction", ()), word, "max")
    if direction not in DIRECTIONS:
        raise ValueError(unknown("direction", direction, DIRECTIONS))
    told = {
        prefix: {name.removeprefix(prefix): cells for name, cells in column.items() if name.startswith(prefix)}
        for prefix in (SETTING, FEATURE)
    }
    group = {"group": column["group"]} if "group" in column else {}
    return {
        "task": [tasks[i] for i in runs],
        "pipeline": [pipelines[i] for i in runs],
        **numbers,
        "maximize": DIRECTIONS[direction],
        "unit": _agreed("unit", column.get("unit", ()), unit, "epochs"),
        "settings": {
            pipeline: {name: as_value(cell) for name, (_, cell) in known.items()}
            for pipeline, known in _told("pipeline", pipelines, told[SETTING]).items()
        },
        "features": {
            task: {name: as_number(FEATURE + name, i, cell) for name, (i, cell) in known.items()}
            for task, known in _told("task", tasks, told[FEATURE]).items()
        },
        "group": {t: cell for t, known in _told("task", tasks, group).items() for _, cell in known.values()},
    }


def write(path: Path, table: Mapping[str, Any]) -> None:
    """Write the fields of a `RunTable`, every row complete."""
    settings, features, group = table["settings"], table["features"], table["group"]
    hyper = sorted({name for told in settings.values() for name in told})
    known = sorted({name for told in features.values() for name in told})
    rest = [_word(table["maximize"]), table["unit"]]
    described = {p: [as_cell(told.get(name)) for name in hyper] for p, told in settings.items()}
    measured = {t: [as_cell(told.get(name)) for name in known] for t, told in features.items()}

    def row(task: str, pipeline: str, *run: Any) -> list[Any]:
        facts = [task, pipeline, *run, group.get(task, ""), *rest]
        return [*facts, *described.get(pipeline, [""] * len(hyper)), *measured.get(task, [""] * len(known))]

    runs = [table[name].tolist() for name in COLUMNS[:6]]
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([*COLUMNS, *(SETTING + name for name in hyper), *(FEATURE + name for name in known)])
        lines.writerows(row(t, p, *map(as_cell, run)) for t, p, *run in zip(*runs, strict=True))
        lines.writerows(row("", p, "", "", "", "") for p in sorted(set(settings) - set(runs[1])))
        lines.writerows(row(t, "", "", "", "", "") for t in sorted(set(features) - set(runs[0])))


def columns(path: Path) -> dict[str, Sequence[str]]:
    """The cells of a file by column, blanks around them left out; refuses columns that no table has."""
    header, *rows = cells(path)
    for name in header:
        free = any(name.startswith(prefix) and name != prefix for prefix in (SETTING, FEATURE))
        if name not in COLUMNS and not free:
            raise ValueError(
                f"{unknown('column', name, COLUMNS)}; a hyperparameter is called {SETTING}{name}, a feature of the "
                f"task {FEATURE}{name}, and cells are parted by commas"
            )
        if header.count(name) > 1:
            raise ValueError(f"it has {header.count(name)} columns '{name}'; keep one")
    if missing := [name for name in NEEDED if name not in header]:
        raise ValueError(f"it lacks the column {', '.join(missing)} (it has: {', '.join(header)})")
    return dict(zip(header, zip(*rows, strict=True) if rows else ((),) * len(header), strict=True))


def cells(path: Path) -> list[list[str]]:
    """The rows of a CSV file, as long as the first, which names the columns; blanks around cells are left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise ValueError(f"{path.name} is no CSV: {error}") from error
    if not rows:
        raise ValueError(f"{path.name} is empty; its first line should name the columns")
    for line, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {line} of {path.name} has {len(row)} cells under {len(rows[0])} columns")
    return rows


def _told(what: str, owners: Sequence[str], told: Mapping[str, Sequence[str]]) -> dict[str, dict[str, tuple[int, str]]]:
    """Owner -> name -> (row, cell): what non-empty cells say of each; raises ValueError where they contradict."""
    known: dict[str, dict[str, tuple[int, str]]] = {owner: {} for owner in owners if owner}
    for name, cells in told.items():
        for i, (owner, cell) in enumerate(zip(owners, cells, strict=True)):
            if cell and owner and known[owner].setdefault(name, (i, cell))[1] != cell:
                j, before = known[owner][name]
                raise ValueError(
                    f"'{name}' of {what} '{owner}' is {before} in row {j + 2} and {cell} in row {i + 2}; one of them "
                    f"is wrong, or these are two {what}s: give each its own name"
                )
    return known


def _agreed(name: str, cells: Sequence[str], wanted: str | None, otherwise: str) -> str:
    """The one value of a column that holds one."""
    found = sorted({cell for cell in cells if cell})
    if len(found) > 1:
        raise ValueError(
            f"column '{name}' holds {' and '.join(found)}; one table has one {name}: "
            + ("negate the scores of the smaller part" if name == "direction" else "convert the budgets")
        )
    if wanted and found and wanted != found[0]:
        raise ValueError(f"its column '{name}' says {found[0]}, and {wanted} was asked for")
    return (found or [wanted or otherwise])[0]


def as_number(name: str, row: int, cell: str) -> float:
    """A cell as a number, nan where empty; `name` and `row`, counted from 0 below the header, say where it stands."""
    try:
        return float(cell) if cell else math.nan
    except ValueError as error:
        raise ValueError(f"row {row + 2}, column '{name}' should be a number, got '{cell}'") from error


def as_value(cell: str) -> Any:
    """A cell of a setting as what it means."""
    if cell.startswith(("[", "{")):
        return cell
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def as_cell(value: Any) -> str:
    """A value as `as_value` and `as_number` read it back."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str) and value == value.strip() != "" and value.isprintable() and as_value(value) == value:
        return value
    return json.dumps(value)


def _word(maximize: bool) -> str:
    return next(word for word, meant in DIRECTIONS.items() if meant == maximize)
