"""Tables of real runs for `benchmarks.ranking`, read from a folder that the user has; nothing of them is kept here.

taskset_rnn_text      12 text tasks x 1,000 optimizer settings x 51 epochs, TaskSet (Metz et al. 2020) as packed from
                      the tables of DyHPO (Wistuba, Kadra, Grabocka 2022), Apache-2.0; validation loss
imagenet_testbed      186 models in 212 settings (Taori et al. 2020), MIT; severities of one corruption are one group
regmix_data_mixtures  512 mixtures of 17 domains, losses on 13 (Liu et al. 2024), MIT
llm_finetune_scaling  30 language models x 3 sets x 14 sizes of the finetuning set (Lin et al. 2024), Apache-2.0
peft_method_comparison  63 finetunings of one language model, 20 evaluations each, and 31 of an image model (Hugging
                      Face PEFT), Apache-2.0
timm_results          1,500 image models in six test sets with their sizes (Wightman 2019), Apache-2.0
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from synthenv.ranking.runs import RunTable

VARIABLE = "SYNTHENV_DATA"
PUBLIC = "model.public_score"
"""What a model is publicly known to be worth."""
FULL = 1_638_400
"""Examples of a whole finetuning set of `llm_finetune_scaling`."""


def folder(given: Path | None) -> Path:
    """Where the tables lie; raises SystemExit, with a line that says what to do, where nobody said so."""
    found = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if found is None or not found.is_dir():
        raise SystemExit(f"no tables to measure on: name their folder by --data or by the variable {VARIABLE}"
                         + (f" ({found} is none)" if found else ""))  # fmt: skip
    return found


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """The lines of a CSV file by column; raises SystemExit where it is missing."""
    if not path.is_file():
        raise SystemExit(f"{path} is missing: this suite cannot be measured")
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def taskset(data: Path) -> RunTable:
    """Validation losses after each epoch; a run that diverged has failed from then on."""
    path = data / "taskset_rnn_text" / "taskset_rnn_text.npz"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: this suite cannot be measured")
    with np.load(path, allow_pickle=False) as file:
        tasks, names, values, loss = (file[key] for key in ("tasks", "hp_names", "hp", "valid_loss"))
    t, m, k = loss.shape
    pipelines = [f"config {i:04d}" for i in range(m)]
    settings = {
        pipeline: {str(name): float(x) for name, x in zip(names, row, strict=True)}
        for pipeline, row in zip(pipelines, values[0], strict=True)
    }
    return RunTable.of(
        np.repeat(tasks.astype(str), m * k),
        np.tile(np.repeat(pipelines, k), t),
        loss.astype(float).ravel(),
        np.tile(np.arange(1.0, k + 1), t * m),
        maximize=False,
        settings=settings,
    )


def imagenet_testbed(data: Path) -> RunTable:
    """Accuracies of the models that were measured in nearly every setting, and the settings that measured all these."""
    rows = list(rows_of(data / "imagenet_testbed" / "robustness_top1s.csv"))
    tasks = [name for name in rows[0] if name != "model"]
    score = np.array([[float(row[task]) if row[task] else np.nan for task in tasks] for row in rows])  # [M, T]
    kept = np.isfinite(score).sum(0) >= 186
    whole = np.isfinite(score[:, kept]).all(1)
    tasks = [task for task, keep in zip(tasks, kept, strict=True) if keep]
    models = [row["model"] for row, keep in zip(rows, whole, strict=True) if keep]
    table = score[np.ix_(whole, kept)]
    return RunTable.of(
        np.tile(tasks, len(models)), np.repeat(models, len(tasks)), table.ravel(),
        unit="evaluations", group={task: corruption(task) for task in tasks},
    )  # fmt: skip


def corruption(setting: str) -> str:
    """The core of a setting of the testbed: its corruption or data set, without severity and where it was stored."""
    if setting.startswith("imagenet-c."):
        return setting.split(".")[1]
    return re.split(r"[_\-.\d]", setting.replace("imagenet-", "imagenet"))[0]


def regmix(data: Path) -> RunTable:
    """Losses of the 512 smallest models in 13 domains; the weights of 17 domains are the settings."""
    home = data / "regmix_data_mixtures"
    mixtures, losses = (list(rows_of(home / f"train_{what}_1m.csv")) for what in ("mixture", "pile_loss"))
    domains = [name for name in losses[0] if name != "index"]
    settings = {
        f"mixture {row['index']}": {name: float(x) for name, x in row.items() if name != "index"} for row in mixtures
    }
    return RunTable.of(
        np.tile(domains, len(losses)),
        np.repeat([f"mixture {row['index']}" for row in losses], len(domains)),
        [float(row[domain]) for row in losses for domain in domains],
        maximize=False,
        unit="runs",
        settings=settings,
    )


def llm(data: Path) -> RunTable:
    """Test loss after finetuning on so many examples; what a model scores before any is told by `zero_shot`."""
    columns: dict[str, list[Any]] = {"task": [], "pipeline": [], "score": [], "budget": []}
    settings: dict[str, dict[str, Any]] = {}
    for task in ("flan", "gigaword", "wmt19"):
        for row in rows_of(data / "llm_finetune_scaling" / f"{task}.csv"):
            name = row["config name"]
            settings[name] = {"model.parameters": float(row["size"]), "model.family": row["family"]}
            for budget in (b for b in row if b.isdigit() and b != "0"):
                for column, value in zip(columns, (task, name, float(row[budget]), float(budget)), strict=True):
                    columns[column].append(value)
    return RunTable.of(**columns, maximize=False, unit="examples", settings=settings)


def zero_shot(data: Path, task: str) -> dict[str, float]:
    """Loss of each model before finetuning."""
    rows = rows_of(data / "llm_finetune_scaling" / f"{task}.csv")
    return {row["config name"]: float(row["0"]) for row in rows}


PEFT = {"metamathqa": "valid accuracy", "image_gen": "valid dino_similarity"}
"""Task -> its column of scores."""


def peft(data: Path, task: str = "metamathqa") -> RunTable:
    """Validation scores of finetunings along their steps, counted in whole runs, their seconds, what they were told."""
    home = data / "peft_method_comparison"
    settings = {row["run"]: described(row) for row in rows_of(home / f"{task}_runs.csv")}
    rows = [row for row in rows_of(home / f"{task}_curves.csv") if row[PEFT[task]]]
    last = max(float(row["step"]) for row in rows)
    return RunTable.of(
        [task] * len(rows),
        [row["run"] for row in rows],
        [float(row[PEFT[task]]) for row in rows],
        [float(row["step"]) / last for row in rows],
        [float(row["elapsed time"]) for row in rows],
        unit="runs",
        settings={name: settings[name] for name in {row["run"] for row in rows}},
    )


def described(row: dict[str, str]) -> dict[str, Any]:
    """Method, numbers and words of a PEFT configuration."""
    told: dict[str, Any] = {"method": row["peft_type"], "trainable": float(row["num_trainable_params"])}
    told |= {f"lr.{row['train.optimizer_type']}": float(row["train.optimizer.lr"])}
    for name, value in json.loads(row["peft_config_json"] or "{}").items():
        if isinstance(value, bool | int | float | str):
            told[name] = value
    return told


TIMM = ("imagenet-real", "imagenetv2-matched-frequency", "imagenet-sketch", "imagenet-a", "imagenet-r")


def timm(data: Path) -> RunTable:
    """Accuracies of image models in test sets beside ImageNet's own, which is the public score among the features."""
    home = data / "timm_results"
    settings = {
        f"{row['model']} {row['img_size']}": {
            "model.parameters": float(row["param_count"].replace(",", "")),
            "model.resolution": float(row["img_size"]),
            "model.crop": float(row["crop_pct"]),
            PUBLIC: float(row["top1"]),
            **words(row["model"]),
        }
        for row in rows_of(home / "results-imagenet.csv")
    }
    columns: dict[str, list[Any]] = {"task": [], "pipeline": [], "score": []}
    for task in TIMM:
        for row in rows_of(home / f"results-{task.replace('imagenet-sketch', 'sketch')}.csv"):
            if (name := f"{row['model']} {row['img_size']}") in settings:
                for column, value in zip(columns, (task, name, float(row["top1"])), strict=True):
                    columns[column].append(value)
    return RunTable.of(**columns, unit="evaluations", settings=settings)


def words(model: str) -> dict[str, str]:
    """What a name of timm says: the architecture's family, and what its weights were trained on."""
    architecture, _, weights = model.partition(".")
    return {"model.family": re.split(r"[_\d]", architecture)[0], "model.weights": weights or "none"}


DEVELOPMENT = {"taskset": taskset, "imagenet_testbed": imagenet_testbed, "regmix": regmix}
SUITES = {**DEVELOPMENT, "llm": llm}
