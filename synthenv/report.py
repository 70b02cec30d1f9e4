"""Pictures and tables made from results: curves, grids and points as PNG, tables as Markdown."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from synthenv.scores import Trial, statistics

Curve = Mapping[int, Sequence[float]]
"""Steps trained -> the real returns measured there, one an agent (or one an episode of a single agent)."""

NORMAL_80 = 1.2816
"""Standard deviations to either side that hold 80 % of a normal distribution."""
COLOURS = ("#0072b2", "#d55e00", "#7f7f7f", "#009e73", "#cc79a7")  # Okabe and Ito: told apart by every eye
MORE_COLOURS = ("#e6ab02", "#56b4e9", "#7f3c8d")


def learning_curves(path: Path, panels: Mapping[str, Mapping[str, Curve]], target: str) -> None:
    """Draw real return against steps: a panel a learner, a line an environment, a band of 95 % around each mean.

    panels: panel title -> label of the line -> curve. A label has the same colour in every panel.
    """
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    colour = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(1.2 + 3.4 * columns, 0.8 + 3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        for label, curve in lines.items():
            steps = sorted(curve)
            found = [statistics(curve[step]) for step in steps]
            low, high = zip(*(row["interval"] for row in found), strict=True)
            axis.fill_between(steps, low, high, color=colour[label], alpha=0.15, linewidth=0)
            axis.plot(steps, [row["mean"] for row in found], "o-", color=colour[label], markersize=3, label=label)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("training steps")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel(f"return in {target}")
    handles = {
        label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), [f"trained in {label}" for label in handles], loc="outside lower center",
                  ncols=max(1, columns - 1), frameon=False)  # fmt: skip
    figure.savefig(path, dpi=150)


def grid(
    path: Path,
    rows: Sequence[str],
    columns: Sequence[tuple[str, str]],
    cells: Mapping[tuple[str, tuple[str, str]], tuple[float, str]],
    caption: str,
) -> None:
    """Draw a table of coloured cells: (value from 0, bad, to 1, good; text) for each row and (group, column).

    Cells may be missing.
    """
    figure = Figure(figsize=(2.4 + 0.72 * len(columns), 1.3 + 0.36 * len(rows)), layout="constrained")
    axis = figure.subplots()
    values = np.array([[cells.get((row, column), (np.nan, ""))[0] for column in columns] for row in rows])
    shown = axis.imshow(values, cmap="RdYlBu", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            if (row, column) in cells:
                strong = not 0.15 < values[y, x] < 0.85
                axis.text(x, y, cells[row, column][1], ha="center", va="center", color="white" if strong else "black")
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xticks(range(len(columns)), [name for _, name in columns])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    groups = [group for group, _ in columns]
    for group in dict.fromkeys(groups):
        first = groups.index(group)
        last = first + groups.count(group) - 1
        axis.text((first + last) / 2, -0.75, group, ha="center", fontweight="bold")
        if first:
            axis.axvline(first - 0.5, color="white", linewidth=4)
    figure.colorbar(shown, label=caption, extend="both")
    figure.savefig(path, dpi=150)


def scatters(
    path: Path,
    panels: Mapping[str, tuple[npt.NDArray[np.floating], npt.NDArray[np.floating], int]],
    columns: int,
    across: str,
    up: str,
) -> None:
    """Draw points in panels, `columns` a row: title -> their x [M], their y [M], and the one that is marked."""
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(0.6 + 3.4 * columns, 0.4 + 3.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    for axis, (title, (x, y, marked)) in zip(axes.flat, panels.items(), strict=False):
        axis.scatter(x, y, s=14, color=COLOURS[0], alpha=0.6, linewidths=0)
        axis.scatter(x[marked], y[marked], s=70, facecolor="none", edgecolor=COLOURS[1], linewidths=1.8)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(across, fontsize=10)
    figure.supylabel(up, fontsize=10)
    figure.savefig(path, dpi=150)


def sweeps(
    path: Path,
    panels: Mapping[str, Mapping[str, Curve]],
    across: str,
    up: str,
    columns: int = 4,
    logarithmic: bool = True,
    within: tuple[float, float] = (-np.inf, np.inf),
    strong: str | None = None,
) -> None:
    """Draw medians against a budget, which grows by factors, with bands from lowest to highest.

    panels: panel title -> label of the line -> budget -> values. A label has the same colour in every panel; a line of
    one point has a bar. What lies outside `within` is drawn at its ends. The line called `strong` is black, thick and
    above the others, and has the only band.
    """
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    palette = (*COLOURS, *MORE_COLOURS)
    others = [label for label in labels if label != strong]
    styles: dict[str, dict[str, Any]] = {
        label: {"color": palette[i % len(palette)], "linewidth": 1.2, "linestyle": ("-", "--")[i // len(palette) % 2]}
        for i, label in enumerate(others)
    }
    if strong in labels:
        styles[strong] = {"color": "black", "linewidth": 2.8, "zorder": 3}
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(0.8 + 2.9 * columns, 0.9 + 2.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        for label, curve in lines.items():
            style = styles[label]
            budgets = sorted(curve)
            found = np.array([np.quantile(curve[at], (0, 0.5, 1)) for at in budgets])
            low, middle, high = np.clip(found.T, *within)
            if len(budgets) == 1:
                axis.vlines(budgets, low, high, color=style["color"], linewidth=1.2)
            elif strong in (label, None):
                axis.fill_between(budgets, low, high, color=style["color"], alpha=0.12, linewidth=0)
            axis.plot(budgets, middle, marker="o", markersize=3, label=label, **style)
        axis.set_title(title, fontsize=10)
        axis.set_xscale("log")
        axis.set_yscale("log" if logarithmic else "linear")
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    known = [at for lines in panels.values() for curve in lines.values() for at in curve]
    axes.flat[0].set_xlim(min(known) / 1.5, max(known) * 1.5)
    for axis in axes[-1]:
        axis.set_xlabel(across)
    figure.supylabel(up, fontsize=10)
    handles = {
        label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 7), frameon=False)
    figure.savefig(path, dpi=150)


def ranking(path: Path, rows: Sequence[Mapping[str, Any]], title: str, scale: str = "score") -> None:
    """Draw candidates, best first: the interval that holds the score with 80 %, how likely it is best, its price.

    rows: with pipeline, mean, sd, best and seconds, as `Ranking.rows` gives them; seconds may be nan.  scale: theirs.
    """
    places = range(len(rows))
    mean, sd, best, seconds = (np.array([row[key] for row in rows]) for key in ("mean", "sd", "best", "seconds"))
    panels = 2 + bool(np.isfinite(seconds).any())
    figure = Figure(figsize=(3.2 + 2.4 * panels, 1.2 + 0.26 * len(rows)), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, width_ratios=[2, *[1] * (panels - 1)])
    axes[0].hlines(places, mean - NORMAL_80 * sd, mean + NORMAL_80 * sd, color=COLOURS[0], linewidth=3, alpha=0.4)
    axes[0].plot(mean, places, "o", color=COLOURS[0], markersize=4)
    axes[1].barh(places, best, color=COLOURS[3])
    for axis, name in zip(axes, (f"{scale}, 80 % interval", "P(best)", "seconds left"), strict=False):
        axis.set_xlabel(name)
        axis.grid(axis="x", alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    if panels == 3:
        axes[2].barh(places, np.nan_to_num(seconds), color=COLOURS[2])
        axes[2].xaxis.set_major_formatter("{x:,.0f}")
    axes[0].set_yticks(places, [row["pipeline"] for row in rows])
    axes[0].invert_yaxis()
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=150)


def curves(trials: Iterable[Trial]) -> dict[str, dict[str, dict[int, list[float]]]]:
    """Arrange trials as `learning_curves` wants them: algorithm -> environment -> steps -> returns."""
    panels: dict[str, dict[str, dict[int, list[float]]]] = {}
    for trial in trials:
        lines = panels.setdefault(trial.algorithm, {})
        lines.setdefault(trial.environment, defaultdict(list))[trial.steps].append(trial.real_return)
    return panels


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers are written by `number` and stand right."""
    rows = list(rows)
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    lines = [
        list(header),
        ["---:" if number_column else "---" for number_column in right],
        *([number(cell) if isinstance(cell, int | float) else str(cell) for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """A number as a person would write it: 10,000, 498.7, 0.031."""
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"


class Checkup(NamedTuple):
    """What `checkup` draws of a simulator, measured on H held-out steps.

    errors:      [O] of each number observed, 1 for "nothing changes"; NaN for one that never does.
    calibration: [O, L] share of changes below the quantiles at levels [L].
    drift:       [K] error after so many steps of imagination.
    doubt, error: [H] what the simulator thought of its prediction, and what was missed.
    """

    title: str
    errors: npt.NDArray[np.floating]
    levels: npt.NDArray[np.floating]
    calibration: npt.NDArray[np.floating]
    drift: npt.NDArray[np.floating]
    doubt: npt.NDArray[np.floating]
    error: npt.NDArray[np.floating]


TINY = 1e-10
"""The least that is drawn on a logarithmic axis."""


def checkup(path: Path, what: Checkup) -> None:
    """Draw how large errors are, whether intervals hold what they promise, how errors grow, and who knew of them."""
    figure = Figure(figsize=(15, 3.8), layout="constrained")
    figure.suptitle(what.title, fontsize=12)
    sizes, promises, growth, knowledge = figure.subplots(1, 4)
    sizes.barh([f"[{i}]" for i in range(len(what.errors))], what.errors.clip(min=TINY), color=COLOURS[0])
    sizes.axvline(1, color="black", linewidth=0.6)
    sizes.set_xscale("log")
    sizes.set_xlabel("squared error of the change, in units of the change")
    sizes.set_ylabel("observation")
    promises.plot([0, 1], [0, 1], color="black", linewidth=0.6)
    for i, shares in enumerate(what.calibration):
        promises.plot(what.levels, shares, "o-", color=COLOURS[i % len(COLOURS)], markersize=3, label=f"[{i}]")
    promises.set_xlabel("predicted quantile")
    promises.set_ylabel("share of changes below it")
    promises.legend(frameon=False, fontsize=8)
    growth.plot(1 + np.arange(len(what.drift)), what.drift.clip(min=TINY), "o-", color=COLOURS[0], markersize=3)
    growth.set_yscale("log")
    growth.set_xlabel("steps of imagination")
    growth.set_ylabel("squared error, in units of the distance")
    knowledge.scatter(what.doubt.clip(min=TINY), what.error.clip(min=TINY), s=6, color=COLOURS[0], alpha=0.5, lw=0)
    knowledge.set_xscale("log")
    knowledge.set_yscale("log")
    knowledge.set_xlabel("doubt")
    knowledge.set_ylabel("error")
    for axis in (sizes, promises, growth, knowledge):
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def rollouts(
    path: Path,
    real: Mapping[str, npt.NDArray[np.floating]],
    imagined: Mapping[str, npt.NDArray[np.floating]],
    title: str,
) -> None:
    """Draw an episode as it was, and as it was imagined from its first state with the same actions.

    real: panel title -> what happened [T]. imagined: the same panels -> the 5 %, 50 % and 95 % quantiles [3, T].
    """
    columns = min(len(real), 3)
    rows = math.ceil(len(real) / columns)
    figure = Figure(figsize=(0.8 + 4 * columns, 0.9 + 2.4 * rows), layout="constrained")
    figure.suptitle(title, fontsize=12)
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axis in axes.flat[len(real) :]:
        axis.remove()
    for axis, (panel, happened) in zip(axes.flat, real.items(), strict=False):
        low, middle, high = imagined[panel]
        steps = np.arange(len(happened))
        axis.fill_between(steps, low, high, color=COLOURS[1], alpha=0.2, linewidth=0)
        axis.plot(steps, middle, color=COLOURS[1], label="imagined", linewidth=1.2)
        axis.plot(steps, happened, color="black", label="real", linewidth=1)
        axis.set_title(panel, fontsize=10)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False)
    figure.supxlabel("step", fontsize=10)
    figure.savefig(path, dpi=150)
