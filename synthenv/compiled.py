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

Given = ParamSpec("Given")
Result = TypeVar("Result")

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
    return torch.compile(function, **_how(torch.compiler.skip_guard_on_all_nn_modules_unsafe))  # none ever changes


def _how(guards: Callable[..., Any]) -> dict[str, Any]:
    """Options of torch.compile; guards: which of what holds for the first call is checked before all others."""
    return {**HOW, "options": {**HOW.get("options", {}), "guard_filter_fn": guards}}


Merged = tuple[Callable[..., list[Tensor]], list[str]]
_MERGED: dict[Hashable, Merged] = {}


def merged(function: Callable[..., Tree], name: Hashable, *trees: Tree) -> Tree:
    """What the function makes of trees, compiled when it is first called with leaves like these.

    For functions that differentiate, but do what they do whatever the leaves hold: operations are written down as one
    call does them. name: what tells the function from others, but for sizes.
    """
    leaves = [leaf for tree in trees for leaf in tree.values()]
    like = tuple((leaf.shape, leaf.stride(), leaf.dtype, leaf.device) for leaf in leaves)
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
        graph = make_fx(flat)(*leaves)
    how = _how(torch.compiler.skip_all_guards_unsafe)  # `merged` looks up what there is by what it is given
    return torch.compile(graph.forward, **how), outputs  # the module around it would be called, too


@contextmanager
def _writing() -> Iterator[None]:
    """Inside, `tracing` holds."""
    token = _TRACING.set(True)
    try:
        yield
    finally:
        _TRACING.reset(token)
