"""What a new task's own partial curves add to what other tasks say, in closed form and batched.

A candidate's score is a linear model: an offset, the other tasks' average times a slope, their directions, a smooth
function of the pipeline's features, and a deviation of its own that goes along its curve. How much each counts, and how
wide the task's scores are, nobody knows, so a grid of experts assumes it in as many ways, and each is believed as far
as it foretold what was seen. Where other tasks mislead, those experts win that hardly listen to them.

Scores are measured from the best one seen so far, in units of the task's spread, squashed as those of other tasks are.

Letters: B tasks, M candidates, K budgets, P observed pipelines, J observations kept of each, H = 2 + R + L columns
(offset, average, directions, landmarks), G ways to share the variance, S slopes, W widths, E = G S W experts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.ranking.related import BEND, DIRECTIONS, LANDMARKS, LOW, Related, squash

KEPT = 4
"""Observations of a curve that are used: the last, the first, and some between."""
TRANSFER = (0.15, 0.45, 0.75)
"""Shares of the variance about the average that other tasks' directions and features may explain together."""
FEATURES = (0.05, 0.5, 0.95)
"""Shares of those that features explain."""
SLOPES = (1.0, 0.2)
"""How far a task follows the average of the others."""
WIDTHS = (-1.8, -1.2, -0.6, 0.0, 0.6, 1.2, 1.8)
"""Widths of the task's scores, in standard deviations of the logarithm of other tasks' widths."""
JITTER = 1e-3
NOTHING = 1e6
"""Variance of an observation that is none."""


class Seen(NamedTuple):
    """Observations of the new task.

    pipeline: [B, P] index of the candidate.
    budget:   [B, P, J] index of the budget, the last one first.
    score:    [B, P, J] raw, higher is better.
    known:    [B, P, J] bool; a padded place is none.
    """

    pipeline: Tensor
    budget: Tensor
    score: Tensor
    known: Tensor


class Belief(NamedTuple):
    """What experts agree on.

    top:     [B] the best raw score seen (of other tasks where none was seen).
    width:   [B] raw size of a unit.
    told:    [B, P, J] observations in these units, from `top`.
    mean:    [B, M] of candidates at the budget asked for, in these units, from `top`.
    sd:      [B, M]
    extreme: [B, M, 4] the same mean by those who trust other tasks, features, the average, and who do not.
    odds:    [B, 9] expected share of transfer, features and slope, logarithm of the width and its spread, evidence.
    alone:   [B, P] the last observation less what was expected of it before it was seen, in standard deviations.
    """

    top: Tensor
    width: Tensor
    told: Tensor
    mean: Tensor
    sd: Tensor
    extreme: Tensor
    odds: Tensor
    alone: Tensor


class Fitted(NamedTuple):
    """The experts after reading what was seen: everything that later queries need."""

    related: Related
    top: Tensor
    width: Tensor
    told: Tensor
    seen: Seen
    log_width: Tensor
    """[B, W]"""
    weight: Tensor
    """[B, G, S, W] how far each expert is believed."""
    middle: Tensor
    """[B, G, S, W, H] posterior means of the columns' weights, in the expert's own units."""
    factor: Tensor
    """[B, G, H, H] Cholesky factor of their posterior precision."""
    shares: Tensor
    """[G, 2] of transfer, of features."""
    own: Tensor
    """[B, G, P, J, J] inverse covariance of what a pipeline has of its own."""
    columns: Tensor
    """[B, P, J, H]"""
    values: Tensor
    """[B, W, P, J] observations in every expert's units."""
    alone: Tensor


