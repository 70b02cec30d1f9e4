"""`worlds.payoff` in numpy: what actions lose, and where they lead, one class for each kind of action space."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from synthenv.players.nets import Bend, Floats, Net, beside, mlp
from synthenv.worlds.payoff import Choices, Payoff, Vertex


class NumpyPayoff(Protocol):
    """How losses and transitions depend on actions, [N] or [N, A]."""

    kinds: ClassVar[str]
    """Kinds of numpy arrays that are taken for actions."""
    dtype: ClassVar[type]
    """What they are turned into."""

    def loss(self, outputs: Floats, action: npt.NDArray[Any]) -> Floats:
        """What actions lose against the best, given a reward network's outputs [N, K]: a fresh array [N]."""

    def together(self, rewards: Net, transition: Net) -> Net:
        """Both networks as the one that `foresee` asks."""

    def foresee(self, net: Net, u: Floats, action: npt.NDArray[Any], bend: Bend) -> tuple[Floats, Floats]:
        """Losses [N] of actions in u [N, O]; change of u and logit of the end [N, O+1]."""


class NumpyChoices:
    """`Choices`: Discrete actions."""

    kinds: ClassVar[str] = "iu"
    dtype: ClassVar[type] = np.int64

    def __init__(self, payoff: Choices) -> None:
        self.choices = payoff.outputs

    def loss(self, outputs: Floats, action: npt.NDArray[np.int64]) -> Floats:
        """Of actions [N], [N, A] -> [N]."""
        loss: Floats = outputs.max(1) - outputs[np.arange(len(action)), action]
        return loss

    def together(self, rewards: Net, transition: Net) -> Net:
        """Outputs (r, change of u, end) choice by choice, so that an action is one row of them."""
        net = beside(rewards, transition)
        weight, bias = net[-1]
        paid, moved = np.split(np.arange(len(bias)), [self.choices])  # [A], [A*(O+1)]
        order = np.column_stack((paid, moved.reshape(self.choices, -1))).ravel()
        return [*net[:-1], (np.ascontiguousarray(weight[:, order]), bias[order])]

    def foresee(self, net: Net, u: Floats, action: npt.NDArray[np.int64], bend: Bend) -> tuple[Floats, Floats]:
        """For actions [N]."""
        n = len(action)
        every = mlp(net, u, bend).reshape(n, self.choices, -1)  # [N, A, O+2]
        chosen = every[np.arange(n), action]  # [N, O+2]
        return every[:, :, 0].max(1) - chosen[:, 0], chosen[:, 1:]


class NumpyVertex:
    """`Vertex`: Box actions, clipped to the box."""

    kinds: ClassVar[str] = "iuf"
    dtype: ClassVar[type] = np.float32

    def __init__(self, payoff: Vertex) -> None:
        self.middle, self.half = payoff.middle.numpy(), payoff.half.numpy()
        self.size, self.steep, self.near = payoff.size, payoff.STEEP, payoff.NEAR
        self.inner, self.edge = payoff.inner, payoff.EDGE

    def loss(self, outputs: Floats, action: Floats) -> Floats:
        """Of actions [N, A], [N, 2A] -> [N]."""
        return self._loss(outputs, self._unit(action))

    def together(self, rewards: Net, transition: Net) -> Net:
        """Outputs (mu, curvature, change of u, end) for inputs (u, a); the reward's first layer is blind to a."""
        (weight, bias), *rest = rewards
        blind = np.concatenate((weight, np.zeros((self.size, weight.shape[1]), weight.dtype)))
        return beside([(blind, bias), *rest], transition)

    def foresee(self, net: Net, u: Floats, action: Floats, bend: Bend) -> tuple[Floats, Floats]:
        """For actions [N, A]."""
        unit = self._unit(action)
        outputs = mlp(net, np.concatenate((u, unit), 1), bend)  # [N, 2A+O+1]
        return self._loss(outputs, unit), outputs[:, 2 * self.size :]

    def _unit(self, action: Floats) -> Floats:
        """Actions [N, A] scaled to [-1, 1] and clipped."""
        unit: Floats = ((action - self.middle) / self.half).clip(-1, 1)
        return unit

    def _loss(self, outputs: Floats, unit: Floats) -> Floats:
        away = unit - (outputs[:, : self.size] * self.steep).clip(-self.inner, self.inner)
        away /= self.near
        away *= away
        away += 1
        fall = np.sqrt(away, out=away)
        fall -= 1
        if self.inner < 1:
            fall += self.edge * (np.abs(unit) - self.inner).clip(0) / self.near
        fall *= np.exp(outputs[:, self.size : 2 * self.size])
        loss: Floats = (2 * self.near**2) * fall.sum(1)
        return loss


KINDS: dict[type, Any] = {Choices: NumpyChoices, Vertex: NumpyVertex}


def payoff_of(payoff: Payoff) -> NumpyPayoff:
    """The same payoff in numpy."""
    found: NumpyPayoff = KINDS[type(payoff)](payoff)
    return found
