"""What runs will cost, in closed form: a level of the task, a size of the pipeline, a law of the budget.

All in logarithms of seconds. A pipeline's size is its mean over tasks, shrunk to what its features foretell; the law of
the budget is seen over all curves; the level of a new task is that of others until its own runs tell.

Letters: B tables, T tasks, M pipelines, K budgets, P observed pipelines.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Price(NamedTuple):
    """Costs as other tasks tell them.

    level: [B] mean logarithm of seconds to the last budget; `doubt` [B] its standard deviation between tasks.
    size:  [B, M] of pipelines about that; `unsure` [B, M] its standard deviation for a new task.
    law:   [B, K] of budgets, 0 at the last.
    known: [B] whether any cost is known.
    """

    level: Tensor
    doubt: Tensor
    size: Tensor
    unsure: Tensor
    law: Tensor
    known: Tensor


class Quote(NamedTuple):
    """Costs of a new task: mean and sd [B, M] of logarithms of seconds, and what a pipeline's own run adds [B, M]."""

    mean: Tensor
    sd: Tensor
    own: Tensor


def price(logs: Tensor, when: Tensor, likeness: Tensor) -> Price:
    """Read logarithms of seconds [B, T, M, K], nan where unknown, at budgets [B, K] of pipelines alike [B, M, L]."""
    there = (~logs.isnan()).to(when)
    filled = logs.nan_to_num()
    law = when
    for _ in range(2):
        rest = (filled - law[:, None, None]) * there
        curve = rest.sum(-1) / there.sum(-1).clamp_min(1)  # [B, T, M]
        ran = (there.sum(-1) > 0).to(when)
        apart = (filled - law[:, None, None] - curve[..., None]) * there
        law = law + apart.sum((1, 2)) / (there.sum((1, 2)) + 3)
        law = law - law[:, -1:]
    size = torch.zeros_like(curve[:, 0])
    for _ in range(3):
        level = ((curve - size[:, None]) * ran).sum(-1) / ran.sum(-1).clamp_min(1)  # [B, T]
        raw = ((curve - level[..., None]) * ran).sum(1) / ran.sum(1).clamp_min(1)  # [B, M]
        size = raw
    count = ran.sum(1)
    some = (count > 0).to(when)
    gram = (likeness * some[..., None]).mT @ likeness
    gram = gram + 0.3 * torch.eye(likeness.shape[-1], dtype=when.dtype, device=when.device)
    guess = (likeness @ torch.linalg.solve(gram, (likeness.mT @ (raw * some)[..., None])))[..., 0]
    size = torch.where(count > 0, raw, guess)
    tasks = (ran.sum(-1) > 0).to(when)
    n = tasks.sum(1)
    middle = (level * tasks).sum(1) / n.clamp_min(1)
    doubt = (((level - middle[:, None]).square() * tasks).sum(1) / (n - 1).clamp_min(1) + 1 / (1 + n)).sqrt()
    missed = ((curve - level[..., None] - size[:, None]) * ran).square().sum((1, 2))
    noise = ((missed + 0.05) / (ran.sum((1, 2)) - count.gt(0).sum(1) + 2).clamp_min(2)).sqrt()[:, None]
    spread = ((raw - guess).square() * some).sum(1) / some.sum(1).clamp_min(1)
    unsure = torch.where(
        count > 0, noise * (1 + 1 / count.clamp_min(1)).sqrt(), (noise.square() + spread[:, None]).sqrt()
    )
    return Price(middle, doubt, size, unsure, law, n > 0)


def quote(told: Price, pipeline: Tensor, budget: Tensor, observed: Tensor, at: Tensor, logs: Tensor) -> Quote:
    """Costs of candidates [B, M] to budgets [B, M], both indices.

    observed [B, P] pipelines cost logs [B, P], nan where unknown, until budgets `at` [B, P].
    """
    there = ~logs.isnan()
    rest = logs.nan_to_num() - told.size.gather(1, observed) - told.law.gather(1, at)
    weight = there / told.unsure.gather(1, observed).square()
    vague = 1 / torch.where(told.known, told.doubt, 5.0).square()
    total = weight.sum(1) + vague
    level = ((rest * weight).sum(1) + told.level * vague) / total  # [B]
    own = torch.zeros_like(told.size).scatter_add(1, observed, torch.where(there, rest - level[:, None], 0.0))
    own = own.gather(1, pipeline)
    ran = torch.zeros_like(told.size).scatter_add(1, observed, there.to(rest)).gather(1, pipeline) > 0
    unsure = torch.where(ran, 0.1, told.unsure.gather(1, pipeline))
    mean = level[:, None] + told.size.gather(1, pipeline) + told.law.gather(1, budget) + own
    return Quote(mean, (unsure.square() + 1 / total[:, None]).sqrt(), own)