def fit(told: Related, seen: Seen) -> Fitted:
    """Read the observations."""
    some = seen.known.flatten(1).any(1)
    highest = torch.where(seen.known, seen.score, -torch.inf).flatten(1).amax(1)
    top = torch.where(some, highest, _average(told.units.best, told.units.known))
    log_width, values, slope = _measured(told, seen, top)

    shares = torch.tensor([(g, f) for g in TRANSFER for f in FEATURES]).to(top)
    columns = _columns(told, seen.pipeline[..., None].expand_as(seen.budget), seen.budget) * seen.known[..., None]
    own = _own(told, seen, shares)
    offset, doubt = _offset(told, top, log_width, some)  # [B, W]
    precision = 1 / _variances(shares, doubt.mean(1), told.variance[..., -1].mean(1))  # [B, G, H]
    before = columns.new_zeros(len(top), len(SLOPES), len(WIDTHS), columns.shape[-1])
    before[..., 0] = offset[:, None]
    before[..., 1] = torch.tensor(SLOPES).to(top)[:, None]
    rest = values[:, None] - torch.einsum("bpjh,bswh->bswpj", columns, before)  # [B, S, W, P, J]
    rest = rest * seen.known[:, None, None]
    inverse = torch.linalg.inv(own)
    factor, shift, evidence = _regression(columns, rest, inverse, precision)
    evidence = evidence - 0.5 * _log_volume(own, seen.known)[:, :, None, None] + slope[:, None, None]
    evidence = evidence - torch.tensor(WIDTHS).to(top).square() / 2
    weight = torch.softmax(evidence.flatten(1), 1).view_as(evidence)

    width = (weight.sum((1, 2)) * log_width).sum(1).exp()
    seen_width = torch.where(seen.known, (seen.score - top[:, None, None]) / width[:, None, None], 0.0)
    usual = told.variance[..., -1].mean(1, keepdim=True).sqrt()
    alone = rest[:, 0, len(WIDTHS) // 2, :, 0] / usual
    return Fitted(
        told, top, width, squash(seen_width), seen, log_width, weight, before[:, None] + shift, factor, shares, inverse,
        columns, values, alone,
    )  # fmt: skip


def _measured(told: Related, seen: Seen, top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Observations in units of every width: the widths' logarithms, the values [B, W, P, J], and their log slopes.

    The last [B, W] are those by which densities of values become densities of raw scores.
    """
    logs, spread = _widths(told, seen, top)
    log_width = logs[:, None] + torch.tensor(WIDTHS).to(top) * spread[:, None]  # [B, W]
    raw = torch.where(seen.known, seen.score - top[:, None, None], 0.0)[:, None]
    scaled = (raw / log_width.exp()[:, :, None, None]).clamp_min(-100)
    bent = -torch.log1p(BEND * (LOW - scaled).clamp_min(0))
    slope = torch.where(seen.known[:, None], bent - log_width[:, :, None, None], 0.0).sum((-1, -2))
    return log_width, squash(scaled), slope


def _regression(columns: Tensor, rest: Tensor, inverse: Tensor, precision: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bayesian regression of what is left [B, S, W, P, J] on columns, as each expert does it.

    Returns the factor of the posterior precision, the posterior means [B, G, S, W, H], and the evidence [B, G, S, W]
    but for what is the noise's alone.
    """
    whitened = torch.einsum("bgpij,bpjh->bgpih", inverse, columns)
    gram = torch.einsum("bpjh,bgpji->bghi", columns, whitened) + torch.diag_embed(precision)
    factor = torch.linalg.cholesky(gram)
    side = torch.einsum("bgpih,bswpi->bgswh", whitened, rest)
    solved = torch.cholesky_solve(side.flatten(2, 3).mT, factor).mT.unflatten(2, side.shape[2:4])
    plain = torch.einsum("bswpi,bgpij,bswpj->bgsw", rest, inverse, rest)
    volume = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - precision.log().sum(-1)  # [B, G]
    return factor, solved, -0.5 * (plain - (side * solved).sum(-1) + volume[:, :, None, None])


def _log_volume(own: Tensor, known: Tensor) -> Tensor:
    """Logarithms of determinants of own [B, G, P, J, J] where known, summed over pipelines, [B, G]."""
    each: Tensor = torch.linalg.slogdet(own).logabsdet
    return each.sum(-1) - math.log(NOTHING) * (~known).sum((-1, -2))[:, None]


def ask(fitted: Fitted, pipeline: Tensor, budget: Tensor) -> Belief:
    """What is expected of candidates [B, M] at budgets [B, M], both indices."""
    told, seen = fitted.related, fitted.seen
    columns = _columns(told, pipeline[..., None], budget[..., None])[:, :, 0]  # [B, M, H]
    where = owner(pipeline, seen.pipeline, told.mean.shape[1], seen.known[..., 0])  # [B, M] index into P, -1 for none
    has = where >= 0
    shares = 1 - fitted.shares[:, 0]
    variance = _pick(told.variance, pipeline, budget) + told.doubt.gather(1, pipeline)  # [B, M]
    own = shares[:, None] * variance[:, None]  # [B, G, M]
    rows = where.clamp_min(0)
    near = seen.budget.gather(1, rows[..., None].expand(-1, -1, seen.budget.shape[2]))  # [B, M, J]
    together = told.along[torch.arange(len(near), device=near.device)[:, None, None], budget[..., None], near]
    there = told.variance.gather(1, pipeline[..., None].expand(-1, -1, told.variance.shape[2])).gather(2, near)
    there = there + told.doubt.gather(1, pipeline)[..., None]
    known = seen.known.gather(1, rows[..., None].expand_as(near)) & has[..., None]
    cross = together * (there * variance[..., None]).sqrt() * known  # [B, M, J]

    def taken(x: Tensor, dim: int) -> Tensor:
        """Of observed pipelines along `dim` of x [...], those that candidates are: [...]."""
        shape = [1] * x.dim()
        shape[0], shape[dim] = rows.shape
        sizes = list(x.shape)
        sizes[dim] = rows.shape[1]
        return x.gather(dim, rows.view(shape).expand(sizes))

    gain = torch.einsum("g,bmj,bgmji->bgmi", shares, cross, taken(fitted.own, 2))  # [B, G, M, J]
    left = own - torch.einsum("bgmi,g,bmi->bgm", gain, shares, cross)
    effective = columns[:, None] - torch.einsum("bgmj,bmjh->bgmh", gain, taken(fitted.columns, 1))  # [B, G, M, H]
    mean = torch.einsum("bgmh,bgswh->bgswm", effective, fitted.middle)
    mean = mean + torch.einsum("bgmj,bwmj->bgwm", gain, taken(fitted.values, 2))[:, :, None]
    solved = torch.linalg.solve_triangular(fitted.factor, effective.mT, upper=False)
    spread = (left.clamp_min(JITTER) + solved.square().sum(-2)).clamp_min(JITTER)  # [B, G, M]

    scale = (fitted.log_width - fitted.width.log()[:, None]).exp()[:, None, None, :, None]
    mean, sd2 = mean * scale, spread[:, :, None, None] * scale.square()
    weight = fitted.weight[..., None]
    middle = (weight * mean).sum((1, 2, 3))
    total = (weight * (sd2 + (mean - middle[:, None, None, None]).square())).sum((1, 2, 3))

    def by(mask: Tensor) -> Tensor:
        part = weight * mask + 1e-12
        return (part * mean).sum((1, 2, 3)) / part.sum((1, 2, 3))

    g = len(TRANSFER) * len(FEATURES)
    column = fitted.shares[:, 1][:, None, None, None]
    slope = torch.arange(len(SLOPES), device=mean.device)[None, :, None, None] == 0
    ones = torch.ones(g, 1, 1, 1, dtype=torch.bool, device=mean.device)
    extreme = torch.stack((by(column < 0.1), by(column > 0.9), by(slope & ones), by(~slope & ones)), -1)
    return Belief(fitted.top, fitted.width, fitted.told, middle, total.sqrt(), extreme, odds(fitted), fitted.alone)


def odds(fitted: Fitted) -> Tensor:
    """What experts agree on about the task as a whole, [B, 9]."""
    w = fitted.weight
    by_share, by_slope, by_width = w.sum((2, 3)), w.sum((1, 3)), w.sum((1, 2))
    centre = (by_width * fitted.log_width).sum(1)
    spread = (by_width * (fitted.log_width - centre[:, None]).square()).sum(1).sqrt()
    usual = _average(fitted.related.units.spread.log(), fitted.related.units.known)
    trusting = by_share @ fitted.shares
    prior = fitted.log_width[:, -1] - fitted.log_width[:, 0]
    return torch.stack(
        (
            trusting[:, 0], trusting[:, 1], by_slope[:, 0], (centre - usual).clamp(-5, 5), spread, prior,
            fitted.related.agreement, fitted.related.foretold, fitted.alone.square().mean(-1).clamp(0, 25).sqrt(),
        ),
        -1,
    )  # fmt: skip


def _average(x: Tensor, known: Tensor) -> Tensor:
    """Mean [B] of x [B, T] where known, else 0."""
    return torch.where(known, x, 0.0).sum(1) / known.sum(1).clamp_min(1)


def _widths(told: Related, seen: Seen, top: Tensor) -> tuple[Tensor, Tensor]:
    """Expected logarithm of a unit's raw size and its standard deviation, both [B]."""
    known = told.units.known
    count = known.sum(1)
    logs = told.units.spread.log()
    centre = _average(logs, known)
    variance = torch.where(known, (logs - centre[:, None]).square(), 0.0).sum(1) / (count - 1).clamp_min(1)
    sd = ((variance * (count - 1).clamp_min(0) + 2 * 0.5) / (count + 1)).sqrt().clamp(0.15, 1.5)
    sd = torch.where(count == 0, 1.5, sd)
    apart = top - torch.where(seen.known, seen.score, torch.inf).flatten(1).amin(1)
    apart = torch.where(torch.isfinite(apart) & (apart > 0), apart, torch.nan).log()
    low, high = apart - math.log(100.0), apart + math.log(30.0)
    moved = torch.where(apart.isnan(), centre, torch.maximum(torch.minimum(centre, high), low))
    return torch.where((count == 0) & ~apart.isnan(), apart, moved), sd


def _offset(told: Related, top: Tensor, log_width: Tensor, some: Tensor) -> tuple[Tensor, Tensor]:
    """Prior mean and variance [B, W] of how far the task's best is above the best seen, in units."""
    known, best = told.units.known, told.units.best
    count = known.sum(1)
    centre = _average(best, known)
    variance = torch.where(known, (best - centre[:, None]).square(), 0.0).sum(1) / (count - 1).clamp_min(1)
    width = log_width.exp()
    variance = torch.where(count[:, None] > 1, variance[:, None] / width.square() * 1.3 + 0.02, 1e4)
    raw = ((centre - top)[:, None] / width).clamp(-100, 100)
    sharp, vague = 1 / variance, 1 / 1.0
    mean = (sharp * raw + vague * 0.5) / (sharp + vague)
    doubt = 1 / (sharp + vague)
    return torch.where(some[:, None], mean, 0.0), torch.where(some[:, None], doubt, 1e-4)


def _variances(shares: Tensor, offset: Tensor, usual: Tensor) -> Tensor:
    """Prior variances [B, G, H] of the columns' weights."""
    b, g = len(offset), len(shares)
    transfer = shares[:, 0] * (1 - shares[:, 1])
    features = shares[:, 0] * shares[:, 1]
    return torch.cat(
        (
            offset[:, None, None].expand(b, g, 1),
            torch.full((b, g, 1), 0.06, dtype=offset.dtype, device=offset.device),
            transfer[None, :, None].expand(b, g, DIRECTIONS),
            (features * usual[:, None])[..., None].expand(b, g, LANDMARKS),
        ),
        -1,
    )


def _columns(told: Related, pipeline: Tensor, budget: Tensor) -> Tensor:
    """Columns [B, P, J, H] of the linear model for pipelines and budgets [B, P, J]."""
    b, p, j = pipeline.shape
    rows = torch.arange(b, device=pipeline.device)[:, None, None]
    mean = told.mean[rows, pipeline, budget]
    directions = told.directions[rows, pipeline, budget]
    usual = told.variance.mean(1)  # [B, K]
    height = (usual / usual[:, -1:]).clamp(0.05, 20).sqrt()[rows, budget]
    landmarks = told.likeness[rows, pipeline] * height[..., None]
    return torch.cat((torch.ones_like(mean)[..., None], mean[..., None], directions, landmarks), -1)


def _own(told: Related, seen: Seen, shares: Tensor) -> Tensor:
    """Covariance [B, G, P, J, J] of what observed pipelines have of their own."""
    b = len(seen.pipeline)
    rows = torch.arange(b, device=shares.device)[:, None, None]
    variance = (
        told.variance[rows, seen.pipeline[..., None], seen.budget] + told.doubt.gather(1, seen.pipeline)[..., None]
    )
    along = told.along[rows[..., None], seen.budget[..., :, None], seen.budget[..., None, :]]  # [B, P, J, J]
    sd = variance.sqrt()
    block = along * sd[..., :, None] * sd[..., None, :]
    both = seen.known[..., :, None] & seen.known[..., None, :]
    block = torch.where(both, block, 0.0)
    noise = torch.where(seen.known, JITTER + 0.01 * variance, NOTHING)
    return (1 - shares[:, 0])[:, None, None, None] * block[:, None] + torch.diag_embed(noise)[:, None]


def owner(pipeline: Tensor, observed: Tensor, m: int, known: Tensor) -> Tensor:
    """Which observed pipeline each candidate is, -1 for none: [B, M] from indices [B, M], [B, P]."""
    b, p = observed.shape
    place = torch.full((b, m + 1), -1, dtype=torch.long, device=observed.device)
    target = torch.where(known, observed, m)
    place.scatter_(1, target, torch.arange(p, device=observed.device).expand(b, p))
    return place[:, :m].gather(1, pipeline)


def _pick(x: Tensor, pipeline: Tensor, budget: Tensor) -> Tensor:
    """x [B, M, K] at pipelines and budgets [B, N]."""
    rows = torch.arange(len(x), device=x.device)[:, None]
    return x[rows, pipeline, budget]
