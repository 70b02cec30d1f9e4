"""The list: pipelines by their average rank over tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from synthenv.ranking.answer import alone
from synthenv.ranking.past import Past
from synthenv.ranking.rankers.base import Candidates, Ranking, candidates_of, own_runs, with_others
from synthenv.ranking.runs import RunTable


class AverageRank:
    """The same list whatever the new task shows; hard to beat by what knows the task."""

    name: ClassVar[str] = "average_rank"

    def fit(self, runs: RunTable) -> AverageRank:
        """Rank the pipelines of every task, and average."""
        self.runs_ = runs
        return self.learn(Past.of(runs))

    def learn(self, past: Past) -> AverageRank:
        """The same from runs that were read already."""
        self.past_ = past.ranked()
        return self

    def rank(
        self,
        task: str = "new",
        candidates: Candidates | None = None,
        observed: RunTable | None = None,
        budget: float | None = None,
        features: Mapping[str, float] | None = None,
    ) -> Ranking:
        """Rank candidates [M] by average rank; what was observed sets the scale of the scores and nothing else."""
        named = candidates_of(self.runs_, candidates, observed)
        own = own_runs(self.runs_, task, observed)
        past = self.past_.over(with_others(named, own))
        return alone(past, past.value.mean(0), past.final.std(0), own, budget, len(named))
