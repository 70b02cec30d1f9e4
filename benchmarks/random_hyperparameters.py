"""Random hyperparameters: the protocol of Liesen et al. (2024), with the package's own batched learners.

    python -m benchmarks.random_hyperparameters                 a killed run goes on where it was
    python -m benchmarks.random_hyperparameters --targets Pendulum-v1 --algorithms sac td3      a part of it first
    python -m benchmarks.random_hyperparameters --draws 4 --steps 2000 --results runs/quick      a quick look

Ranges and structure are those of the configurations published with synthetic-gymnax's checkpoints: PPO in 5
environments, 100 steps each, 10 epochs of 10 minibatches (4 of 4 in both MountainCars); dueling DQN in 10 environments,
batch 100, one gradient step per 10 environment steps; SAC in 5, batch 256, two gradient steps per 5; DDPG and TD3 in
one, batch 100, a gradient step per step. Memories hold 2,000 transitions (TD3's 10,000) and learning begins after
1,000. Networks are 64x64, tanh (ReLU for Pendulum); 10,000 steps. Half of the DQN agents are double. CartPole has PPO
twice, with gradients clipped at norm 10 as they do and at 0.5 as Stable-Baselines3 does. DQN's network is theirs to its
first weights (keraJLi/rejax, DuelingQNetwork: streams share both layers, weights are flax's). Where else their learners
differ from Stable-Baselines3's, ours follow the latter: other networks begin as there, targets move with each gradient
step, the first 1,000 actions are random, and DDPG and TD3 do not clip gradients.

The same draws are used in either synthetic form and in the task itself; their seed is used nowhere else. Final policies
act greedily, whole episodes of the batched task, which repeats Gymnasium's steps. Bandits come first, then the MDPs,
then the tasks themselves; an environment that is not on the shelf yet is left out, one beside a task's two is asked for
by name: `--environments SynthEasy-Pendulum-v0`.

Writes random_hyperparameters.csv, one row an agent with what it drew, so that failures can be looked at. Rows made by
other weights, or by another number of draws, steps or episodes, are measured again. One run at a time: each keeps the
whole table in memory and writes all of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from benchmarks.harness import arguments, asked, name, order, origin, place, spread, target, write_rows
from benchmarks.tables import rows_of
from synthenv import learners, seeding, shelf, worlds
from synthenv.meta.inner import drawn
from synthenv.recipe import Inner
from synthenv.tree import repeat

SEED = 60_000
RATES = (1e-2, 5e-3, 1e-3, 5e-4, 1e-4)
GAMMAS = (1.0, 0.99, 0.95, 0.9, 0.8)
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
TAUS = (0.01, 0.05, 0.1, 0.2, 0.3)
"""Share of the new in a target network; theirs, .99 to .7, is the share of the old."""


class Kind(NamedTuple):
    """An algorithm as their configurations set it for one task. double: whether DQN's agents are, None for others."""

    label: str
    loop: Inner
    double: bool | None = None


def ppo(epochs: int = 10, batch: int = 50, rates: Sequence[float] = RATES, activation: str = "tanh") -> Inner:
    """Their PPO."""
    draws = {
        "rate": tuple(rates),
        "gamma": GAMMAS,
        "lam": (1.0, 0.95, 0.9, 0.8, 0.5),
        "clip": (0.1, 0.2, 0.3, 0.4, 0.5),
        "entropy": (0.0, 0.01, 0.05, 0.1, 0.5),
        "value": (0.0, 0.5, 1.0, 1.5, 2.0),
        "max_norm": (10.0,),
    }
    structure = {"envs": 5, "length": 100, "epochs": epochs, "batch": batch, "activation": activation}
    return Inner("ppo", settings=structure, draws=draws)


def replaying(algorithm: str, settings: Mapping[str, Any], draws: Mapping[str, tuple[float, ...]]) -> Inner:
    """What their learners with a memory have in common."""
    common = {"length": 1, "capacity": 2_000, "warmup": 1_000, "hidden": (64, 64), "activation": "tanh"}
    return Inner(algorithm, settings={**common, **settings}, draws={"rate": RATES, "gamma": GAMMAS, **draws})


DQN = replaying(
    "dqn",
    {"envs": 10, "batch": 100, "target_every": 50, "dueling": True, "shared": 2, "initial": "lecun"},
    {"epsilon": (0.01, 0.05, 0.1, 0.2), "exploration": (0.5,)},
)


def choosing(first: Inner, *more: Kind) -> tuple[Kind, ...]:
    """Their learners for a task with Discrete actions."""
    sac = replaying("sac", {"envs": 5, "batch": 256, "updates": 2}, {"tau": TAUS, "entropy_ratio": SHARES})
    return Kind("PPO", first), *more, Kind("DQN", DQN, False), Kind("DQN", DQN, True), Kind("SAC", sac)


def steering(first: Inner, half: float, activation: str = "tanh") -> tuple[Kind, ...]:
    """Their learners for a task with Box actions, `half` of whose range is the unit of our noise, not of theirs."""
    noise = tuple(share / half for share in SHARES)
    target_clip = tuple(limit / half for limit in (0.1, 0.4, 0.7, 1.0, 1.3))
    sac = {"envs": 5, "batch": 256, "updates": 2, "activation": activation}
    one = {"envs": 1, "batch": 100, "activation": activation}
    return (
        Kind("PPO", first),
        Kind("SAC", replaying("sac", sac, {"tau": TAUS})),
        Kind("DDPG", replaying("ddpg", one, {"tau": TAUS, "noise": noise})),
        Kind("TD3", replaying("td3", {**one, "capacity": 10_000}, {
            "tau": TAUS, "noise": noise, "target_noise": noise, "target_clip": target_clip,
        })),
    )  # fmt: skip


