"""P small networks at once: initialisation, forward pass, and optimizers with a learning rate per member.

A network is a tree ``w0 [P, I, H], b0 [P, 1, H], w1 ...``. Learners keep it flat, [P, D], because one optimizer
step over [P, D] costs what a step over a single leaf does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from synthenv.compiled import tracing
from synthenv.tree import Shapes, Tree


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


def _tanh_in_place(z: Tensor, b: Tensor) -> Tensor:
    """tanh(z + b) = 2 sigmoid(2z + 2b) - 1, in the memory of z; each of the three steps goes through it once."""
    if tracing():  # compiled code goes through z once as it is, and in place it is slower
        return torch.sigmoid(2 * (z + b)) * 2 - 1
    torch.add(b + b, z, alpha=2, out=z).sigmoid_()
    return torch.add(z.new_full((), -1.0), z, alpha=2, out=z)


IN_PLACE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "tanh": _tanh_in_place,
    "relu": lambda z, b: z.add_(b).relu_(),
}
"""Activations of z [P, H, N] plus bias b [P, H, 1], which may overwrite z."""
SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "tanh": lambda slope, y: torch.ops.aten.tanh_backward(slope, y, grad_input=slope),
    "relu": lambda slope, y: torch.ops.aten.threshold_backward(slope, y, 0, grad_input=slope),
}
"""From the slope after an activation to that before it, overwriting it, given what was activated: [...], [...]."""


CUT = 0.87962566103423978
"""Standard deviation of a standard normal distribution that is cut off at two."""


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


def init_lecun(generator: torch.Generator, population: int, sizes: Sequence[int]) -> Tree:
    """flax.linen.Dense's default: normal weights of variance 1/fan in, cut off at two deviations, and biases zero.

    Its name is lecun_normal, after LeCun et al. (1998, "Efficient BackProp", section 4.6).
    """
    tree: Tree = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weight = torch.empty((population, fan_in, fan_out), device=generator.device)
        torch.nn.init.trunc_normal_(weight, a=-2.0, b=2.0, generator=generator)
        tree[f"w{layer}"] = weight / (CUT * math.sqrt(fan_in))
        tree[f"b{layer}"] = torch.zeros((population, 1, fan_out), device=generator.device)
    return tree


Initial = Literal["uniform", "orthogonal", "lecun"]
INITIAL: dict[Initial, Callable[[torch.Generator, int, Sequence[int]], Tree]] = {
    "uniform": init_uniform,
    "orthogonal": init_orthogonal,
    "lecun": init_lecun,
}
"""Generator, population P and layer sizes to the first weights of P networks."""


def mlp(params: Mapping[str, Tensor], x: Tensor, activation: str = "tanh") -> Tensor:
    """P networks on P inputs: [P, N, I] -> [P, N, O]; no activation after the last layer."""
    bend = ACTIVATIONS[activation]
    depth = len(params) // 2
    for layer in range(depth):
        x = torch.baddbmm(params[f"b{layer}"], x, params[f"w{layer}"])
        if layer + 1 < depth:
            x = bend(x)
    return x


def last_layer(net: Tree) -> tuple[str, str]:
    """Names of the weight [P, H, K] and the bias [P, 1, K] of a network's last layer."""
    last = len(net) // 2 - 1
    return f"w{last}", f"b{last}"


def layout(sizes: Sequence[int]) -> Shapes:
    """Shapes of the leaves of a network with these layer sizes, in the order that they are flattened in."""
    layers = list(enumerate(pairwise(sizes)))
    return {
        key: shape for layer, (rows, columns) in layers
        for key, shape in ((f"w{layer}", (rows, columns)), (f"b{layer}", (1, columns)))
    }  # fmt: skip


def columns(flat: Tensor, x: Tensor, sizes: Sequence[int], activation: str) -> Tensor:
    """What `mlp` computes, in columns and for learning: flat [P, D], inputs [P, I, N] -> [P, O, N].

    The N inputs of a minibatch lie side by side, so that a layer with one output is as quick as others (a fifth of the
    time of `mlp`'s on a CPU); and the gradient is written out, so that activations need no memory of their own. On CPUs
    with AVX-512 `torch.set_float32_matmul_precision("medium")` halves the time of the products between hidden layers.
    """
    y: Tensor = _Columns.apply(flat, x, tuple(sizes), activation)  # type: ignore[no-untyped-call]
    return y


