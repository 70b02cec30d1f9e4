"""The list: pipelines by their average rank over tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from synthenv.ranking.answer import alone
from synthenv.ranking.past import Past
from synthenv.ranking.rankers.base import Candidates, FromPast, Ranking, asked, with_others
from synthenv.ranking.runs import RunTable


class AverageRank(FromPast):
    """The same list whatever the new task shows; hard to beat by what knows the task."""

    name: ClassVar[str] = "average_rank"

    def learn(self, past: Past) -> AverageRank:
        """Rank the pipelines of every task, and average."""
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
        named, own = asked(self.runs_, task, candidates, observed)
        past = self.past_.over(with_others(named, own))
        return alone(past, past.value.mean(0), past.final.std(0), own, budget, len(named))
