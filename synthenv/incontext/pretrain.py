"""Pretraining of the in-context world model: synthetic tasks only, made up afresh for every step.

A batch is B tasks of the prior, C transitions of each as context and Q as queries. Two things are asked for: means,
by the logarithm of the mean squared error of every task and slot, so that tasks in which the closed form is off by a
millionth count as much as those in which it fails; and quantiles, by the pinball loss in units of the closed form's
doubt, on a logarithmic scale. Contexts are short at first (in-context learning sets in sooner) and longer later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from synthenv import shelf
from synthenv.artifact import check_free
from synthenv.incontext.experts import solve
from synthenv.incontext.hyperparameters import Search
from synthenv.incontext.model import LEVELS, Architecture, Guess, Known, Network, squash
from synthenv.incontext.prior import PriorSettings, sample
from synthenv.incontext.rows import Rows, Shape
from synthenv.pretrained import save
from synthenv.pretraining import Losses, Plan, Schedule, pretrain
from synthenv.recipe import digest

Source = Callable[[torch.Generator, int, int], tuple[Rows, Shape]]
"""Where tasks come from: so many rows of so many fresh ones."""
FLOOR = 1e-10
"""Mean squared errors below this, in units of the outputs' mean square, are as good as none."""
SLACK = 1e-3
"""So are those below this share of what the expert of the best record usually misses, squared."""
SHUFFLED = 0.25
"""Share of lessons with transitions in any order; in the others the context is what happened first, and queries are
what came of it."""


@dataclass(frozen=True)
class Contexts:
    """How many tasks a batch has, and how many transitions of each are shown."""

    tasks: int = 16
    """Tasks a batch, when contexts are short."""
    shortest: int = 6
    """Fewest transitions."""
    longest: int = 512
    """Most transitions, reached at the end of the curriculum; drawn log-uniformly up to what it allows."""
    begin: int = 64
    """Most transitions at its beginning."""
    grown: float = 0.5
    """Share of the training after which the longest are allowed."""
    queries: int = 96
    """Transitions asked about."""
    search: Search = field(default_factory=lambda: Search(64, 10, False))
    """For hyperparameters: shorter than in use, which spares time and shows poorer closed forms."""


@dataclass(frozen=True)
class WorldModelRecipe:
    """How a world model is made."""

    id: str
    """What it is called."""
    seed: int = 0
    """All randomness follows from it."""
    architecture: Architecture = field(default_factory=Architecture)
    contexts: Contexts = field(default_factory=Contexts)
    prior: PriorSettings = field(default_factory=PriorSettings)
    schedule: Schedule = field(default_factory=Schedule)


def lesson(
    recipe: WorldModelRecipe, source: Source, model: nn.Module, generator: torch.Generator, share: float
) -> Losses:
    """One batch of fresh tasks."""
    assert isinstance(model, Network)
    settings = recipe.contexts
    drawn = torch.rand(3, generator=generator, device=generator.device).tolist()
    most = settings.begin * (settings.longest / settings.begin) ** min(1.0, share / settings.grown)
    count = round(settings.shortest * (most / settings.shortest) ** drawn[0])
    tasks = max(2, round(settings.tasks * min(1.0, settings.begin / count)))
    rows, shape = source(generator, tasks, count + settings.queries)
    if drawn[1] < SHUFFLED:
        rows = rows.pick(torch.randperm(rows.reward.shape[1], generator=generator, device=generator.device))
    context, queries = rows.pick(slice(None, count)), rows.pick(slice(count, None))
    with torch.autocast(rows.reward.device.type, enabled=False):
        solution = solve(context, shape, settings.search)
    known = model.read(solution, context, shape)
    return losses(known, model.answer(known, queries.observation, queries.action), queries)


def losses(known: Known, guess: Guess, queries: Rows) -> Losses:
    """What is wrong with a guess about queries [B, Q]."""
    solution, unit, centre = known.solution, guess.unit.detach(), guess.mean.detach()
    truth = solution.scaled(queries).float().clamp(-1e3, 1e3)
    used = solution.used.float()  # [B, Y]
    floor = FLOOR + SLACK * solution.record.alone.amin(-1).float().square()  # [B, Y]
    mean, process = (0.5 * ((x - truth).square().mean(1) + floor).log() for x in (guess.mean, guess.process))
    where, levels = squash((truth - centre) / unit), truth.new_tensor(LEVELS)
    stated = squash((guess.quantiles - centre[..., None]) / unit[..., None])
    missed = where[..., None] - stated
    pinball = torch.maximum(levels * missed, (levels - 1) * missed).mean((1, 3))  # [B, Y]
    end = functional.binary_cross_entropy_with_logits(guess.end, queries.terminated.float())
    low, high = guess.quantiles[..., 2], guess.quantiles[..., -3]
    inside = ((truth >= low) & (truth <= high)).float().mean(1)
    found = {
        "mean": mean,
        "gain": mean - process,
        "pinball": pinball,
        "inside": inside,
        "own": guess.trust[..., -1].mean(1),
    }
    terms = {name: (value * used).sum() / used.sum() for name, value in found.items()}
    return {"loss": terms["mean"] + 4 * terms["pinball"] + 4 * end, "end": end, **terms}


def build(recipe: WorldModelRecipe) -> Network:
    """The untrained network of a recipe."""
    return Network(recipe.architecture)


def pretrain_world_model(
    recipe: WorldModelRecipe, out: Path, run_folder: Path, *, resume: bool = False, progress: bool | None = None,
    device: str = "cpu", source: Source | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train by a recipe and write the finished folder `out`; returns its card.

    Tasks are those of the recipe's prior unless a source is given: a function of a module, or a partial of one. Raises
    ValueError as `pretraining.pretrain` does, and where `out` holds something else.
    """
    check_free(out)
    taught = partial(lesson, recipe, source or partial(sample, settings=recipe.prior))
    plan = Plan(
        partial(build, recipe), taught, recipe.schedule, recipe.seed, digest(recipe), run_folder, device=device
    )  # fmt: skip
    network, done = pretrain(plan, resume=resume, progress=progress)
    cost = {"steps": done.step, "seconds": round(done.seconds, 1),
            "cpu_seconds": round(done.cpu_seconds * recipe.schedule.processes, 1), "device": device}  # fmt: skip
    losses = {name: round(value, 4) for name, value in done.losses.items()}
    card = {"kind": "world model", "cost": cost, "losses": losses}
    save(out, recipe, network, card, describe(recipe, cost, losses))
    return shelf.card(out)


def describe(recipe: WorldModelRecipe, cost: dict[str, Any], losses: dict[str, float]) -> str:
    """The README of a finished folder."""
    return (
        f"# {recipe.id}\n\nAn in-context world model. Shown transitions of a task, it simulates it:\n\n"
        "```python\nfrom synthenv.incontext import Transitions, WorldModel\n\n"
        f'sim = WorldModel.load("{recipe.id}").condition(Transitions.collect("CartPole-v1", n=1000, seed=0))\n```\n\n'
        f"Pretrained for {cost['steps']:,} steps on synthetic tasks alone, {cost['cpu_seconds']:,.0f} CPU seconds "
        f"({cost['device']}). On fresh tasks of the prior the logarithm of its error is {losses['gain']:+.2f} from the "
        f"Gaussian process's, and its 90 % intervals hold {100 * losses['inside']:.0f} % of what happened.\n\n"
        "This file is written by `synthenv pretrain`.\n"
    )