class _Columns(torch.autograd.Function):
    """Forward and backward pass of `columns`."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, x: Tensor, sizes: tuple[int, ...], activation: str) -> Tensor:
        layers, inputs = _layers(flat, sizes), [x]
        for w, b in layers:
            z = _ahead(w, inputs[-1])
            if len(inputs) == len(layers):
                break
            inputs.append(IN_PLACE[activation](z, b))
        ctx.save_for_backward(flat, *inputs)
        ctx.sizes, ctx.activation = sizes, activation
        return z.add_(b)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = slopes  # [P, O, N]
        flat, *inputs = ctx.saved_tensors
        layers, pieces = _layers(flat, ctx.sizes), []
        for (w, _), x in zip(reversed(layers), reversed(inputs), strict=True):
            if ctx.needs_input_grad[0]:
                pieces += [slope.sum(-1), _outer(x, slope).flatten(1)]
            if x is not inputs[0]:
                slope = SLOPES[ctx.activation](_back(w, slope), x)
            elif ctx.needs_input_grad[1]:
                slope = _back(w, slope)
        of_flat = torch.cat(pieces[::-1], 1) if ctx.needs_input_grad[0] else None
        return of_flat, slope if ctx.needs_input_grad[1] else None, None, None


def _layers(flat: Tensor, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Weights [P, I, O] and biases [P, O, 1] of every layer, of flat [P, D]."""
    pairs = list(pairwise(sizes))
    pieces = iter(flat.split([length for rows, columns in pairs for length in (rows * columns, columns)], 1))
    return [(next(pieces).unflatten(1, pair), next(pieces)[..., None]) for pair in pairs]


FEW = 8
"""Inputs or outputs of a layer up to which compiled sums, which cost one pass with what follows, beat a product."""


def _ahead(w: Tensor, x: Tensor) -> Tensor:
    """Through a layer: weights [P, I, O], inputs [P, I, N] -> [P, O, N]."""
    if tracing() and w.shape[1] <= FEW:
        return _sum(w[:, row, :, None] * x[:, row, None] for row in range(w.shape[1]))
    return torch.bmm(w.contiguous().mT, x)  # oneDNN would copy it transposed, which takes longer


def _back(w: Tensor, slope: Tensor) -> Tensor:
    """And back: slopes after it [P, O, N] -> before it [P, I, N]."""
    if tracing() and w.shape[2] <= FEW:
        return _sum(w[:, :, column, None] * slope[:, column, None] for column in range(w.shape[2]))
    return torch.bmm(w, slope)


def _outer(x: Tensor, slope: Tensor) -> Tensor:
    """Slopes of its weights: [P, I, N], [P, O, N] -> [P, I, O]."""
    if tracing() and min(x.shape[1], slope.shape[1]) <= FEW:
        return (x[:, :, None] * slope[:, None]).sum(-1)
    # a product is slow where its last size is small
    return torch.bmm(x, slope.mT) if slope.shape[1] >= x.shape[1] else torch.bmm(slope, x.mT).mT


def _sum(terms: Iterable[Tensor]) -> Tensor:
    """All terms, [...], added up."""
    return functools.reduce(torch.add, terms)


def clip_norm(gradient: Tensor, limit: Tensor) -> Tensor:
    """Each member's gradient [P, D] scaled down to norm limit [P] where it is longer."""
    scale: Tensor = (limit / (gradient.norm(dim=1) + 1e-6)).clamp(max=1.0)
    return gradient * scale[:, None]


def adam(flat: Tensor, gradient: Tensor, memory: Tree, rate: Tensor, eps: float = 1e-8) -> tuple[Tensor, Tree]:
    """One Adam step (Kingma, Ba 2015) on P networks at once.

    flat, gradient [P, D]; rate [P], a learning rate a member; memory from `adam_memory`.
    Returns the new flat parameters and memory; nothing is changed in place.
    """
    first = torch.lerp(gradient, memory["first"], 0.9)
    second = gradient.square().lerp_(memory["second"], 0.999)
    step = rate / memory["share"][:, 0]  # [P]
    spread = second.sqrt().div_(memory["share"][:, 1:].sqrt()).add_(eps)
    moved, count = flat - (step[:, None] * first).div_(spread), memory["count"] + 1
    return moved, {"first": first, "second": second, "count": count, "share": _share(count + 1)}


def adam_memory(flat: Tensor) -> Tree:
    """What Adam remembers before its first step on flat [P, D]: leaves [P, D], count [P] and share [P, 2].

    share: how much of both averages is made of gradients, and not of the zeros they began with, after the coming step.
    It is kept, for where an optimizer step is compiled its powers would else be taken again for every few parameters.
    """
    count = torch.zeros(len(flat), device=flat.device)
    first, second = torch.zeros_like(flat), torch.zeros_like(flat)
    return {"first": first, "second": second, "count": count, "share": _share(count + 1)}


def _share(count: Tensor) -> Tensor:
    """Of gradients in Adam's averages after a number of steps: [P] -> [P, 2]."""
    return torch.stack((1 - 0.9**count, 1 - 0.999**count), 1)


def rmsprop(flat: Tensor, gradient: Tensor, memory: Tree, rate: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tree]:
    """One RMSprop step (torch's form, smoothing 0.99) on flat, gradient [P, D]; rate [P]."""
    second = torch.lerp(gradient.square(), memory["second"], 0.99)
    return flat - rate[:, None] * gradient / (second.sqrt() + eps), {"second": second}


def rmsprop_memory(flat: Tensor) -> Tree:
    """What RMSprop remembers before its first step on flat [P, D]."""
    return {"second": torch.zeros_like(flat)}
