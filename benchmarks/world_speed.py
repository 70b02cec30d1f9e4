"""How fast an in-context world model reads a context and steps imagined environments, and what memory that takes.

Every row of the table comes from a process of its own on one thread: CPU seconds, the median of a few rounds, and by
how much the process grew.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3 import PPO
from tqdm import tqdm

from benchmarks import contestants
from benchmarks.harness import TARGET, clocked, write_rows
from benchmarks.population import peak
from benchmarks.tables import rows_of
from benchmarks.world_data import collect
from synthenv.incontext.prior import sample
from synthenv.incontext.world import Simulator
from synthenv.sb3 import SynthVecEnv

SEED = 9_800
BATCH, ROLLOUT = 16, 128
"""Environments of PPO, and steps of each between updates: the 2,048 that SB3 collects by default."""
ACTIONS = 64
"""Different actions, taken in turn."""


class Case(NamedTuple):
    """What is measured, with so many rows of context and so many environments.

    What: "condition", "step", "compiled step" (of a single environment), "PPO" or "prior". The prior makes so many rows
    of so many tasks.
    """

    what: str
    rows: int
    envs: int


CASES = (
    Case("condition", 1_000, 0),
    Case("condition", 10_000, 0),
    *(Case("step", 1_000, envs) for envs in (1, 256, 2_048)),
    Case("compiled step", 1_000, 1),
    Case("step", 10_000, 256),
    Case("PPO", 1_000, BATCH),
    Case("prior", 1_000, 256),
)


def ask(parser: argparse.ArgumentParser) -> None:
    """What can be asked of this part."""
    parser.add_argument("--models", nargs="+", default=[contestants.OURS], metavar="MODEL", help="as of accuracy")
    parser.add_argument("--steps", type=int, default=50_000, help="of PPO in the model (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (default %(default)s)")


def main(args: argparse.Namespace) -> None:
    """Measure the cases that the table lacks."""
    table = args.results / "world_model_speed.csv"
    origins = {contestants.name(model): contestants.origin(model) for model in args.models}
    known = {
        (row["model"], row["what"], int(row["rows"]), int(row["envs"])): row
        for row in (rows_of(table) if table.is_file() else ())
        if row["origin"] == origins.get(row["model"], row["origin"]) and not (args.fresh and row["model"] in origins)
    }
    plan = [(model, case) for model in args.models for case in CASES]
    missing = [(model, case) for model, case in plan if (contestants.name(model), *case) not in known]
    print(f"{len(missing)} of {len(plan)} cases to measure")
    for model, case in tqdm(missing, disable=None):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            row = pool.submit(measured, model, case, args.steps, args.rounds).result()
        known[(contestants.name(model), *case)] = row
        write_rows(table, known.values())


def measured(model: str, case: Case, steps: int, rounds: int) -> dict[str, Any]:
    """A line of the table."""
    torch.set_num_threads(1)
    log, random = collect(TARGET, case.rows, "random", SEED), torch.Generator().manual_seed(SEED)
    contestants.simulator(model, log.subset(slice(10)))  # imports and loads what every process has to, once
    before, wall = peak(), time.perf_counter()
    simulator = contestants.simulator(model, log)
    if case.what == "condition":
        seconds, count = middle(lambda: contestants.simulator(model, log), 1, rounds), 1
    elif case.what in ("step", "compiled step"):
        simulator.compiles = case.what == "compiled step"
        call = alone(simulator) if case.envs == 1 else together(simulator, case.envs)
        call()  # the first one compiles, where anything does
        calls = max(1, 2_000 // case.envs)
        seconds, count = middle(call, calls, rounds), case.envs
    elif case.what == "prior":
        seconds, count = middle(drawn(random, case), 1, rounds), case.envs * case.rows
    else:
        wall = time.perf_counter()
        seconds, count = clocked(lambda: learn(simulator, steps)), steps
    return {
        "model": contestants.name(model), **case._asdict(), "cpu_seconds": f"{seconds:.6f}",
        "a second": round(count / seconds, 1), "wall_seconds": f"{time.perf_counter() - wall:.2f}",
        "MB": round((peak() - before) / 1e6, 1), "origin": contestants.origin(model),
    }  # fmt: skip


def middle(call: Callable[[], object], calls: int, rounds: int) -> float:
    """CPU seconds a call, the median of rounds."""
    return statistics.median(clocked(call, calls) for _ in range(rounds))


def drawn(random: torch.Generator, case: Case) -> Callable[[], object]:
    """A batch of the prior; as in training, the one before is there until the next is made."""
    held: list[object] = [None]

    def call() -> None:
        held[0] = sample(random, case.envs, case.rows)

    return call


def alone(simulator: Simulator) -> Callable[[], object]:
    """A step of one environment, begun again where it ends."""
    env = simulator.make_env()
    env.reset(seed=SEED)
    env.action_space.seed(SEED)
    actions = cycle([env.action_space.sample() for _ in range(ACTIONS)])

    def call() -> None:
        _, _, terminated, truncated, _ = env.step(next(actions))
        if terminated or truncated:
            env.reset()

    return call


def together(simulator: Simulator, envs: int) -> Callable[[], object]:
    """A step of a batch."""
    venv = simulator.make_vec(envs)
    venv.reset(seed=SEED)
    venv.action_space.seed(SEED)
    actions = cycle([np.asarray(venv.action_space.sample()) for _ in range(ACTIONS)])
    return lambda: venv.step(next(actions))


def learn(simulator: Simulator, steps: int) -> None:
    """SB3's PPO inside the model."""
    venv = SynthVecEnv(simulator.make_vec(BATCH))
    PPO("MlpPolicy", venv, n_steps=ROLLOUT, seed=SEED, device="cpu").learn(steps)
