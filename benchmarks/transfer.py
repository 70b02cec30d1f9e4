"""Transfer: agents of Stable-Baselines3, trained in synthetic environments, measured in the real task.

    python -m benchmarks.transfer                  the published protocols; a killed run goes on where it was
    python -m benchmarks.transfer --targets Acrobot-v1 --algorithms PPO DQN --seeds 3      a part of them first
    python -m benchmarks.transfer --fresh          the chosen cells from the beginning
    python -m benchmarks.transfer --steps 500 1000 --seeds 2 --episodes 5 --results runs/quick      a quick look

`PROTOCOLS` says who learns what and for how long: default hyperparameters, or, where the label ends in "rl_zoo3",
those of the presets in agents/hyperparameters. Agents learn in either synthetic form and, as a baseline, in the task
itself. The same agent is measured on the way: the policy as it stands when that many steps have been taken, greedy,
whole episodes of Gymnasium's own task. The last point is the final policy, never the best one; PPO and TRPO, which
collect 2,048 steps at a time, round 10,000 up to 10,240 there, and are untrained before 2,048. TRPO, QR-DQN, TQC and
ARS had no part in making the environments, nor had any of the seeds.

What matters most comes first: the algorithms that the environments are made for, the bandit before the MDP, then the
algorithms never used, the baselines last. An environment that is not on the shelf yet is left out; one beside a task's
two is asked for by name: `--environments SynthGentle-Pendulum-v0 --algorithms A2C PPO`.

Writes transfer.csv, one row an agent and point, CPU seconds without measuring; transfer.png and transfer-TASK.png; and
transfer.json with the digests of the environments measured and the presets used: agents of other weights or other
presets are trained again, not mixed in. One run at a time: each keeps the whole table in memory and writes all of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sb3_contrib
import stable_baselines3

from benchmarks.harness import TARGETS, arguments, asked, name, order, origin, replace, spread, target
from benchmarks.students import Lesson, study
from benchmarks.tables import draw
from synthenv import presets, sb3, shelf
from synthenv.artifact import versions
from synthenv.scores import Trial, read_trials, write_trials

UNUSED = ("TRPO", "QRDQN", "TQC", "ARS")
"""Algorithms that had no part in making any environment."""
FIRST_SEED = 3_000
"""Seeds from here on are used nowhere else."""


class Protocol(NamedTuple):
    """Who learns a real task, and for how long.

    steps: where to measure; the last ends training. preset: hyperparameters of rl_zoo3 instead of the defaults.
    """

    target: str
    algorithms: tuple[str, ...]
    steps: tuple[int, ...]
    preset: bool = False

    def label(self, algorithm: str) -> str:
        """What the algorithm is called in tables."""
        return f"{algorithm}, rl_zoo3" if self.preset else algorithm


VALUED = ("PPO", "A2C", "DQN", "TRPO", "QRDQN")
STEERED = ("SAC", "TD3", "DDPG", "TQC")
PROTOCOLS = (
    Protocol("CartPole-v1", VALUED, (500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000)),
    Protocol("Acrobot-v1", (*VALUED, "ARS"), (2_000, 5_000, 10_000)),
    Protocol("MountainCar-v0", (*VALUED, "ARS"), (2_000, 5_000, 10_000)),
    Protocol("MountainCarContinuous-v0", STEERED, (2_000, 5_000, 10_000)),
    Protocol("MountainCarContinuous-v0", ("PPO", "A2C"), (10_000, 20_000, 50_000), preset=True),
    Protocol("Pendulum-v1", STEERED, (1_000, 2_000, 5_000)),
    Protocol("Pendulum-v1", ("PPO", "A2C"), (10_000, 20_000, 50_000), preset=True),
)
ALGORITHMS = tuple(dict.fromkeys(algorithm for protocol in PROTOCOLS for algorithm in protocol.algorithms))
LABELS = tuple(dict.fromkeys(protocol.label(known) for protocol in PROTOCOLS for known in protocol.algorithms))


class Cell(NamedTuple):
    """A place in the table: where agents are trained, and what they are called there."""

    environment: str
    label: str


Run = tuple[Cell, int]
"""A cell and a seed."""


class Job(NamedTuple):
    """An agent to train, and the cell that it is for."""

    cell: Cell
    lesson: Lesson


def main(argv: Sequence[str] | None = None) -> None:
    """Train and measure what is missing, then draw."""
    args = parse(argv)
    table, facts = args.results / "transfer.csv", args.results / "transfer.json"
    places = {name(environment): environment for environment in asked(args.environments, args.targets)}
    jobs = {(job.cell, job.lesson.seed): job for job in plan(args, list(places.values()))}
    made_of = {
        "environments": {key: origin(environment) for key, environment in places.items()},
        "presets": {
            preset_of(job.cell): {**job.lesson.hyperparameters, "n_envs": job.lesson.n_envs}
            for job in jobs.values()
            if job.lesson.hyperparameters != "default"
        },
        "versions": {
            **versions(),
            "stable_baselines3": stable_baselines3.__version__,
            "sb3_contrib": sb3_contrib.__version__,
        },
    }
    known = measured(table, facts, made_of, {job.cell: job.lesson for job in jobs.values()}, args.fresh)
    missing = [job for run, job in jobs.items() if run not in known]
    print(f"{len(missing)} of {len(jobs)} agents to train")

    def save() -> None:
        trials = [trial for run in sorted(known, key=rank) for trial in known[run]]
        replace(table, lambda aside: write_trials(aside, trials))

    save()  # stale rows go before the file that says what the rest was made of is written
    replace(facts, lambda aside: aside.write_text(json.dumps(made_of, indent=2) + "\n"))
    for job, trials in spread(measure, missing, args.workers):
        known[job.cell, job.lesson.seed] = trials
        save()
    draw(args.results, {key: target(environment) for key, environment in places.items()})


def plan(args: argparse.Namespace, environments: Sequence[str]) -> list[Job]:
    """The agents asked for, those that matter most first."""
    jobs = []
    for environment in environments:
        real = target(environment)
        protocols = [protocol for protocol in PROTOCOLS if protocol.target == real]
        if not protocols:
            raise SystemExit(
                f"{environment} is made for {real}, which has no protocol; these have: {', '.join(TARGETS)}"
            )
        seeds = args.baseline_seeds if environment == real and args.baseline_seeds is not None else args.seeds
        for protocol in protocols:
            for algorithm in (known for known in protocol.algorithms if known in args.algorithms):
                steps = tuple(args.steps or protocol.steps)
                lesson = Lesson(environment, algorithm, args.first_seed, steps, args.episodes)
                if protocol.preset:
                    try:
                        lesson = prepared(lesson)
                    except ValueError as error:
                        print(f"{protocol.label(algorithm)} is left out: {error}")
                        continue
                cell = Cell(name(environment), protocol.label(algorithm))
                jobs += [Job(cell, lesson._replace(seed=args.first_seed + number)) for number in range(seeds)]
    return sorted(jobs, key=urgency)


def prepared(lesson: Lesson) -> Lesson:
    """The lesson with the hyperparameters of its preset."""
    path = shelf.root("agents") / "hyperparameters" / f"{lesson.algorithm.lower()}.yml"
    preset = presets.read(path, name(lesson.environment), sb3.algorithm(lesson.algorithm))
    return lesson._replace(hyperparameters=preset.settings, n_envs=preset.n_envs or 1)


def urgency(job: Job) -> tuple[bool, bool, bool]:
    """What is needed first: baselines come last, algorithms never used before them, MDPs after bandits."""
    environment = job.lesson.environment
    baseline = target(environment) == environment
    derived = not baseline and shelf.card(shelf.find(environment))["form"] == "mdp"
    return baseline, job.lesson.algorithm in UNUSED, derived


def measured(
    table: Path, facts: Path, made_of: dict[str, Any], chosen: Mapping[Cell, Lesson], fresh: bool
) -> dict[Run, list[Trial]]:
    """Runs that the table holds already, without those of other weights or presets and, if `fresh`, without the chosen.

    Completes `made_of` by what the rest was made of.
    """
    if not (table.is_file() and facts.is_file()):
        return {}
    then = json.loads(facts.read_text())
    changed = set()
    for kind in ("environments", "presets"):
        before = then.get(kind, {})
        changed |= {key for key, now in made_of[kind].items() if before.get(key) != now}
        made_of[kind] = {**before, **made_of[kind]}
    known: dict[Run, list[Trial]] = {}
    for trial in read_trials(table):
        cell = Cell(trial.environment, trial.algorithm)
        if not changed & {cell.environment, preset_of(cell)} and not (fresh and cell in chosen):
            known.setdefault((cell, trial.seed), []).append(trial)
    hint = "give --results FOLDER to keep it, or --fresh to begin again"
    if known and then["versions"] != made_of["versions"]:
        raise SystemExit(f"{table} was measured with {then['versions']}, not {made_of['versions']}; {hint}")
    for (cell, _), trials in known.items():
        if (lesson := chosen.get(cell)) is None:
            continue
        points = [(trial.steps, trial.episodes) for trial in trials]
        if points != (expected := [(steps, lesson.episodes) for steps in lesson.budgets]):
            raise SystemExit(f"{table} has {cell} at (steps, episodes) {points}, not {expected}; {hint}")
    return known


def measure(job: Job) -> list[Trial]:
    """Train the agent of a job and measure it, under the name of its cell."""
    label = job.cell.label
    return [
        dataclasses.replace(trial, algorithm=label, real_return=round(trial.real_return, 3))
        for trial in study(job.lesson)
    ]


def preset_of(cell: Cell) -> str:
    """What the hyperparameters of a cell are filed under."""
    return f"{cell.label} in {cell.environment}"


def rank(run: Run) -> tuple[int, int, int, Run]:
    """Runs in the order of the protocols."""
    cell, _ = run
    task, place = order(cell.environment)
    return task, LABELS.index(cell.label), place, run


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; its defaults are the published protocols."""
    parser = arguments(__doc__, None)
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument("--steps", nargs="+", type=int, help="where to measure instead; the last ends training")
    parser.add_argument("--seeds", type=int, default=10, help="agents a cell (default %(default)s)")
    parser.add_argument("--baseline-seeds", type=int, metavar="N", help="agents in the real task (default: --seeds)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--episodes", type=int, default=50, help="real episodes a measurement (default %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget what transfer.csv holds of the chosen cells")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
