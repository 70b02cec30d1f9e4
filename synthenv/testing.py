"""An integration test for reinforcement-learning code, where the best attainable reward is known and no task is needed.

    from synthenv.testing import assert_learns

    def test_my_agent_learns():
        assert_learns(lambda env, steps, seed: MyAgent(env, seed=seed).learn(steps), "SynthBandit-CartPole-v0")

What an agent earns is placed between random actions (0 %) and the best ones (100 %). In theory each test asks for more:
the bandit for credit where an action was taken, the MDP for steps and episodes in order as well, the MDP with a delay
for a sound treatment of the future (see `worlds.delayed`), and a short horizon besides for one of time limits.
`benchmarks/faults.py` measures which of ten faults each of them finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.wrappers import TimeLimit
from torch import Tensor

from synthenv import artifact, rollout, shelf
from synthenv.gym import SynthEnv, SynthVectorEnv, synthetic
from synthenv.rollout import Act
from synthenv.worlds import World
from synthenv.worlds.base import Params

Train = Callable[[Any, int, int], Any]
"""(environment, steps, seed) -> the trained policy: a function from an observation [O] to an action, or anything with
Stable-Baselines3's `predict`."""
SHARE = 0.8
"""How far a sound learner gets, by default, on the way from random actions to the best."""
MEASURED = 1_000
"""Steps on which a policy is measured, about."""


class Marks(NamedTuple):
    """Expected rewards a step, luck and delay left out.

    agents: one a seed; random, best: of uniform actions, and of the environment's own optimal policy.
    """

    agents: tuple[float, ...]
    random: float
    best: float

    @property
    def shares(self) -> tuple[float, ...]:
        """How far each agent got on the way from random actions, 0, to the best, 1."""
        return tuple((agent - self.random) / (self.best - self.random) for agent in self.agents)


def assert_learns(
    train: Train,
    env_id: str | Path,
    *,
    steps: int = 10_000,
    seeds: Sequence[int] = (0,),
    share: float = SHARE,
    delay: float = 0.0,
    discount: float = 0.99,
    horizon: int | None = None,
    num_envs: int | None = None,
) -> Marks:
    """Train in a synthetic environment, by id or folder, once a seed; AssertionError where `share` is not reached.

    That is the mean over seeds. `train` is given one Gymnasium environment, or a batch of `num_envs`. With a `delay`
    (the multi-step form only) the agent's own discount should be `discount`. A `horizon` shorter than the
    environment's own makes time limits matter. Returns what was measured.
    """
    marks = examine(
        train, env_id, steps=steps, seeds=seeds, delay=delay, discount=discount, horizon=horizon, num_envs=num_envs
    )
    reached = float(np.mean(marks.shares))
    if reached >= share:
        return marks
    place = f"{env_id} with delay {delay}" if delay else f"{env_id}"
    each = ", ".join(f"seed {seed}: {part:.0%}" for seed, part in zip(seeds, marks.shares, strict=True))
    raise AssertionError(
        f"after {steps:,} steps in {place} the policy earns {np.mean(marks.agents):.3f} a step: {reached:.0%} of the "
        f"way from random actions ({marks.random:.3f}) to the best ({marks.best:.3f}), expected {share:.0%} or more "
        f"({each}). {_hint(reached, delay)}"
    )


def examine(
    train: Train,
    env_id: str | Path,
    *,
    steps: int,
    seeds: Sequence[int],
    delay: float = 0.0,
    discount: float = 0.99,
    horizon: int | None = None,
    num_envs: int | None = None,
) -> Marks:
    """Train as `assert_learns` does, and only measure."""
    folder = shelf.find(str(env_id).removeprefix("synthenv:"))
    found = artifact.load(folder)
    world, params = synthetic(found)
    params = {**params, "noise.reward": torch.zeros_like(params["noise.reward"])}
    limit, length = horizon or found.recipe.time_limit, found.recipe.time_limit or 1

    def earned(act: Act) -> float:
        return measured(world, params, act, length)

    agents = []
    for seed in seeds:
        env: Any
        if num_envs is None:
            env = SynthEnv(folder, delay=delay, discount=discount)
            env = env if limit is None else TimeLimit(env, limit)
        else:
            env = SynthVectorEnv(folder, num_envs, limit, delay=delay, discount=discount)
        env.reset(seed=seed)
        env.action_space.seed(seed)
        agents.append(earned(acting(train(env, steps, seed), world)))
        env.close()
    return Marks(
        tuple(agents),
        earned(rollout.uniform(world.payoff)),
        earned(lambda observation, _: world.best_action(params, observation)),
    )


def measured(world: World, params: Params, act: Act, horizon: int) -> float:
    """Mean reward a step of a policy in episodes whose first states are always the same; params leaves [1, ...]."""
    generator = torch.Generator().manual_seed(0)
    returns, lengths = rollout.evaluate(world, params, act, generator, -(-MEASURED // horizon), horizon)
    return float(returns.sum() / lengths.sum())


def acting(policy: Any, world: World) -> Act:
    """A trained policy, which takes one observation [O] at a time, on a batch: [1, N, O] -> [1, N] or [1, N, A]."""
    space = world.spaces.action
    shape = () if space.shape is None else space.shape
    if hasattr(policy, "predict"):
        choose: Callable[[Any], Any] = lambda seen: policy.predict(seen, deterministic=True)[0]  # noqa: E731
    elif callable(policy):
        choose = policy
    else:
        raise TypeError(
            "expected train(env, steps, seed) to return a function from an observation to an action, or a model with "
            f"predict, got {policy!r}; did it forget to return?"
        )

    def act(observation: Tensor, _: torch.Generator) -> Tensor:
        actions = np.array([np.asarray(choose(seen)) for seen in observation[0].numpy()], dtype=space.dtype)
        if actions[0].size != math.prod(shape):
            raise ValueError(f"expected the policy to return an action of {space}, got one shaped {actions[0].shape}")
        return torch.from_numpy(actions).reshape(1, -1, *shape)

    return act


def _hint(share: float, delay: float) -> str:
    """Where to look first."""
    if delay:
        return "If it learns without delay, look at what concerns the future: discount, bootstrapping, ends, targets"
    if share < 0:
        return "Worse than chance: look for a wrong sign, or rewards, actions and observations that are out of step"
    return "Try more steps or a larger learning rate before looking for a fault"
