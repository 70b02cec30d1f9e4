"""What the README says of ranking_runs.csv and ranking_budget.csv: mean regret over tasks, a row a suite and method."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from synthenv.report import table

Row = dict[str, str]


def ranking_runs(rows: Sequence[Row]) -> str:
    """Regret after so many whole runs."""
    covered = {(row["suite"], row["ranker"]): [] for row in rows}
    for row in rows:
        if row["covered"] not in ("", "nan"):
            covered[row["suite"], row["ranker"]].append(float(row["covered"]))
    shares = {key: f"{100 * fmean(found):.0f} %" if found else "" for key, found in covered.items()}
    return (
        _regrets(rows, "ranker", "runs", "80 % intervals cover", shares)
        + "\n\nMean over tasks of (best - found) / (best - median), tasks of other groups known; n tasks."
    )


def ranking_budget(rows: Sequence[Row]) -> str:
    """Regret after so many epochs, where runs may be halted."""
    return _regrets(rows, "method", "epochs") + "\n\nThe same after so many epochs in all, where runs may be halted."


def _regrets(
    rows: Sequence[Row], method: str, spent: str, last: str = "", more: dict[tuple[str, str], str] | None = None
) -> str:
    """A row a suite and method, a column a number of what was spent."""
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
        cells = found.setdefault((row["suite"], row[method]), {})
        cells.setdefault(int(float(row[spent])), []).append(float(row["regret"]))
    columns = sorted({column for cells in found.values() for column in cells})
    lines = []
    for (suite, name), cells in sorted(found.items()):
        line = [suite, name, max(map(len, cells.values()))]
        line += [f"{fmean(cells[column]):.3f}" if column in cells else "" for column in columns]
        lines.append([*line, more.get((suite, name), "")] if more else line)
    header = ["suite", method, "n", *(f"{column:,} {spent}" for column in columns), *([last] if more else [])]
    return table(header, lines)
