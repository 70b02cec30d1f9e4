"""Worlds: real tasks, synthetic environments, world models. One file each; `base` says what a world is.

Adding a real task is adding a file: a class with ``name`` (its Gymnasium id), ``horizon`` and a world's methods.
"""

from __future__ import annotations

from torch import Tensor

from synthenv import catalogue
from synthenv.recipe import EnvRecipe
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.base import Outcome, Params, RealTask, Spaces, State, World

__all__ = ["Outcome", "Params", "RealTask", "Spaces", "State", "World", "named", "real", "synthetic", "targets"]


def named(name: str) -> type:
    """The class of a real task by Gymnasium id ("CartPole-v1") or of a synthetic form ("bandit", "mdp").

    Raises ValueError with the nearest name for one nobody knows.
    """
    kind: type = catalogue.named(__name__, name, "world")
    return kind


def targets() -> list[str]:
    """Gymnasium ids of the real tasks that environments can be made for."""
    return sorted(name for name, kind in catalogue.names(__name__).items() if hasattr(kind, "horizon"))


def real(target: str) -> RealTask:
    """The real task with this Gymnasium id; raises ValueError with the nearest one that exists."""
    if target not in targets():
        raise ValueError(catalogue.unknown("real task", target, targets()))
    task: RealTask = named(target)()
    return task


def synthetic(recipe: EnvRecipe, centre: Tensor, reach: Tensor) -> SyntheticBandit:
    """The untrained world that a recipe asks for, observing the box centre +- reach, [O] each."""
    form: type[SyntheticBandit] = named(recipe.form)
    spaces = real(recipe.target).spaces
    return form(spaces, reach, centre, recipe.hidden, recipe.latent, recipe.activation)
