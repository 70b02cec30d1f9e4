"""Two ways to play one synthetic world: as it is written, in torch, or in numpy.

On a CPU numpy wins at every batch size, for a call costs it half as much and so does a tanh. The price is that two
places know the arithmetic of `worlds.bandit`, `worlds.mdp`, `worlds.delayed` and `worlds.payoff`; tests/test_players.py
holds them equal, value by value.
"""

from __future__ import annotations

from typing import Any

import torch

from synthenv.players.arrays import NumpyBandit, NumpyMDP
from synthenv.players.base import Array, Draws, Moved, Player, State, Turn
from synthenv.players.delayed import NumpyDelayedMDP
from synthenv.players.payoff import KINDS
from synthenv.players.tensors import TorchPlayer
from synthenv.tree import Tree
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.delayed import DelayedMDP
from synthenv.worlds.mdp import SyntheticMDP

__all__ = [
    "Array",
    "Draws",
    "Moved",
    "NumpyBandit",
    "NumpyDelayedMDP",
    "NumpyMDP",
    "Player",
    "State",
    "TorchPlayer",
    "Turn",
    "player",
]

FORMS: dict[type, Any] = {SyntheticBandit: NumpyBandit, SyntheticMDP: NumpyMDP, DelayedMDP: NumpyDelayedMDP}


def player(world: SyntheticBandit, params: Tree, device: str | torch.device = "cpu") -> Player:
    """The cheapest player of a world, params leaves [1, ...], on a device."""
    familiar = type(world) in FORMS and type(world.payoff) in KINDS
    if not familiar or torch.device(device).type != "cpu":
        return TorchPlayer(world, params, torch.device(device))
    chosen: Player = FORMS[type(world)](world, params)
    return chosen
