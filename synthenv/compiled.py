"""Functions that are compiled: for loops that call hundreds of small operations over and over.

torch.compile turns those into one function in C++, which spares the calls and goes through memory once where they go
several times. That takes a C++ compiler and up to a minute for every combination of sizes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from synthenv.tree import Tree

HOW: dict[str, Any] = {"dynamic": False, "options": {"cpp_wrapper": True}}
"""Of torch.compile: sizes do not vary, and there is no Python between operations."""
UNCHANGED = {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
"""Of torch.compile: nothing checks whether a network is still the same, for it is."""

Given = ParamSpec("Given")
Result = TypeVar("Result")

TANH = (
    (0.9999999923, 0.13398941501, 0.00351674947209, 2.095234402864912e-05, 1.3820504947563679e-08),
    (1.0, 0.4673226501863, 0.02595779394489, 0.000332003098187832, 7.969314971792521e-07),
)
"""Factors of polynomials in x^2 whose ratio times x is tanh x up to |x| = 9, beyond which float32 knows no other number
than 1. A weighted least squares fit of our own, off by 7e-8; with what float32 rounds off on the way, by 4e-7."""

_TRACING = ContextVar("tracing", default=False)


def tracing() -> bool:
    """Whether what runs is written down by `merged`, to be compiled; other forms of the same can be quicker then."""
    return _TRACING.get()


@functools.cache
def compiled(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, compiled when it is first called. Where there is no C++ compiler, torch says so then.

    For functions that branch on what they are given, but do not differentiate. torch compiles eight combinations of
    what they are given in a process; what else is asked for goes the plain way.
    """
    return torch.compile(function, **{**HOW, "options": {**HOW["options"], **UNCHANGED}})


Merged = tuple[Callable[..., list[Tensor]], list[str]]
_MERGED: dict[Hashable, Merged] = {}


def tanh(x: Tensor) -> Any:
    """tanh of float32 [...] as a ratio of polynomials, in a quarter of the time that torch's takes in compiled code.

    NotImplemented, which has torch take its own, for other numbers.
    """
    if x.dtype != torch.float32:
        return NotImplemented
    x = x.clamp(-9, 9)
    square = x * x
    above, below = (_polynomial(factors, square) for factors in TANH)
    return x * above / below


def _polynomial(factors: tuple[float, ...], x: Tensor) -> Tensor:
    """factors[0] + factors[1] x + factors[2] x^2 and so on for x [...], by Horner's rule."""
    *rest, last = factors
    value = torch.full_like(x, last)
    for factor in reversed(rest):
        value = value * x + factor
    return value


def merged(function: Callable[..., Tree], name: Hashable, *trees: Tree) -> Tree:
    """What the function makes of trees, compiled when it is first called with leaves of these sizes.

    For functions that differentiate, but do what they do whatever the leaves hold: operations are written down as one
    call does them. name: what tells the function from others, but for sizes.
    """
    leaves = [leaf for tree in trees for leaf in tree.values()]
    like = tuple((leaf.shape, leaf.dtype, leaf.device) for leaf in leaves)
    key = name, tuple(map(tuple, trees)), like, torch.get_float32_matmul_precision()
    if key not in _MERGED:
        _MERGED[key] = _written_down(function, [list(tree) for tree in trees], leaves)
    quick, names = _MERGED[key]
    with torch.no_grad():
        return dict(zip(names, quick(*leaves), strict=True))


def _written_down(function: Callable[..., Tree], inputs: list[list[str]], leaves: list[Tensor]) -> Merged:
    """The function of trees as a compiled one of their leaves, and the names of the leaves that come out."""
    outputs: list[str] = []

    def flat(*given: Tensor) -> list[Tensor]:
        pieces = iter(given)
        found = function(*({name: next(pieces) for name in names} for names in inputs))
        outputs[:] = found
        return list(found.values())

    with _writing():
        graph = make_fx(flat, decomposition_table={torch.ops.aten.tanh.default: tanh})(*leaves)
    return torch.compile(graph.forward, **HOW), outputs  # the module around it would be called, too


@contextmanager
def _writing() -> Iterator[None]:
    """Inside, `tracing` holds."""
    token = _TRACING.set(True)
    try:
        yield
    finally:
        _TRACING.reset(token)
