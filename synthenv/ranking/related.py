"""What runs of other tasks say of pipelines before the new task has been tried, in closed form and batched.

Scores of every task are put into units of its own: 0 the best final score, 1 the distance from the median to it, with
a logarithm far below, where one bad pipeline is as bad as another. Of these, pipeline by pipeline and budget by budget:
an average, shrunk towards what the pipelines' features foretell as far as the tasks disagree; the main directions in
which tasks deviate from it; how much, and how deviations at one budget go with those at another. Pipelines that nobody
has run get all of this from their features.

Letters: B tables, T tasks, M pipelines, K budgets, F features, R directions, L landmarks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

DIRECTIONS = 12
LANDMARKS = 32
LOW = -1.0
"""Below this many units under the best, scores are told apart by their logarithm only."""
LOWEST = -1.5
BEND = 4.0
"""How fast: the slope has halved a quarter of a unit further down."""
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Noise, as a share of the signal, of the regression on features; leave-one-out picks one."""


class Table(NamedTuple):
    """Runs of other tasks as dense arrays, higher scores better.

    score:   [B, T, M, K] nan where not observed.
    seconds: [B, T, M, K] nan where unknown.
    when:    [B, K] ascending log(budget / largest budget).
    values:  [B, M, F] features of pipelines, about standardised; 0 where not active.
    active:  [B, M, F] whether a value is known and in force.
    """

    score: Tensor
    seconds: Tensor
    when: Tensor
    values: Tensor
    active: Tensor


class Units(NamedTuple):
    """Of each task: its best final score, the distance from the median to it, and whether it has any, each [B, T]."""

    best: Tensor
    spread: Tensor
    known: Tensor


class Related(NamedTuple):
    """What other tasks say, in units of a task.

    units:       of the tasks.
    tasks:       [B, M] in how many tasks a pipeline was run.
    mean:        [B, M, K] expected score.
    doubt:       [B, M] variance of that expectation, over and above deviations of tasks from it.
    variance:    [B, M, K] of the tasks' deviations.
    peak:        [B, M] highest score in any task at the last budget, the expected one where never run.
    shape:       [B, 4] quartiles and the highest tenth of tasks' scores at the last budget, averaged over tasks.
    rank:        [B, M] mean share of pipelines that are worse at the last budget, 0.5 where never run.
    directions:  [B, M, K, R] deviations of tasks; their products sum to the covariance.
    along:       [B, K, K] correlation of a deviation at two budgets.
    likeness:    [B, M, L] features of pipelines such that their products are a kernel with ones on its diagonal.
    agreement:   [B] share of the variance between pipelines that tasks agree on.
    foretold:    [B] share of the average's variance that features foretell, leave-one-out.
    """

    units: Units
    tasks: Tensor
    mean: Tensor
    doubt: Tensor
    variance: Tensor
    peak: Tensor
    shape: Tensor
    rank: Tensor
    directions: Tensor
    along: Tensor
    likeness: Tensor
    agreement: Tensor
    foretold: Tensor


def squash(z: Tensor) -> Tensor:
    """Scores in units of a task, far ones below drawn near: [...] -> [...]."""
    return torch.where(z > LOW, z, LOW - torch.log1p(BEND * (LOW - z).clamp_min(0)) / BEND).clamp_min(LOWEST)


def unsquash(z: Tensor) -> Tensor:
    """The inverse of `squash`, above its floor: [...] -> [...]."""
    return torch.where(z > LOW, z, LOW - torch.expm1(BEND * (LOW - z).clamp_min(0)) / BEND)


def units(score: Tensor) -> Units:
    """Units of tasks from scores [B, T, M, K] with nan where not observed."""
    there = ~score.isnan()
    last = (there * torch.arange(1, score.shape[-1] + 1, device=score.device)).amax(-1)  # [B, T, M], 0 for none
    final = score.gather(-1, (last - 1).clamp_min(0)[..., None])[..., 0]
    final = torch.where(last > 0, final, torch.nan)
    median = final.nanmedian(-1).values
    best = final.nan_to_num(nan=-torch.inf).amax(-1)
    low = final.nan_to_num(nan=torch.inf).amin(-1)
    known = last.amax(-1) > 0
    best = torch.where(known, best, torch.zeros_like(best))
    spread = torch.where(known, (best - median).clamp_min(1e-3 * (best - low)), torch.nan)
    spread = torch.where(spread > 1e-9 * best.abs(), spread, torch.nan)
    usual = spread.log().nanmean(-1, keepdim=True).exp().nan_to_num(nan=1.0)
    return Units(best, torch.where(spread.isnan(), usual, spread), known)


