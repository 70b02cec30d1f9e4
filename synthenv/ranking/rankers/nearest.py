"""Nearest task: tasks count as far as they agree with what was seen of the new one, and resemble it in features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from synthenv.ranking.answer import alone, sightings
from synthenv.ranking.belief import Sightings
from synthenv.ranking.checks import Floats
from synthenv.ranking.past import Past
from synthenv.ranking.rankers.base import Candidates, FromPast, Ranking, asked, with_others
from synthenv.ranking.runs import RunTable

DOUBT = 0.05
"""Variance, in squared units of spread, that is added to what a task mispredicts."""


class NearestTask(FromPast):
    """Average of other tasks, weighted by how well each foretells the scores seen, and by features.

    width: in standard deviations of task features; tasks further apart than that hardly count.
    """

    name: ClassVar[str] = "nearest_task"

    def __init__(self, width: float = 1.0) -> None:
        self.width = width

    def learn(self, past: Past) -> NearestTask:
        """Read the runs and the features of their tasks."""
        self.past_ = past
        return self

    def rank(
        self,
        task: str = "new",
        candidates: Candidates | None = None,
        observed: RunTable | None = None,
        budget: float | None = None,
        features: Mapping[str, float] | None = None,
    ) -> Ranking:
        """Rank candidates [M] by the weighted mean of tasks."""
        named, own = asked(self.runs_, task, candidates, observed)
        past = self.past_.over(with_others(named, own))
        seen = sightings(own, past)
        logs = np.zeros(len(past.tasks)) if seen is None else agreement(past.value, seen)
        logs = logs - self.distance(features or {}) / 2
        weight = np.exp(logs - logs.max())
        weight /= weight.sum()
        mean = np.tensordot(weight, past.value, 1)
        spread = np.sqrt(weight @ (past.final - mean[:, -1]) ** 2 + DOUBT * past.final.var())
        return alone(past, mean, spread, own, budget, len(named))

    def distance(self, features: Mapping[str, float]) -> Floats:
        """Squared distance [T] of tasks in the features that both sides know, in squared widths, a mean over these."""
        told = [self.runs_.features.get(task, {}) for task in self.past_.tasks]
        apart = []
        for name in sorted(features):
            column = np.array([facts.get(name, np.nan) for facts in told], float)
            known = np.isfinite(column)
            if known.sum() > 1 and np.ptp(column[known]) > 0:
                far = ((column - features[name]) / (self.width * column[known].std())) ** 2
                apart.append(np.where(known, far, far[known].mean()))
        return np.mean(apart, 0) if apart else np.zeros(len(told))


def agreement(value: Floats, seen: Sightings) -> Floats:
    """Logarithm [T] of how well each task of value [T, M, K] foretells what was seen, offset and spread aside."""
    cells = seen.cells.take(np.flatnonzero(seen.real.ravel()))
    score = seen.score[seen.blocks[seen.real]]
    if len(score) < 2 or np.ptp(score) <= 0:
        return np.zeros(len(value))
    foretold = np.stack([cells.of(task) for task in value])  # [T, n]
    foretold = foretold - foretold.mean(1, keepdims=True)
    unit = score - score.mean()
    slope = np.maximum(foretold @ unit, 0) / ((foretold**2).sum(1) + DOUBT)
    rest = ((unit - slope[:, None] * foretold) ** 2).sum(1) / (unit**2).sum()
    curves = len(seen.owner)  # cells of a curve tell nearly the same
    return np.asarray(-0.5 * curves * np.log(rest + DOUBT))
