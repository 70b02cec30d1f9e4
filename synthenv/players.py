"""Two ways to play one synthetic world: as it is written, in torch, or in numpy.

On a CPU numpy wins at every batch size, for a call costs it half as much and so does a tanh. The price is that two
files know the arithmetic of `worlds.bandit` and `worlds.mdp`; tests/test_players.py holds them equal, value by value.
Shapes have no population axis here: a player plays one member, P = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthenv.tree import Tree, part, to
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.mdp import SyntheticMDP

Array = Any
"""A numpy array or a tensor: whatever the player computes with."""
State = dict[str, Array]
"""Leaves [N, ...]: one internal state an episode."""
Floats = npt.NDArray[np.float32]
Net = list[tuple[Floats, Floats]]
"""Weights [I, H] and biases [H] of a network's layers, first to last."""


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
        """One step with int64 actions [N]; the reward is what is expected, without luck."""

    def array(self, data: Any) -> Array:
        """The same data as the player's own kind of array."""

    def integers(self, actions: Any) -> Array:
        """Actions as int64 of the player's own kind, or None when they are no integers."""


def player(world: SyntheticBandit, params: Tree, device: str | torch.device = "cpu") -> Player:
    """The cheapest player of a world, params leaves [1, ...], on a device."""
    in_numpy: dict[type, Any] = {SyntheticBandit: NumpyBandit, SyntheticMDP: NumpyMDP}
    if type(world) not in in_numpy or torch.device(device).type != "cpu":
        return TorchPlayer(world, params, torch.device(device))
    chosen: Player = in_numpy[type(world)](world, params)
    return chosen


class Draws:
    """An environment's randomness: first states and luck, drawn in blocks, for a thousand cost little more than one."""

    def __init__(self, player: Player, block: int) -> None:
        self._player, self._block = player, block
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
            self._states, self._states_used = self._player.start(self._seeded(), self._block), 0
        rows = slice(self._states_used, self._states_used + n)
        self._states_used += n
        return {name: leaf[rows] for name, leaf in self._states.items()}

    def luck(self, n: int) -> Array:
        """What chance adds to the rewards of n steps, [N]."""
        if self._luck_used + n > self._block:
            generator = self._seeded()
            drawn = torch.randn(self._block, generator=generator, device=generator.device)
            self._luck, self._luck_used = self._player.array(self._player.noise * drawn), 0
        rows = slice(self._luck_used, self._luck_used + n)
        self._luck_used += n
        return self._luck[rows]

    def _seeded(self) -> torch.Generator:
        assert self._generator is not None, "seed first"
        return self._generator


class TorchPlayer:
    """The world itself, on any device."""

    native: ClassVar[Literal["numpy", "torch"]] = "torch"

    def __init__(self, world: SyntheticBandit, params: Tree, device: torch.device) -> None:
        self.world, self.params, self.device = copy(world), to(params, device), device
        self.world.centre, self.world.reach = world.centre.to(device), world.reach.to(device)
        self.noise = noise(params)

    def start(self, generator: torch.Generator, n: int) -> State:
        """First states of n episodes."""
        return self._alone(self.world.reset(self.params, generator, n))

    def observe(self, state: State) -> Tensor:
        """Observations [N, O]."""
        return self.world.observe(self.params, self._member(state))[0]

    def step(self, state: State, action: Tensor) -> Moved:
        """One step with actions [N]."""
        following, outcome = self.world.step(self.params, self._member(state), action[None])
        return Moved(self._alone(following), *(leaf[0] for leaf in outcome))

    def array(self, data: Any) -> Tensor:
        """The data as a tensor on the device."""
        return torch.as_tensor(data, device=self.device)

    def integers(self, actions: Any) -> Tensor | None:
        """Actions as int64, unless they are floats or booleans."""
        action = self.array(actions)
        return None if action.is_floating_point() or action.dtype is torch.bool else action.long()

    @staticmethod
    def _member(state: State) -> Tree:
        return {name: leaf[None] for name, leaf in state.items()}

    @staticmethod
    def _alone(state: Tree) -> State:
        return {name: leaf[0] for name, leaf in state.items()}


