"""Hyperparameter search by proxy: configurations tried in synthetic environments, wanted for the real task.

    python -m benchmarks.proxy                     the published protocol; a killed run goes on where it was
    python -m benchmarks.proxy --configurations 2 --steps 200 --real-steps 300 --results runs/quick      a quick look

Optuna's random sampler draws 64 configurations each of Stable-Baselines3's PPO and DQN. Every one is trained for a few
thousand steps in the bandit, in the MDP, and in the MDP with its signal put off (delay 1); its score there is the share
of the way from random to best actions, and takes no real step. It is trained as well in the task itself, longer and
with two seeds. The first seed's return is what a search on the task would see; the second's is what the choice is then
worth, so that nobody is rewarded for luck. Their own rank correlation is the ceiling for any proxy's.

Tuning on the task is given the CPU seconds that the proxy took for all its configurations, tries configurations in
random order until they are spent, and keeps the best it saw: the mean over a thousand orders.

Writes proxy_runs.csv, one row a training; proxy.csv, a row an algorithm and proxy; and proxy.png.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from benchmarks.harness import SYNTHETIC, TARGET, arguments, name, origin, spread, write_rows
from benchmarks.tables import rows_of
from synthenv import sb3, shelf
from synthenv.report import scatters
from synthenv.testing import examine

SEED = 80_000
ORDERS = 1_000
ENVS = {"PPO": 8, "DQN": 1}
"""Environments in parallel."""
GAMMA = CategoricalDistribution((0.8, 0.9, 0.95, 0.99, 0.999))
RATE = FloatDistribution(1e-5, 1e-2, log=True)
CONFIGURATIONS: dict[str, dict[str, BaseDistribution]] = {
    "PPO": {
        "learning_rate": RATE,
        "gamma": GAMMA,
        "gae_lambda": CategoricalDistribution((0.5, 0.8, 0.9, 0.95, 1.0)),
        "clip_range": CategoricalDistribution((0.1, 0.2, 0.4)),
        "ent_coef": FloatDistribution(1e-6, 1e-1, log=True),
        "n_steps": CategoricalDistribution((16, 32, 64, 128)),
        "batch_size": CategoricalDistribution((32, 64, 128)),
        "n_epochs": CategoricalDistribution((3, 5, 10)),
    },
    "DQN": {
        "learning_rate": RATE,
        "gamma": GAMMA,
        "batch_size": CategoricalDistribution((32, 64, 128)),
        "learning_starts": CategoricalDistribution((100, 500, 1_000)),
        "train_freq": CategoricalDistribution((2, 4, 8)),
        "target_update_interval": CategoricalDistribution((100, 500, 1_000, 5_000)),
        "exploration_fraction": FloatDistribution(0.05, 0.5),
        "exploration_final_eps": FloatDistribution(0.01, 0.2, log=True),
    },
}


class Try(NamedTuple):
    """One training. configuration is JSON; delay None means the task itself."""

    algorithm: str
    number: int
    configuration: str
    environment: str
    delay: float | None
    seed: int
    steps: int


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing, then compare."""
    parser = arguments(__doc__, SYNTHETIC)
    parser.add_argument("--algorithms", nargs="+", default=tuple(CONFIGURATIONS), choices=tuple(CONFIGURATIONS))
    parser.add_argument("--configurations", type=int, default=64, help="of each algorithm (default %(default)s)")
    parser.add_argument("--steps", type=int, default=4_000, help="in a synthetic environment (default %(default)s)")
    parser.add_argument("--real-steps", type=int, default=10_000, help="in the task itself (default %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args(argv)
    table = args.results / "proxy_runs.csv"
    tries = [
        Try(algorithm, number, configuration, environment, delay, args.seed + shift, steps)
        for algorithm in args.algorithms
        for number, configuration in enumerate(drawn(algorithm, args.configurations, args.seed))
        for environment, delay, shift, steps in (
            *((environment, delay, 0, args.steps) for environment, delay in proxies(args.environments)),
            (TARGET, None, 1, args.real_steps),
            (TARGET, None, 2, args.real_steps),
        )
    ]
    done = {key(row): row for row in rows_of(table)} if table.is_file() else {}
    missing = [one for one in tries if key(facts(one)) not in done]
    print(f"{len(missing)} of {len(tries)} trainings to do")
    for one, row in spread(outcome, missing, args.workers):
        done[key(facts(one))] = row
        write_rows(table, done.values())
    rows = [done[key(facts(one))] for one in tries]
    write_rows(args.results / "proxy.csv", [compared(*pair) for pair in pairs(rows)])
    draw(args.results / "proxy.png", rows)


def drawn(algorithm: str, count: int, seed: int) -> list[str]:
    """Random configurations of an algorithm, as JSON; fewer are the first of more."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    return [json.dumps(study.ask(CONFIGURATIONS[algorithm]).params) for _ in range(count)]


def proxies(environments: Iterable[str]) -> list[tuple[str, float]]:
    """Synthetic environments with the delays they are tried at: an MDP is there twice."""
    forms = {environment: shelf.card(shelf.find(environment))["form"] for environment in environments}
    return [(place, delay) for place, form in forms.items() for delay in ((0.0, 1.0) if form == "mdp" else (0.0,))]


def facts(one: Try) -> dict[str, str]:
    """What is known of a training before it is done, as a result file says it."""
    return {
        "algorithm": one.algorithm,
        "number": str(one.number),
        "trained in": name(one.environment) + (f", delay {one.delay:g}" if one.delay else ""),
        "seed": str(one.seed),
        "steps": str(one.steps),
        "configuration": one.configuration,
        "origin": origin(one.environment),
    }


def key(row: dict[str, str]) -> tuple[str, ...]:
    """What tells one training from another."""
    named = ("algorithm", "number", "trained in", "seed", "steps", "configuration", "origin")
    return tuple(row[column] for column in named)


def outcome(one: Try) -> dict[str, str]:
    """The row of one training: its score, and the CPU seconds it took without measuring."""
    settings, kind = json.loads(one.configuration), sb3.algorithm(one.algorithm)
    seconds = 0.0

    def train(env: Any, steps: int, seed: int) -> Any:
        nonlocal seconds
        began = time.process_time()
        model = kind("MlpPolicy", sb3.SynthVecEnv(env), seed=seed, device="cpu", **settings).learn(steps)
        seconds = time.process_time() - began
        return model

    if one.delay is None:
        began = time.process_time()
        model = sb3.train(
            one.algorithm, one.environment, one.steps, seed=one.seed, hyperparameters=settings,
            n_envs=ENVS[one.algorithm], progress=False,
        )  # fmt: skip
        seconds = time.process_time() - began
        score = float(sb3.evaluate(model, one.environment, seed=one.seed + 1_000).mean())
    else:
        (score,) = examine(
            train, one.environment, steps=one.steps, seeds=(one.seed,), delay=one.delay, num_envs=ENVS[one.algorithm]
        ).shares
    return {**facts(one), "score": f"{score:.4f}", "seconds": f"{seconds:.2f}"}


class Pair(NamedTuple):
    """An algorithm's configurations in one proxy and in the task, [C] each.

    score: in the proxy; seen and worth: returns in the task of the first and second seed; the rest are CPU seconds.
    """

    algorithm: str
    proxy: str
    score: npt.NDArray[np.float64]
    seen: npt.NDArray[np.float64]
    worth: npt.NDArray[np.float64]
    quick: npt.NDArray[np.float64]
    slow: npt.NDArray[np.float64]


def pairs(rows: Sequence[dict[str, str]]) -> list[Pair]:
    """Every algorithm with every proxy."""
    groups: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in rows:
        place = (row["algorithm"], row["trained in"], row["seed"] if row["trained in"] == TARGET else "")
        groups.setdefault(place, []).append((float(row["score"]), float(row["seconds"])))
    columns = {place: np.array(found).T for place, found in groups.items()}
    found = []
    for (algorithm, proxy, _), (score, quick) in columns.items():
        if proxy == TARGET:
            continue
        first, second = (columns[place] for place in columns if place[:2] == (algorithm, TARGET))
        found.append(Pair(algorithm, proxy, score, first[0], second[0], quick, first[1]))
    return found


def compared(
    algorithm: str,
    proxy: str,
    score: npt.NDArray[np.float64],
    seen: npt.NDArray[np.float64],
    worth: npt.NDArray[np.float64],
    quick: npt.NDArray[np.float64],
    slow: npt.NDArray[np.float64],
) -> dict[str, Any]:
    """The row of one pair."""
    chosen, (tuned, tried) = worth[score.argmax()], searched(seen, worth, slow, quick.sum())
    return {
        "algorithm": algorithm,
        "proxy": proxy,
        "configurations": len(score),
        "rank correlation": round(spearman(score, worth), 3),
        "of two seeds of the task": round(spearman(seen, worth), 3),
        "CPU seconds": round(quick.sum(), 1),
        "return of its choice": round(chosen, 1),
        "tuned on the task": round(tuned, 1),
        "configurations in that time": round(tried, 1),
        "best of all": round(worth.max(), 1),
        "median": round(float(np.median(worth)), 1),
    }


def searched(
    seen: npt.NDArray[np.float64], worth: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64], budget: float
) -> tuple[float, float]:
    """Mean worth of the best configuration seen within a budget, and how many were tried; at least one is."""
    random, found, tried = np.random.default_rng(0), [], []
    for _ in range(ORDERS):
        order = random.permutation(len(seen))
        within = order[: max(1, int((seconds[order].cumsum() <= budget).sum()))]
        found.append(worth[within[seen[within].argmax()]])
        tried.append(len(within))
    return float(np.mean(found)), float(np.mean(tried))


def spearman(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Rank correlation, ties sharing their mean rank; 0 where one side is constant."""
    ranks = [np.searchsorted(np.sort(x), x, "left") + np.searchsorted(np.sort(x), x, "right") for x in (one, other)]
    flat = any(rank.std() == 0 for rank in ranks)
    return 0.0 if flat else float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def draw(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """A panel for each algorithm and proxy: a point a configuration, its choice marked."""
    panels = {}
    for pair in pairs(rows):
        title = f"{pair.algorithm}, {pair.proxy}\nrank correlation {spearman(pair.score, pair.worth):.2f}"
        panels[title] = (pair.score, pair.worth, int(pair.score.argmax()))
    columns = len(panels) // len({row["algorithm"] for row in rows})
    scatters(path, panels, columns, "share in the proxy", f"return in {TARGET}, trained there")


if __name__ == "__main__":
    main()
