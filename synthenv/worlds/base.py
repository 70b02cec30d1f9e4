"""What a world is: a functional environment with parameters, batched over members and episodes.

Given parameters, a state and an action, a world returns the next state and an outcome. Real tasks, synthetic
environments and world models are all worlds. Worlds never restart themselves, count steps or normalise: that is
`synthenv.rollout`'s work.

Letters: P population members, N episodes in parallel, O observation size, A action size (Box) or choices (Discrete).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.tree import Tree

Params = Tree
"""Leaves [P, ...]: one set of parameters a member."""
State = Tree
"""Leaves [P, N, ...]: one internal state an episode."""


class Spaces(NamedTuple):
    """Torch-free description of what goes in and out of a world."""

    observation: spaces.Box
    action: spaces.Discrete | spaces.Box


class Outcome(NamedTuple):
    """What one step returns.

    observation: [P, N, O] seen after the action.
    reward:      [P, N]    for this step alone.
    terminated:  [P, N]    bool; the world ended here, so nothing follows to bootstrap from.
    """

    observation: Tensor
    reward: Tensor
    terminated: Tensor


@runtime_checkable
class World(Protocol):
    """A function with parameters. Deterministic unless it uses the generator it is given.

    Actions are int64 [P, N] for a Discrete space, float [P, N, A] for a Box.
    """

    @property
    def spaces(self) -> Spaces:
        """Observation and action space of one episode."""

    def init(self, generator: torch.Generator, population: int) -> Params:
        """Parameters of `population` fresh members, leaves [P, ...], on the generator's device."""

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """First states of n episodes a member, leaves [P, N, ...]."""

    def observe(self, params: Params, state: State) -> Tensor:
        """Observations [P, N, O] of the states, without a step."""

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """The next states, leaves [P, N, ...], and what the step gave. No auto-reset, no time limit."""


class RealTask(World, Protocol):
    """A world that is worth something by itself: what synthetic environments are made for."""

    @property
    def name(self) -> str:
        """Gymnasium id of the task whose steps it repeats; a class attribute will do."""

    @property
    def horizon(self) -> int:
        """Steps after which Gymnasium truncates an episode."""
