"""Replay: remembered transitions, and the learners that draw minibatches from them.

The memory of a member is a ring, leaves [P, rows, ...], written in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from gymnasium import Space, spaces
from torch import Tensor

from synthenv.learners import base
from synthenv.learners.base import Agent, Piece
from synthenv.rollout import Steps
from synthenv.tree import Tree, part, prefixed
from synthenv.worlds.base import Spaces


def ring(observation: int, action: int | None, population: int, rows: int, device: torch.device) -> Tree:
    """An empty memory, leaves [P, rows, ...]; action is the size of a Box, or None for Discrete actions."""

    def empty(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros((population, rows, *size), dtype=dtype, device=device)

    return {
        "observation": empty(observation),
        "following": empty(observation),
        "action": empty(dtype=torch.long) if action is None else empty(action),
        "reward": empty(),
        "terminated": empty(dtype=torch.bool),
    }


def remember(replay: Tree, steps: Steps, before: int) -> int:
    """Write steps [P, T, N, ...] over the oldest rows, in place; from `before` seen so far to how many now are."""
    after, rows = before + steps.reward[0].numel(), replay["reward"].shape[1]
    place = torch.arange(before, after, device=steps.reward.device) % rows
    for name, leaf in replay.items():
        leaf[:, place] = getattr(steps, name).flatten(1, 2)
    return after


def minibatch(replay: Tree, seen: int, batch: int, generator: torch.Generator) -> Tree:
    """Rows drawn with replacement, alike for all members, of what was written: leaves [P, B, ...]."""
    rows = replay["reward"].shape[1]
    drawn = torch.randint(min(seen, rows), (batch,), generator=generator, device=replay["reward"].device)
    return {name: leaf.index_select(1, drawn) for name, leaf in replay.items()}


def keep_freed_memory() -> None:
    """Have glibc's malloc, where that is in use, keep what is freed for the next minibatch.

    It gives blocks back to the system that are larger than any freed before, up to 32 MB; and to fetch the activations'
    memory anew for every minibatch is a tenth of the time it takes to learn from one.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@dataclass(frozen=True)
class Replaying:
    """A learner that remembers every transition and learns from minibatches of them; how is the subclass's part.

    Members share the rows they replay (common random numbers), not what the rows hold.
    Agent: what `start` makes, replay.*, hyper.*, and seen [P], how many transitions so far.
    """

    name: ClassVar[str]
    actions: ClassVar[tuple[type[Space[Any]], ...]]

    spaces: Spaces
    envs: int = 1
    length: int = 1
    """Steps of every episode between two updates."""
    updates: int = 1
    """Gradient steps an update."""
    batch: int = 256
    capacity: int = 1_000_000
    """Transitions kept; no more is reserved than the budget can fill."""
    warmup: int = field(default=100, metadata={"least": 0})
    """Transitions before the first update, taken at random."""
    hidden: tuple[int, ...] = (256, 256)
    activation: Literal["tanh", "relu", "silu"] = "relu"
    compiled: bool = False
    """Whether gradient steps are compiled, once for every size; takes a C++ compiler and a quarter of a minute."""

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """O and A."""
        return base.sizes(self, self.spaces)

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Fresh agents with empty memories; hyper leaves [P]."""
        keep_freed_memory()
        fresh = self.start(hyper, generator)
        population, device, a_round = len(hyper["rate"]), generator.device, self.length * self.envs
        rows = min(self.capacity, -(-steps // a_round) * a_round)
        observation, action = self.sizes
        size = None if isinstance(self.spaces.action, spaces.Discrete) else action
        return {
            **fresh,
            "seen": torch.zeros(population, dtype=torch.long, device=device),
            **prefixed("hyper", hyper),
            **prefixed("replay", ring(observation, size, population, rows, device)),
        }

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """Remember steps [P, T, N, ...], then learn from replayed minibatches."""
        replay = part(agent, "replay")
        seen = remember(replay, steps, int(agent["seen"][0]))
        agent = {**agent, "seen": torch.full_like(agent["seen"], seen)}
        if seen > self.warmup:
            for _ in range(self.updates):
                agent = self.descend(agent, minibatch(replay, seen, self.batch, generator), generator)
        return agent

    def descend(self, agent: Agent, batch: Tree, generator: torch.Generator) -> Agent:
        """One gradient step on a minibatch, leaves [P, B, ...]."""
        batch = self.prepared(batch, generator)
        for piece in self.pieces(agent):
            agent = base.run(self, piece, agent, batch)
        return agent

    def start(self, hyper: Tree, generator: torch.Generator) -> Agent:
        """Networks and optimizers, leaves [P, ...]; hyper leaves [P]."""
        raise NotImplementedError

    def prepared(self, batch: Tree, generator: torch.Generator) -> Tree:
        """A minibatch, leaves [P, B, ...], as the pieces of a gradient step take it, with all that they draw."""
        return batch

    def pieces(self, agent: Agent) -> Sequence[Piece]:
        """A gradient step: what to do one after the other."""
        return (self.improve,)

    def improve(self, agent: Agent, batch: Tree) -> Tree:
        """What learns first from a prepared minibatch: the leaves that it changes."""
        raise NotImplementedError
