"""What a strategy is: three functions that climb towards higher fitness in [D], without knowing what the numbers mean.

Letters: P candidates a generation, D flat parameters.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor

from synthenv.tree import Tree

SearchState = Tree
"""All that a search needs to go on bit for bit: "mean" [D], "sigma" [] or [D], and leaves of the strategy's own."""


class Strategy(Protocol):
    """Ask for candidates, measure them, tell their fitness. Higher fitness is better, always.

    Settings are fields of a frozen dataclass; everything that changes is in the state, and nothing changes in place.
    Candidates may be told in any order. Fitness that is not finite counts as the worst finite one of its generation.
    """

    name: ClassVar[str]

    def init(self, mean: Tensor) -> SearchState:
        """A search that starts at mean [D]."""

    def ask(self, state: SearchState, generator: torch.Generator, population: int) -> Tensor:
        """Candidates [P, D] drawn with the generator. Raises ValueError when P does not suit the strategy."""

    def tell(self, state: SearchState, candidates: Tensor, fitness: Tensor) -> SearchState:
        """The state after candidates [P, D], which `ask` gave for this very state, reached fitness [P]."""
