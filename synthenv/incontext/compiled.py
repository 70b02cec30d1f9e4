"""An engine whose answer to a single query is compiled: for loops that step one imagined episode at a time.

A step of one episode is some three hundred small operations, and most of what it costs is calling them. torch.compile
turns them into one function in C++. That takes a C++ compiler and up to a minute, once for every size of context, of
which torch compiles eight in a process. Further sizes, and more queries at a time, go the plain way.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from synthenv.incontext.belief import Engine
from synthenv.incontext.model import Belief
from synthenv.incontext.rows import Rows, Shape

HOW: dict[str, Any] = {
    "options": {"cpp_wrapper": True, "guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
}
"""Of torch.compile: no Python between operations, and none to see whether the network is still the same, for it is."""


class Compiled:
    """An `Engine` that answers as another does, single queries by a compiled function.

    `settings` are torch.compile's, `HOW` unless given. Where there is no C++ compiler, torch says so at the first
    single query.
    """

    def __init__(self, engine: Engine, **settings: Any) -> None:
        self.engine, self.settings = engine, settings
        self._single = torch.compile(engine.believe, dynamic=False, **(settings or HOW))

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process compiles for itself."""
        return partial(Compiled, self.engine, **self.settings), ()

    def condition(self, rows: Rows, shape: Shape) -> Any:
        """All that later queries need of contexts; see `Engine`."""
        return self.engine.condition(rows, shape)

    def believe(self, known: Any, observation: Tensor, action: Tensor) -> Belief:
        """What follows from observation [B, Q, O] and action [B, Q, A]; see `Engine`."""
        believe = self._single if observation.shape[:2] == (1, 1) else self.engine.believe
        return believe(known, observation, action)
