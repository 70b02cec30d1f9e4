"""From beliefs about a task's values to what a ranker answers, on the scale of the task's own scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from synthenv.ranking.belief import Belief, Places, Prior, Sightings, condition, unseen
from synthenv.ranking.checks import Floats
from synthenv.ranking.past import BEND, KNEE, LOWEST, Past, checkpoints, failures, unsquash
from synthenv.ranking.rankers.base import Ranking, chances, improvement
from synthenv.ranking.runs import RunTable


def sightings(own: RunTable | None, past: Past) -> Sightings | None:
    """A task's own runs among the pipelines of `past`; None where there are none, or all failed."""
    if own is None:
        return None
    grid = own.grid()
    if not np.isfinite(grid.score).any():
        return None
    best, extent = checkpoints(grid.score, failures(own))
    seen = np.isfinite(best[0]) & (np.arange(len(grid.budgets)) <= extent[0][:, None])
    place = {name: m for m, name in enumerate(past.pipelines)}
    m, k = np.nonzero(seen)
    at = np.array([place[name] for name in grid.pipelines])[m]
    return Sightings.of(Places.at(at, grid.budgets[k], past.budgets), best[0][m, k], len(past.budgets))


def told(past: Past, beliefs: Sequence[Belief], own: RunTable | None, budget: float, count: int) -> Ranking:
    """The ranking of the first `count` pipelines of `past`."""
    weight, means, spreads = mixed(beliefs)
    means, spreads = means[:, :count], spreads[:, :count]
    mean, sd = in_scores(beliefs)
    gain = gains(beliefs)[:count]
    # offset and spread are common to all candidates, and tell nothing of which is best
    best = chances(weight @ means, np.sqrt(weight @ spreads**2))
    seconds = remaining(past, own, budget)[:count]
    return Ranking(past.pipelines[:count], mean[:count], sd[:count], best, seconds, gain, past.maximize)


def mixed(beliefs: Sequence[Belief]) -> tuple[Floats, Floats, Floats]:
    """All beliefs as one mixture: weights [G], means and standard deviations [G, M] in units of spread."""
    weight = np.concatenate([b.weight for b in beliefs])
    means = np.concatenate([b.mean for b in beliefs])
    return weight, means, np.concatenate([np.broadcast_to(b.sd, b.mean.shape) for b in beliefs])


def in_scores(beliefs: Sequence[Belief]) -> tuple[Floats, Floats]:
    """Mean and standard deviation [M] of scores."""
    weight, means, spreads = mixed(beliefs)
    offset, spread = (np.concatenate([getattr(b, name) for b in beliefs])[:, None] for name in ("offset", "spread"))
    knee = beliefs[0].knee
    scores = offset + spread * unsquash(means, knee)
    # where scores were squashed, a step there is a wider one in scores
    wide = spread * spreads * np.exp(np.clip(knee - means, 0, KNEE - LOWEST) / BEND)
    mean = weight @ scores
    return mean, np.sqrt(weight @ (wide**2 + (scores - mean) ** 2))


def gains(beliefs: Sequence[Belief]) -> Floats:
    """Expected improvement [M] on the best seen, in scores."""
    weight, means, spreads = mixed(beliefs)
    spread, top = (np.concatenate([getattr(b, name) for b in beliefs]) for name in ("spread", "top"))
    gain: Floats = (weight * spread) @ improvement(means, spreads, top[:, None])
    return gain


def levels(past: Past) -> tuple[Floats, Floats]:
    """How all curves of a task together lie above or below others': basis [K, R], and the knee [K] of squashing.

    Levels at budgets near each other go together; at the last they are 0, since that is where units come from.
    """
    mean, sd = past.levels
    when = np.log(past.budgets / past.budgets[-1])
    alike = np.exp(-np.abs(when[:, None] - when) / max(np.ptp(when) / 2, 1e-9))
    return sd[:, None] * np.linalg.cholesky(alike + 1e-9 * np.eye(len(when))), mean + KNEE - 2 * sd


def plainly(past: Past, mean: Floats, sd: Floats) -> Prior:
    """Pipelines with mean [M, K] and sd [M], independent of each other."""
    count, budgets = mean.shape
    common, knee = levels(past)
    return Prior(mean, np.zeros((count, budgets, 0)), np.zeros((count, 0)), np.ones(budgets), common,
                 0.8 + 0.2 * np.eye(budgets), np.maximum(sd, 0.1) ** 2, knee)  # fmt: skip


def alone(past: Past, mean: Floats, sd: Floats, own: RunTable | None, budget: float | None, count: int) -> Ranking:
    """The ranking of the first `count` pipelines by a method that expects values mean, sd [M] whatever was seen.

    The task's own runs set the scale, and what is said of those that ran.
    """
    horizon = past.budgets[-1] if budget is None else budget
    prior = plainly(past, mean, sd)
    target = Places.at(np.arange(len(mean)), np.full(len(mean), horizon), past.budgets)
    seen = sightings(own, past)
    belief = unseen(prior, target) if seen is None else condition(prior, seen, target)
    return replace(told(past, [belief], own, horizon, count), gain=None)


def remaining(past: Past, own: RunTable | None, budget: float) -> Floats:
    """Expected seconds [M] until a budget for each pipeline of `past`, what it has run so far taken off.

    The task's own runs say how much slower it is than the others; where only they tell of time, their rate does.
    """
    everyone = Places.at(np.arange(len(past.pipelines)), np.full(len(past.pipelines), budget), past.budgets)
    whole = everyone.of(past.seconds)
    if own is None:
        return whole
    place = {name: m for m, name in enumerate(past.pipelines)}
    at = np.array([place[name] for name in own.pipeline])
    timed = np.isfinite(own.seconds)
    usual = Places.at(at, own.budget, past.budgets).of(past.seconds)
    both = timed & np.isfinite(usual)
    if both.any():
        whole = whole * np.exp(np.log(own.seconds[both] / usual[both]).mean())
    elif timed.any():
        whole = np.full(len(whole), np.exp(np.log(own.seconds[timed] / own.budget[timed]).mean()) * budget)
    reached = np.zeros(len(whole))
    np.maximum.at(reached, at, own.budget)
    spent = np.zeros(len(whole))
    np.maximum.at(spent, at[timed], own.seconds[timed])
    # a run that has begun says best how long it takes
    begun = (spent > 0) & (reached > 0)
    whole[begun] = spent[begun] * budget / reached[begun]
    done = np.minimum(reached / budget, 1)
    left: Floats = np.maximum(whole * (1 - done), 0)
    return left
