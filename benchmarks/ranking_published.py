"""Which language model to finetune: the 21 cells of Lin et al. (2024), "Selecting large language model to fine-tune via
rectified scaling law" (ICML), from finetunings on a part of the set.

In a cell each of 30 models has been finetuned on 1/8 ... 1/512 of a set, and on smaller parts; told is which would be
best on the whole. PearCorr is the correlation of what is foretold with the true loss, RelAcc `(worst - chosen) /
(worst - best)`. Their rows come from their own files; ZeroShot and SubTuning are computed here too, and should agree to
the printed digit. Ours sees the other two sets whole, and these parts of the one in question.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ranking_data as tables
from synthenv.ranking import rankers
from synthenv.ranking.checks import Floats

RATIOS = (8, 16, 32, 64, 128, 256, 512)
RANKERS = ("guarded", "task_gp")
"""The default, which carries such curves on by itself, and the process over tasks that it is built on."""


def published(data: Path) -> list[dict[str, Any]]:
    """A row a method and cell: what they printed and what was computed here."""
    rows: list[dict[str, Any]] = []
    home = data / "llm_finetune_scaling"
    for name, source in (("different_law_for_selection.csv", "printed"), ("ablation_size_constraints.csv", "printed")):
        for row in tables.rows_of(home / name):
            if float(row.get("size_constraint") or 7e9) == 7e9:
                rows.append(
                    line(
                        row["method"],
                        source,
                        row["dataset"].lower(),
                        int(row["ratio"]),
                        row["metric"],
                        float(row["value"]),
                    )
                )
    rows = list({tuple(row[key] for key in ("method", "set", "ratio", "metric")): row for row in rows}.values())
    runs = tables.llm(data)
    for task in runs.tasks:
        rest, own = runs.only(tasks=[name for name in runs.tasks if name != task]), runs.only(tasks=[task])
        grid = own.grid()
        truth = -grid.score[0, :, -1]
        zero = tables.zero_shot(data, task)
        fitted = {name: rankers.ranker(name).fit(rest) for name in RANKERS}
        for ratio in RATIOS:
            most = tables.FULL // ratio
            seen = own.take(own.budget <= most)
            last = int(np.flatnonzero(grid.budgets <= most)[-1])
            foretold = {
                "ZeroShot": np.array([zero[name] for name in grid.pipelines]),
                "SubTuning": -grid.score[0, :, last],
                **{name: -ranker.rank(task, list(grid.pipelines), seen).mean for name, ranker in fitted.items()},
            }
            for method, told in foretold.items():
                for metric, value in zip(("PearCorr", "RelAcc"), scores(told, truth), strict=True):
                    rows.append(line(method, "computed", task, ratio, metric, value))
    return rows


def scores(foretold: Floats, truth: Floats) -> tuple[float, float]:
    """Pearson's correlation of losses [M] foretold with true ones, and relative accuracy of the lowest foretold."""
    chosen = truth[int(np.argmin(foretold))]
    relative = (truth.max() - chosen) / (truth.max() - truth.min())
    return float(np.corrcoef(foretold, truth)[0, 1]), float(relative)


def line(method: str, source: str, task: str, ratio: int, metric: str, value: float) -> dict[str, Any]:
    """A row of the result file."""
    return {"method": method, "source": source, "set": task, "ratio": ratio, "metric": metric, "value": f"{value:.4f}"}
