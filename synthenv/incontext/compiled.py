"""Functions that are compiled: for loops that step one imagined episode at a time.

A step of one episode is some four hundred small operations, and most of what it costs is calling them. torch.compile
turns them into one function in C++. That takes a C++ compiler and up to a minute, once for every size of context and
way of playing, of which torch compiles eight in a process. What else is asked for goes the plain way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

HOW: dict[str, Any] = {
    "options": {"cpp_wrapper": True, "guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
}
"""Of torch.compile: no Python between operations, and none to see whether a network is still the same, for it is."""

Given = ParamSpec("Given")
Result = TypeVar("Result")


@functools.cache
def compiled(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, compiled when it is first called. Where there is no C++ compiler, torch says so then."""
    return torch.compile(function, dynamic=False, **HOW)
