"""Plays a world as it is written, in torch: any form, any device."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar, Literal

import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.players.base import Moved, State, noise
from synthenv.tree import Tree, to
from synthenv.worlds.bandit import SyntheticBandit


class TorchPlayer:
    """The world itself."""

    native: ClassVar[Literal["numpy", "torch"]] = "torch"

    def __init__(self, world: SyntheticBandit, params: Tree, device: torch.device) -> None:
        self.world, self.params, self.device = copy(world), to(params, device), device
        self.world.centre, self.world.reach = world.centre.to(device), world.reach.to(device)
        self.discrete = isinstance(world.spaces.action, spaces.Discrete)
        self.noise = noise(params)

    def start(self, generator: torch.Generator, n: int) -> State:
        """First states of n episodes."""
        return self._alone(self.world.reset(self.params, generator, n))

    def observe(self, state: State) -> Tensor:
        """Observations [N, O]."""
        return self.world.observe(self.params, self._member(state))[0]

    def step(self, state: State, action: Tensor) -> Moved:
        """One step with actions [N] or [N, A]."""
        following, outcome = self.world.step(self.params, self._member(state), action[None])
        return Moved(self._alone(following), *(leaf[0] for leaf in outcome))

    def array(self, data: Any) -> Tensor:
        """The data [...] as a tensor on the device."""
        return torch.as_tensor(data, device=self.device)

    def actions(self, data: Any) -> Tensor | None:
        """Actions [N, ...] as int64 unless they are floats, or as float32; never booleans."""
        action = self.array(data)
        if action.dtype is torch.bool or (self.discrete and action.is_floating_point()):
            return None
        return action.long() if self.discrete else action.float()

    @staticmethod
    def _member(state: State) -> Tree:
        return {name: leaf[None] for name, leaf in state.items()}

    @staticmethod
    def _alone(state: Tree) -> State:
        return {name: leaf[0] for name, leaf in state.items()}
