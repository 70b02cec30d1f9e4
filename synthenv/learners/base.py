"""What a learner is, and the loop that trains one in any world.

An agent is a tree with leaves [P, ...]: networks, optimizer memory, hyperparameters. Structure that fixes shapes or
loop lengths (envs, hidden, batch, ...) is a field of the learner; everything else is a hyperparameter [P].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from gymnasium import Space, spaces
from torch import Tensor

from synthenv import catalogue, rollout
from synthenv.compiled import merged
from synthenv.learners.policies import clip
from synthenv.rollout import Steps
from synthenv.tree import Tree
from synthenv.worlds.base import Outcome, Params, Spaces, State, World

Agent = Tree


Piece = Callable[[Agent, Tree], Tree]
"""Of learning: agents and what they learn from -> the leaves of the agents that change. It draws nothing."""


class Acting(Protocol):
    """Something with a name and policies for some kinds of action space."""

    name: ClassVar[str]
    actions: ClassVar[tuple[type[Space[Any]], ...]]
    """`spaces.Discrete`, `spaces.Box`, or both."""


class Learner(Acting, Protocol):
    """An algorithm as functions over an agent."""

    @property
    def defaults(self) -> Mapping[str, float]:
        """Hyperparameters and their default values (Stable-Baselines3's); a class attribute will do."""

    @property
    def envs(self) -> int:
        """N, episodes a member plays in parallel."""

    @property
    def length(self) -> int:
        """T, steps of every episode between two updates."""

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Untrained agents; hyper leaves [P], `steps` the whole budget."""

    def act(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Actions for learning, with exploration: [P, N, O] -> int64 [P, N], or [P, N, A] for a Box.

        Those of a Box may lie outside: `learn` gives the world the nearest inside, and `update` what was drawn.
        """

    def best(self, agent: Agent, observation: Tensor) -> Tensor:
        """Actions for use, without exploration, within a Box: [P, N, O] -> int64 [P, N] or [P, N, A]."""

    def value(self, agent: Agent, observation: Tensor) -> Tensor:
        """Discounted return that the agents expect: [P, N, O] -> [P, N]."""

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """Learn from new experience, leaves [P, T, N, ...]. Replay memory may be written in place."""


@runtime_checkable
class Instructive(Learner, Protocol):
    """A learner whose policy is one network, which can be handed on."""

    def actor(self, agent: Agent) -> Tree:
        """That network, leaves [P, ...]: what it says first are logits of choices, or actions of a Box."""


def accepts(learner: Acting | type[Acting], action: Space[Any]) -> bool:
    """Whether the learner has a policy for this action space; a Box has to be bounded and of one dimension."""
    flat = not isinstance(action, spaces.Box) or (action.is_bounded() and len(action.shape) == 1)
    return isinstance(action, learner.actions) and flat


def sizes(learner: Acting, task: Spaces) -> tuple[int, int]:
    """O and A of a task: numbers observed, and choices (Discrete) or dimensions (Box) of an action.

    Raises ValueError, naming learners that will do, where this one has no policy for the task's actions.
    """
    action = task.action
    if not accepts(learner, action):
        words = {spaces.Discrete: "Discrete", spaces.Box: "bounded one-dimensional Box"}
        wish = " or ".join(words[kind] for kind in learner.actions)
        known = catalogue.names("synthenv.learners")
        able = ", ".join(sorted(name for name, kind in known.items() if accepts(kind, action)))
        raise ValueError(
            f"expected a task with {wish} actions, got {action}; {learner.name} has no other policy, "
            + (f"try {able}" if able else "nor has any learner")
        )
    return int(task.observation.shape[0]), int(action.n if isinstance(action, spaces.Discrete) else action.shape[0])


class Compiling(Acting, Protocol):
    """A dataclass of settings, one of which says whether pieces of learning are compiled."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def spaces(self) -> Spaces:
        """Of the task."""

    @property
    def compiled(self) -> bool:
        """Whether pieces of learning are compiled."""


def run(learner: Compiling, piece: Piece, agent: Agent, batch: Tree) -> Agent:
    """Agents after a piece of learning from a batch, leaves [P, ...]."""
    if not learner.compiled:
        return {**agent, **piece(agent, batch)}
    task = sizes(learner, learner.spaces), isinstance(learner.spaces.action, spaces.Discrete)
    settings = (getattr(learner, each.name) for each in fields(learner) if each.name != "spaces")
    bare = {name: leaf for name, leaf in agent.items() if name != "replay"}
    return {**agent, **merged(piece, (learner.name, piece.__name__, task, *settings), bare, batch)}


def fill(
    learner: Learner, population: int, given: Mapping[str, float | Tensor], device: torch.device | str = "cpu"
) -> Tree:
    """Hyperparameters [P]: the learner's defaults, overridden by numbers or [P] tensors.

    Raises ValueError for a hyperparameter that the learner does not have.
    """
    for name in given:
        if name not in learner.defaults:
            raise ValueError(catalogue.unknown(f"hyperparameter of {learner.name}", name, learner.defaults))
    values = {**learner.defaults, **given}
    return {
        name: torch.as_tensor(value, dtype=torch.float32, device=device).expand(population)
        for name, value in values.items()
    }


class Clipped:
    """A world that takes an action outside its Box for the nearest inside, before it has any effect.

    Left to themselves worlds differ (MountainCarContinuous charges for force that it does not apply); around learners
    all do the same, as around Stable-Baselines3's.
    """

    def __init__(self, world: World, box: spaces.Box) -> None:
        self._world, self._box, self.spaces = world, box, world.spaces

    def init(self, generator: torch.Generator, population: int) -> Params:
        """The world's parameters, leaves [P, ...]."""
        return self._world.init(generator, population)

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """The world's first states, leaves [P, N, ...]."""
        return self._world.reset(params, generator, n)

    def observe(self, params: Params, state: State) -> Tensor:
        """The world's observations [P, N, O]."""
        return self._world.observe(params, state)

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """The world's step with actions [P, N, A], clipped."""
        return self._world.step(params, state, clip(action, self._box), generator)


class ClippedRestarting(Clipped):
    """The same around a world that begins single episodes again by itself."""

    def restart(self, params: Params, state: State, ended: Tensor, generator: torch.Generator) -> State:
        """The world's states [P, N, ...] in which the episodes of ended [P, N] bool have begun again."""
        assert isinstance(self._world, rollout.Restarting)
        return self._world.restart(params, state, ended, generator)


def clipped(world: World) -> World:
    """The world as learners play it: where its actions are a Box, it is given the nearest inside."""
    box = world.spaces.action
    if not isinstance(box, spaces.Box):
        return world
    return (ClippedRestarting if isinstance(world, rollout.Restarting) else Clipped)(world, box)


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
    world = clipped(world)
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
    learner: Learner,
    agent: Agent,
    world: World,
    generator: torch.Generator,
    episodes: int,
    horizon: int,
    paired: bool = False,
) -> tuple[Tensor, int]:
    """Real returns [P, episodes] of agents acting without exploration, and the steps that took.

    paired: all agents begin in the same states.
    """
    population = len(agent["flat"])

    def act(observation: Tensor, _: torch.Generator) -> Tensor:
        return learner.best(agent, observation)

    with torch.no_grad():
        task = world.init(generator, population)
        returns, lengths = rollout.evaluate(world, task, act, generator, episodes, horizon, paired)
    return returns, int(lengths.sum())
