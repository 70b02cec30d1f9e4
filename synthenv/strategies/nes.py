"""The evolution strategy that the first synthetic environments were made with: fixed noise, the better of each pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from synthenv.strategies.base import SearchState
from synthenv.strategies.noise import gaussian, mirrored
from synthenv.strategies.ranking import TRANSFORMS, finite

Transform = Literal[
    "min_max", "linear_rank", "log_rank_centred", "log_rank",
    "best_only", "best_if_better", "better_scaled_by_max", "better_scaled_by_sum",
]  # fmt: skip
"""Names of `ranking.TRANSFORMS`."""


@dataclass(frozen=True)
class NES:
    """Ferreira, Nierhoff, Saelinger, Hutter (2022), Learning Synthetic Environments and Reward Networks; its defaults.

    Mirroring is not the usual difference: of candidates on opposite sides of the mean the better is kept, and only
    kept ones are scored. A pair that ties points nowhere and is left out. Transforms named "better" compare with the
    mean, which is then a candidate too, as it is wherever the population does not divide into pairs.
    State: mean [D], sigma [].
    """

    name: ClassVar[str] = "nes"

    sigma: float = 0.0124
    """Standard deviation of the noise; never changes."""
    step: float = 0.148
    """The mean moves by step times the sum of noise times transformed fitness."""
    divided: bool = False
    """Whether step is divided by the number of directions, so that it does not grow with the population."""
    mirrored: bool = True
    """Whether each direction is tried on both sides of the mean."""
    transform: Transform = "log_rank"
    """From fitness to weights."""

    def init(self, mean: Tensor) -> SearchState:
        """Around mean [D]."""
        return {"mean": mean.clone(), "sigma": mean.new_tensor(self.sigma)}

    def ask(self, state: SearchState, generator: torch.Generator, population: int) -> Tensor:
        """[P, D]: pairs or single candidates, then the mean itself in the places left over."""
        mean = state["mean"]
        moved = population - self._compares
        moved -= moved % 2 if self.mirrored else 0
        noise = (mirrored if self.mirrored else gaussian)(generator, moved, mean)
        return mean + state["sigma"] * torch.cat((noise, noise.new_zeros(population - moved, len(mean))))

    def tell(self, state: SearchState, candidates: Tensor, fitness: Tensor) -> SearchState:
        """One step of the mean towards kept candidates by weight; candidates [P, D], fitness [P]."""
        mean, fitness = state["mean"], finite(fitness)
        shift = candidates - mean  # [P, D]
        moved = (shift != 0).any(1)  # [P]
        unperturbed = fitness[~moved].mean()
        kept = moved & (fitness > fitness[_opposite(shift)]) if self.mirrored else moved
        if not kept.any():
            return state
        weight = TRANSFORMS[self.transform](fitness[kept], unperturbed).to(mean)  # [K]
        directions = int(moved.sum()) // (2 if self.mirrored else 1)
        step = self.step / directions if self.divided else self.step
        return {**state, "mean": mean + step * (weight @ shift[kept])}

    @property
    def _compares(self) -> bool:
        return "better" in self.transform


def _opposite(shift: Tensor) -> Tensor:
    """For each of shift [P, D] the row of its mirror image, int64 [P]."""
    return torch.cdist(shift, -shift, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
