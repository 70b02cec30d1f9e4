"""What the README says of world_model_accuracy.csv, world_model_speed.csv and world_model_transfer.csv.

oswm.csv holds the figures of OSWM (automl/oswm) beside ours: errors from the score files that it publishes, returns of
its final policies from its run logs, and the speed of its code by our own measurement.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from synthenv.report import number, sweeps, table
from synthenv.scores import statistics

Row = Mapping[str, str]
OSWM = Path(__file__).parent / "oswm.csv"
OURS, REAL = "incontext", "the task"
CLASSICAL = ("persistence", "linear", "quadratic", "neighbours", "gp", "ensemble")
FLOOR = 1e-6
"""Squared errors below this, a thousandth of the change, count as this: nothing that is done with a model tells."""
SMALL, LIMIT, AIM = 100, 1.25, 0.7
"""Contexts that are small, and how many times the best classical error is still as good, and clearly better."""
DETAILED = (100, 1_000)
EXPLAINED = (
    "On fresh random actions, medians of contexts: ours / the best classical fit by that figure; coverage: ours. 20 "
    "steps, open loop: squared error after 20 steps of its own predictions over the squared change in 20 steps; 0 is "
    "best, 1 is what expecting no change gets. Coverage: how often the truth lies within the 90 % interval; 0.9 is "
    "right, less is too narrow. NLL: negative log likelihood of the change, in units of its root mean square; less is "
    "better. Reward: squared error over the variance; 0 is best, 1 is what the mean gets. AUROC of ends: how likely a "
    "step that ends is thought to end rather than one that does not; 1 is best, 0.5 is chance. Empty: nothing to mark."
)
"""Of the tables for sizes that are `DETAILED`."""
SHOWN = (1e-8, 10.0)
"""Errors in plots; what is beyond stands at the edge."""
Medians = dict[tuple[str, int], dict[str, float]]
"""Task and rows -> model -> median over contexts."""


def medians(rows: Iterable[Row], figure: str, test: str) -> Medians:
    """The median of a figure on a test in every cell that has it."""
    values: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        if row["test"] == test and row[figure]:
            cell = values.setdefault((row["task"], int(row["rows"])), {})
            cell.setdefault(row["model"], []).append(float(row[figure]))
    return {at: {model: median(found) for model, found in cell.items()} for at, cell in values.items()}


def best(cell: Mapping[str, float], most: bool = False) -> tuple[str, float] | None:
    """The best classical fit of a cell, and its figure: the lowest, or the highest."""
    found = {model: cell[model] for model in CLASSICAL if model in cell}
    if not found:
        return None
    model = (max if most else min)(found, key=lambda one: found[one])
    return model, found[model]


def ratio(cell: Mapping[str, float], model: str) -> float | None:
    """A model's error to the best classical one, both no less than FLOOR."""
    bar = best(cell)
    if bar is None or model not in cell:
        return None
    return max(cell[model], FLOOR) / max(bar[1], FLOOR)