class NumpyBandit:
    """`SyntheticBandit` in numpy."""

    native: ClassVar[Literal["numpy", "torch"]] = "numpy"

    def __init__(self, world: SyntheticBandit, params: Tree) -> None:
        self.latent, self.choices, self.bend = world.latent, world.choices, BENDS[world.activation]
        self.centre, self.reach = world.centre.numpy(), world.reach.numpy()
        self.starts, self.rewards = network(params, "start"), network(params, "reward")
        self.noise, self.height = noise(params), float(params["height.reward"])

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

    def step(self, state: State, action: npt.NDArray[np.int64]) -> Moved:
        """Pays for action [N] and ends."""
        every = mlp(self.rewards, state["u"], self.bend)  # [N, A]
        paid = self.bounded(every[np.arange(len(action)), action] - every.max(1))
        return Moved(state, self.observe(state), paid, np.ones(len(action), dtype=np.bool_))

    def bounded(self, advantage: Floats) -> Floats:
        """Advantages [N] as the world pays them."""
        advantage /= self.height
        paid: Floats = np.tanh(advantage, out=advantage)
        paid *= self.height
        return paid

    def array(self, data: Any) -> npt.NDArray[Any]:
        """The data as a numpy array."""
        return np.asarray(data)

    def integers(self, actions: Any) -> npt.NDArray[np.int64] | None:
        """Actions as int64, unless they are floats or booleans."""
        action = self.array(actions)
        return action.astype(np.int64) if action.dtype.kind in "iu" else None


class NumpyMDP(NumpyBandit):
    """`SyntheticMDP` in numpy; rewards and transitions are one network with outputs (r, change of u, end) by action."""

    def __init__(self, world: SyntheticMDP, params: Tree) -> None:
        super().__init__(world, params)
        self.cost = float(params["cost.end"].clamp(min=0))
        self.net = beside(self.rewards, network(params, "transition"))
        weight, bias = self.net[-1]
        paid, moved = np.split(np.arange(len(bias)), [self.choices])  # [A], [A*(O+1)]
        order = np.column_stack((paid, moved.reshape(self.choices, -1))).ravel()
        self.net[-1] = (np.ascontiguousarray(weight[:, order]), bias[order])

    def step(self, state: State, action: npt.NDArray[np.int64]) -> Moved:
        """One step with actions [N]."""
        n = len(action)
        every = mlp(self.net, state["u"], self.bend).reshape(n, self.choices, -1)  # [N, A, O+2]
        chosen = every[np.arange(n), action]  # [N, O+2]
        u = state["u"] + chosen[:, 1:-1]
        np.minimum(np.maximum(u, -1, out=u), 1, out=u)
        following, ended = {"u": u}, chosen[:, -1] > 0
        paid = self.bounded(chosen[:, 0] - every[:, :, 0].max(1))
        paid[ended] -= self.cost
        return Moved(following, self.observe(following), paid, ended)


def noise(params: Tree) -> float:
    """Standard deviation of a world's luck, P = 1."""
    return float(params["noise.reward"].clamp(min=0))


def mlp(net: Net, x: Floats, bend: Callable[[Floats], Floats]) -> Floats:
    """`nets.mlp` of one member: [N, I] -> [N, O]."""
    for depth, (weight, bias) in enumerate(net):
        x = bend(x) if depth else x
        x = x @ weight
        x += bias
    return x


def network(params: Tree, name: str) -> Net:
    """The network `name.` of a tree with P = 1."""
    net = part(params, name)
    return [(net[f"w{i}"][0].numpy(), net[f"b{i}"][0, 0].numpy()) for i in range(len(net) // 2)]


def beside(left: Net, right: Net) -> Net:
    """Two equally deep networks on the same input as one, whose outputs are left's and then right's."""
    joined = []
    for depth, ((w, b), (v, c)) in enumerate(zip(left, right, strict=True)):
        apart = [[w, np.zeros((len(w), v.shape[1]), w.dtype)], [np.zeros((len(v), w.shape[1]), v.dtype), v]]
        joined.append((np.block(apart) if depth else np.concatenate((w, v), 1), np.concatenate((b, c))))
    return joined


def _tanh(x: Floats) -> Floats:
    out: Floats = np.tanh(x, out=x)
    return out


def _relu(x: Floats) -> Floats:
    out: Floats = np.maximum(x, 0, out=x)
    return out


def _silu(x: Floats) -> Floats:
    out: Floats = x / (1 + np.exp(-x))
    return out


BENDS = {"tanh": _tanh, "relu": _relu, "silu": _silu}
"""The activations of `nets.ACTIVATIONS`; those that can work in place do."""
