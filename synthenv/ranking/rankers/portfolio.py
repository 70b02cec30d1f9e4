"""The greedy portfolio: each pipeline is chosen to improve most on the ones before it, over the tasks of the past.

Wistuba, Schilling, Schmidt-Thieme (2015); FLAML and TabRepo start with such lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from synthenv.ranking.answer import alone
from synthenv.ranking.checks import Floats
from synthenv.ranking.past import Past
from synthenv.ranking.rankers.base import Candidates, FromPast, Ranking, asked, with_others
from synthenv.ranking.runs import RunTable

LENGTH = 64
"""So many are chosen; what comes after them follows in the order of means."""


def greedy(value: Floats, seen: npt.NDArray[np.int64], length: int, seconds: Floats | None = None) -> Floats:
    """What pipelines add over tasks of value [T, M] when they are chosen, [M]: falling in the order of choice.

    `seen` are chosen already. Before anything is chosen a task has what its median pipeline scores, 0. With seconds
    [M], improvement per second is what counts.
    """
    so_far = np.maximum(value[:, seen].max(1, initial=0.0), 0.0)  # [T]
    price = np.ones(value.shape[1]) if seconds is None else seconds / seconds.mean()
    gain, left = np.zeros(value.shape[1]), np.ones(value.shape[1], bool)
    left[seen] = False
    ceiling = np.inf
    for _ in range(min(length, int(left.sum()))):
        added = np.where(left, np.maximum(value - so_far[:, None], 0.0).mean(0) / price, -1.0)
        best = int(np.argmax(added))
        if added[best] <= 1e-12:
            break
        # equal gains keep the order that they were chosen in
        ceiling = gain[best] = min(added[best], np.nextafter(ceiling, 0))
        left[best], so_far = False, np.maximum(so_far, value[:, best])
    return gain


class GreedyPortfolio(FromPast):
    """A list whose pipelines complement each other.

    cost_aware: whether improvement per expected second is what counts, where the runs tell seconds.
    """

    name: ClassVar[str] = "portfolio"

    def __init__(self, cost_aware: bool = False) -> None:
        self.cost_aware = cost_aware

    def learn(self, past: Past) -> GreedyPortfolio:
        """Read the runs; the choice depends on the candidates, and is made when they are ranked."""
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
        """Rank candidates [M]: those observed are in the portfolio already, whatever they scored."""
        named, own = asked(self.runs_, task, candidates, observed)
        past = self.past_.over(with_others(named, own))
        plain = alone(past, past.value.mean(0), past.final.std(0), own, budget, len(named))
        ran = set() if own is None else set(own.pipelines)
        seen = np.array([m for m, name in enumerate(past.pipelines) if name in ran], int)
        priced = self.cost_aware and bool(np.isfinite(plain.seconds).all())
        gain = greedy(past.final, seen, LENGTH, past.seconds[:, -1] if priced else None)
        return replace(plain, gain=gain[: len(named)])
