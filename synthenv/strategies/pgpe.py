"""Policy gradients with parameter-based exploration: symmetric noise whose width per parameter is learned too."""

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
class PGPE:
    """Sehnke, Osendorfer, Rueckstiess, Graves, Peters, Schmidhuber (2010), with centred ranks and ClipUp.

    Ranks and ClipUp, and a limit on the change of sigma, are those of Toklu, Liskowski, Srivastava (2020).
    State: mean [D], sigma [D], optimizer.* as `ascent` has it.
    """

    name: ClassVar[str] = "pgpe"

    sigma: float = 0.05
    """First standard deviation of every parameter."""
    sigma_rate: float = 0.1
    """Learning rate of sigma."""
    sigma_change: float = 0.2
    """Sigma changes by no more than this share of itself a generation."""
    rate: float = 0.05
    """Learning rate of the optimizer; for ClipUp the length in [D] of a step, of which velocity may reach two."""
    optimizer: Optimizer = "clip_up"
    """How the mean follows the gradient."""

    def init(self, mean: Tensor) -> SearchState:
        """At rest at mean [D], isotropic at first."""
        first = prefixed("optimizer", memory(self.optimizer, mean))
        return {"mean": mean.clone(), "sigma": torch.full_like(mean, self.sigma), **first}

    def ask(self, state: SearchState, generator: torch.Generator, population: int) -> Tensor:
        """[P, D] in mirrored pairs; P must be even."""
        return state["mean"] + state["sigma"] * mirrored(generator, population, state["mean"])

    def tell(self, state: SearchState, candidates: Tensor, fitness: Tensor) -> SearchState:
        """One step of mean and sigma along the estimated gradients; candidates [P, D], fitness [P]."""
        mean, sigma = state["mean"], state["sigma"]
        weight = centred_ranks(fitness).to(mean) / len(fitness)
        noise = (candidates - mean) / sigma  # [P, D]
        mean, after = ascend(self.optimizer, mean, weight @ noise, part(state, "optimizer"), self.rate)
        widen = self.sigma_rate * (weight @ (noise.square() - 1))  # [D], as a share of sigma
        sigma = sigma * (1 + widen.clamp(-self.sigma_change, self.sigma_change))
        return {"mean": mean, "sigma": sigma, **prefixed("optimizer", after)}
