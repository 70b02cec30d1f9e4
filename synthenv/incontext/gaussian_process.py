"""A Gaussian process for every output of every task: a linear and a smooth part, each as large as the data say.

Far from the data it goes on as a line and says that it is unsure. Hyperparameters are those of greatest posterior
density on a few rows of the context (Rasmussen, Williams 2006, section 5.4), found by sign-based steps along the exact
gradient; a weak prior over them keeps ten rows from being explained by a hundred wiggles. Where there are few rows,
many hyperparameters are plausible: some are drawn from the posterior, and what they expect is averaged.

Up to `INDUCING` rows the process is exact. Beyond, it is that of the kernel's projection on so many rows spread over
the context (deterministic training conditional, Seeger, Williams, Lawrence 2003): a linear model with as many features,
which is how either case is solved, leave-one-out errors included. Where that loses some of what up to `WHOLE` rows say,
and the process of all of them is better on rows left out, and no worse than it says, its mean is taken.

Letters: B tasks, C context rows, Q queries, D inputs, Y outputs, G = B * Y processes, M inducing rows, S draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.cholesky import inverse_root, root
from synthenv.incontext.closed_form import Scaling, scaling
from synthenv.incontext.hyperparameters import Prior, Search, likeliest, plausible, usual
from synthenv.incontext.kernel import JITTER, Beside, Kernel
from synthenv.incontext.leaving_out import left_out, left_out_of

INDUCING = 256
"""Rows that the kernel is projected on at most."""
WHOLE = 2048
"""Up to so many rows all may count."""
STRAIN = 4.0
"""Where squared errors are more than that many times as large as a process expects, it is not of the data's kind: there
are kinks, say, and without the noise that hides them it would ring."""
FEW = 8
"""Rows below which an output that was constant is not taken to be."""
PAYS = (1e-9, 0.02)
"""A second look pays where leave-one-out errors, squared, are between: below nobody minds, above nothing is smooth."""
DECADES = 8
"""By so many powers of ten the noise may have been underestimated on few rows."""
SCARCE, DRAWS = 128, 8
"""Up to so many rows, hyperparameters are drawn so many times."""


class Rest(NamedTuple):
    """Rows of the context that are no anchors, where all of them count."""

    rows: Beside
    weights: Tensor
    """[G, C - M, 1], from covariances with them to the mean."""
    scale: Tensor
    """[G, 1], leave-one-out errors in units of those that the anchors alone would make."""

    def pick(self, some: Tensor) -> Rest:
        """Those of some processes, by bool [G]."""
        return Rest(self.rows.pick(some), self.weights[some], self.scale[some])


class Part(NamedTuple):
    """Fitted processes that have equally many anchors."""

    of: Tensor
    """[G] int64, which of all they are."""
    kernel: Kernel
    anchors: Beside
    """M rows that others are compared with."""
    told: Tensor
    """[G, M, M + 1] from covariances k(x) with the anchors to the mean, which comes last; the squares of the others are
    what the context takes from the variance."""
    residual: Tensor
    """[G, C] leave-one-out errors."""
    apart: Tensor
    """[G, C] the same with the stretch of rows around each left out as well."""
    rest: Rest | None = None
    """None where anchors are all that counts."""

    def predict(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [G, Q] at rows [G, Q, D]."""
        found = self.anchors(rows) @ self.told  # [G, Q, M + 1]
        left = self.kernel.variance(rows) - found[..., :-1].square().sum(-1)
        mean, spread = found[..., -1], (left.clamp_(min=0) + self.kernel.noise.exp() + JITTER).sqrt()
        if self.rest:
            mean = mean + (self.rest.rows(rows) @ self.rest.weights)[..., 0]
            spread = spread * self.rest.scale
        return mean, spread

    def error(self) -> Tensor:
        """Mean squares [G, 2] of the errors of either kind."""
        return torch.stack((self.residual.square().mean(1), self.apart.square().mean(1)), 1)

    def pick(self, some: Tensor) -> Part:
        """Some [G] bool of them."""
        of, kernel, anchors, told, residual, apart, rest = self
        rest = rest and rest.pick(some)
        return Part(of[some], kernel.pick(some), anchors.pick(some), told[some], residual[some], apart[some], rest)


