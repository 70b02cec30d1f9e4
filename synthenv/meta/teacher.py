"""Stage 1, the other way: a learner trained in the real task, whose actor becomes the reward network.

What an actor prefers it says in numbers, logits of choices or the action itself. Taken for rewards they have the same
best actions. Where rewards are frequent this goes further than evolution does in the same time, for it learns from
every step and its networks may be deeper; and learners with a memory spend far fewer real steps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from gymnasium import spaces

from synthenv import learners, worlds
from synthenv.learners.actor_critic import ActorCritic
from synthenv.learners.base import Instructive
from synthenv.meta import states
from synthenv.meta.inner import drawn
from synthenv.recipe import EnvRecipe, Inner
from synthenv.tree import Tree, ravel, take
from synthenv.worlds import RealTask
from synthenv.worlds.bandit import SyntheticBandit


def teacher(recipe: EnvRecipe, real: RealTask, loop: Inner) -> Instructive:
    """A learner whose actor is shaped as the reward network; raises ValueError for one that has no such actor."""
    if given := {"hidden", "activation"} & loop.settings.keys():
        raise ValueError(
            f"expected no {' and no '.join(sorted(given))} in the settings of greedy.learner: its actor becomes the "
            "reward network, so set layers and activation of the recipe"
        )
    shape = {"hidden": recipe.layers or (recipe.hidden,), "activation": recipe.activation}
    learner = learners.named(loop.algorithm, real.spaces, **loop.settings, **shape)
    unbounded = isinstance(learner, ActorCritic) and isinstance(real.spaces.action, spaces.Box)
    if unbounded or not isinstance(learner, Instructive):
        raise ValueError(
            "expected greedy.learner to be ppo, a2c or sac where actions are Discrete, and sac, td3 or ddpg in a Box, "
            f"got {loop.algorithm} in {recipe.target}; leave it out, and the reward network is evolved"
        )
    return learner


def trained(
    recipe: EnvRecipe, real: RealTask, synthetic: SyntheticBandit, loop: Inner, generator: torch.Generator
) -> tuple[Tree, dict[str, Any], int]:
    """The best agent's actor as the reward network, leaves [1, ...]; what all agents were worth; the real steps."""
    stage, learner = recipe.greedy, teacher(recipe, real, loop)
    agents = learner.init(drawn(learner, loop, stage.agents, generator), loop.steps, generator)
    agents = learners.train(
        learner, agents, real, real.init(generator, stage.agents), loop.steps, generator, real.horizon
    )
    returns, tried = learners.score(learner, agents, real, generator, stage.trials, real.horizon, recipe.paired)
    worth = returns.mean(1)  # [R]
    sound = worth.isfinite() & ravel(learner.actor(agents)).isfinite().all(1)
    if not sound.any():
        raise ValueError(
            f"expected an agent of greedy.learner with finite weights and returns, got none of {stage.agents}; try "
            "lower rates, or more agents"
        )
    best = take(agents, int(worth.where(sound, -torch.inf).argmax()))
    reward = synthetic.payoff.adopt(learner.actor(best))
    nowhere, as_is = torch.zeros_like(synthetic.centre), torch.ones_like(synthetic.reach)
    plain = worlds.synthetic(recipe, real.spaces.action, nowhere, as_is)
    whole = learner.envs * learner.length
    spent = stage.agents * whole * -(-loop.steps // whole)  # rounded up to whole updates
    facts = {"returns": [round(mean, 2) if math.isfinite(mean) else None for mean in worth.tolist()]}
    return states.rewrite(reward, plain, synthetic), facts, spent + tried
