"""Results of PEFT's method comparison: one JSON file a run, with its configuration, curve, clock and memory.

A run is a pipeline, called by its experiment; the task is the folder's, for the files do not name it. Settings are
those of `train_config`, under `train.`, and of `peft_config`, under `peft.`; what is nothing or nested deeper is left
out, as are facts that only the finished run knows. Layout as in huggingface/peft, method_comparison/MetaMathQA/results.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthenv.ranking.runs import RunTable

SEEDS = "train.seed"


def read(
    path: str | Path,
    task: str,
    *,
    score: str = "valid accuracy",
    maximize: bool = True,
    seconds: str = "elapsed time",
    repair: bool = False,
) -> RunTable:
    """Read one file, or all of a folder. `score` and `seconds` are keys of an evaluation; budgets are its steps.

    A run that did not succeed is a failed one, warned of. Raises ValueError for a file without any such score.
    """
    path = Path(path)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path} holds no .json files; give the folder of results, or one of its files")
    rows: dict[str, list[Any]] = defaultdict(list)
    settings: dict[str, dict[str, Any]] = {}
    failed = 0
    for file in files:
        try:
            name, told, evaluations = _run(file, score, seconds)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{file} is no result of PEFT's method comparison: {error!r}") from error
        failed += all(math.isnan(row["score"]) for row in evaluations)
        seed = told.pop(SEEDS, 0)
        if settings.setdefault(name, told) != told:
            raise ValueError(f"{file} is another '{name}' than a file before it: rename one of these experiments")
        for row in evaluations:
            for column, value in {"pipeline": name, "seed": seed, **row}.items():
                rows[column].append(value)
    if failed:
        warnings.warn(f"{failed} of {len(files)} runs did not succeed: they count as failed", stacklevel=2)
    return RunTable.of(task, **rows, repair=repair, maximize=maximize, unit="steps", settings=settings)


def _run(file: Path, score: str, seconds: str) -> tuple[str, dict[str, Any], list[dict[str, float]]]:
    """Name, settings and evaluations of one run."""
    told = json.loads(file.read_text(encoding="utf-8"))
    run, training = told["run_info"], told["train_info"]
    method = run.get("peft_config") or {"peft_type": "full finetuning"}
    settings = {**flat("train", run["train_config"]), **flat("peft", method)}
    if training["status"] != "success":
        return run["experiment_name"], settings, [
            {"budget": run["train_config"]["max_steps"], "score": math.nan, "seconds": math.nan}
        ]  # fmt: skip
    told_at: dict[int, dict[str, float]] = {}  # the test at the end repeats what the last evaluation knew
    for row in training["metrics"]:
        if score in row:
            told_at.setdefault(row["step"], row)
    rows = [
        {"budget": step, "score": row[score], "seconds": row.get(seconds, math.nan)} for step, row in told_at.items()
    ]
    if not rows:
        known = sorted({key for row in training["metrics"] for key in row})
        raise ValueError(f"no evaluation has a '{score}' (there are: {', '.join(known)})")
    return run["experiment_name"], settings, rows


def flat(prefix: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of nested mappings under dotted names; a list of words becomes one text, its order forgotten."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, Mapping) and name.endswith("_kwargs"):
            found |= flat(f"{prefix}.{name.removesuffix('_kwargs')}", value)
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            found[f"{prefix}.{name}"] = " ".join(sorted(value))
        elif isinstance(value, bool | int | float | str):
            found[f"{prefix}.{name}"] = value
    return found
