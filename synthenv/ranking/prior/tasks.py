"""How well pipelines do on tasks that nobody has seen: functions of their features that tasks share more or less.

The quality of a pipeline is what tasks agree on, plus directions in which they differ, plus something of its own. Each
of the three is in part a random smooth function of the features, of which few matter, and in part told by nothing. Some
target tasks have nothing to do with the others. Qualities then become scores, with ceilings, crashes, and an offset and
a spread of every task.

Letters: B tables, T tasks, M pipelines, F features, R directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

WAVES = 24
"""Cosines in a random function."""


@dataclass(frozen=True)
class TaskSettings:
    """What tasks and pipelines are drawn from."""

    unrelated: float = 0.12
    """Share of tables whose target has nothing to do with the other tasks."""
    apart: float = 0.1
    """Share of tables whose tasks have nothing to do with one another."""
    rivals: float = 0.1
    """Share of tables whose tasks compete for what a pipeline has to give, so that what suits one harms the others."""
    noise: float = 0.3
    """Largest share of a quality that is a task's and pipeline's own."""
    own: float = 0.8
    """Largest share of a function that features do not tell."""
    crashes: float = 0.3
    """Share of tables in which some pipelines crash."""
    offset: float = 2.0
    """Largest standard deviation of tasks' offsets, in typical spreads."""
    spread: float = 1.0
    """Largest standard deviation of the logarithm of tasks' spreads."""


class Pipelines(NamedTuple):
    """Features of pipelines: values, active [B, M, F]."""

    values: Tensor
    active: Tensor


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Numbers from low to high, [*shape]."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard normal numbers, [*shape]."""
    return torch.randn(shape, generator=generator, device=generator.device)


