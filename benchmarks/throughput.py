"""Steps a CPU-second: synthetic environments beside Gymnasium's own CartPole, in one run.

    OMP_NUM_THREADS=1 pytest --no-cov benchmarks/throughput.py
    OMP_NUM_THREADS=1 pytest --no-cov benchmarks/throughput.py -k "1024" --benchmark-max-time 0.1      a quick look

One environment: its unwrapped `step` alone, and a loop of 1,000 steps with the resets that episodes need. Batches: one
call of `step` for all episodes, numpy or torch out, restarts included, against Gymnasium's native vector CartPole; the
raw `advance` for loops of one's own; and SB3's view of a batch. Actions are random. The clock is the CPU time of the
process; the figure is the median of its calls. Coverage must be off, for it slows what it watches.

A whole run writes throughput.csv; `ratio` is to Gymnasium's CartPole, single or native vector of that size. One with
-k, or with --benchmark-disable, writes nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
import torch

from benchmarks.harness import RESULTS, SYNTHETIC, TARGET, write_rows
from synthenv.gym import SynthEnv, SynthVectorEnv
from synthenv.sb3 import make_vec_env

SIZES = (64, 1024, 16384)
LOOP = 1000
IMPORTS = 11
ONE, WHOLE, VECTOR, TENSOR, RAW, SB3 = "step alone", "step and reset", "vector step", "torch out", "advance", "SB3 step"


class Case(NamedTuple):
    """One line of the table: what of which environment, for n episodes."""

    environment: str
    what: str
    n: int

    @property
    def witness(self) -> Case:
        """Gymnasium's counterpart."""
        return Case(TARGET, self.what if self.n == 1 else VECTOR, self.n)


CASES = [
    *(Case(environment, what, 1) for what in (ONE, WHOLE) for environment in (TARGET, *SYNTHETIC)),
    *(
        Case(environment, what, n)
        for n in SIZES
        for environment in (TARGET, *SYNTHETIC)
        for what in ((VECTOR,) if environment == TARGET else (VECTOR, TENSOR, RAW, *([SB3] if n == 64 else [])))
    ),
]


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> Iterator[dict[Case, float]]:
    """Seconds a call, by case; written to throughput.csv when all cases are there."""
    seconds: dict[Case, float] = {}
    yield seconds
    if set(seconds) == set(CASES):
        write_rows(RESULTS / "throughput.csv", report(seconds))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.environment}-{case.what}-{case.n}".replace(" ", "-"))
@pytest.mark.benchmark(timer=time.process_time, disable_gc=True)
def test_throughput(case: Case, benchmark: Any, found: dict[Case, float]) -> None:
    """Time one case."""
    torch.set_num_threads(1)
    if case.what == ONE:
        step, between = alone(case.environment)
        benchmark.pedantic(step, setup=between, rounds=20_000, warmup_rounds=1_000)
    else:
        benchmark(together(case))
    if benchmark.stats is not None:
        found[case] = benchmark.stats.stats.median


def alone(environment: str) -> tuple[Callable[..., None], Callable[[], tuple[tuple[int], dict[str, Any]]]]:
    """One unwrapped step, and what goes before it: a reset where the episode is over, and an action."""
    env, random, over = single(environment), np.random.default_rng(0), True

    def step(action: int) -> None:
        nonlocal over
        _, _, over, _, _ = env.step(action)

    def between() -> tuple[tuple[int], dict[str, Any]]:
        if over:
            env.reset()
        return (random.integers(2),), {}

    return step, between


def together(case: Case) -> Callable[[], object]:
    """A call that steps n episodes once, or one episode `LOOP` times."""
    random = np.random.default_rng(0)
    if case.n == 1:
        env, actions = single(case.environment), random.integers(2, size=LOOP)

        def loop() -> None:
            for action in actions:
                if env.step(action)[2]:
                    env.reset()

        env.reset()
        return loop
    batches = cycle(random.integers(2, size=(16, case.n)))
    if case.what == SB3:
        venv = make_vec_env(case.environment, case.n, seed=0)
        venv.reset()
        return lambda: venv.step(next(batches))
    envs: Any
    if case.environment == TARGET:
        envs = gymnasium.make_vec(TARGET, case.n, vectorization_mode="vector_entry_point")
    else:
        envs = SynthVectorEnv(case.environment, case.n, output="torch" if case.what == TENSOR else "numpy")
    envs.reset(seed=0)
    act = envs.advance if case.what == RAW else envs.step
    return lambda: act(next(batches))


def single(environment: str) -> gymnasium.Env[Any, Any]:
    """One environment without wrappers."""
    env = gymnasium.make(TARGET).unwrapped if environment == TARGET else SynthEnv(environment)
    env.reset(seed=0)
    return env


def report(seconds: dict[Case, float]) -> list[dict[str, Any]]:
    """The table's rows from seconds a call, and what an import takes."""
    rows = []
    for case, call in seconds.items():
        steps, witness = (LOOP if case.what == WHOLE else case.n), seconds[case.witness]
        rows.append(
            {
                "environment": Path(case.environment).name,
                "what": case.what,
                "episodes": case.n,
                "us a call": round(call * 1e6 / (LOOP if case.what == WHOLE else 1), 2),
                "steps a CPU-second": round(steps / call),
                "ratio": round(witness / call, 2),
            }
        )
    took = round(import_seconds() * 1e6)
    return [*rows, {**dict.fromkeys(rows[0], ""), "environment": "import synthenv", "what": "beyond gymnasium",
                    "us a call": took}]  # fmt: skip


def import_seconds() -> float:
    """CPU seconds that `import synthenv` takes where gymnasium is loaded; median of fresh processes."""
    code = "import gymnasium, time; t = time.process_time(); import synthenv; print(time.process_time() - t)"
    runs = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(IMPORTS)
    )
    return statistics.median(float(run.stdout) for run in runs)
