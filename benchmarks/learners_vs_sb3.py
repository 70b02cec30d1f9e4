"""Learning curves of the package's own learners and of Stable-Baselines3's, in the real CartPole-v1 and Pendulum-v1.

    python -m benchmarks.learners_vs_sb3
    python -m benchmarks.learners_vs_sb3 --seeds 2 --share 0.05 --episodes 3 --results runs/quick      a quick look

The same algorithm with the same hyperparameters, ten agents each. CartPole: PPO with SB3's defaults, A2C with SB3's
defaults in eight environments, DQN with those of rl_zoo3. Pendulum: SAC, TD3 and DDPG with small networks, so that it
stays cheap, otherwise near rl_zoo3's. Ours are the members of one batch, in the batched task that repeats Gymnasium's
steps; SB3's are single runs in Gymnasium's own. Measured along the run, greedy.

Writes learners_vs_sb3.csv, one row an agent and point, whose `environment` says who trained and where; and a plot for
each task. `python -m benchmarks.tables` says where the 95 % intervals of the means overlap.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.noise import NormalActionNoise

from benchmarks import harness
from benchmarks.harness import TARGET, arguments, gather
from benchmarks.students import Lesson, study
from synthenv import learners, seeding, worlds
from synthenv.report import curves, learning_curves
from synthenv.scores import Trial, write_trials

OURS, THEIRS = "{} by synthenv", "{} by Stable-Baselines3"
"""What the column `environment` says of a task."""
POINTS = 10
FIRST_SEED = 40_000


class Match(NamedTuple):
    """One algorithm, set alike on both sides.

    round: steps between two updates; rounds: how many. settings, hyper: our structure and hyperparameters; sb3: the
    same in SB3's words, what both take by default left out.
    """

    algorithm: str
    round: int
    rounds: int
    task: str = TARGET
    envs: int = 1
    settings: Mapping[str, Any] = {}
    hyper: Mapping[str, float] = {}
    sb3: Mapping[str, Any] = {}


SMALL = {"hidden": (64, 64), "batch": 128}
NOISE = 0.1
"""Deviation of exploration noise, in units of half the box."""
SB3_SMALL = {"learning_rate": 1e-3, "batch_size": 128, "policy_kwargs": {"net_arch": [64, 64]}}
SB3_NOISY = {**SB3_SMALL, "action_noise": NormalActionNoise(np.zeros(1), np.full(1, NOISE))}

MATCHES = (
    Match("ppo", round=2048, rounds=20),
    Match("a2c", round=40, rounds=2500, envs=8, settings={"envs": 8}),
    Match(
        "dqn", round=256, rounds=200,
        settings={
            "length": 256, "updates": 128, "batch": 64, "capacity": 100_000, "warmup": 1_000, "target_every": 10,
            "hidden": (256, 256),
        },
        hyper={"rate": 2.3e-3, "exploration": 0.16, "epsilon": 0.04},
        sb3={
            "train_freq": 256, "gradient_steps": 128, "batch_size": 64, "buffer_size": 100_000,
            "learning_starts": 1_000, "target_update_interval": 10, "policy_kwargs": {"net_arch": [256, 256]},
            "learning_rate": 2.3e-3, "exploration_fraction": 0.16, "exploration_final_eps": 0.04,
        },
    ),
    Match(
        "sac", round=1, rounds=5_000, task="Pendulum-v1", settings=SMALL, hyper={"rate": 1e-3}, sb3=SB3_SMALL,
    ),
    *(
        Match(
            algorithm, round=1, rounds=5_000, task="Pendulum-v1", settings=SMALL,
            hyper={"rate": 1e-3, "noise": NOISE}, sb3=SB3_NOISY,
        )
        for algorithm in ("td3", "ddpg")
    ),
)  # fmt: skip


class Batch(NamedTuple):
    """Our side of a match."""

    match: Match
    seeds: range
    budgets: tuple[int, ...]
    episodes: int


def main(argv: Sequence[str] | None = None) -> None:
    """Train both sides, write every mark, draw."""
    parser = arguments(__doc__, sorted({match.task for match in MATCHES}))
    parser.add_argument("--algorithms", nargs="+", default=[match.algorithm for match in MATCHES])
    parser.add_argument("--seeds", type=int, default=10, help="agents a side (default %(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the training; DQN then explores for less")
    parser.add_argument("--episodes", type=int, default=20, help="real episodes a measurement (default %(default)s)")
    args = parser.parse_args(argv)
    seeds = range(FIRST_SEED, FIRST_SEED + args.seeds)
    matches = [match for match in MATCHES if match.algorithm in args.algorithms and match.task in args.environments]
    marks = {match.algorithm: budgets(match, args.share) for match in matches}
    batches = [Batch(match, seeds, marks[match.algorithm], args.episodes) for match in matches]
    lessons = [
        Lesson(match.task, match.algorithm, seed, marks[match.algorithm], args.episodes, match.sb3, match.envs)
        for match in matches
        for seed in seeds
    ]
    ours = [trial for trials in gather(graduates, batches, args.workers) for trial in trials]
    found = [trial for trials in gather(study, lessons, args.workers) for trial in trials]
    theirs = [replace(trial, environment=THEIRS.format(trial.environment)) for trial in found]
    order = [match.algorithm.upper() for match in matches]
    trials = sorted([*ours, *theirs], key=lambda t: (order.index(t.algorithm), t in theirs, t.steps, t.seed))
    harness.replace(args.results / "learners_vs_sb3.csv", lambda aside: write_trials(aside, trials))
    for task in dict.fromkeys(match.task for match in matches):
        shown = [trial for trial in trials if trial.environment in (OURS.format(task), THEIRS.format(task))]
        learning_curves(args.results / plot_of(task), curves(shown), task)


def plot_of(task: str) -> str:
    """The name of the file with a task's learning curves."""
    return "learners_vs_sb3.png" if task == TARGET else f"learners_vs_sb3-{task}.png"


def budgets(match: Match, share: float) -> tuple[int, ...]:
    """Steps at which to measure: whole rounds, so that both sides have then learnt from equally many."""
    rounds = max(1, round(match.rounds * share))
    points = min(POINTS, rounds)
    return tuple(match.round * (rounds * (i + 1) // points) for i in range(points))


def graduates(batch: Batch) -> list[Trial]:
    """Train our side and measure it on the way."""
    match, agents = batch.match, len(batch.seeds)
    real, generator = worlds.real(match.task), seeding.generator(batch.seeds[0], match.algorithm)
    learner = learners.named(match.algorithm, real.spaces, **match.settings)
    fresh = learner.init(learners.fill(learner, agents, match.hyper), batch.budgets[-1], generator)
    task = real.init(generator, agents)
    steps = learners.learn(learner, fresh, real, task, batch.budgets[-1], generator, real.horizon)
    exam = seeding.generator(batch.seeds[0], "exam")
    trials, began = [], time.process_time()
    for spent, agent in steps:
        if spent not in batch.budgets:
            continue
        trained = time.process_time() - began
        returns, _ = learners.score(learner, agent, real, exam, batch.episodes, real.horizon)
        trials += [
            Trial(
                OURS.format(match.task),
                match.algorithm.upper(),
                spent,
                seed,
                batch.episodes,
                value,
                round(trained / agents, 3),
            )
            for seed, value in zip(batch.seeds, returns.mean(1).tolist(), strict=True)
        ]
        began = time.process_time() - trained
    return trials


if __name__ == "__main__":
    main()
