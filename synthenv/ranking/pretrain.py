"""Makes the in-context ranker's weights from nothing but made-up tables: recipe, training, and an examination."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from synthenv import pretrained, seeding, shelf
from synthenv.artifact import check_free
from synthenv.pretraining import Plan, Schedule, pretrain
from synthenv.ranking.lesson import LessonSettings, lesson
from synthenv.ranking.network import Architecture, Network
from synthenv.recipe import digest

EXAM = 200
"""Batches of the final examination, none of which was trained on."""


@dataclass(frozen=True)
class RankerRecipe:
    """How an in-context ranker is made."""

    id: str
    """What it is called."""
    seed: int = 0
    """All randomness follows from it."""
    architecture: Architecture = field(default_factory=Architecture)
    lesson: LessonSettings = field(default_factory=LessonSettings)
    schedule: Schedule = field(default_factory=Schedule)


def pretrain_ranker(
    recipe: RankerRecipe, out: Path, run_folder: Path, *, resume: bool = False, progress: bool | None = None,
    device: str = "cpu",
) -> dict[str, Any]:  # fmt: skip
    """Train by a recipe and write the finished folder `out`; returns its card.

    Raises ValueError as `pretraining.pretrain` does, and where `out` holds something else.
    """
    check_free(out)
    plan = Plan(
        partial(Network, recipe.architecture), partial(lesson, settings=recipe.lesson), recipe.schedule, recipe.seed,
        digest(recipe), run_folder, device=device,
    )  # fmt: skip
    network, done = pretrain(plan, resume=resume, progress=progress)
    assert isinstance(network, Network)
    cost = {"steps": done.step, "seconds": round(done.seconds, 1),
            "cpu_seconds": round(done.cpu_seconds * recipe.schedule.processes, 1), "device": device}  # fmt: skip
    exam = examine(network.cpu(), recipe)
    pretrained.save(out, recipe, network, {"kind": "ranker", "cost": cost, "exam": exam}, _about(recipe, cost, exam))
    return shelf.card(out)


def examine(network: Network, recipe: RankerRecipe) -> dict[str, float]:
    """Mean losses on made-up tables that were never trained on."""
    sums: dict[str, float] = {}
    with torch.no_grad():
        for batch in range(EXAM):
            losses = lesson(network, seeding.generator(recipe.seed, "exam", batch), 1.0, recipe.lesson)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value) / EXAM
    return {name: round(value, 4) for name, value in sums.items()}


def load(folder: str | Path) -> Network:
    """The network of a finished folder; raises ValueError where its files do not belong together."""
    found = pretrained.load(folder, RankerRecipe)
    network = Network(found.recipe.architecture)
    network.load_state_dict(found.weights)
    return network.eval().requires_grad_(False)


def _about(recipe: RankerRecipe, cost: dict[str, Any], exam: dict[str, float]) -> str:
    """The README of a finished folder."""
    return (
        f"# {recipe.id}\n\nAn in-context ranker of pipelines. It reads other tasks' runs and a new task's partial "
        "curves, and foretells\nscores and seconds without any refit:\n\n"
        "```python\nfrom synthenv.ranking.rankers import ranker\nfrom synthenv.ranking.runs import RunTable\n\n"
        f'ranking = ranker("in_context", model="{recipe.id}").fit(RunTable.read("runs.csv"))\n'
        'print(ranking.rank("mine", observed=RunTable.read("partial.csv")).table())\n```\n\n'
        f"Pretrained for {cost['steps']:,} steps on made-up tables alone, {cost['cpu_seconds']:,.0f} CPU seconds "
        f"({cost['device']}). On {EXAM} batches of them that it\nhad not seen, its continuous ranked probability "
        f"score is {exam['pinball']:.4f}, and that of the closed form inside it\n{exam['closed_form']:.4f} (in "
        "distances from a task's median pipeline to its best; less is better).\n"
    )
