"""Transfer: agents of Stable-Baselines3, trained in synthetic environments, measured in the real task.

    python -m benchmarks.transfer                  the published protocol; a killed run goes on where it was
    python -m benchmarks.transfer --fresh          from the beginning
    python -m benchmarks.transfer --steps 500 1000 --seeds 2 --episodes 5 --results runs/quick      a quick look

Default hyperparameters, 10,000 steps in either synthetic form and, as a baseline, in the task itself. The same agent is
measured on the way: the policy as it stands when that many steps have been taken, greedy, whole episodes of Gymnasium's
CartPole-v1. The last point is the final policy, never the best one; PPO and TRPO, which collect 2,048 steps at a time,
round 10,000 up to 10,240 there, and are untrained before 2,048. TRPO and QR-DQN had no part in making the
environments, nor had any of the seeds.

Writes transfer.csv, one row an agent and point, CPU seconds without measuring; transfer.png; and transfer.json with
the digests of the environments measured: agents of other weights or other versions are trained again, not mixed in.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sb3_contrib
import stable_baselines3

from benchmarks.harness import ENVIRONMENTS, TARGET, arguments, name, origin, replace, spread
from benchmarks.students import Lesson, study
from synthenv.artifact import versions
from synthenv.report import curves, learning_curves
from synthenv.scores import Trial, read_trials, write_trials

ALGORITHMS = ("PPO", "A2C", "DQN", "TRPO", "QRDQN")
STEPS = (500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000)
FIRST_SEED = 3_000
"""Seeds from here on are used nowhere else."""

Run = tuple[str, str, int]
"""Environment, algorithm, seed."""


def main(argv: Sequence[str] | None = None) -> None:
    """Train and measure what is missing, then draw."""
    args = parse(argv)
    table, facts = args.results / "transfer.csv", args.results / "transfer.json"
    made_of = {
        "protocol": {"steps": list(args.steps), "episodes": args.episodes},
        "environments": {name(environment): origin(environment) for environment in args.environments},
        "versions": {
            **versions(),
            "stable_baselines3": stable_baselines3.__version__,
            "sb3_contrib": sb3_contrib.__version__,
        },
    }
    known = {} if args.fresh else measured(table, facts, made_of)
    lessons = {
        (name(environment), algorithm, seed): Lesson(environment, algorithm, seed, tuple(args.steps), args.episodes)
        for algorithm in args.algorithms
        for environment in args.environments
        for seed in range(args.first_seed, args.first_seed + args.seeds)
    }
    missing = [lesson for run, lesson in lessons.items() if run not in known]
    print(f"{len(missing)} of {len(lessons)} agents to train")

    def save() -> None:
        trials = [trial for run in sorted(known, key=rank) for trial in known[run]]
        replace(table, lambda aside: write_trials(aside, trials))

    save()  # stale rows go before the file that says what the rest was made of is written
    replace(facts, lambda aside: aside.write_text(json.dumps(made_of, indent=2) + "\n"))
    for lesson, trials in spread(study, missing, args.workers):
        known[name(lesson.environment), lesson.algorithm, lesson.seed] = trials
        save()
    learning_curves(args.results / "transfer.png", curves(read_trials(table)), TARGET)


def measured(table: Path, facts: Path, made_of: dict[str, Any]) -> dict[Run, list[Trial]]:
    """Runs that the table holds already, without those of other weights or other versions."""
    if not (table.is_file() and facts.is_file()):
        return {}
    then = json.loads(facts.read_text())
    if then["protocol"] != made_of["protocol"]:
        raise SystemExit(
            f"{table} was measured by {then['protocol']}, not {made_of['protocol']}; "
            "give --results FOLDER to keep it, or --fresh to begin again"
        )
    made_of["environments"] = {**then["environments"], **made_of["environments"]}
    changed = {key for key, digest in made_of["environments"].items() if then["environments"].get(key) != digest}
    known: dict[Run, list[Trial]] = {}
    for trial in read_trials(table):
        if trial.environment not in changed and then["versions"] == made_of["versions"]:
            known.setdefault((trial.environment, trial.algorithm, trial.seed), []).append(trial)
    return known


def rank(run: Run) -> tuple[int, int, Run]:
    """Runs in the order of the published protocol."""
    environment, algorithm, _ = run
    return ALGORITHMS.index(algorithm), (*ENVIRONMENTS, environment).index(environment), run


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; its defaults are the published protocol."""
    parser = arguments(__doc__)
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument("--steps", nargs="+", type=int, default=STEPS, help="where to measure; the last ends training")
    parser.add_argument("--seeds", type=int, default=10, help="agents (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--episodes", type=int, default=50, help="real episodes a measurement (default %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget what transfer.csv holds")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