def related(table: Table) -> Related:
    """Read runs of other tasks."""
    own = units(table.score)
    z = squash((table.score - own.best[..., None, None]) / own.spread[..., None, None])
    z, ran = _filled(z, table.when)  # [B, T, M, K], [B, T, M]
    count = ran.sum(1)  # [B, M]
    tasks = own.known.sum(1)  # [B]
    raw = (z * ran[..., None]).sum(1) / count.clamp_min(1)[..., None]  # [B, M, K]
    seen = (count > 0).to(z)
    weight = seen / seen.sum(1, keepdim=True).clamp_min(1)
    level = (raw * weight[..., None]).sum(1, keepdim=True)  # [B, 1, K]

    apart = (z - raw[:, None]) * ran[..., None]  # [B, T, M, K]
    apart = apart * (count / (count - 1).clamp_min(1)).sqrt()[:, None, :, None]
    twice = ((count > 1).to(z) * weight)[..., None]
    within = apart.square().sum(1) / count.clamp_min(1)[..., None]  # [B, M, K]
    usual = (within * twice).sum(1) / twice.sum(1).clamp_min(1e-9)  # [B, K]
    usual = torch.where(twice.sum(1) > 0, usual, torch.full_like(usual, 0.25)).clamp_min(1e-3)

    total = ((raw - level).square() * weight[..., None]).sum(1)[..., -1]
    agreement = (1 - usual[:, -1] / tasks.clamp_min(1) / total.clamp_min(1e-6)).clamp(0, 1) * (tasks > 1)
    likeness = _likeness(table, raw, seen, agreement)
    foretold, share = _regressed(likeness, raw - level, apart, seen, count)  # of [B, M, K (1 + T)]
    guess = level + foretold[:, 0]
    between = ((raw - guess).square() * weight[..., None]).sum(1) - usual * (weight / count.clamp_min(1)).sum(1)[
        :, None
    ]
    between = torch.where(tasks[:, None] > 0, between, torch.full_like(between, 0.25)).clamp_min(1e-3)
    variance = (count[..., None] * within + 2 * usual[:, None]) / (count[..., None] + 2)
    trust = count[..., None] / (count[..., None] + variance / between[:, None])
    mean = guess + trust * (raw - guess)
    doubt = (between[:, None] * (1 - trust))[..., -1]

    apart = torch.where(seen[:, None, :, None] > 0, apart, foretold[:, 1:] * share[:, None, None, None].sqrt())
    return Related(
        own,
        count,
        mean,
        doubt,
        variance,
        torch.where(count > 0, torch.where(ran > 0, z[..., -1], LOWEST).amax(1), mean[..., -1]),
        _shape(z[..., -1], ran, own.known),
        _rank(z[..., -1], ran),
        _directions(apart, tasks, mean[..., -1]),
        _along(apart, ran, usual, table.when),
        likeness,
        agreement,
        share,
    )


def _filled(z: Tensor, when: Tensor) -> tuple[Tensor, Tensor]:
    """Curves without holes, and which there are at all: the nearest budget seen, moved as curves usually move."""
    there = ~z.isnan()
    if not bool(there.all()):
        distance = (when[:, :, None] - when[:, None, :]).abs()  # [B, K, K]
        count = there.sum((1, 2))  # [B, K]
        usual = z.nan_to_num().sum((1, 2)) / count.clamp_min(1)
        usual = usual.gather(-1, torch.where((count > 0)[:, None], distance, torch.inf).argmin(-1))
        nearest = torch.where(there[..., None, :], distance[:, None, None], torch.inf).argmin(-1)  # [B, T, M, K]
        moved = usual[:, None, None].expand_as(z)
        z = torch.where(there, z, z.nan_to_num().gather(-1, nearest) + moved - moved.gather(-1, nearest))
    return z.clamp_min(LOWEST), there.any(-1).to(z)


