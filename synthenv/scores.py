"""What a set of returns says, and the table of trials that benchmarks write and cards read.

Means hide failures and so does the interquartile mean alone (Agarwal et al. 2021 propose it for exactly that), so the
worst trial always stands beside both.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypedDict, get_type_hints

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000


class Statistics(TypedDict):
    """Summary of n returns, ready for JSON.

    iqm: mean of the middle half.  std: sample standard deviation.  interval: 95 % bootstrap interval of the mean.
    """

    n: int
    mean: float
    iqm: float
    worst: float
    best: float
    std: float
    interval: list[float]


def statistics(returns: npt.ArrayLike) -> Statistics:
    """Summarise returns [n], one a trial. The bootstrap has its own fixed seed: equal returns, equal intervals."""
    values = np.sort(np.asarray(returns, dtype=np.float64))
    n = len(values)
    if n == 0:
        raise ValueError("expected at least one return to summarise, got none")
    cut = n // 4
    draws = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    low, high = np.quantile(values[draws].mean(1), (0.025, 0.975))
    return {
        "n": n,
        "mean": float(values.mean()),
        "iqm": float(values[cut : n - cut].mean()),
        "worst": float(values[0]),
        "best": float(values[-1]),
        "std": float(values.std(ddof=1)) if n > 1 else 0.0,
        "interval": [float(low), float(high)],
    }


@dataclass(frozen=True)
class Trial:
    """One agent, measured once: a row of `benchmarks/results/transfer.csv`."""

    environment: str
    """Gymnasium id of what the agent was trained in: a synthetic environment, or the real task itself."""
    algorithm: str
    """Name of the SB3 class: PPO, SAC, TRPO, ...; "PPO, rl_zoo3" where hyperparameters are the task's preset."""
    steps: int
    """Steps of `environment` the agent had seen."""
    seed: int
    episodes: int
    """Real episodes behind `real_return`."""
    real_return: float
    """Mean undiscounted return in the real task, greedy policy."""
    cpu_seconds: float
    """Spent on training, all threads, evaluation left out."""


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Write trials as CSV, one a row."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Trial)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(trial) for trial in trials)


def read_trials(path: Path) -> list[Trial]:
    """Read what `write_trials` wrote. Raises ValueError naming the file and the columns it should have."""
    kinds = get_type_hints(Trial)
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        if table.fieldnames != list(kinds):
            raise ValueError(f"{path} should have the columns {', '.join(kinds)}; got {table.fieldnames}")
        return [Trial(**{name: kinds[name](text) for name, text in row.items()}) for row in table]