class GaussianProcess(NamedTuple):
    """Fitted processes: one for every output of B tasks that is in use and varies, G in all."""

    inputs: Scaling
    task: Tensor
    """[G] int64, whose process it is."""
    slot: Tensor
    """[G] int64, of which output."""
    parts: tuple[Part, ...]
    offset: Tensor
    """[B, 1, Y]"""
    residual: Tensor
    """[B, C, Y] leave-one-out errors."""
    apart: Tensor
    """[B, C, Y]"""
    draws: int = 1
    """Hyperparameters of each process, whose expectations are averaged."""

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, Q, Y] at x [B, Q, D]; of other outputs, those of the context and 0."""
        rows = self.inputs.near(x.double())[self.task]  # [G, Q, D]
        mean, spread = in_order(self.parts, [part.predict(rows[part.of]) for part in self.parts])
        if self.draws > 1:
            means, spread = self.by_draw(mean), self.by_draw(spread)  # [G, S, Q]
            mean = means.mean(1)
            spread = (spread.square() + (means - mean[:, None]).square()).mean(1).sqrt()
        return self.full(mean) + self.offset, self.full(spread)

    def by_draw(self, flat: Tensor) -> Tensor:
        """[G * S, N] -> [G, S, N] for S draws."""
        drawn: Tensor = flat.unflatten(0, (-1, self.draws))
        return drawn

    def full(self, flat: Tensor) -> Tensor:
        """What is known of each process, [G, N], by task and output: [B, N, Y]."""
        every = flat.new_zeros((*self.offset.shape[::2], flat.shape[1]))  # [B, Y, N]
        return every.index_put((self.task, self.slot), flat).mT


def gaussian_process(
    x: Tensor, y: Tensor, varied: Tensor | None = None, used: Tensor | None = None,
    search: Search | None = None, most: int = INDUCING, trend: bool = True, aside: float = 0.0,
) -> GaussianProcess:  # fmt: skip
    """Fit processes on x [B, C, D], y [B, C, Y], outputs scaled to about 1.

    varied [B, D] and used [B, Y] bool say which inputs and outputs mean something, all unless given; `most` is the
    number of rows that the kernel is projected on at most; aside: see `Scaling.widened`.
    """
    search = search or Search()
    x, y = x.double(), y.double()
    varied = torch.ones_like(x[:, 0], dtype=torch.bool) if varied is None else varied
    used = torch.ones_like(y[:, 0], dtype=torch.bool) if used is None else used
    own, offset = scaling(x), y.mean(1, keepdim=True)
    inputs = own.widened(aside)
    varies = (y != y[:, :1]).any(1) | (x.shape[1] < FEW)
    if not trend:
        offset = offset.masked_fill((used & varies)[:, None], 0.0)
    task, slot = (used & varies).nonzero(as_tuple=True)
    rows, targets = inputs(x)[task], (y - offset).mT[task, slot][..., None]  # [G, C, D], [G, C, 1]
    prior = usual(varied.sum(1)[task], (own.spread / inputs.spread)[task, 0], trend)
    some = spread_over(x.shape[1], min(most, search.rows))
    steps = round(search.steps * (search.rows / len(some)) ** 0.75)
    kernel = likeliest(rows[:, some], targets[:, some], prior, prior.mean, steps)
    of, draws, partly = torch.arange(len(task), device=x.device), 1, x.shape[1] > len(some)
    if search.refined and x.shape[1] <= SCARCE:
        draws, partly = DRAWS, False
        kernel, of = plausible(rows, targets, prior, kernel, draws, torch.Generator().manual_seed(0))
        rows, targets = rows[of], targets[of]
    parts: tuple[Part, ...] = (fit(of, rows, targets, kernel, most, noisier=partly),)
    if search.refined and partly:
        parts = looked_closer(parts[0], rows, targets, prior, kernel, most, steps)
    fitted = GaussianProcess(inputs, task, slot, parts, offset, targets, targets, draws)
    missed = in_order(parts, [(part.residual, part.apart) for part in parts])
    alone, apart = (fitted.full(fitted.by_draw(error).mean(1)) for error in missed)
    return fitted._replace(residual=alone, apart=apart)


def looked_closer(
    first: Part, rows: Tensor, targets: Tensor, prior: Prior, kernel: Kernel, most: int, steps: int
) -> tuple[Part, ...]:
    """Those for whom it pays with hyperparameters found on `most` rows, and projected on twice as many or not at all.

    first: what was fitted to rows [G, C, D], targets [G, C, 1] with this kernel. The others stay as they are.
    """
    error = first.error()[:, 0]
    again = (error > PAYS[0]) & (error < PAYS[1])
    if not again.any():
        return (first,)
    count, some = rows.shape[1], spread_over(rows.shape[1], most)
    rows, targets, prior = rows[again], targets[again], prior.pick(again)
    kernel = likeliest(rows[:, some], targets[:, some], prior, kernel.pick(again), steps)
    second = fit(again.nonzero()[:, 0], rows, targets, kernel, 2 * most, noisier=count > len(some))
    parts = [first.pick(~again), second]
    lost = (second.kernel.noise > kernel.noise)[:, 0]
    if 2 * most < count <= WHOLE and lost.any():
        projected = second.pick(lost)
        entire, strain = whole(projected, rows[lost], targets[lost], kernel.pick(lost))
        better = (strain < STRAIN) & (entire.error() < projected.error()).all(1)
        lost[lost.clone()] = better
        parts[1:] = second.pick(~lost), entire.pick(better)
    return tuple(part for part in parts if len(part.of))


def in_order(parts: Sequence[Part], found: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What was found of each part's processes, two leaves [G, ...] a part, as two leaves in the order of all."""
    if len(parts) == 1:
        return found[0]
    back = torch.cat([part.of for part in parts]).argsort()
    first, second = (torch.cat(leaf)[back] for leaf in zip(*found, strict=True))
    return first, second


