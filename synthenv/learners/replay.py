"""Replay: remembered transitions, and the learners that draw minibatches from them.

The memory of a member is a ring of transitions, [P, rows, W], written in place. All that belongs to a transition lies
in one row, so that drawing it reads one place in memory: numbers of choices and terminations, too, are float32 there.
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
from synthenv.nets import Initial
from synthenv.rollout import Steps
from synthenv.tree import Shapes, Tree, length, prefixed, unravel
from synthenv.worlds.base import Spaces


def layout(observation: int, action: int | None) -> Shapes:
    """What a row holds, end to end; action is the size of a Box, or None for the number of a Discrete action."""
    size = () if action is None else (action,)
    return {"observation": (observation,), "following": (observation,), "action": size, "reward": (), "terminated": ()}


def remember(replay: Tensor, like: Shapes, steps: Steps, before: int) -> int:
    """Write steps [P, T, N, ...] over the oldest rows [P, rows, W], in place.

    like: what a row holds. Returns how many steps were seen; before it, they were `before`.
    """
    after, rows = before + steps.reward[0].numel(), replay.shape[1]
    place = torch.arange(before, after, device=replay.device) % rows
    leaves = (getattr(steps, name).reshape(len(replay), after - before, -1) for name in like)
    replay[:, place] = torch.cat([*leaves], -1)
    return after


def minibatch(replay: Tensor, like: Shapes, seen: int, batch: int, generator: torch.Generator) -> Tree:
    """Rows drawn with replacement, alike for all members, of what was written in [P, rows, W]: leaves [P, B, ...]."""
    drawn = torch.randint(min(seen, replay.shape[1]), (batch,), generator=generator, device=replay.device)
    found = unravel(replay.index_select(1, drawn), like)
    action = found["action"] if like["action"] else found["action"].long()
    return {**found, "action": action, "terminated": found["terminated"].bool()}


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
    Agent: what `start` makes, replay [P, rows, W], hyper.*, and seen [P], how many transitions so far.
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
    initial: Initial = "uniform"
    """First weights, as `nets.INITIAL` draws them."""
    compiled: bool = False
    """Whether gradient steps are compiled, once for every size; takes a C++ compiler and a quarter of a minute."""

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """O and A."""
        return base.sizes(self, self.spaces)

    @cached_property
    def row(self) -> Shapes:
        """What is remembered of a transition."""
        observation, action = self.sizes
        return layout(observation, None if isinstance(self.spaces.action, spaces.Discrete) else action)

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Fresh agents with empty memories; hyper leaves [P]."""
        keep_freed_memory()
        fresh = self.start(hyper, generator)
        population, device, a_round = len(hyper["rate"]), generator.device, self.length * self.envs
        rows = min(self.capacity, -(-steps // a_round) * a_round)
        return {
            **fresh,
            "seen": torch.zeros(population, dtype=torch.long, device=device),
            **prefixed("hyper", hyper),
            "replay": torch.zeros((population, rows, length(self.row)), device=device),
        }

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """Remember steps [P, T, N, ...], then learn from replayed minibatches."""
        replay = agent["replay"]
        seen = remember(replay, self.row, steps, int(agent["seen"][0]))
        agent = {**agent, "seen": torch.full_like(agent["seen"], seen)}
        if seen > self.warmup:
            for _ in range(self.updates):
                agent = self.descend(agent, minibatch(replay, self.row, seen, self.batch, generator), generator)
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
