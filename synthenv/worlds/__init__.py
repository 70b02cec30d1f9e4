"""Worlds: real tasks, synthetic environments, world models. One file each; `base` says what a world is.

Adding a real task is adding a file: a class with ``name`` (its Gymnasium id), ``horizon`` and a world's methods.
"""

from __future__ import annotations

from difflib import get_close_matches

import gymnasium
from gymnasium import spaces
from torch import Tensor

from synthenv import catalogue
from synthenv.recipe import EnvRecipe
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.base import Outcome, Params, RealTask, Spaces, State, World
from synthenv.worlds.foreign import Foreign, registered

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
    """The real task with this Gymnasium id: our own batched world where there is one, else Gymnasium's environments.

    An id may have the module to import in front, "my_package:MyTask-v0". Raises ValueError with the nearest id for one
    that nobody knows, and with what to do instead for a task that cannot be a target.
    """
    if target in targets():
        task: RealTask = named(target)()
        return task
    if registered(target):
        return Foreign(target)
    near = get_close_matches(target, [*targets(), *gymnasium.registry], 1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ValueError(
        f"no real task is called '{target}'{hint} (known: {', '.join(targets())}, and every id registered with "
        "Gymnasium; the module that registers yours goes in front: 'my_package:MyTask-v0')"
    )


def synthetic(
    recipe: EnvRecipe, action: spaces.Discrete | spaces.Box, centre: Tensor, reach: Tensor
) -> SyntheticBandit:
    """The untrained world that a recipe asks for, with the target's actions, observing the box centre +- reach, [O]."""
    form: type[SyntheticBandit] = named(recipe.form)
    return form(
        action, reach, centre, recipe.hidden, recipe.latent, recipe.activation, recipe.layers, recipe.margin,
        recipe.shift,
    )  # fmt: skip
