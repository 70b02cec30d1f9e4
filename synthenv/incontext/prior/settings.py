"""What the prior is made of, in numbers: how often each kind appears, and the ranges that its parameters come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from synthenv import catalogue


@dataclass(frozen=True)
class PriorSettings:
    """Mixture weights and ranges. A range is two ends; what it measures is drawn log-uniformly where it says so."""

    families: dict[str, float] = field(
        default_factory=lambda: {"mechanics": 0.36, "contact": 0.22, "networks": 0.16, "linear": 0.1, "grids": 0.16}
    )
    """Share of each family of worlds, by its name."""
    behaviours: dict[str, float] = field(
        default_factory=lambda: {
            "uniform": 0.4, "sticky": 0.25, "wandering": 0.1, "sinusoid": 0.05, "feedback": 0.12, "greedy": 0.08
        }
    )  # fmt: skip
    """Share of each way to behave; see `behaviour`."""
    rewards: dict[str, float] = field(
        default_factory=lambda: {
            "constant": 0.2, "distance": 0.15, "quadratic": 0.2, "threshold": 0.1, "goal": 0.12, "velocity": 0.08,
            "network": 0.15
        }
    )  # fmt: skip
    """Share of each kind of reward; a task may have a second one on top."""
    endings: dict[str, float] = field(
        default_factory=lambda: {"none": 0.4, "halfspace": 0.2, "box": 0.2, "ball": 0.08, "goal": 0.12}
    )
    """Share of each kind of place where episodes end."""
    discrete: float = 0.5
    """Share of tasks with one-hot actions."""
    step: tuple[float, float] = (0.008, 0.2)
    """Time that passes in a step of mechanics, log-uniform, where forces are of order 1 to 20."""
    gentle: float = 0.35
    """Share of mechanisms whose steps are a quarter of that."""
    substeps: tuple[float, ...] = (0.65, 0.18, 0.05, 0.12)
    """Chances of 1 Euler step, of 2, of 4, and of one step of fourth-order Runge-Kutta; one draw a batch."""
    angles: float = 0.5
    """Chance that a coordinate of a mechanism turns instead of sliding."""
    widths: tuple[int, ...] = (8, 64)
    """Hidden units of networks, log-uniform, one draw a batch."""
    cells: tuple[int, ...] = (4, 100)
    """Cells of a grid or nodes of a graph."""
    slippery: float = 0.2
    """Share of grids in which a move may become another."""
    lengths: tuple[float, float] = (1.0, 1000.0)
    """Time limit of episodes, log-uniform but leaning to long ones; lanes are cut sooner."""
    brief: tuple[float, float] = (5.0, 100.0)
    """Time limit, log-uniform, of three in four tasks whose episodes end somewhere."""
    scales: tuple[float, float] = (0.01, 100.0)
    """Size of an observation's unit, log-uniform, for tasks that do not keep their natural one."""
    natural: float = 0.5
    """Share of tasks whose observations keep their natural units."""
    lag: float = 0.05
    """Share of tasks whose actions take effect late, wholly or in part."""
    noise: float = 0.1
    """Share of tasks with random pushes, of a size that may depend on the state."""
    blur: float = 0.05
    """Share of tasks whose observations are inexact."""
    distractors: float = 0.15
    """Share of tasks with observations that have nothing to do with them."""
    kept: float = 0.84
    """Least share of steps that survives when episodes that ended are cut there; the inverse is made in excess."""
    spare: float = 0.08
    """Share of tasks drawn in excess, so that too easy and unpredictable ones can be dropped."""
    easy: float = 3e-4
    """A task is easy where linear regression leaves less than this share of the change."""
    easy_kept: float = 0.5
    """Share of easy tasks that is kept all the same."""
    unpredictable: float = 0.97
    """A task is unpredictable where a smooth fit to 48 rows leaves more than this share of the change."""


def weights(told: Mapping[str, float], known: Sequence[str], what: str) -> list[float]:
    """Weights in the order of the known names, 0 for those that are not told.

    Raises ValueError with the nearest name for one that is not known, and where nothing is left to draw.
    """
    if strange := told.keys() - set(known):
        raise ValueError(catalogue.unknown(what, min(strange), known))
    found = [told.get(name, 0.0) for name in known]
    if min(found) < 0 or not sum(found) > 0:
        raise ValueError(f"expected weights of 0 or more, and one above 0, for a {what}, got {dict(told)}")
    return found
