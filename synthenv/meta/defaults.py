"""The recipe for a target that has none of its own yet, and what the shipped ones began as."""

from __future__ import annotations

from typing import Literal

from synthenv import worlds
from synthenv.recipe import EnvRecipe, Inner, InnerStage, Search, StatesStage

RATES = (1e-2, 5e-3, 1e-3, 5e-4, 1e-4)
GAMMAS = (1.0, 0.99, 0.95, 0.9, 0.8)
LOOPS = (
    Inner("ppo", 2048),
    Inner("dqn", 4000),
    Inner("a2c", 4000),
    Inner(
        "ppo",
        7000,
        {"envs": 5, "length": 100, "batch": 50},
        {
            "rate": (*RATES, RATES[0], RATES[-1]),
            "gamma": GAMMAS,
            "lam": (1.0, 0.95, 0.9, 0.8, 0.5),
            "clip": (0.1, 0.2, 0.3, 0.4, 0.5),
            "entropy": (0.0, 0.01, 0.05, 0.1, 0.5),
            "value": (0.0, 0.5, 1.0, 1.5, 2.0),
            "max_norm": (0.5, 10.0),
        },
    ),
    Inner(
        "dqn",
        5000,
        {"envs": 10, "length": 1, "batch": 100, "capacity": 2000, "warmup": 1000, "target_every": 50,
         "dueling": True, "activation": "tanh"},
        {"rate": RATES, "gamma": GAMMAS, "epsilon": (0.01, 0.05, 0.1, 0.2), "exploration": (0.5,)},
    ),
)  # fmt: skip
"""Stable-Baselines3's defaults on short budgets, and the ranges of Liesen et al. (2024), extreme rates twice."""


def default_recipe(target: str, form: Literal["bandit", "mdp"]) -> EnvRecipe:
    """A recipe for the real task with this Gymnasium id; raises ValueError with the nearest one that exists.

    In one step a sharp reward is clear; over many, the mistakes to come drown the one at hand, so the MDP form stays
    nearly linear and is searched for longer.
    """
    worlds.real(target)
    task = target.rsplit("-v", 1)[0]
    if form == "bandit":
        return EnvRecipe(f"SynthBandit-{task}-v0", target, form, inner=InnerStage(loops=LOOPS))
    return EnvRecipe(
        f"Synth-{task}-v0",
        target,
        form,
        horizon=20,
        states=StatesStage(scale=1.0, height=10.0),
        inner=InnerStage(search=Search("snes", {"sigma": 0.03}, generations=40), loops=LOOPS),
    )