def fit(of: Tensor, rows: Tensor, targets: Tensor, kernel: Kernel, most: int, noisier: bool) -> Part:
    """Processes `of` [G] for rows [G, C, D], centred targets [G, C, 1] and hyperparameters.

    noisier: hyperparameters are those of fewer rows, so that the noise may be larger than they say.
    """
    anchors = rows[:, spread_over(rows.shape[1], most)]
    beside = kernel.beside(anchors)
    own = beside(anchors)
    own.diagonal(dim1=1, dim2=2).add_(JITTER * kernel.variance(anchors).mean(1, keepdim=True))
    factor = inverse_root(own)
    phi = factor @ beside(rows).mT  # [G, M, C]
    gram, drawn = phi @ phi.mT, phi @ targets
    if noisier:
        kernel = kernel._replace(noise=noise(kernel.noise, gram, drawn, targets))
    level = (kernel.noise.exp() + JITTER)[..., None]  # [G, 1, 1]
    half = inverse_root(unit_added(gram / level))
    seen = half @ phi / level.sqrt()  # [G, M, C], of which the hat matrix is the square
    error = targets - seen.mT @ (seen @ targets)
    residual = error / (1 - seen.square().sum(1)[..., None]).clamp(min=1e-9)
    weights = factor.mT @ (half.mT @ (half @ drawn)) / level
    told = torch.cat((factor.mT @ root(unit_added(-half.mT @ half), 1e-8), weights), -1)
    return Part(of, kernel, beside, told, residual[..., 0], left_out(error, seen)[..., 0])


def whole(part: Part, rows: Tensor, targets: Tensor, kernel: Kernel) -> tuple[Part, Tensor]:
    """Projected processes, with means that all rows [G, C, D] have a part in, by these hyperparameters.

    How sure they are is what the projection says, in proportion to how much less they miss. Returned with them are mean
    squares [G] of their leave-one-out errors in units of what was to be expected.
    """
    covariance = kernel.beside(rows)(rows)
    covariance.diagonal(dim1=1, dim2=2).add_(kernel.noise.exp() + JITTER * kernel.variance(rows).mean(1, keepdim=True))
    inverse = torch.cholesky_inverse(root(covariance))
    weights = inverse @ targets
    residual = weights[..., 0] / inverse.diagonal(dim1=1, dim2=2)
    strain = (residual * weights[..., 0]).mean(1)
    apart = left_out_of(inverse, weights)[..., 0]
    scale = (residual.square().sum(1, keepdim=True) / part.residual.square().sum(1, keepdim=True)).sqrt()
    anchor = torch.zeros(rows.shape[1], dtype=torch.bool, device=rows.device)
    anchor[spread_over(rows.shape[1], part.told.shape[1])] = True
    told = torch.cat((part.told[..., :-1], weights[:, anchor]), -1)
    rest = Rest(kernel.beside(rows[:, ~anchor]), weights[:, ~anchor], scale)
    return part._replace(told=told, residual=residual, apart=apart, rest=rest), strain


def noise(least: Tensor, gram: Tensor, drawn: Tensor, targets: Tensor) -> Tensor:
    """Logarithm of the noise's variance [G, 1], from `least` [G, 1] up, of greatest evidence for all rows.

    gram [G, M, M] and drawn [G, M, 1] are features times features and times targets [G, C, 1].
    """
    step, best, active = math.log(10.0), least.clone(), torch.arange(len(least), device=least.device)
    before = evidence(best, gram, drawn, targets)
    for _ in range(DECADES):
        now = evidence(best[active] + step, gram[active], drawn[active], targets[active])
        up = now > before[active]
        active, now = active[up], now[up]
        if not len(active):
            break
        best[active] += step
        before[active] = now
    return best


def evidence(noise: Tensor, gram: Tensor, drawn: Tensor, targets: Tensor) -> Tensor:
    """Log marginal likelihood [G] of targets, without constants, if the noise's variance has this logarithm [G, 1]."""
    level = noise.exp() + JITTER
    factor = root(unit_added(gram / level[..., None]))
    found = torch.linalg.solve_triangular(factor, drawn, upper=False).square().sum((1, 2)) / level[:, 0]
    missed = (targets.square().sum((1, 2)) - found) / level[:, 0]
    spread = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1) + targets.shape[1] * level[:, 0].log()
    likelihood: Tensor = -0.5 * (missed + spread)
    return likelihood


def unit_added(matrix: Tensor) -> Tensor:
    """The unit matrix plus a matrix [G, M, M]."""
    return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def spread_over(count: int, most: int) -> Tensor:
    """Indices [M] int64 of at most so many of `count` rows, evenly spread."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()
