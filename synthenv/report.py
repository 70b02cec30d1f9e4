"""Pictures and tables made from results: learning curves as PNG, tables as Markdown."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from synthenv.scores import Trial, statistics

Curve = Mapping[int, Sequence[float]]
"""Steps trained -> the real returns measured there, one an agent (or one an episode of a single agent)."""

COLOURS = ("#0072b2", "#d55e00", "#7f7f7f", "#009e73", "#cc79a7")  # Okabe and Ito: told apart by every eye


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
                  ncols=len(handles) if columns > 1 else 1, frameon=False)  # fmt: skip
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