def draw_pipelines(b: int, m: int, f: int, generator: torch.Generator) -> Pipelines:
    """Pipelines whose features are numbers, words, facts of the model they share with others, or conditional."""
    device = generator.device
    numbers = uniform((b, m, f), -1.0, 1.0, generator) * math.sqrt(3)
    models = torch.randint(2, 2 + max(2, m // 6), (b, 1), generator=generator, device=device)
    model = (torch.rand((b, m), generator=generator, device=device) * models).long()  # [B, M]
    shared = numbers.gather(1, model[..., None].expand_as(numbers))
    levels = torch.randint(2, 6, (b, 1, f), generator=generator, device=device)
    stepped = (((numbers / math.sqrt(3) + 1) / 2 * levels).floor() + 0.5) / levels * 2 * math.sqrt(3) - math.sqrt(3)
    kind = torch.rand((b, 1, f), generator=generator, device=device)
    values = torch.where(kind < 0.45, numbers, torch.where(kind < 0.7, stepped, shared))
    word = torch.rand((b, 1, f), generator=generator, device=device) < 0.2
    rare = uniform((b, 1, f), -1.0, 1.2, generator)
    values = torch.where(word, (values > rare).to(values) * 2 - 0.5, values)
    conditional = torch.rand((b, 1, f), generator=generator, device=device) < 0.1
    switch = values.roll(1, -1) if f else values
    active = ~conditional | (switch > 0)
    return Pipelines(values * active, active)


def functions(pipelines: Pipelines, n: int, settings: TaskSettings, generator: torch.Generator) -> Tensor:
    """Random functions of pipelines with mean 0 and variance 1, [B, n, M]."""
    x = pipelines.values
    b, m, f = x.shape
    heed = (normal((b, 1, f), generator) * 1.2).exp()
    heed = heed * (normal((b, n, f), generator) * 0.4).exp()
    heed = heed / heed.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-6)
    pace = uniform((b, n, 1, 1), 0.4, 1.6, generator)
    waves = normal((b, n, f, WAVES), generator) * heed[..., None] * pace
    phase = uniform((b, n, 1, WAVES), 0, 2 * math.pi, generator)
    smooth = (torch.cos(x[:, None] @ waves + phase) * normal((b, n, 1, WAVES), generator)).sum(-1)
    share = uniform((b, n, 1), 0.0, settings.own, generator) if f else torch.ones(b, n, 1, device=x.device)
    told = _standard(smooth) if f else torch.zeros(b, n, m, device=x.device)
    return (1 - share).sqrt() * told + share.sqrt() * normal((b, n, m), generator)


def draw_qualities(pipelines: Pipelines, t: int, settings: TaskSettings, generator: torch.Generator) -> Tensor:
    """Qualities [B, T, M], about standard normal; the first task is the target."""
    b = len(pipelines.values)
    device = generator.device
    directions = int(torch.randint(1, 7, (1,), generator=generator, device=device))
    drawn = functions(pipelines, 2 + 2 * directions, settings, generator)
    common, parts = drawn[:, :2], drawn[:, 2:].unflatten(1, (2, directions))
    agreed = 1 - 0.95 * uniform((b, 1, 1), 0.0, 1.0, generator).pow(1.3)
    agreed = torch.where(torch.rand((b, 1, 1), generator=generator, device=device) < settings.apart, 0.02, agreed)
    fade = torch.linspace(1.0, 0.3, directions, device=device)
    weights = normal((b, t, directions), generator) * (fade / fade.square().sum().sqrt())
    apart = torch.einsum("btr,brm->btm", weights, parts[:, 0])
    quality = agreed.sqrt() * common[:, :1] + (1 - agreed).sqrt() * apart
    alien = common[:, 1] * 0.7 + 0.7 * torch.einsum("br,brm->bm", weights[:, 0], parts[:, 1])
    foreign = torch.rand((b, 1), generator=generator, device=device) < settings.unrelated
    quality[:, 0] = torch.where(foreign, alien, quality[:, 0])
    compete = torch.rand((b, 1, 1), generator=generator, device=device) < settings.rivals
    if bool(compete.any()):
        quality = torch.where(compete, _rivals(pipelines, t, settings, generator), quality)
    noise = uniform((b, 1, 1), 0.0, 1.0, generator).square() * settings.noise
    return (1 - noise).sqrt() * quality + noise.sqrt() * normal(tuple(quality.shape), generator)


def _rivals(pipelines: Pipelines, t: int, settings: TaskSettings, generator: torch.Generator) -> Tensor:
    """Qualities [B, T, M] of tasks among which a pipeline shares itself out, some shares being features."""
    b, m, f = pipelines.values.shape
    wish = functions(pipelines, t, settings, generator)
    shown = min(t, f)
    told = torch.rand((b, 1, 1), generator=generator, device=generator.device) < 0.7
    order = torch.randperm(t, generator=generator, device=generator.device)[:shown]
    wish[:, order] = torch.where(told, _standard(pipelines.values.mT[:, :shown]), wish[:, order])
    return _standard(torch.log_softmax(uniform((b, 1, 1), 0.7, 2.5, generator) * wish, 1))


def draw_scores(pipelines: Pipelines, quality: Tensor, settings: TaskSettings, generator: torch.Generator) -> Tensor:
    """Scores [B, T, M] of qualities before every task's own units: symmetric, with a ceiling, or with a crash."""
    b, t, m = quality.shape
    device = generator.device
    steep = uniform((b, 1, 1), 0.2, 1.6, generator)
    ceiling = (1 - torch.exp(-steep * quality)) / steep
    logistic = torch.sigmoid(2 * steep * (quality + uniform((b, 1, 1), -1.0, 1.5, generator))) * 2 / steep
    kind = torch.rand((b, 1, 1), generator=generator, device=device)
    score = torch.where(kind < 0.3, quality, torch.where(kind < 0.8, ceiling, logistic))
    danger = functions(pipelines, 1, settings, generator) + 0.4 * normal((b, t, m), generator)
    danger = danger - 0.5 * quality
    limit = uniform((b, 1, 1), 0.4, 2.0, generator)
    crash = (torch.rand((b, 1, 1), generator=generator, device=device) < settings.crashes) & (danger > limit)
    return torch.where(crash, score.clamp_max(-1.0) - 3 * danger.abs(), score)


def put_in_units(score: Tensor, settings: TaskSettings, generator: torch.Generator) -> Tensor:
    """Scores [B, T, M, K] with an offset and a spread of every task."""
    b, t = score.shape[:2]
    alike = uniform((b, 1), 0.0, 1.0, generator)
    spread = (normal((b, t), generator) * alike * settings.spread).exp()
    offset = normal((b, t), generator) * uniform((b, 1), 0.0, 1.0, generator) * settings.offset
    size = (normal((b, 1), generator) * 2).exp()
    return ((score * spread[..., None, None]) + offset[..., None, None]) * size[..., None, None]


def _standard(x: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the last axis."""
    x = x - x.mean(-1, keepdim=True)
    return x / x.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
