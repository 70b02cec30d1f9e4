"""Fitness shaping: from fitness [P] to weights [P], so that scale and outliers of returns do not steer the search.

Equal fitness gets equal weight, the mean of the weights it spans; order in the population never matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def finite(fitness: Tensor) -> Tensor:
    """Fitness [P] in float64, what is not finite replaced by the worst that is: a failed candidate loses, quietly.

    Raises ValueError when no candidate has a finite fitness.
    """
    good = fitness.isfinite()
    if not good.any():
        raise ValueError(f"expected a finite fitness from some candidate, got none among {len(fitness)}; "
                         "look for a division by zero or a diverged agent where fitness is measured")  # fmt: skip
    return torch.where(good, fitness, fitness[good].min()).double()


def centred_ranks(fitness: Tensor) -> Tensor:
    """Ranks [P] spread evenly over [-0.5, 0.5], the best highest (Salimans et al. 2017)."""
    low, high = _span(finite(fitness))
    size = len(fitness)
    return (low + high - size).double() / (2 * max(size - 1, 1))


def log_ranks(fitness: Tensor) -> Tensor:
    """Utilities [P] >= 0 with sum 1: logarithmic in rank, zero for the worse half (Wierstra et al. 2014)."""
    size = len(fitness)
    place = torch.arange(size, 0, -1, dtype=torch.float64, device=fitness.device)  # worst first; the best is 1
    utility = (math.log(size / 2 + 1) - place.log()).clamp(min=0)
    return _shared(finite(fitness), utility / utility.sum())


def centred_log_ranks(fitness: Tensor) -> Tensor:
    """`log_ranks` of fitness [P] minus their mean, [P]: sum 0, so that equal fitness moves nothing."""
    return log_ranks(fitness) - 1 / len(fitness)


def min_max(fitness: Tensor, unperturbed: Tensor) -> Tensor:
    """Fitness [K] moved and scaled to [0, 1]."""
    low, high = fitness.aminmax()
    return (fitness - low) / (high - low + 1e-9)


def linear_rank(fitness: Tensor, unperturbed: Tensor) -> Tensor:
    """Ranks [K] spread evenly over [0, 1], the best 1."""
    return centred_ranks(fitness) + 0.5


def log_rank(fitness: Tensor, unperturbed: Tensor) -> Tensor:
    """`log_ranks` [K], the best 1: what Ferreira et al. used."""
    return _best_one(log_ranks(fitness))


def log_rank_centred(fitness: Tensor, unperturbed: Tensor) -> Tensor:
    """`centred_log_ranks` [K], the best 1."""
    return _best_one(centred_log_ranks(fitness))


def best_only(fitness: Tensor, unperturbed: Tensor) -> Tensor:
    """1 for the best of [K], shared if there are several; 0 for the others."""
    best = (fitness == fitness.max()).double()
    return best / best.sum()


def best_if_better(fitness: Tensor, unperturbed: Tensor) -> Tensor:
    """`best_only` if the best of [K] beats the unperturbed mean's fitness [], else nothing."""
    return best_only(fitness, unperturbed) * (fitness.max() > unperturbed)


def better_scaled_by_max(fitness: Tensor, unperturbed: Tensor) -> Tensor:
    """By how much each of [K] beats the unperturbed mean's fitness [], the best 1."""
    return _best_one((fitness - unperturbed).clamp(min=0))


def better_scaled_by_sum(fitness: Tensor, unperturbed: Tensor) -> Tensor:
    """By how much each of [K] beats the unperturbed mean's fitness [], scaled to sum 1."""
    gain = (fitness - unperturbed).clamp(min=0)
    return gain / gain.sum().clamp(min=1e-9)


TRANSFORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    transform.__name__: transform
    for transform in (
        min_max, linear_rank, log_rank_centred, log_rank,
        best_only, best_if_better, better_scaled_by_max, better_scaled_by_sum,
    )
}  # fmt: skip
"""Score transforms 0 to 7 of Ferreira et al. (2022), in their order, by name."""


def _span(fitness: Tensor) -> tuple[Tensor, Tensor]:
    """How many of [P] are worse, and how many are worse or equal: both [P]."""
    ascending = fitness.sort().values
    return torch.searchsorted(ascending, fitness), torch.searchsorted(ascending, fitness, right=True)


def _shared(fitness: Tensor, utility: Tensor) -> Tensor:
    """Hand out utility [P], given from the worst place to the best; equals take the mean of the places they span."""
    low, high = _span(fitness)
    total = torch.nn.functional.pad(utility.cumsum(0), (1, 0))  # [P+1]
    return (total[high] - total[low]) / (high - low)


def _best_one(weight: Tensor) -> Tensor:
    return weight / weight.max().clamp(min=1e-9)
