"""What is publicly known of the models in the tables, joined to their runs, so that a model nobody ran can be ranked.

Image models of the testbed are described by their names, by the sizes of their architectures in timm's tables and by
ImageNet accuracy; language models by their architecture, their languages (from their cards) and their benchmark scores
in the tables of observational scaling laws (Ruan et al. 2024), where these have them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ranking_data as tables
from synthenv.ranking.runs import RunTable

BENCHMARKS = ("MMLU", "ARC-C", "HellaSwag", "Winograd", "TruthfulQA", "XWinograd")
"""Those that every language model in both tables has; their mean is its public score."""
ENCODERS, MULTILINGUAL = re.compile("t5|bart|switch"), re.compile("mt5|mgpt")
"""In names of models with an encoder and a decoder, and of those that were trained in sixty languages or more."""
ON_IMAGENET = "val"
"""The testbed's group of settings that are ImageNet's validation set or a part of it: the public score itself."""
TRAINERS = re.compile(r"^(fix|facebook_adv_trained|google|instagram|caffe|fb)[_-]?")
"""Who trained it, before an architecture's name."""


def llm(data: Path) -> RunTable:
    """The language models with what their cards and benchmarks say."""
    runs = tables.llm(data)
    scores = {
        row["Model"].removeprefix("openai-community/"): {name: float(row[name]) for name in BENCHMARKS}
        for row in tables.rows_of(data / "llm_obs_scaling" / "base_llm_benchmark_eval.csv")
        if all(row[name] for name in BENCHMARKS)
    }
    settings = {name: {**told, **spoken(name), **public(scores.get(name, {}))} for name, told in runs.settings.items()}
    return replace(runs, settings=settings)


def spoken(model: str) -> dict[str, Any]:
    """Architecture and languages of a language model."""
    name = model.lower()
    return {
        "model.encoder_decoder": ENCODERS.search(name) is not None,
        "model.languages": "many" if MULTILINGUAL.search(name) else "one",
    }


def public(scores: dict[str, float]) -> dict[str, float]:
    """Benchmark scores and their mean, if there are any."""
    if not scores:
        return {}
    return {tables.PUBLIC: float(np.mean(list(scores.values())))} | {f"model.score.{k}": v for k, v in scores.items()}


def imagenet_testbed(data: Path) -> RunTable:
    """The testbed's models with what their names say, in the settings beside ImageNet's own."""
    runs = tables.imagenet_testbed(data)
    own = dict(zip(*(column[runs.task == ON_IMAGENET].tolist() for column in (runs.pipeline, runs.score)), strict=True))
    sizes = {
        plain(row["model"].split(".")[0]): 1e6 * float(row["param_count"].replace(",", ""))
        for row in tables.rows_of(data / "timm_results" / "results-imagenet.csv")
    }
    parts = {name: named(name, sizes) for name in runs.pipelines}
    shared = {word for word, n in Counter(word for _, words in parts.values() for word in words).items() if n > 1}
    settings = {}
    for name, (architecture, words) in parts.items():
        told = {f"model.name.{word}": word in words for word in shared}
        told |= {"model.family": re.split(r"\d", architecture)[0], tables.PUBLIC: own[name]}
        settings[name] = told | ({"model.parameters": sizes[architecture]} if architecture in sizes else {})
    beside = [task for task in runs.tasks if runs.group.get(task, task) != ON_IMAGENET]
    return replace(runs, settings=settings).only(tasks=beside)


def named(model: str, sizes: dict[str, float]) -> tuple[str, frozenset[str]]:
    """The architecture, the longest beginning of a model's name that has a size, and the other words of the name."""
    name = model.lower()
    trainer = TRAINERS.match(name)
    words = re.split(r"[_\-/.]", TRAINERS.sub("", name))
    length = max((n for n in range(1, len(words) + 1) if plain("".join(words[:n])) in sizes), default=1)
    others = [*words[length:], *([trainer[1]] if trainer else [])]
    return plain("".join(words[:length])), frozenset(others)


def plain(name: str) -> str:
    """A name without the marks between its parts."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
