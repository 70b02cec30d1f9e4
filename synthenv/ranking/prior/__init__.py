"""Made-up tables of runs, for pretraining rankers: tasks, curves and costs, and what of them is kept from view.

No real run is in here; what is drawn is as wide as guesses about real tables go.

Letters: B tables, T tasks besides the target, M pipelines, K budgets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.ranking.prior import tasks
from synthenv.ranking.prior.costs import CostSettings, draw_costs
from synthenv.ranking.prior.curves import CurveSettings, draw_budgets, draw_curves
from synthenv.ranking.prior.tasks import TaskSettings, uniform
from synthenv.ranking.related import Table


@dataclass(frozen=True)
class PriorSettings:
    """What made-up tables are drawn from."""

    pipelines: tuple[int, ...] = (12, 256)
    """Fewest and most pipelines; their logarithm is uniform."""
    tasks: tuple[int, ...] = (1, 32)
    """Fewest and most tasks besides the target, likewise."""
    features: int = 10
    """Most features; a third of the tables has none."""
    budgets: int = 8
    """Most budgets; a quarter of the tables has one."""
    sparse: float = 0.4
    """Share of tables in which pipelines are missing from tasks, up to nearly all."""
    fresh: float = 0.4
    """Share of tables in which up to a third of the pipelines was run on no other task."""
    cut: float = 0.3
    """Share of tables in which runs end early."""
    task: TaskSettings = field(default_factory=TaskSettings)
    curve: CurveSettings = field(default_factory=CurveSettings)
    cost: CostSettings = field(default_factory=CostSettings)


class Draw(NamedTuple):
    """Made-up tables and the truth about their target tasks.

    table:   runs of the other tasks, with gaps.
    score:   [B, M, K] of the target, all of it.
    seconds: [B, M, K] logarithms of them, nan for tables that tell no costs.
    """

    table: Table
    score: Tensor
    seconds: Tensor


def draw(b: int, settings: PriorSettings, generator: torch.Generator) -> Draw:
    """Make up B tables of one shape."""

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator, device=generator.device))

    def magnitude(low: int, high: int) -> int:
        way = float(torch.rand((), generator=generator, device=generator.device))
        return min(high, int(low * ((high + 1) / low) ** way))

    m, t = magnitude(*settings.pipelines), magnitude(*settings.tasks)
    f = number(-settings.features // 2, settings.features)
    k = number(2, settings.budgets) if number(0, 3) else 1
    pipelines = tasks.draw_pipelines(b, m, max(0, f), generator)
    quality = tasks.draw_qualities(pipelines, t + 1, settings.task, generator)
    end = tasks.draw_scores(pipelines, quality, settings.task, generator)
    when = draw_budgets(b, k, settings.curve, generator)
    score = end[..., None]
    if k > 1:
        score = draw_curves(end, when, pipelines, settings.task, settings.curve, generator)
    score = tasks.put_in_units(score, settings.task, generator)
    seconds = draw_costs(when, t + 1, pipelines, settings.task, settings.cost, generator)
    hidden = _hidden(b, t, m, k, settings, generator)
    table = Table(
        torch.where(hidden, torch.nan, score[:, 1:]), torch.where(hidden, torch.nan, seconds[:, 1:]), when, *pipelines
    )
    return Draw(table, score[:, 0], seconds[:, 0])


def _hidden(b: int, t: int, m: int, k: int, settings: PriorSettings, generator: torch.Generator) -> Tensor:
    """What of the other tasks is not told, [B, T, M, K]; every task tells some."""

    def share(p: float, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device) < p

    gaps = uniform((b, 1, 1), 0.0, 0.9, generator) * share(settings.sparse, (b, 1, 1))
    absent = torch.rand((b, t, m), generator=generator, device=generator.device) < gaps
    new = torch.rand((b, 1, m), generator=generator, device=generator.device)
    absent = absent | (new < uniform((b, 1, 1), 0.0, 0.35, generator) * share(settings.fresh, (b, 1, 1)))
    absent[..., :3] &= share(0.5, (b, 1, 1))
    length = uniform((b, t, m), 0.0, 1.6, generator) * k
    early = share(settings.cut, (b, 1, 1)) & (length < k)
    ends = torch.where(early, length.ceil().clamp_min(1), float(k))
    late = torch.arange(k, device=generator.device) >= ends[..., None]
    return absent[..., None] | late
