"""How scores come about: curves from a common start to where each pipeline ends.

A curve is a mixture of a power law, an exponential and a rectified law (Lin et al. 2024), with a time of its own, so
that curves cross; some wait, some saturate before the budget is spent, some diverge. A run keeps its best checkpoint,
so what is told at a budget is the best until then.

Letters: B tables, T tasks, M pipelines, K budgets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthenv.ranking.prior.tasks import Pipelines, TaskSettings, functions, normal, uniform


@dataclass(frozen=True)
class CurveSettings:
    """What curves are drawn from."""

    shortest: float = 1e-3
    """Smallest first budget, as a share of the last."""
    pace: float = 1.2
    """Largest standard deviation of the logarithm of pipelines' times."""
    delays: float = 0.3
    """Share of tables in which some pipelines wait before they learn."""
    divergences: float = 0.3
    """Share of tables in which some diverge on the way."""
    noise: float = 0.12
    """Largest standard deviation of a score about its curve, in typical spreads."""


def draw_budgets(b: int, k: int, settings: CurveSettings, generator: torch.Generator) -> Tensor:
    """Logarithms of budgets relative to the last, [B, K] ascending to 0: evenly apart in logarithms, or in budgets."""
    if k == 1:
        return torch.zeros(b, 1, device=generator.device)
    first = uniform((b, 1), math.log(settings.shortest), math.log(0.3), generator)
    way = torch.linspace(0, 1, k, device=generator.device)
    even = torch.log(first.exp() + (1 - first.exp()) * way)
    pick = torch.rand((b, 1), generator=generator, device=generator.device) < 0.5
    return torch.where(pick, first * (1 - way), even)


def draw_curves(
    end: Tensor, when: Tensor, pipelines: Pipelines, tasks: TaskSettings, settings: CurveSettings,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """Best scores until budgets, [B, T, M, K], of runs that tend to end [B, T, M]."""
    b, t, m = end.shape
    device = generator.device

    def share(p: float, shape: tuple[int, ...] = (b, 1, 1)) -> Tensor:
        return torch.rand(shape, generator=generator, device=device) < p

    spread = uniform((b, 1, 1), 0.2, 1.0, generator) * settings.pace
    pace = functions(pipelines, 1, tasks, generator) - uniform((b, 1, 1), -0.3, 0.8, generator) * end.clamp(-2, 2)
    pace = pace + 0.4 * normal((b, t, m), generator)
    middle = uniform((b, 1, 1), -4.5, 0.5, generator) + 0.4 * normal((b, t, 1), generator)
    time = middle + spread * pace  # [B, T, M] logarithm
    wait = torch.where(share(settings.delays) & share(0.3, (b, t, m)), uniform((b, t, m), -4.0, -0.5, generator), -20.0)
    gone = (when.exp()[:, None, None] - wait.exp()[..., None]).clamp_min(1e-6) / time.exp()[..., None]  # [B, T, M, K]
    power = 1 - (1 + gone).pow(-uniform((b, 1, m, 1), 0.3, 2.0, generator))
    exponential = 1 - torch.exp(-gone.pow(uniform((b, 1, m, 1), 0.5, 1.3, generator)))
    steep = uniform((b, 1, 1, 1), 0.4, 1.2, generator)
    rectified = gone.pow(steep) / (1 + gone.pow(steep))
    mix = torch.softmax(2 * normal((b, 1, 1, 1, 3), generator), -1)
    done = (torch.stack((power, exponential, rectified), -1) * mix).sum(-1)
    start = uniform((b, 1, 1), -3.0, -0.3, generator) + 0.2 * normal((b, t, 1), generator)
    start = (start + 0.1 * normal((b, t, m), generator))[..., None]
    fall = torch.where(
        share(settings.divergences) & share(0.3, (b, t, m)), uniform((b, t, m), -3.0, 0.5, generator), 9.0
    )
    lost = (when[:, None, None] - fall[..., None]).clamp_min(0) * 1.5
    noise = uniform((b, 1, 1, 1), 0.0, 1.0, generator).square() * settings.noise
    noise = noise * (0.5 * normal((b, t, m, 1), generator)).exp()
    score = start + (end[..., None] - start) * done - lost + noise * normal((b, t, m, when.shape[1]), generator)
    return score.cummax(-1).values
