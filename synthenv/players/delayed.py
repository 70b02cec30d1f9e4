"""Plays `worlds.delayed` in numpy."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from synthenv.players.arrays import NumpyMDP
from synthenv.players.base import Moved, State
from synthenv.players.nets import BENDS, mlp, network
from synthenv.tree import Tree
from synthenv.worlds.delayed import DelayedMDP, put_off


class NumpyDelayedMDP(NumpyMDP):
    """`DelayedMDP` in numpy."""

    def __init__(self, world: DelayedMDP, params: Tree) -> None:
        super().__init__(world, params)
        self.potentials, self.discount = network(params, "potential"), float(params["discount.delay"])

    def step(self, state: State, action: npt.NDArray[Any]) -> Moved:
        """One step with actions [N] or [N, A], paid late."""
        moved = super().step(state, action)
        now, then = (mlp(self.potentials, seen["u"], BENDS["tanh"])[:, 0] for seen in (state, moved.state))
        return moved._replace(reward=put_off(moved.reward, now, then, moved.terminated, self.discount))
