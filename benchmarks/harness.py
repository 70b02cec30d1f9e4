"""What the benchmarks share: arguments, processes, worlds by name, result files that are whole or absent.

Every script runs as a module from the checkout, `python -m benchmarks.transfer`, and says its protocol with `--help`.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import gymnasium
import torch
from tqdm import tqdm

from synthenv import artifact, shelf, worlds
from synthenv.gym import synthetic
from synthenv.threads import one_thread
from synthenv.worlds import World
from synthenv.worlds.base import Params

RESULTS = Path(__file__).parent / "results"
TARGET = "CartPole-v1"
SYNTHETIC = ("Synth-CartPole-v0", "SynthBandit-CartPole-v0")
ENVIRONMENTS = (*SYNTHETIC, TARGET)
TARGETS = (TARGET, "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")
"""The classic-control tasks, which have shelf environments."""

Job = TypeVar("Job")
Result = TypeVar("Result")


class Place(NamedTuple):
    """Somewhere to train batched agents.

    params: leaves [1, ...]. horizon: the time limit, None where episodes need none.
    """

    world: World
    params: Params
    horizon: int | None


def arguments(text: str | None, environments: Sequence[str] | None = ENVIRONMENTS) -> argparse.ArgumentParser:
    """What every benchmark can be asked, under its docstring; `environments` None leaves them to `--targets`."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "those of --targets" if environments is None else "%(default)s"
    parser.add_argument(
        "--environments", nargs="+", default=environments, metavar="ENV",
        help=f"ids or folders of synthetic environments, and real tasks themselves (default {default})",
    )  # fmt: skip
    if environments is None:
        parser.add_argument(
            "--targets", nargs="+", default=TARGETS, choices=TARGETS, metavar="TASK",
            help="real tasks, each with its environments in either form (default %(default)s)",
        )  # fmt: skip
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default one a core)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write into (default %(default)s)")
    return parser


def spread(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Result]]:
    """Each job with what `work` makes of it, as they finish: in fresh processes of one torch thread, or here if 1."""
    if workers == 1:
        with one_thread():
            yield from ((job, work(job)) for job in tqdm(jobs, disable=None))
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,))
    try:
        running = {pool.submit(work, job): job for job in jobs}
        for done in tqdm(as_completed(running), total=len(running), disable=None):
            yield running[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def gather(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> list[Result]:
    """What `work` makes of each job, in the order of the jobs."""
    return [result for _, result in sorted(spread(work, jobs, workers), key=lambda pair: jobs.index(pair[0]))]


def asked(environments: Sequence[str] | None, targets: Sequence[str]) -> list[str]:
    """The environments to measure: those given, else of each target the bandit, the MDP and the task itself.

    One that is not on the shelf yet is left out, with a line that says so.
    """
    if environments is not None:
        return list(environments)
    found = []
    for task in targets:
        for environment in forms(task):
            if environment in shelf.ids():
                found.append(environment)
            else:
                print(f"{environment} is not on the shelf: left out")
        found.append(task)
    return found


def forms(task: str) -> tuple[str, str]:
    """Ids of a real task's environments, bandit and MDP."""
    stem = task.rsplit("-v", 1)[0]
    return f"SynthBandit-{stem}-v0", f"Synth-{stem}-v0"


def home(environment: str) -> tuple[str, str]:
    """The real task that an environment stands for, and its form; what is not on the shelf is a task "itself"."""
    if environment not in shelf.ids():
        return environment, "itself"
    card = shelf.card(shelf.find(environment))
    return str(card["target"]), str(card["form"])


def order(environment: str) -> tuple[int, int]:
    """Where an environment stands in a result file: which task, and there MDP, bandit, the task itself, then others."""
    task, _ = home(environment)
    known = (*reversed(forms(task)), task)
    return (
        TARGETS.index(task) if task in TARGETS else len(TARGETS),
        known.index(environment) if environment in known else len(known),
    )


def target(environment: str) -> str:
    """The real task that an environment, given by id or by folder, stands for; a task stands for itself."""
    return environment if environment in worlds.targets() else str(shelf.card(shelf.find(environment))["target"])


def name(environment: str) -> str:
    """The Gymnasium id of an environment given by id or by folder."""
    return environment if environment in worlds.targets() else str(shelf.card(shelf.find(environment))["id"])


def origin(environment: str) -> str:
    """What its results stand or fall with: the digest of a synthetic environment's weights, or Gymnasium's version."""
    if environment in worlds.targets():
        return f"gymnasium {gymnasium.__version__}"
    return str(artifact.load(shelf.find(environment)).card["sha256"])


def place(environment: str) -> Place:
    """A real task or a synthetic environment as a world for batched learners."""
    if environment in worlds.targets():
        real = worlds.real(environment)
        return Place(real, real.init(torch.Generator(), 1), real.horizon)
    found = artifact.load(shelf.find(environment))
    return Place(*synthetic(found), found.recipe.time_limit)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows of equal keys as CSV."""
    rows = list(rows)

    def write(aside: Path) -> None:
        with aside.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)

    replace(path, write)


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file aside, then rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    write(aside)
    aside.replace(path)


def clocked(call: Callable[[], object], calls: int = 1) -> float:
    """CPU seconds a call."""
    began = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - began) / calls


def cpu_seconds() -> float:
    """CPU time of this process and of all its children that have ended."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)
