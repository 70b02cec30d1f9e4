"""`trainer_state.json`, which a Hugging Face Trainer leaves in every checkpoint: one run, its evaluations in a log.

The settings of a run are in no file that can be read without running code: give them. Of its time the log knows the end
alone (`train_runtime`, once the Trainer saved its state after training); earlier evaluations get their steps' share.
Layout as in transformers 4 and 5.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthenv.ranking.runs import RunTable, Settings

STATE = "trainer_state.json"
FALLING = re.compile(r"(^|_)(loss|perplexity|error|wer|cer|mse|rmse|mae)$")
"""Names of metrics of which less is better."""


def read(
    path: str | Path,
    task: str,
    *,
    score: str = "eval_loss",
    unit: str = "epochs",
    maximize: bool | None = None,
    settings: Mapping[str, Settings] | None = None,
    repair: bool = False,
) -> RunTable:
    """Read one file, or all runs under a folder, each by its last checkpoint.

    A pipeline is called by the folder of its run. `score` is a key of the log, less being better where its name says
    so (loss, perplexity, error, ...) unless `maximize` tells; `unit` is epochs or steps.
    """
    path = Path(path)
    if unit not in ("epochs", "steps"):
        raise ValueError(f"a trainer counts epochs or steps, got unit='{unit}'")
    last: dict[str, tuple[int, list[dict[str, float]]]] = {}
    for file in sorted(path.rglob(STATE)) if path.is_dir() else [path]:
        try:
            step, curve = _run(file, score, "epoch" if unit == "epochs" else "step")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{file} is no state of a trainer with a '{score}': {error!r}") from error
        checkpoint = re.fullmatch(r"checkpoint-\d+", file.parent.name)
        run = (file.parent.parent if checkpoint else file.parent).resolve()
        name = run.relative_to(path.resolve()).as_posix() if path.is_dir() and run != path.resolve() else run.name
        if name not in last or step >= last[name][0]:
            last[name] = (step, curve)
    if not last:
        raise ValueError(f"{path} holds no {STATE}; give the folder that the Trainer writes to (output_dir)")
    rows: list[dict[str, Any]] = [{"pipeline": name, **row} for name, (_, curve) in last.items() for row in curve]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("pipeline", "budget", "score", "seconds")}
    better = not FALLING.search(score) if maximize is None else maximize
    return RunTable.of(task, **columns, repair=repair, maximize=better, unit=unit, settings=settings or {})


def _run(file: Path, score: str, budget: str) -> tuple[int, list[dict[str, float]]]:
    """The steps of a run and its evaluations, the last of several at one budget."""
    state = json.loads(file.read_text(encoding="utf-8"))
    log = state["log_history"]
    end = next((row for row in reversed(log) if "train_runtime" in row), None)
    pace = end["train_runtime"] / end["step"] if end and end["step"] else math.nan
    found = {row[budget]: {"budget": row[budget], "score": row[score], "seconds": pace * row["step"] or math.nan}
             for row in log if score in row and row[budget] > 0}  # fmt: skip
    if not found:
        known = sorted({key for row in log for key in row})
        raise ValueError(f"there is no evaluation with it (the log knows: {', '.join(known) or 'nothing'})")
    return state["global_step"], list(found.values())
