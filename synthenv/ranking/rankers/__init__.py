"""Rankers, one a file: each learns from runs of other tasks which pipeline to run next on a new one."""

from __future__ import annotations

from typing import Any

from synthenv import catalogue
from synthenv.ranking.rankers.base import Ranker, Ranking

ROOM = __name__


def ranker(name: str, **parameters: Any) -> Ranker:
    """The ranker called `name`, not fitted yet; raises ValueError naming the nearest one there is."""
    found: Ranker = catalogue.named(ROOM, name, "ranker")(**parameters)
    return found


def default() -> Ranker:
    """The ranker to take where nothing speaks for another: learns from other tasks as far as that helps."""
    return ranker("guarded")


__all__ = ["Ranker", "Ranking", "default", "ranker"]