CLIPPED = replace(ppo(), draws={**ppo().draws, "max_norm": (0.5,)})
TASKS = {
    "CartPole-v1": choosing(ppo(), Kind("PPO, norm 0.5", CLIPPED)),
    "Acrobot-v1": choosing(ppo()),
    "MountainCar-v0": choosing(ppo(epochs=4, batch=125)),
    "MountainCarContinuous-v0": steering(ppo(epochs=4, batch=125, rates=RATES[1:]), half=1.0),
    "Pendulum-v1": steering(ppo(rates=RATES[1:], activation="relu"), half=2.0, activation="relu"),
}
ALGORITHMS = tuple(dict.fromkeys(kind.loop.algorithm for kinds in TASKS.values() for kind in kinds))
LABELS = tuple(dict.fromkeys(kind.label for kinds in TASKS.values() for kind in kinds))
DRAWN = ("rate", "gamma", "lam", "clip", "entropy", "value", "epsilon", "tau", "entropy_ratio", "noise", "target_noise",
         "target_clip")  # fmt: skip
"""What is drawn; a column stays empty where an algorithm has no such hyperparameter."""
COLUMNS = (
    "environment", "algorithm", "draw", "steps", "episodes", "real_return", "cpu_seconds", *DRAWN, "double", "origin",
)  # fmt: skip


class Class(NamedTuple):
    """Agents trained together: alike but for what they draw and where they begin. `first` numbers the first of them."""

    environment: str
    kind: Kind
    first: int
    agents: int
    steps: int
    episodes: int


def main(argv: Sequence[str] | None = None) -> None:
    """Train every class that is not in the table, write every agent."""
    args = parse(argv)
    path = args.results / "random_hyperparameters.csv"
    classes = [
        Class(environment, kind, *share(args.draws, kind.double), args.steps, args.episodes)
        for environment in asked(args.environments, args.targets)
        for kind in TASKS[target(environment)]
        if kind.loop.algorithm in args.algorithms
    ]
    cells = {(name(what.environment), what.kind.label) for what in classes}
    old = [{key: row.get(key, "") for key in COLUMNS} for row in (rows_of(path) if path.is_file() else [])]
    rows: list[dict[str, Any]] = [row for row in old if (row["environment"], row["algorithm"]) not in cells]
    missing = []
    for what in classes:
        known = [] if args.fresh else [row for row in old if facts(what).items() <= row.items()]
        whole = [row["draw"] for row in known] == [str(what.first + number) for number in range(what.agents)]
        rows += known if whole else []
        missing += [] if whole else [what]
    print(f"{len(missing)} of {len(classes)} classes to train")
    for _, graduated in spread(graduates, sorted(missing, key=urgency), args.workers):
        rows += graduated
        write_rows(path, sorted(rows, key=rank))


def share(draws: int, double: bool | None) -> tuple[int, int]:
    """Number of the first agent of a class, and how many: half of DQN's are double."""
    half = draws // 2
    return {None: (0, draws), False: (0, half), True: (half, draws - half)}[double]


def facts(what: Class) -> dict[str, str]:
    """What the rows of a class have in common."""
    return {
        "environment": name(what.environment),
        "algorithm": what.kind.label,
        "steps": str(what.steps),
        "episodes": str(what.episodes),
        "double": "" if what.kind.double is None else str(what.kind.double),
        "origin": origin(what.environment),
    }


def urgency(what: Class) -> int:
    """Bandits first, then MDPs, then the tasks themselves."""
    if target(what.environment) == what.environment:
        return 2
    return int(shelf.card(shelf.find(what.environment))["form"] == "mdp")


def rank(row: Mapping[str, Any]) -> tuple[int, int, int, str, int]:
    """Rows task by task and algorithm by algorithm."""
    task, place = order(row["environment"])
    return task, LABELS.index(row["algorithm"]), place, row["environment"], int(row["draw"])


def graduates(what: Class) -> list[dict[str, Any]]:
    """Train a class and measure each of its agents."""
    world, params, horizon = place(what.environment)
    loop, double = what.kind.loop, what.kind.double
    generator = seeding.generator(SEED, loop.algorithm, str(double))
    settings = loop.settings if double is None else {**loop.settings, "double": double}
    learner = learners.named(loop.algorithm, world.spaces, **settings)
    hyper = drawn(learner, loop, what.agents, generator)
    began = time.process_time()
    agent = learner.init(hyper, what.steps, generator)
    agent = learners.train(learner, agent, world, repeat(params, what.agents), what.steps, generator, horizon)
    seconds = (time.process_time() - began) / what.agents
    real = worlds.real(target(what.environment))
    returns, _ = learners.score(learner, agent, real, generator, what.episodes, real.horizon)
    given = {key: hyper[key] for key in DRAWN if key in loop.draws}
    common = {**dict.fromkeys(COLUMNS, ""), **facts(what), "cpu_seconds": round(seconds, 4)}
    return [
        {
            **common,
            "draw": what.first + number,
            "real_return": round(float(returns[number].mean()), 3),
            **{key: f"{values[number]:g}" for key, values in given.items()},
        }
        for number in range(what.agents)
    ]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; its defaults are the published protocol."""
    parser = arguments(__doc__, None)
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS, choices=ALGORITHMS)
    parser.add_argument("--draws", type=int, default=32, help="agents an algorithm (default %(default)s)")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=50, help="real episodes an agent (default %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget what the table holds of what is asked for")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
