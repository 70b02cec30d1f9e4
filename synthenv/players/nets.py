"""`synthenv.nets` of one member, in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from synthenv.tree import Tree, part

Floats = npt.NDArray[np.float32]
Net = list[tuple[Floats, Floats]]
"""Weights [I, H] and biases [H] of a network's layers, first to last."""
Bend = Callable[[Floats], Floats]
"""An activation, which may work in place."""


def mlp(net: Net, x: Floats, bend: Bend) -> Floats:
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


BENDS: dict[str, Bend] = {"tanh": _tanh, "relu": _relu, "silu": _silu}
"""The activations of `nets.ACTIVATIONS`; those that can work in place do."""
