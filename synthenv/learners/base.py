"""What a learner is, and the loop that trains one in any world.

An agent is a tree with leaves [P, ...]: networks, optimizer memory, hyperparameters. Structure that fixes shapes or
loop lengths (envs, hidden, batch, ...) is a field of the learner; everything else is a hyperparameter [P].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from synthenv import rollout
from synthenv.catalogue import unknown
from synthenv.rollout import Steps
from synthenv.tree import Tree
from synthenv.worlds.base import Params, World

Agent = Tree


class Learner(Protocol):
    """An algorithm as functions over an agent."""

    name: ClassVar[str]
    defaults: ClassVar[dict[str, float]]
    """Hyperparameters and their default values (Stable-Baselines3's)."""

    @property
    def envs(self) -> int:
        """N, episodes a member plays in parallel."""

    @property
    def length(self) -> int:
        """T, steps of every episode between two updates."""

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Untrained agents; hyper leaves [P], `steps` the whole budget."""

    def act(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Actions for learning, with exploration: [P, N, O] -> [P, N]."""

    def best(self, agent: Agent, observation: Tensor) -> Tensor:
        """Actions for use, without exploration: [P, N, O] -> [P, N]."""

    def value(self, agent: Agent, observation: Tensor) -> Tensor:
        """Discounted return that the agents expect: [P, N, O] -> [P, N]."""

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """Learn from new experience, leaves [P, T, N, ...]. Replay memory may be written in place."""


def fill(
    learner: Learner, population: int, given: Mapping[str, float | Tensor], device: torch.device | str = "cpu"
) -> Tree:
    """Hyperparameters [P]: the learner's defaults, overridden by numbers or [P] tensors.

    Raises ValueError for a hyperparameter that the learner does not have.
    """
    for name in given:
        if name not in learner.defaults:
            raise ValueError(unknown(f"hyperparameter of {learner.name}", name, learner.defaults))
    values = {**learner.defaults, **given}
    return {
        name: torch.as_tensor(value, dtype=torch.float32, device=device).expand(population)
        for name, value in values.items()
    }


def learn(
    learner: Learner,
    agent: Agent,
    world: World,
    params: Params,
    steps: int,
    generator: torch.Generator,
    horizon: int | None,
) -> Iterator[tuple[int, Agent]]:
    """Train P agents, fresh from `learner.init`, each in its own member of the world.

    params leaves [P, ...]; horizon None for a world without time limit. Yields the steps spent a member and the agents
    as they stand, after every update; stops at the first that reaches `steps`.
    """
    with torch.no_grad():
        episodes = rollout.begin(world, params, generator, learner.envs)
    spent = 0
    while spent < steps:
        act = partial(learner.act, agent)
        with torch.no_grad():
            new, episodes = rollout.collect(world, params, act, episodes, learner.length, generator, horizon)
        agent = learner.update(agent, new, generator)
        spent += learner.length * learner.envs
        yield spent, agent


def train(
    learner: Learner,
    agent: Agent,
    world: World,
    params: Params,
    steps: int,
    generator: torch.Generator,
    horizon: int | None,
) -> Agent:
    """The agents that `learn` ends with."""
    for _, trained in learn(learner, agent, world, params, steps, generator, horizon):
        agent = trained
    return agent


def score(
    learner: Learner, agent: Agent, world: World, generator: torch.Generator, episodes: int, horizon: int
) -> tuple[Tensor, int]:
    """Real returns [P, episodes] of agents acting without exploration, and the steps that took."""
    population = len(agent["flat"])

    def act(observation: Tensor, _: torch.Generator) -> Tensor:
        return learner.best(agent, observation)

    with torch.no_grad():
        task = world.init(generator, population)
        returns, lengths = rollout.evaluate(world, task, act, generator, episodes, horizon)
    return returns, int(lengths.sum())
