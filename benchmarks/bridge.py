"""From a log of a task to an environment that trains any agent, without one further real step.

    python -m benchmarks.bridge                    the published protocol
    python -m benchmarks.bridge --recipe tiny.yaml --seeds 2 --steps 500 --episodes 2 --results runs/quick

Random actions are logged in the task. `synthenv evolve --context` shows the log to the in-context world model and
evolves a synthetic environment inside it. Then Stable-Baselines3's agents with default hyperparameters are trained in
that environment, and their final greedy policies are measured in the task, which nothing has touched in between.

Writes bridge.csv: a row an algorithm, every agent's return, their mean and its 95 % bootstrap interval, the real steps
that the log holds, and the price in steps of the world model and CPU seconds.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.harness import RESULTS, gather, write_rows
from benchmarks.students import exam_seed
from synthenv import cli, sb3, shelf
from synthenv.incontext.transitions import Transitions
from synthenv.scores import statistics

FIRST_SEED = 95_000
"""Seeds from here on are used nowhere else."""


class Agent(NamedTuple):
    """Who learns, and its seed."""

    algorithm: str
    seed: int


def main(argv: Sequence[str] | None = None) -> None:
    """Log, evolve, train, measure, write."""
    args = parse(argv)
    with TemporaryDirectory() as scratch:
        log, folder = Path(scratch) / "log.npz", Path(scratch) / "artifact"
        Transitions.collect(args.target, n=args.transitions, seed=args.first_seed).save(log)
        command = ["evolve", "--context", str(log), "--out", str(folder), "--log", str(folder.with_name("run"))]
        if args.recipe:
            command.insert(1, str(args.recipe))
        if cli.main([*command, "--workers", str(args.workers)]):
            raise SystemExit(f"no environment was made: synthenv {' '.join(command)}")
        card = shelf.card(folder)
        agents = [Agent(name, args.first_seed + seed) for name in args.algorithms for seed in range(args.seeds)]
        work = functools.partial(study, folder=str(folder), args=args)
        returns = gather(work, agents, args.workers)
    rows = [
        row(name, args, [found for agent, found in zip(agents, returns, strict=True) if agent.algorithm == name], card)
        for name in args.algorithms
    ]
    write_rows(args.results / "bridge.csv", rows)
    for found in rows:
        print(f"{found['algorithm']:6} mean {found['mean return']}, worst {found['worst']}")


def study(agent: Agent, folder: str, args: argparse.Namespace) -> float:
    """Train one agent in the environment and measure it, greedy, in the task."""
    model = sb3.train(agent.algorithm, folder, args.steps, seed=agent.seed, progress=False)
    return float(sb3.evaluate(model, args.target, args.episodes, exam_seed(agent.seed)).mean())


def row(algorithm: str, args: argparse.Namespace, returns: Sequence[float], card: dict[str, Any]) -> dict[str, Any]:
    """What an algorithm's agents are worth, and the price of what they learned in."""
    found = statistics(returns)
    low, high = found["interval"]
    return {
        "task": args.target,
        "algorithm": algorithm.upper(),
        "steps": args.steps,
        "agents": found["n"],
        "mean return": round(found["mean"], 1),
        "low": round(low, 1),
        "high": round(high, 1),
        "worst": round(found["worst"], 1),
        "returns": " ".join(f"{value:.1f}" for value in returns),
        "real steps": card["real_steps"],
        "imagined steps": card["imagined_steps"],
        "CPU seconds to make": card["cpu_seconds"],
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; its defaults are the published protocol."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="CartPole-v1", help="the task (default %(default)s)")
    parser.add_argument("--transitions", type=int, default=1_000, help="real steps logged (default %(default)s)")
    parser.add_argument("--recipe", type=Path, help="how to evolve (default: as the command does by itself)")
    parser.add_argument("--algorithms", nargs="+", default=["ppo", "a2c", "dqn"], help="(default %(default)s)")
    parser.add_argument("--steps", type=int, default=10_000, help="training of an agent (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="agents an algorithm (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--episodes", type=int, default=50, help="real episodes an agent (default %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default one a core)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write into (default %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
