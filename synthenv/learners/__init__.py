"""Learners: whole populations of reinforcement-learning agents trained at once. One algorithm a file.

Adding one is adding a file with a class that has a ``name`` and the methods of `base.Learner`.
"""

from __future__ import annotations

from typing import Any

from synthenv import catalogue, recipe
from synthenv.learners.base import Agent, Learner, accepts, fill, learn, score, sizes, train
from synthenv.worlds.base import Spaces

__all__ = ["Agent", "Learner", "accepts", "fill", "learn", "named", "score", "train"]


def named(name: str, spaces: Spaces, **settings: Any) -> Learner:
    """The algorithm called `name` ("ppo") for a task with these spaces; settings are fields of its class.

    Raises ValueError with the nearest name for an algorithm or setting nobody knows, for a setting of the wrong type or
    a number of nothing, and for actions that the algorithm has no policy for.
    """
    kind: type[Learner] = catalogue.named(__name__, name, "learner")
    learner = recipe.build(kind, {"spaces": spaces, **settings}, name)
    recipe.check_counts(learner, name)
    sizes(learner, spaces)
    return learner
