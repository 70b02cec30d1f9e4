"""The recipe for a target that has none of its own yet."""

from __future__ import annotations

from typing import Literal

from synthenv import worlds
from synthenv.recipe import EnvRecipe


def default_recipe(target: str, form: Literal["bandit", "mdp"]) -> EnvRecipe:
    """A recipe for the real task with this Gymnasium id; raises ValueError with the nearest one that exists."""
    worlds.real(target)
    task = target.rsplit("-v", 1)[0]
    if form == "bandit":
        return EnvRecipe(f"SynthBandit-{task}-v0", target, form)
    return EnvRecipe(f"Synth-{task}-v0", target, form, horizon=20)