def _shape(final: Tensor, ran: Tensor, known: Tensor) -> Tensor:
    """[B, 4] quantiles of scores [B, T, M] where run, averaged over tasks."""
    levels = torch.tensor((0.25, 0.5, 0.75, 0.9), dtype=final.dtype, device=final.device)
    each = torch.where(ran > 0, final, torch.nan).nanquantile(levels, -1).nan_to_num()  # [4, B, T]
    return ((each * known).sum(-1) / known.sum(-1).clamp_min(1)).mT


def _rank(final: Tensor, ran: Tensor) -> Tensor:
    """Mean share of pipelines that are worse, [B, M], from [B, T, M]."""
    low = torch.where(ran > 0, final, -torch.inf)
    place = low.argsort(-1).argsort(-1).to(final)
    absent = ran.shape[-1] - ran.sum(-1, keepdim=True)
    share = (place - absent + 0.5) / ran.sum(-1, keepdim=True).clamp_min(1)
    count = ran.sum(1)
    return torch.where(count > 0, (share * ran).sum(1) / count.clamp_min(1), 0.5)


def _directions(apart: Tensor, tasks: Tensor, mean: Tensor) -> Tensor:
    """[B, M, K, R] from deviations [B, T, M, K]; good pipelines count more."""
    b, t, m, k = apart.shape
    room = min(t, DIRECTIONS)
    heed = 0.2 + torch.sigmoid(3 * (mean + 1))
    rows = (apart * heed[:, None, :, None]).flatten(2)
    _, basis = torch.linalg.eigh(rows @ rows.mT + 1e-6 * torch.eye(t, device=apart.device, dtype=apart.dtype))
    found = torch.einsum("btr,btmk->bmkr", basis[..., -room:].flip(-1), apart)
    found = found / tasks.clamp_min(1).sqrt()[:, None, None, None]
    sign = found[..., -1, :].pow(3).sum(1).sign()
    found = found * torch.where(sign == 0, 1.0, sign)[:, None, None]
    return torch.nn.functional.pad(found, (0, DIRECTIONS - room))


def _along(apart: Tensor, ran: Tensor, usual: Tensor, when: Tensor) -> Tensor:
    """[B, K, K] how deviations at two budgets go together: as seen, and like Ornstein-Uhlenbeck before much is."""
    unit = apart * ran[..., None] / usual.sqrt()[:, None, None]
    seen = torch.einsum("btmk,btml->bkl", unit, unit)
    size = seen.diagonal(dim1=-2, dim2=-1).clamp_min(1e-6).rsqrt()
    seen = seen * size[:, :, None] * size[:, None]
    first = torch.exp(-(when[:, :, None] - when[:, None]).abs() / 2)
    weight = (ran.sum((1, 2)) / (ran.sum((1, 2)) + 30))[:, None, None] * (ran.sum(1).amax(1) > 1)[:, None, None]
    return weight * seen + (1 - weight) * first


