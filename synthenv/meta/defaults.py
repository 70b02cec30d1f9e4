"""The recipe for a target that has none of its own yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from gymnasium import spaces

from synthenv import worlds
from synthenv.recipe import EnvRecipe, Exam, GreedyStage, Inner, InnerStage, Search, StatesStage
from synthenv.worlds.foreign import Foreign

DISCRETE = StatesStage(floor=1.0, graded=True, height=0.5, noise=0.05)
"""States that stand out in every dimension, and small sharp rewards: DQN has little time to learn large ones."""
BOX = StatesStage(widen=1.0, scale=60.0, height=100.0, noise=0.0)
"""States as they are: actions are to be met exactly, and far-off states would take the network's attention."""
SMALL = {"hidden": [64, 64]}
FAST = GreedyStage(
    search=Search(options={"sigma": 0.3, "mirrored": True}, population=128, generations=100, patience=20),
    episodes=8,
    tail=0.5,
    slips=0.05,
)
SLOW = replace(FAST, search=replace(FAST.search, population=32), episodes=4)
"""For somebody else's task, stepped in Python: an eighth of the steps, and never beyond its time limit."""
BOX_EXAM = Exam(loops=tuple(Inner(name, 5000, SMALL) for name in ("sac", "td3", "ddpg")), agents=8)


def default_recipe(target: str, form: Literal["bandit", "mdp"]) -> EnvRecipe:
    """A recipe for the real task with this Gymnasium id; raises ValueError with the nearest one that exists.

    It leaves out the inner stage: greedy, states and dynamics take seconds and carry most of the way, while inner loops
    have to be chosen for the task, long enough for their agents to learn something; for examples see the shelf.

    In one step a sharp reward is clear; over many, the mistakes to come drown the one at hand, so the MDP form of
    Discrete actions stays nearly linear.
    """
    real = worlds.real(target)
    discrete = isinstance(real.spaces.action, spaces.Discrete)
    slow = isinstance(real, Foreign)
    task = target.rpartition(":")[2].rpartition("/")[2].rsplit("-v", 1)[0]
    states = DISCRETE if discrete else BOX
    recipe = EnvRecipe(
        f"SynthBandit-{task}-v0",
        target,
        form,
        paired=True,
        activation="relu",
        greedy=SLOW if slow else replace(FAST, stretch=5.0 if discrete else 1.0),
        states=states,
        inner=InnerStage(enabled=False),
        exam=Exam() if discrete else BOX_EXAM,
    )
    if form == "bandit":
        return recipe
    linear = replace(states, scale=1.0, height=10.0, noise=0.3) if discrete else states
    return replace(recipe, id=f"Synth-{task}-v0", horizon=20, states=linear)
