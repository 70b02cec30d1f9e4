"""What the README says of the files ranking_*.csv: a row a suite and method, means over tasks; and their plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.ranking_peft import DRAWS
from benchmarks.ranking_unseen import MEAN, RIVALS
from synthenv.ranking.evaluate import Difference, bootstrap, middle_ranks
from synthenv.report import sweeps, table

Row = dict[str, str]
OURS = "guarded"
"""The default ranker."""
MARKS = (1, 3, 5, 10, 20)
SIDES = ("average_rank", "portfolio", "random", "tpe", "tpe_warm", "gp_sampler", "gp_sampler_warm")
"""The default is compared with these, in this order."""
FEW_TASKS = 5
"""Of a suite with more tasks only their mean is shown."""
DRAWN = ("average_rank", "portfolio", "random", "tpe", "gp_sampler")
METRICS = {"PearCorr": "Pearson", "RelAcc": "relative accuracy"}
NAMED = {"OurFit": "rectified law", "VanillaFit": "power law", "guarded": "ours (default)", "task_gp": "task_gp"}
Regrets = dict[tuple[str, str, int], dict[tuple[str, str], float]]
"""Suite, method and what was spent -> task and group -> regret."""


def ranking_runs(rows: Sequence[Row]) -> str:
    """Regret after so many whole runs, and what the default is better by."""
    covered: dict[tuple[str, str], list[float]] = {(row["suite"], row["ranker"]): [] for row in rows}
    for row in rows:
        if row["covered"] not in ("", "nan"):
            covered[row["suite"], row["ranker"]].append(float(row["covered"]))
    places = mean_ranks(_found(rows, "ranker", "runs"))
    last = {key: [f"{places[key]:.1f}", f"{100 * fmean(found):.0f} %" if found else ""]
            for key, found in covered.items()}  # fmt: skip
    return (
        _regrets(rows, "ranker", "runs", ["mean rank", "80 % intervals cover"], last)
        + "\n\nMean over tasks of (best - found) / (best - median), tasks of other groups known; n tasks. Mean rank: "
        "among the rows of the suite, over the tasks that all of them were measured on and all numbers of runs.\n\n"
        + "<details><summary>Differences, paired by task</summary>\n\n"
        + _differences(rows)
        + "\n\nRegret of the default minus that of the other, paired by task, and its 95 % interval, groups of tasks "
        "resampled: below 0 the default is better.\n\n</details>"
    )


def ranking_budget(rows: Sequence[Row]) -> str:
    """Regret after so many epochs, where runs may be halted."""
    return _regrets(rows, "method", "epochs") + "\n\nThe same after so many epochs in all, where runs may be halted."


def ranking_published(rows: Sequence[Row]) -> str:
    """Each method's mean over all cells and over those of each set."""
    found: dict[tuple[str, str], dict[tuple[str, str], list[float]]] = {}
    for row in rows:
        cells = found.setdefault((NAMED.get(row["method"], row["method"]), row["source"]), {})
        for among in ("all", row["set"]):
            cells.setdefault((row["metric"], among), []).append(float(row["value"]))
    sets = ["all", *sorted({row["set"] for row in rows})]
    lines = []
    for (method, source), cells in sorted(found.items(), key=lambda item: -fmean(item[1]["PearCorr", "all"])):
        means = [f"{fmean(cells[metric, among]):.3f}" for metric in METRICS for among in sets]
        lines.append([method, source, len(cells["PearCorr", "all"]), *means])
    header = ["method", "row", "cells", *(f"{name}, {among}" for name in METRICS.values() for among in sets)]
    return table(header, lines) + "\n\nMeans over cells; printed: from the tables of Lin et al. (2024)."


def ranking_unseen(rows: Sequence[Row]) -> str:
    """Rank correlation with the truth over models that were held out: a line a suite, and its tasks where few."""
    lines = []
    for row in rows:
        tasks = [r for r in rows if r["suite"] == row["suite"] and r["task"] != MEAN]
        if row["task"] != MEAN and len(tasks) > FEW_TASKS:
            continue
        line: list[Any] = [row["suite"], row["task"]]
        for rival in RIVALS:
            ours, theirs = f"ours_{rival}", row[rival]
            line += [int(row[f"models_{rival}"]), row[ours], theirs]
            ahead = sum(float(task[ours]) > float(task[rival]) for task in tasks)
            line.append(f"[{row[f'{rival}_low']}, {row[f'{rival}_high']}], {ahead} of {len(tasks)} tasks"
                        if row["task"] == MEAN else "")  # fmt: skip
        lines.append(line)
    beside = (["models", "ours", f"by {name}", "difference, ahead in"] for name in ("size", "public score"))
    return (
        table(["suite", "task", *(column for columns in beside for column in columns)], lines)
        + "\n\nSpearman's correlation over models, each ranked by the default without a run of its own, beside ranking "
        "by one feature where it is known; in brackets the 95 % interval of the difference, models resampled."
    )


def ranking_peft(rows: Sequence[Row]) -> str:
    """Regret by what was spent, and how well the end is foretold."""
    found: dict[str, dict[float, Row]] = {}
    for row in rows:
        found.setdefault(row["method"], {})[float(row["runs"])] = row
    columns = sorted({at for cells in found.values() for at in cells})
    lines = []
    for method, cells in found.items():
        texts = []
        for at in columns:
            row = cells.get(at, {})
            agreed = f" ({float(row['rank correlation']):.2f})" if row.get("rank correlation") else ""
            texts.append(f"{float(row['regret']):.3f}{agreed}" if row else "")
        lines.append([method, *texts])
    header = ["method", *(f"{at:g} runs" for at in columns)]
    return (
        table(header, lines)
        + f"\n\nRegret among {rows[0]['pipelines']} pipelines on one data set. Begun: each was run "
        "for this share, in brackets the rank correlation with the end."
    )


