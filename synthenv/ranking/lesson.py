"""What a ranker's network is trained on: made-up tables, a few partial curves seen, the rest to be foretold.

Which curves are seen is drawn as a searcher would choose them, more or less: from those that other tasks recommend,
some carried to the end and some given up early.

Letters: B tables, M pipelines, K budgets, P observed pipelines, Q questions, L quantile levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from synthenv.pretraining import Losses
from synthenv.ranking.closed_form import KEPT, Seen
from synthenv.ranking.network import LEVELS, Network, context
from synthenv.ranking.prior import Draw, PriorSettings, draw
from synthenv.ranking.related import Related, squash

TOP = 8.0
"""More units above the best one seen is not asked for."""


@dataclass(frozen=True)
class LessonSettings:
    """One batch."""

    tables: int = 16
    """Tables a batch, of one shape."""
    questions: int = 48
    """Candidates asked about, a table."""
    curves: int = 24
    """Most partial curves seen."""
    nothing: float = 0.12
    """Share of batches in which none is."""
    prior: PriorSettings = field(default_factory=PriorSettings)


def lesson(network: nn.Module, generator: torch.Generator, done: float, settings: LessonSettings) -> Losses:
    """Losses of one batch; `done` of the training is not looked at."""
    assert isinstance(network, Network)
    b = settings.tables
    with torch.no_grad():
        made = draw(b, settings.prior, generator)
        told, price = context(made.table)
        seen = observe(made, told, settings, generator)
        seconds = made.seconds[torch.arange(b)[:, None], seen.pipeline, seen.budget[..., 0]]
        seconds = torch.where(seen.known[..., 0], seconds, torch.nan)
        pipeline, budget = ask(made, told, settings, generator)
    known = network.read(told, price, made.table.when, made.table.active, seen, seconds)
    answer = network.answer(known, pipeline, budget)
    rows = torch.arange(b)[:, None]
    belief = answer.belief
    some = seen.known.flatten(1).any(1)
    best = made.score[..., -1].amax(1)
    spread = (best - made.score[..., -1].median(1).values).clamp_min(1e-6 * best.abs() + 1e-9)
    top, width = torch.where(some, belief.top, best), torch.where(some, belief.width, spread)
    truth = squash((made.score[rows, pipeline, budget] - top[:, None]) / width[:, None]).clamp_max(TOP)
    fresh = (_reach(seen, made.score.shape[1])[rows, pipeline] < budget).to(truth)
    loss = _mean(pinball(answer.quantiles, truth) / (belief.sd + 0.03).sqrt(), fresh)
    plain = belief.mean[..., None] + belief.sd[..., None] * torch.special.ndtri(torch.tensor(LEVELS, dtype=truth.dtype))
    price_loss = _cost_loss(answer.cost, answer.cost_sd, made.seconds[rows, pipeline, budget], fresh)
    return {
        "loss": loss + 0.05 * price_loss,
        "pinball": _mean(pinball(answer.quantiles, truth), fresh).detach(),
        "closed_form": _mean(pinball(plain, truth), fresh).detach(),
        "cost": price_loss.detach(),
    }


def pinball(quantiles: Tensor, truth: Tensor) -> Tensor:
    """Twice the mean pinball loss [B, Q] of quantiles [B, Q, L]: about the continuous ranked probability score."""
    levels = torch.tensor(LEVELS, dtype=truth.dtype, device=truth.device)
    over = truth[..., None] - quantiles
    return 2 * torch.maximum(levels * over, (levels - 1) * over).mean(-1)


def observe(made: Draw, told: Related, settings: LessonSettings, generator: torch.Generator) -> Seen:
    """Partial curves of the target that a searcher could have seen, the same number in every table."""
    b, m, k = made.score.shape
    device = generator.device
    draws = torch.rand(2, generator=generator, device=device).tolist()
    p = 0 if draws[0] < settings.nothing else int(math.exp(draws[1] * math.log(min(settings.curves, m) + 1)))
    heed = 6 * torch.rand((b, 1), generator=generator, device=device) - 1.5
    noise = -torch.log(-torch.log(torch.rand((b, m), generator=generator, device=device).clamp(1e-6, 1 - 1e-6)))
    usual = told.variance[..., -1].mean(1).sqrt()[:, None]
    pipeline = (heed.clamp_min(0) * told.mean[..., -1] / usual + noise).topk(max(1, p), 1).indices
    rows = torch.arange(b, device=device)[:, None]
    full = torch.rand((b, 1), generator=generator, device=device)
    reach = (torch.rand((b, max(1, p)), generator=generator, device=device) * k).long()
    whole = torch.rand(reach.shape, generator=generator, device=device) < full
    last = torch.where(whole, k - 1, reach)
    return kept(made.score[rows, pipeline], pipeline, last, p > 0)


def kept(score: Tensor, pipeline: Tensor, last: Tensor, some: bool) -> Seen:
    """Of curves [B, P, K] until `last` [B, P], the observations that closed forms use."""
    parts = torch.stack((last, torch.zeros_like(last), last // 2, 3 * last // 4), -1)[..., :KEPT]
    double = torch.stack(
        [torch.zeros_like(last, dtype=torch.bool)]
        + [(parts[..., :j] == parts[..., j : j + 1]).any(-1) for j in range(1, KEPT)], -1
    )  # fmt: skip
    return Seen(pipeline, parts, score.gather(-1, parts), ~double & some)


def ask(made: Draw, told: Related, settings: LessonSettings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Candidates and budgets [B, Q] to ask about: half of them promising, half of them at the last budget."""
    b, m, k = made.score.shape
    q = min(settings.questions, m)
    noise = torch.rand((b, m), generator=generator, device=generator.device)
    pipeline = (noise + 0.5 * (made.score[..., -1].argsort(1).argsort(1) / m)).topk(q, 1).indices
    budget = torch.randint(0, k, (b, q), generator=generator, device=generator.device)
    late = torch.rand((b, q), generator=generator, device=generator.device) < 0.6
    return pipeline, torch.where(late, k - 1, budget)


def _reach(seen: Seen, m: int) -> Tensor:
    """Last budget [B, M] that each pipeline was seen at, -1 for none."""
    reach = torch.full((len(seen.pipeline), m + 1), -1, dtype=torch.long, device=seen.pipeline.device)
    reach.scatter_(1, torch.where(seen.known[..., 0], seen.pipeline, m), seen.budget[..., 0])
    return reach[:, :m]


def _cost_loss(mean: Tensor, sd: Tensor, truth: Tensor, fresh: Tensor) -> Tensor:
    """Negative logarithm of the likelihood of costs [B, Q] where they are known."""
    there = fresh * ~truth.isnan()
    far = (truth.nan_to_num() - mean) / sd
    return _mean(0.5 * far.square().clamp_max(100.0) + sd.log(), there)


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    return (x * weight).sum() / weight.sum().clamp_min(1)