def _likeness(table: Table, raw: Tensor, seen: Tensor, agreement: Tensor) -> Tensor:
    """[B, M, L] by pivoted Cholesky of a Gaussian kernel over features.

    Those count that go with the scores, and the less tasks agree, the more all of them: the new one may mind others.
    """
    x, active = table.values, table.active.to(table.values)
    b, m, _ = x.shape
    weight = (active * seen[..., None]) / (active * seen[..., None]).sum(1, keepdim=True).clamp_min(1)
    y = raw[..., -1] - (raw[..., -1] * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp_min(1)
    told = _told(x, weight, y) if m else x[:, 0]
    used = (active.sum(1) > 0).to(x)
    worth = (told + 0.03) * used
    worth = agreement[:, None] * worth / worth.sum(-1, keepdim=True).clamp_min(1e-9)
    worth = worth + (1 - agreement[:, None]) * used / used.sum(-1, keepdim=True).clamp_min(1)  # [B, F]
    some = (worth > 0).any(-1)
    column = (x * active, active)

    def kernel(rows: Tensor) -> Tensor:
        """Of all pipelines to some: [B, M, N] for indices [B, N]."""
        total = torch.zeros(b, m, rows.shape[1], dtype=x.dtype, device=x.device)
        wide = rows[..., None].expand(-1, -1, x.shape[-1])
        for all_rows, scale in zip(column, (1.0, 2.0), strict=True):
            left = all_rows * (scale * worth).sqrt()[:, None]
            right = left.gather(1, wide)
            total = total + left.square().sum(-1)[..., None] + right.square().sum(-1)[:, None] - 2 * left @ right.mT
        return torch.exp(-total.clamp_min(0))

    rest = torch.ones(b, m, dtype=x.dtype, device=x.device)
    basis = torch.zeros(b, m, LANDMARKS, dtype=x.dtype, device=x.device)
    for landmark in range(min(LANDMARKS, m)):
        pivot = rest.argmax(1, keepdim=True)  # [B, 1]
        height = rest.gather(1, pivot).clamp_min(1e-6).sqrt()
        own = basis.gather(1, pivot[..., None].expand(-1, -1, LANDMARKS))  # [B, 1, L]
        added = (kernel(pivot)[..., 0] - (basis @ own.mT)[..., 0]) / height
        added = torch.where(rest.gather(1, pivot) > 1e-4, added, 0.0)
        basis[..., landmark] = added
        rest = (rest - added.square()).clamp_min(0)
    return basis * some[:, None, None]


def _told(x: Tensor, weight: Tensor, y: Tensor) -> Tensor:
    """Share of the variance of y [B, M] that a parabola in each feature [B, M, F] tells, [B, F]."""
    total = (weight * y[..., None].square()).sum(1)
    z = (x - (weight * x).sum(1, keepdim=True)) * (weight > 0)
    z = z / (weight * z.square()).sum(1, keepdim=True).sqrt().clamp_min(1e-6)
    columns = torch.stack((z.clamp(-3, 3), z.clamp(-3, 3).square() - 1, torch.ones_like(z)), -1)  # [B, M, F, 3]
    gram = torch.einsum("bmf,bmfi,bmfj->bfij", weight, columns, columns)
    gram = gram + 0.02 * torch.eye(3, dtype=x.dtype, device=x.device)
    side = torch.einsum("bmf,bmfi,bm->bfi", weight, columns, y)
    told = (side * torch.linalg.solve(gram, side)).sum(-1)
    share: Tensor = (told / total.clamp_min(1e-9)).clamp(0, 1)
    return share


def _regressed(likeness: Tensor, middle: Tensor, apart: Tensor, seen: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Averages and deviations of tasks as features foretell them, [B, 1 + T, M, K], leave-one-out where seen.

    Also the share [B] of the averages' variance so foretold.
    """
    target = torch.cat((middle[:, None], apart), 1)  # [B, 1 + T, M, K]
    b, n, m, k = target.shape
    wide = target.transpose(1, 2).flatten(2) * seen[..., None]  # [B, M, (1 + T) K]
    gram = (likeness * seen[..., None]).mT @ likeness
    eye = torch.eye(likeness.shape[-1], dtype=target.dtype, device=target.device)
    ridges = torch.tensor(RIDGES, dtype=target.dtype, device=target.device)
    inverse = torch.linalg.inv(gram[:, None] + ridges[:, None, None] * eye)  # [B, I, L, L]
    hat = torch.einsum("bml,bilj,bmj->bim", likeness, inverse, likeness) * seen[:, None]
    first = middle[..., -1] * seen
    fitted = torch.einsum("bml,bilj,bj->bim", likeness, inverse, (likeness.mT @ first[..., None])[..., 0])
    alone = (fitted - hat * first[:, None]) / (1 - hat).clamp_min(0.05)
    error = ((first[:, None] - alone).square() * seen[:, None]).sum(-1)  # [B, I]
    pick = error.argmin(1)
    share = 1 - error.amin(1) / first.square().sum(-1).clamp_min(1e-9)
    share = (share * (seen.sum(1) > 4)).clamp(0, 1)
    rows = torch.arange(b, device=target.device)
    fitted = likeness @ (inverse[rows, pick] @ (likeness.mT @ wide))
    own = hat[rows, pick][..., None]
    fitted = torch.where(seen[..., None] > 0, (fitted - own * wide) / (1 - own).clamp_min(0.05), fitted)
    fitted = fitted * (share > 0.05)[:, None, None]
    return fitted.unflatten(-1, (n, k)).transpose(1, 2), share
