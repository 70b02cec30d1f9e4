"""A task of one's own: one command makes an environment for it, and DQN learns there what it cannot learn in the task.

    python -m benchmarks.own_task                  the published protocol
    python -m benchmarks.own_task --recipe tiny.yaml --seeds 2 --steps 500 --episodes 2 --results runs/quick

The task is the Swing of tests/own_task.py, which the package has no world for: its steps are Python's and slow, and
random actions never reach the one reward that differs. The command is `synthenv evolve --target
tests.own_task:Swing-v0`. Then Stable-Baselines3's DQN with default hyperparameters gets the same number of steps in
the environment and in the task, and its final greedy policy is measured in the task.

Equal are the steps of an agent. Those that making the environment took are many more and stand in the table: they are
paid once, and every agent after the first is free of them.

Writes own_task.csv: for either place every agent's return, their mean and its 95 % bootstrap interval, and the price.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.harness import RESULTS, gather, write_rows
from benchmarks.students import exam_seed
from synthenv import cli, sb3, shelf
from synthenv.scores import statistics

TARGET = "tests.own_task:Swing-v0"
FIRST_SEED = 90_000
"""Seeds from here on are used nowhere else."""


class Lesson(NamedTuple):
    """What one agent goes through. environment: the folder or id to train in; target: the task to be measured in."""

    environment: str
    target: str
    seed: int
    steps: int
    episodes: int


class Mark(NamedTuple):
    """What one agent is worth, and what training it took."""

    real_return: float
    seconds: float
    cpu_seconds: float


def main(argv: Sequence[str] | None = None) -> None:
    """Make the environment, train in both places, write."""
    args = parse(argv)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "artifact"
        card = make(args, folder)
        places = (str(folder), card["target"])
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        lessons = [Lesson(place, card["target"], seed, args.steps, args.episodes) for place in places for seed in seeds]
        marks = gather(study, lessons, args.workers)
    inside = row(card["id"], args, marks[: len(seeds)], card)
    outside = row(card["target"], args, marks[len(seeds) :], {"real_steps": 0, "seconds": 0, "cpu_seconds": 0})
    write_rows(args.results / "own_task.csv", [inside, outside])
    for found in (inside, outside):
        print(f"{found['trained in']:34} mean {found['mean return']}, {found['low']} to {found['high']}")


def make(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The one command; the card of what it made."""
    wish = ["--target", args.target] if args.recipe is None else [str(args.recipe)]
    command = ["evolve", *wish, "--out", str(folder), "--log", str(folder.with_name("log"))]
    if cli.main([*command, "--workers", str(args.workers)]):
        raise SystemExit(f"no environment was made: synthenv {' '.join(command)}")
    return shelf.card(folder)


def study(lesson: Lesson) -> Mark:
    """Train one DQN and measure it, greedy."""
    wall, cpu = time.perf_counter(), time.process_time()
    model = sb3.train("dqn", lesson.environment, lesson.steps, seed=lesson.seed, progress=False)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    returns = sb3.evaluate(model, lesson.target, lesson.episodes, exam_seed(lesson.seed))
    return Mark(float(returns.mean()), *spent)


def row(place: str, args: argparse.Namespace, marks: Sequence[Mark], price: dict[str, Any]) -> dict[str, Any]:
    """What the agents trained in one place are worth, with what that place cost."""
    found = statistics([mark.real_return for mark in marks])
    low, high = found["interval"]
    return {
        "trained in": place,
        "algorithm": "DQN",
        "steps": args.steps,
        "agents": found["n"],
        "mean return": round(found["mean"], 2),
        "low": round(low, 2),
        "high": round(high, 2),
        "returns": " ".join(f"{mark.real_return:.2f}" for mark in marks),
        "seconds an agent": round(sum(mark.seconds for mark in marks) / len(marks), 2),
        "CPU seconds an agent": round(sum(mark.cpu_seconds for mark in marks) / len(marks), 2),
        "real steps to make": price["real_steps"],
        "seconds to make": price["seconds"],
        "CPU seconds to make": price["cpu_seconds"],
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; its defaults are the published protocol."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--target", default=TARGET, help="a task by Gymnasium id (default %(default)s)")
    what.add_argument("--recipe", type=Path, help="how to make the environment (default: the target's default recipe)")
    parser.add_argument("--steps", type=int, default=5_000, help="training of an agent (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="agents in either place (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--episodes", type=int, default=50, help="real episodes an agent (default %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default one a core)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write into (default %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
