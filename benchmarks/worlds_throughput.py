"""Steps a CPU-second of the real tasks as batched worlds, beside Gymnasium's own, in one run.

    python -m benchmarks.worlds_throughput
    python -m benchmarks.worlds_throughput --tasks Acrobot-v1 --rounds 3 --seconds 0.01 --results runs/quick

Ours: `rollout.advance`, one step of N episodes of P members with restarts and time limit, on one torch thread.
Gymnasium's: `step` of what `gymnasium.make_vec` gives for P * N episodes, its native vector environment where it has
one and SyncVectorEnv elsewhere. Actions are random, and drawn beforehand. Rounds of either alternate; the clock is the
CPU time of the process, and a figure is the median of its rounds.

Writes worlds_throughput.csv; `ratio` is ours to Gymnasium's. A task that Gymnasium does not have stands alone.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.harness import RESULTS, clocked, write_rows
from synthenv import rollout, worlds
from synthenv.threads import one_thread
from synthenv.worlds.payoff import payoff_of

SIZES = ((1, 1), (1, 64), (1, 1024), (128, 8))
"""P and N."""
BATCHES = 16
"""Different actions, taken in turn."""

Call = Callable[[], object]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every task at every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = worlds.targets()
    parser.add_argument("--tasks", nargs="+", default=tasks, choices=tasks, metavar="ID", help="(default all of ours)")
    parser.add_argument("--rounds", type=int, default=9, help="of either side at every size (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.1, help="CPU seconds a round (default %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write into (default %(default)s)")
    args = parser.parse_args(argv)
    plan = [(task, population, n) for task in args.tasks for population, n in SIZES]
    with one_thread():
        rows = [row(*case, args.rounds, args.seconds) for case in tqdm(plan, disable=None)]
    write_rows(args.results / "worlds_throughput.csv", rows)


def row(task: str, population: int, n: int, rounds: int, seconds: float) -> dict[str, Any]:
    """A line of the table."""
    episodes, kind = population * n, witness(task)
    sides = [ours(task, population, n), *([gymnasiums(task, episodes)] if kind else [])]
    took = medians(sides, rounds, seconds)
    return {
        "task": task,
        "members": population,
        "episodes": n,
        "us a call": round(took[0] * 1e6, 1),
        "steps a CPU-second": round(episodes / took[0]),
        "Gymnasium's": round(episodes / took[1]) if kind else "",
        "by": kind,
        "ratio": round(took[1] / took[0], 2) if kind else "",
    }


def witness(task: str) -> str:
    """What Gymnasium has to step many episodes of a task: "native", "sync", or nothing, ""."""
    spec = gymnasium.registry.get(task)
    if spec is None or not str(spec.entry_point).startswith("gymnasium."):
        return ""
    return "sync" if spec.vector_entry_point is None else "native"


def ours(task: str, population: int, n: int) -> Call:
    """One step of n episodes of each member."""
    world, generator = worlds.real(task), torch.Generator().manual_seed(0)
    params, payoff = world.init(generator, population), payoff_of(world.spaces.action)
    actions = cycle([payoff.random((population, n), generator) for _ in range(BATCHES)])
    episodes = rollout.begin(world, params, generator, n)

    def call() -> None:
        nonlocal episodes
        episodes, _ = rollout.advance(world, params, episodes, next(actions), generator, world.horizon)

    return call


def gymnasiums(task: str, episodes: int) -> Call:
    """One step of Gymnasium's vector environment."""
    envs = gymnasium.make_vec(task, episodes)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = cycle([np.asarray(envs.action_space.sample()) for _ in range(BATCHES)])
    return lambda: envs.step(next(actions))


def medians(sides: Sequence[Call], rounds: int, seconds: float) -> list[float]:
    """CPU seconds a call of each, from rounds taken in turn; three calls beforehand warm up and say how long one is."""
    calls = [1 + int(seconds / max(clocked(side, 3), 1e-6)) for side in sides]
    told = [[clocked(*each) for each in zip(sides, calls, strict=True)] for _ in range(rounds)]
    return [statistics.median(side) for side in zip(*told, strict=True)]


if __name__ == "__main__":
    main()