def geometric(values: Iterable[float | None]) -> float | None:
    """Geometric mean of those that are there."""
    logs = [math.log(value) for value in values if value is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None


def world_model_accuracy(rows: Sequence[Row]) -> str:
    """Errors of the change by task and rows, the other figures in short, and every model in one line."""
    errors = medians(rows, "nmse", "random")
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    sizes = sorted({int(row["rows"]) for row in rows})
    theirs = oswm("nmse")
    lines = [
        [task, *(beside(errors.get((task, size), {})) for size in sizes), theirs.get((task, "random"), "")]
        for task in tasks
    ]
    parts = [
        table(["task", *(f"{size:,} rows" for size in sizes), "OSWM, 1,000"], lines),
        "Squared error of the change over the squared change, median of contexts of random actions, on fresh random "
        "actions: ours / the best classical fit and which (lin, qua, nei, gp, ens, per).",
        *verdict(errors),
        overview(rows, errors, sizes),
        "Geometric mean over tasks of the error to the best classical fit of each cell; none counts less than "
        f"{FLOOR:g}. Coverage: of 90 % intervals, mean over tasks, rows and both tests.",
        *(details(rows, tasks, size) for size in DETAILED if size in sizes),
        EXPLAINED,
    ]
    return "\n\n".join(parts)


def beside(cell: Mapping[str, float]) -> str:
    """Ours / the best classical fit."""
    bar = best(cell)
    if bar is None:
        return ""
    ours = f"{short(cell[OURS])} / " if OURS in cell else ""
    return f"{ours}{short(bar[1])} {bar[0][:3]}"


def short(value: float) -> str:
    """Two digits."""
    return "<1e-6" if value < FLOOR else f"{value:.2g}"


def verdict(errors: Medians) -> list[str]:
    """How our model stands to the best classical fit, in a sentence, if it was measured."""
    found = {at: share for at, cell in errors.items() if (share := ratio(cell, OURS)) is not None}
    if not found:
        return []
    tasks = {task for task, _ in found}
    few = {
        task: geometric(share for (one, size), share in found.items() if one == task and size <= SMALL)
        for task in tasks
    }
    ahead = sum(share is not None and share <= AIM for share in few.values())
    within = sum(share <= LIMIT for share in found.values())
    return [
        f"Ours to the best classical fit of each cell: {number(geometric(found.values()) or 0)} in the geometric mean; "
        f"at most {LIMIT} in {within} of {len(found)} cells; with up to {SMALL} rows at most {AIM} in {ahead} of "
        f"{len(tasks)} tasks."
    ]


def overview(rows: Sequence[Row], errors: Medians, sizes: Sequence[int]) -> str:
    """A row for each model: how it stands to the best classical fit by size, and how often its intervals hold."""
    models = dict.fromkeys(row["model"] for row in rows)
    lines = []
    for model in models:
        cells = {at: share for at, cell in errors.items() if (share := ratio(cell, model)) is not None}
        shares = [geometric(share for (_, at), share in cells.items() if at == size) for size in sizes]
        tasks = len({task for task, _ in cells})
        everywhere = tasks == len({task for task, _ in errors})
        held = [float(row["coverage"]) for row in rows if row["model"] == model and row["coverage"]]
        seconds = [float(row["cpu_seconds"]) for row in rows if row["model"] == model and row["rows"] == "1000"]
        lines.append([
            model if everywhere else f"{model}, {tasks} tasks",
            *("" if share is None else f"{share:.3g}" for share in shares),
            f"{sum(held) / len(held):.0%}" if held else "", f"{median(seconds):.2g}" if seconds else "",
        ])  # fmt: skip
    return table(["model", *(f"{size:,} rows" for size in sizes), "coverage", "CPU s, 1,000 rows"], lines)


FIGURES = {"open_loop": False, "coverage": False, "nll": False, "reward": False, "auroc": True}
"""Figures besides the error of the change, and whether more is better."""


def details(rows: Sequence[Row], tasks: Sequence[str], size: int) -> str:
    """A row for each task at one size: ours / the best classical figure."""
    found = {figure: medians((row for row in rows if int(row["rows"]) == size), figure, "random") for figure in FIGURES}
    lines = []
    for task in tasks:
        line = [task]
        for figure, most in FIGURES.items():
            cell = found[figure].get((task, size), {})
            bar = None if figure == "coverage" else best(cell, most)
            sides = [cell.get(OURS), None if bar is None else bar[1]]
            line.append(" / ".join(f"{side:.3g}" for side in sides if side is not None))
        lines.append(line)
    header = [f"{size:,} rows", "20 steps, open loop", "coverage", "NLL", "reward", "AUROC of ends"]
    return table(header, lines)


def world_model_speed(rows: Sequence[Row]) -> str:
    """A row for each case, and OSWM's figures."""
    lines = [
        [row["model"], row["what"], int(row["rows"]), row["envs"] if row["envs"] != "0" else "",
         float(f"{float(row['cpu_seconds']):.3g}"), number(float(row["a second"])), float(row["MB"])]
        for row in rows
    ]  # fmt: skip
    header = ["model", "what", "context rows", "environments", "CPU s a call", "steps a CPU-second", "MB"]
    theirs = {row["what"]: number(float(row["value"])) for row in read(OSWM)}
    return (
        table(header, lines)
        + "\n\nOne torch thread. condition: reading a context. step: one step of all environments. PPO: steps of SB3's "
        "PPO in the model, learning included. prior: transitions of so many tasks. MB: growth of the process. OSWM: "
        f"{theirs['steps a second']} steps a second, {theirs['minutes of 50000 steps']} minutes for 50,000, "
        f"{theirs['prior transitions a second']} transitions of its prior a second."
    )


def world_model_transfer(rows: Sequence[Row]) -> str:
    """A row for each task and agent: mean (worst) real return, of agents made in a model and of those made outside."""
    groups: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    spent: dict[tuple[str, str, str], dict[int, int]] = {}
    for row in rows:
        at = (row["task"], row["algorithm"], row["model"])
        groups.setdefault(at, {}).setdefault(int(row["steps"]), []).append(float(row["real_return"]))
        spent.setdefault(at, {})[int(row["steps"])] = int(row["transitions"])
    theirs = oswm("return")
    lines = []
    for at, budgets in groups.items():
        for steps, returns in sorted(budgets.items()):
            found = statistics(returns)
            mean, low, high = (number(round(value, 2)) for value in (found["mean"], *found["interval"]))
            inside = at[2] != REAL and steps == max(budgets)
            lines.append([
                *at[:2], at[2], number(steps), number(spent[at][steps]), found["n"], f"{mean} ({low} to {high})",
                number(round(found["worst"], 2)), theirs.get((at[0], ""), "") if inside else "",
            ])  # fmt: skip
    header = ["task", "agent", "learns in", "steps", "real transitions", "n", "mean return", "worst", "OSWM"]
    return (
        table(header, lines)
        + "\n\nMean real return of the final policies of n agents, 50 episodes each (planners: up to 10), and its 95 % "
        "bootstrap interval. "
        "OSWM: final policies after 50,000 steps in its model (mean +- standard deviation of its runs)."
    )


def oswm(what: str) -> dict[tuple[str, str], str]:
    """OSWM's figures of a kind by task and test, as text."""
    return {
        (row["task"], row["test"]): row["value"] + (f" +- {row['spread']}" if row["spread"] else "")
        for row in read(OSWM)
        if row["what"] == what
    }


def read(path: Path) -> list[dict[str, str]]:
    """A file's rows by column."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def draw_accuracy(path: Path, rows: Iterable[Row]) -> None:
    """Errors of the change against rows, a panel a task."""
    panels: dict[str, dict[str, dict[int, list[float]]]] = {}
    for row in rows:
        if row["test"] == "random" and row["model"] != "persistence":
            line = panels.setdefault(row["task"], {}).setdefault(row["model"], {})
            line.setdefault(int(row["rows"]), []).append(float(row["nmse"]))
    up = "squared error of the change, 1 for none expected"
    sweeps(path, panels, "transitions shown", up, within=SHOWN, strong=OURS)


def draw_transfer(path: Path, rows: Iterable[Row]) -> None:
    """Real returns against real transitions, a panel a task."""
    panels: dict[str, dict[str, dict[int, list[float]]]] = {}
    for row in rows:
        label = f"{row['algorithm']}, {row['model']}"
        line = panels.setdefault(row["task"], {}).setdefault(label, {})
        line.setdefault(int(row["transitions"]), []).append(float(row["real_return"]))
    sweeps(path, panels, "real transitions", "real return", logarithmic=False)
