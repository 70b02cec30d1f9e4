"""Covariance matrix adaptation, with the update of the `cma` package between a state of plain tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from synthenv.strategies.base import SearchState
from synthenv.strategies.noise import gaussian
from synthenv.strategies.ranking import finite
from synthenv.tree import to

if TYPE_CHECKING:
    from cma import CMAEvolutionStrategy


@dataclass(frozen=True)
class CMAES:
    """Hansen (2016), The CMA Evolution Strategy: A Tutorial; step size by path length, active update.

    `cma` keeps its search in an object. Here each `tell` builds that object from the state, lets it learn, and reads
    the state back, so that a search resumed from its tensors cannot differ from one that never stopped.
    Candidates of equal fitness are ordered as `cma` likes; it has no shared ranks.

    State: mean [D] in its own dtype; in float64 sigma [], scale [D], path [D] (of the covariance), step_path [D] (of
    sigma), generation []; and below `full_until` covariance [D, D], its eigenvectors axes [D, D], and lengths [D].
    """

    name: ClassVar[str] = "cma_es"

    sigma: float = 0.05
    """First standard deviation of every parameter."""
    full_until: int = 300
    """With more parameters than this only variances are learned; a covariance costs D^3 time and D^2 memory."""

    def init(self, mean: Tensor) -> SearchState:
        """Isotropic at first, around mean [D]; D must be at least 2."""
        if len(mean) < 2:
            raise ValueError(f"cma_es needs at least 2 parameters, got {len(mean)}; try snes")
        return _read(self._start(mean, self.sigma), mean)

    def ask(self, state: SearchState, generator: torch.Generator, population: int) -> Tensor:
        """[P, D] from the Gaussian of the state."""
        mean = state["mean"].double()
        noise = gaussian(generator, population, mean)
        if "axes" in state:
            # The symmetric root of the covariance: unlike axes alone it does not turn with the last bits of rounding.
            noise = (noise @ state["axes"] * state["lengths"]) @ state["axes"].T
        return (mean + state["sigma"] * state["scale"] * noise).to(state["mean"])

    def tell(self, state: SearchState, candidates: Tensor, fitness: Tensor) -> SearchState:
        """One update by `cma`; candidates [P, D], fitness [P], P at least 4."""
        if len(candidates) < 4:
            raise ValueError(f"cma_es needs a population of at least 4, got {len(candidates)}")
        value = {name: leaf.double().cpu().numpy().copy() for name, leaf in state.items()}
        options = {"popsize": len(candidates), "CMA_stds": value["scale"]}
        search = self._start(state["mean"], float(value["sigma"]), **options)
        search.ask(1)  # opens a generation, as `cma` wants before it is told anything
        search.countiter, search.mean_old = int(value["generation"]), search.mean
        search.pc, search.adapt_sigma.ps = value["path"], value["step_path"]
        if "axes" in value:
            search.sm.C, search.sm.B, search.sm.D = value["covariance"], value["axes"], value["lengths"]
        # Without check_points=False candidates that the object did not draw itself are pulled towards the mean.
        search.tell(list(candidates.double().cpu().numpy()), (-finite(fitness)).tolist(), check_points=False)
        search.ask(1)  # opens the next one: decomposes the covariance, improves its condition where it is bad
        return _read(search, state["mean"])

    def _start(self, mean: Tensor, sigma: float, **options: Any) -> CMAEvolutionStrategy:
        """A silent object of `cma` that draws no random numbers, neither its own nor the global ones."""
        import cma
        from cma.sigma_adaptation import CMAAdaptSigmaCSA

        fixed = {
            "verbose": -9,
            "randn": lambda *shape: np.zeros(shape),  # else it would seed numpy's global generator
            "updatecovwait": 0,  # the covariance is decomposed every generation, however little it changed
            "conditioncov_alleviate": [1e8, 0],  # by scale alone; never by a transformation the state does not hold
            "CMA_diagonal": len(mean) > self.full_until,
            "AdaptSigma": CMAAdaptSigmaCSA,  # for large D its default needs candidates of its own making
        }
        return cma.CMAEvolutionStrategy(mean.double().cpu().numpy(), sigma, fixed | options)


def _read(search: CMAEvolutionStrategy, like: Tensor) -> SearchState:
    """The state inside an object of `cma`; the mean in dtype and everything on the device of `like`."""
    state = {
        "sigma": search.sigma,
        "scale": search.sigma_vec.scaling * np.ones(len(like)),
        "path": search.pc,
        "step_path": search.adapt_sigma.ps,
        "generation": search.countiter,
    }
    if hasattr(search.sm, "B"):
        state |= {"covariance": search.sm.C, "axes": search.sm.B, "lengths": search.sm.D}
    # Contiguous for files, and because the memory's order would change the last bits of what is computed from it.
    tensors = {name: torch.tensor(leaf, dtype=torch.float64).contiguous() for name, leaf in state.items()}
    return {"mean": torch.tensor(search.mean).to(like), **to(tensors, like.device)}
