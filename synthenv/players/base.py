"""What a player is, what its steps give, and where the randomness of an environment comes from.

Shapes have no population axis here: a player plays one member, P = 1.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import torch

from synthenv.tree import Tree

Array = Any
"""A numpy array or a tensor: whatever the player computes with."""
State = dict[str, Array]
"""Leaves [N, ...]: one internal state an episode."""


class Moved(NamedTuple):
    """What one step did.

    state:       leaves [N, ...].
    observation: [N, O] of that state.
    reward:      [N].
    terminated:  [N] bool.
    """

    state: State
    observation: Array
    reward: Array
    terminated: Array


class Turn(NamedTuple):
    """One step with chance in it.

    state, observation, reward, terminated: as in `Moved`.
    lost: [N] bool, the player cannot tell what follows, so the episode is cut; None for one that always can.
    """

    state: State
    observation: Array
    reward: Array
    terminated: Array
    lost: Array | None


class Player(Protocol):
    """Plays N episodes of one world; no auto-reset, no time limit."""

    native: ClassVar[Literal["numpy", "torch"]]
    """The kind of array it computes with."""

    noise: float
    """Standard deviation of the luck that `Draws` adds to the rewards of `step`."""

    def start(self, generator: torch.Generator, n: int) -> State:
        """First states of n episodes, leaves [N, ...]."""

    def observe(self, state: State) -> Array:
        """Observations [N, O], a fresh array."""

    def step(self, state: State, action: Array) -> Moved:
        """One step with actions, int64 [N] or float32 [N, A]; the reward is what is expected, without luck."""

    def array(self, data: Any) -> Array:
        """The same data as the player's own kind of array."""

    def actions(self, data: Any) -> Array | None:
        """Actions as the player's own int64 (Discrete) or float32 (Box), or None when they are nothing of the kind."""


class Draws:
    """An environment's randomness: first states and luck, drawn in blocks, for a thousand cost little more than one."""

    def __init__(self, player: Player, block: int) -> None:
        self.player, self._block = player, block
        self._generator: torch.Generator | None = None

    @property
    def seeded(self) -> bool:
        """Whether there is a generator yet."""
        return self._generator is not None

    def seed(self, random: np.random.Generator, device: torch.device) -> None:
        """Begin anew with a generator seeded from `random`; what was left of the last blocks is forgotten."""
        self._generator = torch.Generator(device).manual_seed(int(random.integers(2**63)))
        self._states_used = self._luck_used = self._block

    def starts(self, n: int) -> State:
        """First states of n episodes, leaves [N, ...], that nobody else holds."""
        if self._states_used + n > self._block:
            self._states, self._states_used = self.player.start(self._seeded(), self._block), 0
        rows = slice(self._states_used, self._states_used + n)
        self._states_used += n
        return {name: leaf[rows] for name, leaf in self._states.items()}

    def turn(self, state: State, action: Array) -> Turn:
        """One step of N episodes, int64 [N] or float32 [N, A], and luck."""
        following, observation, reward, terminated = self.player.step(state, action)
        return Turn(following, observation, reward + self.luck(len(reward)), terminated, None)

    def luck(self, n: int) -> Array:
        """What chance adds to the rewards of n steps, [N]."""
        if self._luck_used + n > self._block:
            generator = self._seeded()
            drawn = torch.randn(self._block, generator=generator, device=generator.device)
            self._luck, self._luck_used = self.player.array(self.player.noise * drawn), 0
        rows = slice(self._luck_used, self._luck_used + n)
        self._luck_used += n
        return self._luck[rows]

    def _seeded(self) -> torch.Generator:
        assert self._generator is not None, "seed first"
        return self._generator


def noise(params: Tree) -> float:
    """Standard deviation of a world's luck, P = 1."""
    return float(params["noise.reward"].clamp(min=0))
