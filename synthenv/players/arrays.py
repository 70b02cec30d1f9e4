"""Plays `worlds.bandit` and `worlds.mdp` in numpy, whatever their payoff."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from synthenv.players.base import Moved, State, noise
from synthenv.players.nets import BENDS, Floats, mlp, network
from synthenv.players.payoff import NumpyPayoff, payoff_of
from synthenv.tree import Tree
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.mdp import SyntheticMDP


class NumpyBandit:
    """`SyntheticBandit` in numpy."""

    native: ClassVar[Literal["numpy", "torch"]] = "numpy"

    def __init__(self, world: SyntheticBandit, params: Tree) -> None:
        self.latent, self.bend = world.latent, BENDS[world.activation]
        self.payoff: NumpyPayoff = payoff_of(world.payoff)
        self.centre, self.reach = world.centre.numpy(), world.reach.numpy()
        self.starts, self.rewards = network(params, "start"), network(params, "reward")
        self.noise, self.height, self.shift = noise(params), float(params["height.reward"]), world.shift

    def start(self, generator: torch.Generator, n: int) -> State:
        """First states u [N, O] from the very latents that the world would draw."""
        latent = torch.randn((1, n, self.latent), generator=generator)[0].numpy()
        u = mlp(self.starts, latent, self.bend)
        return {"u": np.tanh(u, out=u)}

    def observe(self, state: State) -> Floats:
        """Observations [N, O]."""
        observation: Floats = state["u"] * self.reach
        observation += self.centre
        return observation

    def step(self, state: State, action: npt.NDArray[Any]) -> Moved:
        """Pays for actions [N] or [N, A] and ends."""
        outputs = mlp(self.rewards, state["u"], self.bend)  # [N, K]
        paid = self.pay(self.payoff.loss(outputs, action))
        return Moved(state, self.observe(state), paid, np.ones(len(action), dtype=np.bool_))

    def pay(self, loss: Floats) -> Floats:
        """Rewards for losses [N], bounded and shifted as the world does it."""
        loss /= self.height
        paid: Floats = np.tanh(loss, out=loss)
        paid *= -self.height
        if self.shift:  # most worlds have none, and adding 0 is a twentieth of a step
            paid += self.shift
        return paid

    def array(self, data: Any) -> npt.NDArray[Any]:
        """The data as a numpy array."""
        return np.asarray(data)

    def actions(self, data: Any) -> npt.NDArray[Any] | None:
        """Actions as int64 unless they are floats, or as float32; never booleans."""
        action = self.array(data)
        return action.astype(self.payoff.dtype) if action.dtype.kind in self.payoff.kinds else None


class NumpyMDP(NumpyBandit):
    """`SyntheticMDP` in numpy; rewards and transitions are one network, for a call costs more than its arithmetic."""

    def __init__(self, world: SyntheticMDP, params: Tree) -> None:
        super().__init__(world, params)
        self.cost = float(params["cost.end"].clamp(min=0))
        self.net = self.payoff.together(self.rewards, network(params, "transition"))

    def step(self, state: State, action: npt.NDArray[Any]) -> Moved:
        """One step with actions [N] or [N, A]."""
        loss, foreseen = self.payoff.foresee(self.net, state["u"], action, self.bend)  # [N], [N, O+1]
        following, ended = {"u": (state["u"] + foreseen[:, :-1]).clip(-1, 1)}, foreseen[:, -1] > 0
        paid = self.pay(loss)
        paid[ended] -= self.cost
        return Moved(following, self.observe(following), paid, ended)
