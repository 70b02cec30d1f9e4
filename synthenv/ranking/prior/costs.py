"""What runs cost: seconds that are log-linear in the size of a pipeline, the task and the budget.

Letters: B tables, T tasks, M pipelines, K budgets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthenv.ranking.prior.tasks import Pipelines, TaskSettings, functions, normal, uniform


@dataclass(frozen=True)
class CostSettings:
    """What costs are drawn from."""

    size: float = 1.2
    """Largest standard deviation of the logarithm of costs between pipelines."""
    task: float = 1.5
    """Largest standard deviation of the logarithm of costs between tasks."""
    noise: float = 0.25
    """Largest standard deviation of a run's own cost."""
    unknown: float = 0.3
    """Share of tables that tell no costs."""


def draw_costs(
    when: Tensor, t: int, pipelines: Pipelines, tasks: TaskSettings, settings: CostSettings, generator: torch.Generator
) -> Tensor:
    """Logarithms of seconds [B, T, M, K] until budgets; nan for tables that tell none."""
    b, m = pipelines.values.shape[:2]
    size = functions(pipelines, 1, tasks, generator) * uniform((b, 1, 1), 0.0, settings.size, generator)
    task = normal((b, t, 1), generator) * uniform((b, 1, 1), 0.0, settings.task, generator)
    run = normal((b, t, m), generator) * (0.5 * normal((b, t, m), generator)).exp()
    run = run * uniform((b, 1, 1), 0.0, settings.noise, generator)
    level = 3 * normal((b, 1, 1), generator) + size + task + run
    start = uniform((b, 1, 1, 1), 0.0, 0.05, generator)  # seconds before the first step, as a share of all
    growth = torch.log(start + (1 - start) * when.exp()[:, None, None])
    step = 0.02 * normal((b, t, m, when.shape[1]), generator)
    cost = (level[..., None] + growth + step).cummax(-1).values
    silent = torch.rand((b, 1, 1, 1), generator=generator, device=generator.device) < settings.unknown
    return torch.where(silent, torch.nan, cost)
