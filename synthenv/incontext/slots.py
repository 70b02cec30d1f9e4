"""Spaces of real tasks as the slots of `rows`: what a world model can look at, and how actions are laid out.

Letters: Q queries, O observation slots, A action slots.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import one_hot, pad

from synthenv.incontext.rows import ACTIONS, OBSERVATIONS
from synthenv.worlds import foreign
from synthenv.worlds.base import Spaces

Floats = npt.NDArray[np.float32]


def spaces_of(task: str, observation: spaces.Space[Any], action: spaces.Space[Any]) -> Spaces:
    """A task's spaces as a world model has them: a Box [O] in float32, and Discrete choices or a Box [A].

    Discrete, MultiDiscrete and MultiBinary observations become their numbers. Raises ValueError, with what to do
    instead, for spaces that are no short lists of numbers.
    """
    seen = _observed(task, observation)
    taken = foreign.action_space(task, action)
    if seen.shape[0] > OBSERVATIONS:
        raise ValueError(
            f"{task} shows {seen.shape[0]} numbers, and world models look at {OBSERVATIONS} at most; leave out those "
            "that matter least, with gymnasium.wrappers.TransformObservation"
        )
    if slots(taken) > ACTIONS:
        what = "choices" if isinstance(taken, spaces.Discrete) else "numbers an action"
        raise ValueError(
            f"{task} has {slots(taken)} {what}, and world models take {ACTIONS} at most; combine or leave out some, "
            "with gymnasium.wrappers.TransformAction"
        )
    return Spaces(seen, taken)


def slots(action: spaces.Discrete | spaces.Box) -> int:
    """Action slots in use: choices of a Discrete space, numbers of a Box."""
    return int(action.n if isinstance(action, spaces.Discrete) else action.shape[0])


def _observed(task: str, space: spaces.Space[Any]) -> spaces.Box:
    """An observation space as a Box [O] in float32; bounds may be infinite."""
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype != np.uint8:
        with np.errstate(over="ignore"):  # the ends of float64, a usual way to say infinite
            return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32))
    if isinstance(space, spaces.Discrete):
        first, last = int(space.start), int(space.start + space.n - 1)
        return spaces.Box(first, last, (1,), dtype=np.float32)
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return spaces.Box(space.start.astype(np.float32), (space.start + space.nvec - 1).astype(np.float32))
    if isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
        return spaces.Box(0, 1, space.shape, dtype=np.float32)
    raise ValueError(
        f"{task} shows {space}; expected a Box of one dimension, Discrete, MultiDiscrete or MultiBinary; try "
        "gymnasium.wrappers.FlattenObservation, or TransformObservation with the numbers that matter"
    )


class Numbers(gymnasium.ObservationWrapper[Floats, Any, Any]):
    """A task whose observations are plain numbers [O] in float32, as its world model shows them."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        space: Any = spaces_of(name, env.observation_space, env.action_space).observation
        self.observation_space = space

    def observation(self, observation: Any) -> Floats:
        """The same numbers as a list, [O]: a copy, for a task may go on writing to its own."""
        return np.array(observation, dtype=np.float32).reshape(-1)


class Slots:
    """From observations [Q, o] and actions of a task to the slots that a model reads."""

    def __init__(self, action: spaces.Discrete | spaces.Box, observed: int) -> None:
        self.observed, self.acting = observed, slots(action)
        self.discrete = isinstance(action, spaces.Discrete)
        if isinstance(action, spaces.Box):
            low, high = torch.from_numpy(action.low), torch.from_numpy(action.high)
            half = (high - low) / 2
            self.middle, self.half = (low + high) / 2, torch.where(half > 0, half, torch.ones_like(half))
        else:
            self.rows = pad(one_hot(torch.arange(self.acting)).float(), (0, ACTIONS - self.acting))  # [choices, A]

    def observations(self, observation: Tensor) -> Tensor:
        """[Q, o] -> [Q, O], zeros behind."""
        return pad(observation, (0, OBSERVATIONS - self.observed))

    def actions(self, action: Tensor) -> Tensor:
        """Choices int64 [Q] as one-hot, or a Box's numbers [Q, a] clipped and scaled to [-1, 1]: [Q, A]."""
        if self.discrete:
            return self.rows[action]
        return pad(((action - self.middle) / self.half).clamp(-1, 1), (0, ACTIONS - self.acting))

    def box(self, unit: Tensor) -> Tensor:
        """A Box's numbers [..., a] from those scaled to [-1, 1]; the inverse of `actions` without the empty slots."""
        return torch.addcmul(self.middle, unit, self.half)
