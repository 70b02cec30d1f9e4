"""Separable natural evolution strategy: a Gaussian whose mean and per-parameter spread follow the natural gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from synthenv.strategies.base import SearchState
from synthenv.strategies.noise import gaussian, mirrored
from synthenv.strategies.ranking import centred_log_ranks


@dataclass(frozen=True)
class SNES:
    """Wierstra, Schaul, Glasmachers, Sun, Peters, Schmidhuber (2014), algorithm 6.

    State: mean [D], sigma [D].
    """

    name: ClassVar[str] = "snes"

    sigma: float = 0.05
    """First standard deviation of every parameter."""
    rate: float = 1.0
    """Learning rate of the mean."""
    sigma_rate: float | None = None
    """Learning rate of log sigma; by default the paper's (3 + ln D) / (5 sqrt D), of which evosax takes half."""
    mirrored: bool = False
    """Whether candidates come in pairs on opposite sides of the mean; the population must then be even."""

    def init(self, mean: Tensor) -> SearchState:
        """Isotropic at first, around mean [D]."""
        return {"mean": mean.clone(), "sigma": torch.full_like(mean, self.sigma)}

    def ask(self, state: SearchState, generator: torch.Generator, population: int) -> Tensor:
        """[P, D]."""
        draw = mirrored if self.mirrored else gaussian
        return state["mean"] + state["sigma"] * draw(generator, population, state["mean"])

    def tell(self, state: SearchState, candidates: Tensor, fitness: Tensor) -> SearchState:
        """One natural-gradient step of mean and log sigma; candidates [P, D], fitness [P]."""
        mean, sigma = state["mean"], state["sigma"]
        utility = centred_log_ranks(fitness).to(mean)
        noise = (candidates - mean) / sigma  # [P, D]
        size = len(mean)
        sigma_rate = (3 + math.log(size)) / (5 * math.sqrt(size)) if self.sigma_rate is None else self.sigma_rate
        return {
            "mean": mean + self.rate * sigma * (utility @ noise),
            "sigma": sigma * torch.exp(0.5 * sigma_rate * (utility @ (noise.square() - 1))),
        }
