"""P small networks at once: initialisation, forward pass, and optimizers with a learning rate per member.

A network is a tree ``w0 [P, I, H], b0 [P, 1, H], w1 ...``. Learners keep it flat, [P, D], because one optimizer
step over [P, D] costs what a step over a single leaf does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from synthenv.tree import Tree


class _Tanh(torch.autograd.Function):
    """tanh x = 2 sigmoid(2x) - 1: on a CPU torch's sigmoid takes a fifth of the time of its tanh."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.sigmoid(x + x).mul_(2).sub_(1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        (slope,) = slopes
        return torch.addcmul(slope, slope * y, y, value=-1)


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent, [...] -> [...], the quicker way for where x lives."""
    y: Tensor = _Tanh.apply(x) if x.device.type == "cpu" else torch.tanh(x)  # type: ignore[no-untyped-call]
    return y


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": tanh,
    "relu": torch.relu,
    "silu": torch.nn.functional.silu,
}


def init_uniform(generator: torch.Generator, population: int, sizes: Sequence[int]) -> Tree:
    """torch.nn.Linear's default: weights and biases uniform in +-1/sqrt(fan in)."""
    tree: Tree = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        bound = 1.0 / math.sqrt(fan_in)
        for key, rows in ((f"w{layer}", fan_in), (f"b{layer}", 1)):
            draw = torch.rand((population, rows, fan_out), generator=generator, device=generator.device)
            tree[key] = (2 * draw - 1) * bound
    return tree


def init_orthogonal(generator: torch.Generator, population: int, sizes: Sequence[int], last_gain: float = 1.0) -> Tree:
    """Orthogonal weights, gain sqrt(2) and `last_gain` at the end, biases zero (Saxe et al. 2014)."""
    tree: Tree = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        gain = last_gain if layer == len(sizes) - 2 else math.sqrt(2)
        tall, wide = max(fan_in, fan_out), min(fan_in, fan_out)
        draw = torch.randn((population, tall, wide), generator=generator, device=generator.device)
        q, r = torch.linalg.qr(draw)
        q = q * torch.diagonal(r, dim1=-2, dim2=-1).sign()[:, None]
        tree[f"w{layer}"] = gain * (q if fan_in >= fan_out else q.transpose(1, 2)).contiguous()
        tree[f"b{layer}"] = torch.zeros((population, 1, fan_out), device=generator.device)
    return tree


def mlp(params: Mapping[str, Tensor], x: Tensor, activation: str = "tanh") -> Tensor:
    """P networks on P inputs: [P, N, I] -> [P, N, O]; no activation after the last layer."""
    bend = ACTIVATIONS[activation]
    depth = len(params) // 2
    for layer in range(depth):
        x = torch.baddbmm(params[f"b{layer}"], x, params[f"w{layer}"])
        if layer + 1 < depth:
            x = bend(x)
    return x


def clip_norm(gradient: Tensor, limit: Tensor) -> Tensor:
    """Each member's gradient [P, D] scaled down to norm limit [P] where it is longer."""
    scale: Tensor = (limit / (gradient.norm(dim=1) + 1e-6)).clamp(max=1.0)
    return gradient * scale[:, None]


def adam(flat: Tensor, gradient: Tensor, memory: Tree, rate: Tensor, eps: float = 1e-8) -> tuple[Tensor, Tree]:
    """One Adam step (Kingma, Ba 2015) on P networks at once.

    flat, gradient [P, D]; rate [P], a learning rate a member; memory from `adam_memory`.
    Returns the new flat parameters and memory; nothing is changed in place.
    """
    count = memory["count"] + 1
    first = torch.lerp(gradient, memory["first"], 0.9)
    second = torch.lerp(gradient.square(), memory["second"], 0.999)
    step = rate / (1 - 0.9**count)  # [P]
    spread = second.sqrt() / (1 - 0.999**count).sqrt()[:, None] + eps
    return flat - step[:, None] * first / spread, {"first": first, "second": second, "count": count}


def adam_memory(flat: Tensor) -> Tree:
    """What Adam remembers before its first step on flat [P, D]: leaves [P, D] and count [P]."""
    return {
        "first": torch.zeros_like(flat),
        "second": torch.zeros_like(flat),
        "count": torch.zeros(len(flat), device=flat.device),
    }


def rmsprop(flat: Tensor, gradient: Tensor, memory: Tree, rate: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tree]:
    """One RMSprop step (torch's form, smoothing 0.99) on flat, gradient [P, D]; rate [P]."""
    second = torch.lerp(gradient.square(), memory["second"], 0.99)
    return flat - rate[:, None] * gradient / (second.sqrt() + eps), {"second": second}


def rmsprop_memory(flat: Tensor) -> Tree:
    """What RMSprop remembers before its first step on flat [P, D]."""
    return {"second": torch.zeros_like(flat)}