def ranking_seconds(rows: Sequence[Row]) -> str:
    """Regret by hours spent."""
    hours = sorted({float(row["hours"]) for row in rows})
    regret = {(row["task"], row["method"], float(row["hours"])): f"{float(row['regret']):.3f}" for row in rows}
    usual = {row["task"]: f"{row['pipelines']}, {row['usual_hours']} h" for row in rows}
    lines = [
        [task, usual[task], method, *(regret[task, method, at] for at in hours)]
        for task, method in dict.fromkeys((row["task"], row["method"]) for row in rows)
    ]
    return (
        table(["task", "pipelines, usual run", "method", *(f"{at:g} h" for at in hours)], lines)
        + "\n\nRegret after hours of the benchmark's machine, the other task's runs known; random orders: mean of "
        f"{DRAWS}."
    )


def ranking_speed(rows: Sequence[Row]) -> str:
    """Milliseconds a question."""
    lines = [
        [row["ranker"], int(row["candidates"]), int(row["observed"]),
         *(f"{1000 * float(row[call]):.1f}" for call in ("first_cpu_seconds", "cpu_seconds")), row["fit_cpu_seconds"]]
        for row in rows
    ]  # fmt: skip
    header = ["ranker", "candidates", "observed cells", "first, CPU ms", "later, CPU ms", "CPU s to fit"]
    return (
        table(header, lines)
        + f"\n\nOne thread; fitted to {int(rows[0]['pipelines']):,} pipelines on {rows[0]['tasks']} tasks. Candidates "
        "that nobody has run are known by their settings alone."
    )


def draw_runs(path: Path, rows: Sequence[Row], labels: Sequence[str] = (OURS, *DRAWN)) -> None:
    """Mean regret against runs with its 95 % interval, a panel a suite."""
    found = _found(rows, "ranker", "runs")
    panels: dict[str, dict[str, dict[int, list[float]]]] = {}
    for suite in sorted({row["suite"] for row in rows}):
        for label in labels:
            for spent in sorted(at for s, method, at in found if (s, method) == (suite, label)):
                mean = _mean(found[suite, label, spent])
                panels.setdefault(suite, {}).setdefault(label, {})[spent] = [mean.low, mean.mean, mean.high]
    sweeps(path, panels, "runs", "regret, with 95 % intervals", logarithmic=False)


def _found(rows: Sequence[Row], method: str, spent: str) -> Regrets:
    found: Regrets = {}
    for row in rows:
        key = row["suite"], row[method], int(float(row[spent]))
        found.setdefault(key, {})[row["task"], row["group"]] = float(row["regret"])
    return found


def _mean(values: dict[tuple[str, str], float]) -> Difference:
    """Mean over tasks with an interval by groups."""
    return bootstrap(np.array(list(values.values())), [group for _, group in values])


def _differences(rows: Sequence[Row]) -> str:
    """The default against each other method that was measured on the same tasks."""
    found = _found(rows, "ranker", "runs")
    lines = []
    for suite in sorted({row["suite"] for row in rows}):
        for side in SIDES:
            texts = []
            for mark in MARKS:
                ours, theirs = (found.get((suite, method, mark), {}) for method in (OURS, side))
                both = {key: ours[key] - theirs[key] for key in ours if key in theirs}
                if both:
                    gap = _mean(both)
                    texts.append(f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
            if texts:
                lines.append([suite, side, len(both), *texts])
    return table(["suite", f"{OURS} minus", "n", *(f"{mark} runs" for mark in MARKS)], lines)


def mean_ranks(found: Regrets) -> dict[tuple[str, str], float]:
    """Suite and method -> place among the suite's methods by regret, 1 the best, ties in the middle."""
    places: dict[tuple[str, str], float] = {}
    for suite in {suite for suite, _, _ in found}:
        methods = sorted({method for s, method, _ in found if s == suite})
        marks = sorted({at for s, _, at in found if s == suite})
        cells = [[found.get((suite, method, at), {}) for at in marks] for method in methods]
        shared = sorted(set.intersection(*(set(cell) for line in cells for cell in line)))
        regret = np.array([[[cell[key] for key in shared] for cell in line] for line in cells])  # [methods, marks, n]
        ranks = np.apply_along_axis(middle_ranks, 0, regret).mean((1, 2)) + 1
        places |= {(suite, method): float(rank) for method, rank in zip(methods, ranks, strict=True)}
    return places


def _regrets(
    rows: Sequence[Row], method: str, spent: str, last: Sequence[str] = (),
    more: dict[tuple[str, str], list[str]] | None = None,
) -> str:  # fmt: skip
    """A row a suite and method, a column a number of what was spent."""
    found = _found(rows, method, spent)
    columns = sorted({at for _, _, at in found})
    lines = []
    for suite, name in sorted({(s, m) for s, m, _ in found}):
        cells = {at: found[suite, name, at] for at in columns if (suite, name, at) in found}
        line: list[object] = [suite, name, max(map(len, cells.values()))]
        line += [f"{fmean(cells[at].values()):.3f}" if at in cells else "" for at in columns]
        lines.append([*line, *(more[suite, name] if more else [])])
    header = ["suite", method, "n", *(f"{column:,} {spent}" for column in columns), *last]
    return table(header, lines)


SUMMARIES: dict[str, Callable[[Sequence[Row]], str]] = {
    kind.__name__: kind for kind in (
        ranking_runs, ranking_budget, ranking_published, ranking_unseen, ranking_peft, ranking_seconds,
        ranking_speed,
    )
}  # fmt: skip
