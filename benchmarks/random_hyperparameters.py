"""Random hyperparameters: the protocol of Liesen et al. (2024), with the package's own batched learners.

    python -m benchmarks.random_hyperparameters
    python -m benchmarks.random_hyperparameters --draws 4 --steps 2000 --results runs/quick      a quick look

Ranges and structure are those of the configuration published with synthetic-gymnax's CartPole checkpoint: PPO in 5
environments, 100 steps each, 10 epochs of 10 minibatches; dueling DQN in 10 environments, batch 100, memory 2,000,
filled with 1,000, one gradient step per 10 environment steps; networks 64x64 tanh; 10,000 steps. Half of the DQN agents
are double. PPO is there twice, with gradients clipped at norm 10 as they do and at 0.5 as Stable-Baselines3 does. The
same draws are used in either synthetic form and in the task itself; their seed is used nowhere else. Final policies
act greedily, whole episodes of the batched CartPole-v1, which repeats Gymnasium's steps.

Writes random_hyperparameters.csv, one row an agent with what it drew, so that failures can be looked at.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from benchmarks.harness import TARGET, arguments, gather, name, origin, place, write_rows
from synthenv import learners, seeding, worlds
from synthenv.meta.defaults import GAMMAS, RATES
from synthenv.meta.inner import drawn
from synthenv.recipe import Inner
from synthenv.tree import repeat

SEED = 60_000

PPO = Inner(
    "ppo",
    settings={"envs": 5, "length": 100, "epochs": 10, "batch": 50},
    draws={
        "rate": RATES,
        "gamma": GAMMAS,
        "lam": (1.0, 0.95, 0.9, 0.8, 0.5),
        "clip": (0.1, 0.2, 0.3, 0.4, 0.5),
        "entropy": (0.0, 0.01, 0.05, 0.1, 0.5),
        "value": (0.0, 0.5, 1.0, 1.5, 2.0),
        "max_norm": (10.0,),
    },
)
CLIPPED = replace(PPO, draws={**PPO.draws, "max_norm": (0.5,)})
DQN = Inner(
    "dqn",
    settings={
        "envs": 10, "length": 1, "batch": 100, "capacity": 2_000, "warmup": 1_000, "target_every": 50,
        "dueling": True, "activation": "tanh",
    },
    draws={"rate": RATES, "gamma": GAMMAS, "epsilon": (0.01, 0.05, 0.1, 0.2), "exploration": (0.5,)},
)  # fmt: skip
COLUMNS = ("rate", "gamma", "lam", "clip", "entropy", "value", "epsilon")
"""What is drawn; a column stays empty where an algorithm has no such hyperparameter."""


class Class(NamedTuple):
    """Agents trained together: alike but for what they draw and where they begin. `first` numbers the first of them."""

    environment: str
    label: str
    loop: Inner
    double: bool | None
    first: int
    agents: int
    steps: int
    episodes: int
    seed: int


def main(argv: Sequence[str] | None = None) -> None:
    """Train every class, write every agent."""
    parser = arguments(__doc__)
    parser.add_argument("--draws", type=int, default=32, help="agents an algorithm (default %(default)s)")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=50, help="real episodes an agent (default %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args(argv)
    half = args.draws // 2
    classes = [
        Class(environment, label, loop, double, first, agents, args.steps, args.episodes, args.seed)
        for label, loop, double, first, agents in (
            ("PPO", PPO, None, 0, args.draws),
            ("PPO, norm 0.5", CLIPPED, None, 0, args.draws),
            ("DQN", DQN, False, 0, half),
            ("DQN", DQN, True, half, args.draws - half),
        )
        for environment in args.environments
    ]
    rows = [row for graduated in gather(graduates, classes, args.workers) for row in graduated]
    write_rows(args.results / "random_hyperparameters.csv", rows)


def graduates(what: Class) -> list[dict[str, Any]]:
    """Train a class and measure each of its agents."""
    world, params, horizon = place(what.environment)
    generator = seeding.generator(what.seed, what.loop.algorithm, str(what.double))
    settings = what.loop.settings if what.double is None else {**what.loop.settings, "double": what.double}
    learner = learners.named(what.loop.algorithm, world.spaces, **settings)
    hyper = drawn(learner, what.loop, what.agents, generator)
    began = time.process_time()
    agent = learner.init(hyper, what.steps, generator)
    agent = learners.train(learner, agent, world, repeat(params, what.agents), what.steps, generator, horizon)
    seconds = (time.process_time() - began) / what.agents
    real = worlds.real(TARGET)
    returns, _ = learners.score(learner, agent, real, generator, what.episodes, real.horizon)
    return [
        {
            "environment": name(what.environment),
            "algorithm": what.label,
            "draw": what.first + number,
            "steps": what.steps,
            "episodes": what.episodes,
            "real_return": round(float(returns[number].mean()), 3),
            "cpu_seconds": round(seconds, 4),
            **{key: f"{hyper[key][number]:g}" if key in hyper else "" for key in COLUMNS},
            "double": "" if what.double is None else what.double,
            "origin": origin(what.environment),
        }
        for number in range(what.agents)
    ]


if __name__ == "__main__":
    main()
