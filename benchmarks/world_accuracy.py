"""How well world models predict transitions that they were not shown, beside every classical fit to the same rows."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import contestants
from benchmarks.classical import METHODS
from benchmarks.harness import spread, write_rows
from benchmarks.tables import rows_of
from benchmarks.world_data import collect
from benchmarks.world_exam import examine
from benchmarks.world_tasks import ACCURACY, available

SIZES = (10, 30, 100, 300, 1_000, 2_000)
TESTS = ("random", "mixed")
TESTED = 1_000
"""Transitions of either test."""
FIRST_SEED = 9_000
"""Contexts are seeded from here on; tests, the same for every context, far above."""
TEST_SEED = 9_900


class Cell(NamedTuple):
    """A model, and the rows that it is shown: the first so many of a context of random actions."""

    task: str
    rows: int
    context: int
    model: str
    """As it was asked for: see `contestants.fit`."""


Key = tuple[str, int, int, str]
"""Task, rows, context and the model's name."""


def key(cell: Cell) -> Key:
    """What a cell is filed under."""
    return (*cell[:3], contestants.name(cell.model))


def main(args: argparse.Namespace) -> None:
    """Measure the cells that the table lacks: few rows first, so that all tasks can be compared early."""
    table = args.results / "world_model_accuracy.csv"
    cells = [
        Cell(task, rows, context, model)
        for rows in args.rows
        for model in args.models
        for task in available(args.tasks or ACCURACY)
        for context in range(args.contexts)
    ]
    origins = {contestants.name(model): contestants.origin(model) for model in args.models}
    stale = {key(cell) for cell in cells} if args.fresh else set()
    known = {
        at: lines
        for at, lines in measured(table).items()
        if at not in stale and lines[0]["origin"] == origins.get(at[3], lines[0]["origin"])
    }
    missing = [cell for cell in cells if key(cell) not in known]
    print(f"{len(missing)} of {len(cells)} cells to measure")
    for cell, lines in spread(measure, missing, args.workers):
        known[key(cell)] = lines
        write_rows(table, (line for at in sorted(known, key=order) for line in known[at]))


def measured(table: Path) -> dict[Key, list[dict[str, Any]]]:
    """Rows of the table, by cell."""
    known: dict[Key, list[dict[str, Any]]] = {}
    for row in rows_of(table) if table.is_file() else ():
        known.setdefault((row["task"], int(row["rows"]), int(row["context"]), row["model"]), []).append(dict(row))
    return known


def order(at: Key) -> tuple[int, int, tuple[int, str], int]:
    """Where a cell stands in the table."""
    task, rows, context, model = at
    return ACCURACY.index(task), rows, contestants.rank(model), context


def measure(cell: Cell) -> list[dict[str, Any]]:
    """A row for each test: the figures of `world_exam.Marks`, and CPU seconds of fitting or conditioning."""
    log = collect(cell.task, max(SIZES), "random", FIRST_SEED + cell.context).subset(slice(cell.rows))
    began = time.process_time()
    model = contestants.fit(cell.model, log)
    seconds = time.process_time() - began
    facts = dict(zip(("task", "rows", "context", "model"), key(cell), strict=True))
    origin = contestants.origin(cell.model)
    return [
        {
            **facts, "test": test, **rounded(examine(model, collect(cell.task, TESTED, test, TEST_SEED))._asdict()),
            "cpu_seconds": f"{seconds:.3f}", "origin": origin,
        }
        for test in TESTS
    ]  # fmt: skip


def rounded(marks: dict[str, float | None]) -> dict[str, str]:
    """Four digits of every figure; nothing where there is none."""
    return {name: "" if mark is None else f"{mark:.4g}" for name, mark in marks.items()}


def ask(parser: argparse.ArgumentParser) -> None:
    """What can be asked of this part."""
    models = [*METHODS, contestants.OURS]
    parser.add_argument("--models", nargs="+", default=models, metavar="MODEL", help=contestants.HELP)
    ask_where(parser)


def ask_where(parser: argparse.ArgumentParser) -> None:
    """Which cells can be asked for, whatever the model."""
    parser.add_argument("--tasks", nargs="+", choices=ACCURACY, metavar="TASK", help="(default: all twelve)")
    parser.add_argument("--rows", nargs="+", type=int, default=SIZES, help="transitions shown (default %(default)s)")
    parser.add_argument("--contexts", type=int, default=5, help="logs a cell (default %(default)s)")
