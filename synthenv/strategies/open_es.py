"""Evolution strategy of OpenAI: mirrored noise of one fixed width estimates a gradient, an optimizer follows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from synthenv.strategies.ascent import Optimizer, ascend, memory
from synthenv.strategies.base import SearchState
from synthenv.strategies.noise import mirrored
from synthenv.strategies.ranking import centred_ranks
from synthenv.tree import part, prefixed


@dataclass(frozen=True)
class OpenES:
    """Salimans, Ho, Chen, Sidor, Sutskever (2017), with centred ranks.

    State: mean [D], sigma [], optimizer.* as `ascent` has it.
    """

    name: ClassVar[str] = "open_es"

    sigma: float = 0.02
    """Standard deviation of the noise at first."""
    sigma_decay: float = 1.0
    """Factor on sigma after every generation."""
    sigma_floor: float = 0.0
    """Sigma decays no further than this."""
    rate: float = 0.01
    """Learning rate of the optimizer; for Adam about the change of a parameter a generation."""
    optimizer: Optimizer = "adam"
    """How the mean follows the gradient."""

    def init(self, mean: Tensor) -> SearchState:
        """At rest at mean [D]."""
        first = prefixed("optimizer", memory(self.optimizer, mean))
        return {"mean": mean.clone(), "sigma": mean.new_tensor(self.sigma), **first}

    def ask(self, state: SearchState, generator: torch.Generator, population: int) -> Tensor:
        """[P, D] in mirrored pairs; P must be even."""
        return state["mean"] + state["sigma"] * mirrored(generator, population, state["mean"])

    def tell(self, state: SearchState, candidates: Tensor, fitness: Tensor) -> SearchState:
        """One step of the optimizer along the estimated gradient; candidates [P, D], fitness [P]."""
        mean, sigma = state["mean"], state["sigma"]
        weight = centred_ranks(fitness).to(mean)
        gradient = weight @ (candidates - mean) / (len(candidates) * sigma.square())
        mean, after = ascend(self.optimizer, mean, gradient, part(state, "optimizer"), self.rate)
        sigma = torch.clamp(self.sigma_decay * sigma, min=self.sigma_floor)
        return {"mean": mean, "sigma": sigma, **prefixed("optimizer", after)}
