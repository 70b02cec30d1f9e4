"""Agents a second: agents trained as one batch, beside Stable-Baselines3 training them one by one.

    python -m benchmarks.population                 a killed run goes on where it was
    python -m benchmarks.population --algorithms sac td3      a part of it first
    python -m benchmarks.population --workers 1 --ways compiled --one-by-one 0      in one process, lines of their own
    python -m benchmarks.population --agents 16 --one-by-one 1 --populations 16 --episodes 5 --results runs/quick

Every algorithm of the package, in the bandit of CartPole or of Pendulum. Three settings, the same for both sides: SB3's
defaults; that of Liesen et al. (2024), as `benchmarks.random_hyperparameters` has it; and a fast one of PPO, chosen by
hand with seeds 1 and 2, where those measured begin at 30,000. As many processes as cores (or `--workers`) train at the
same time, one thread each, and start together; where they share caches an agent takes longer than alone. A second is a
second on the clock, from the first start to the last end, reading the environment included and measuring left out.
Every trained agent counts in the returns, over 20 real episodes.

"compiled": the same learners with gradient steps compiled (their setting of that name). Processes compile before they
start together, or before the only one starts; "ready in" is what that took on the clock, warming included.

"precision" is torch's for products of float32 matrices: "highest", its default, or "medium", which may round what it
multiplies to bfloat16 where the processor has instructions for that. Both sides get either.

Memory: "MB an agent" is all that a trained agent of a batch keeps, networks, optimizers and replay memory; "MB a
process" the most that a process has held until the end of training, torch and compiling included.

Writes population.csv. Rows of other weights are measured again; an environment not on the shelf yet is left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from benchmarks.harness import SYNTHETIC, arguments, name, order, origin, place, target, write_rows
from benchmarks.random_hyperparameters import TASKS
from benchmarks.tables import rows_of
from synthenv import learners, seeding, shelf, worlds
from synthenv.sb3 import evaluate, train
from synthenv.scores import statistics
from synthenv.tree import repeat

SEED = 30_000
BANDITS = (SYNTHETIC[1], "SynthBandit-Pendulum-v0")
THEIRS = "Liesen et al."
PRECISIONS = ("highest", "medium")
WAYS = ("plain", "compiled")
WARMING = 1_200
"""Steps that a process takes before it is measured: learners with a memory begin to learn after 1,000."""
SB3 = {
    "length": "train_freq", "updates": "gradient_steps", "batch": "batch_size", "capacity": "buffer_size",
    "warmup": "learning_starts", "target_every": "target_update_interval", "rate": "learning_rate", "tau": "tau",
    "epochs": "n_epochs",
}  # fmt: skip
"""What Stable-Baselines3 calls settings and hyperparameters of ours; PPO's `length` is its `n_steps`."""


class Setting(NamedTuple):
    """How an algorithm is set; what is not said here is SB3's default.

    structure: fields of the learner. hyper: hyperparameters. one_by_one: whether SB3 can do the same.
    """

    algorithm: str
    label: str
    steps: int = 10_000
    structure: Mapping[str, Any] = {}
    hyper: Mapping[str, float] = {}
    one_by_one: bool = True


def theirs(task: str, algorithm: str, hyper: Mapping[str, float], one_by_one: bool = True) -> Setting:
    """The structure of Liesen et al. with hyperparameters from the middle of their ranges."""
    loop = next(kind.loop for kind in TASKS[task] if kind.loop.algorithm == algorithm)
    return Setting(algorithm, THEIRS, structure=loop.settings, hyper=hyper, one_by_one=one_by_one)


SETTINGS = {
    "CartPole-v1": (
        Setting("ppo", "SB3 defaults"),
        theirs("CartPole-v1", "ppo", {"rate": 5e-3}),
        Setting(
            "ppo", "fast", 2_000, {"envs": 50, "length": 10, "batch": 125, "epochs": 4, "hidden": (32,)}, {"rate": 1e-2}
        ),
        Setting("a2c", "SB3 defaults"),
        theirs("CartPole-v1", "dqn", {"rate": 1e-3, "exploration": 0.5}),
        theirs("CartPole-v1", "sac", {"rate": 1e-3, "tau": 0.05, "entropy_ratio": 0.5}, one_by_one=False),
    ),
    "Pendulum-v1": (
        theirs("Pendulum-v1", "ppo", {"rate": 1e-3}),
        theirs("Pendulum-v1", "sac", {"rate": 1e-3, "tau": 0.05}),
        theirs("Pendulum-v1", "ddpg", {"rate": 1e-3, "tau": 0.05, "noise": 0.25}),
        theirs("Pendulum-v1", "td3", {"rate": 1e-3, "tau": 0.05, "noise": 0.25}),
    ),
}


class Work(NamedTuple):
    """What each process does at the same time: `rounds` batches of `population` agents, or None for one by one.

    precision: "highest" or "medium", torch's in multiplying matrices. compiled: whether learners are.
    """

    environment: str
    setting: Setting
    population: int | None
    compiled: bool
    precision: str
    rounds: int
    episodes: int
    seed: int


class Done(NamedTuple):
    """When a process trained, what that took, and what its agents are worth.

    kept: bytes that all of its agents keep, None where nobody counted. peak: bytes that the process held at most.
    ready_in: seconds that it took before all that.
    """

    began: float
    ended: float
    cpu_seconds: float
    kept: int | None
    peak: int
    ready_in: float
    returns: list[float]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every setting in every way that the table does not hold yet."""
    args = parse(argv)
    path = args.results / "population.csv"
    rows: list[dict[str, Any]] = [*rows_of(path)] if path.is_file() else []
    rows = [row for row in rows if "ready in, s" in row]
    for work in tqdm(plan(args), disable=None):
        what = facts(work, args.workers)
        known = [row for row in rows if what.items() <= row.items()]
        if known and not args.fresh and known[0]["weights"] == origin(work.environment)[:12]:
            continue
        rows = [*(row for row in rows if row not in known), {**what, **measured(work, at_once(work, args.workers))}]
        write_rows(path, sorted(rows, key=rank))


def plan(args: argparse.Namespace) -> list[Work]:
    """What there is to measure."""
    batched = [(p, way == WAYS[1], -(-args.agents // p)) for p in args.populations for way in args.ways]
    ways = [*batched, (None, False, args.one_by_one)]
    missing = [known for known in BANDITS if known in args.environments and known not in shelf.ids()]
    for environment in missing:
        print(f"{environment} is not on the shelf: left out")
    return [
        Work(environment, setting, population, compiled, precision, rounds, args.episodes, SEED)
        for environment in args.environments
        if environment not in missing
        for setting in SETTINGS[target(environment)]
        if setting.algorithm in args.algorithms and setting.label in args.settings
        for population, compiled, rounds in ways
        for precision in args.precision
        if population is not None or (setting.one_by_one and rounds)
    ]


def facts(work: Work, processes: int) -> dict[str, str]:
    """What tells a line of the table."""
    return {
        "trained in": name(work.environment),
        "algorithm": work.setting.algorithm,
        "setting": work.setting.label,
        "steps": str(work.setting.steps),
        "how": f"batches of {work.population}{', compiled' * work.compiled}" if work.population else "SB3, one by one",
        "precision": work.precision,
        "processes": str(processes),
    }


def rank(row: Mapping[str, Any]) -> tuple[int | str, ...]:
    """Lines task by task and setting by setting: plain batches, compiled ones, Stable-Baselines3; then by precision."""
    settings = [(setting.algorithm, setting.label) for settings in SETTINGS.values() for setting in settings]
    how, alone = row["how"], row["how"].startswith("SB3")
    place = settings.index((row["algorithm"], row["setting"]))
    return *order(row["trained in"]), place, alone, how, int(row["processes"]), PRECISIONS.index(row["precision"])


def measured(work: Work, done: Sequence[Done]) -> dict[str, Any]:
    """The figures of a line."""
    returns = [value for process in done for value in process.returns]
    seconds = max(process.ended for process in done) - min(process.began for process in done)
    cpu_seconds = sum(process.cpu_seconds for process in done)
    kept = [process.kept for process in done if process.kept is not None]
    found = statistics(returns)
    return {
        "agents": len(returns),
        "agents a second": round(len(returns) / seconds, 3),
        "CPU s an agent": round(cpu_seconds / len(returns), 5),
        "ready in, s": round(max(process.ready_in for process in done), 1) if work.compiled else "",
        "MB an agent": round(sum(kept) / len(returns) / 1e6, 3) if kept else "",
        "MB a process": round(max(process.peak for process in done) / 1e6),
        **{key: round(found[key], 2) for key in ("mean", "iqm", "worst", "std")},
        "weights": origin(work.environment)[:12],
    }


def at_once(work: Work, workers: int) -> list[Done]:
    """The same work in that many processes, warmed up, from the same moment on; each has seeds of its own.

    Nobody measures what the first call of everything costs.
    """
    shares = [work._replace(seed=work.seed + 1_000 * process) for process in range(workers)]
    if workers == 1:
        ready(None, work)
        return [run(shares[0])]
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(workers)
    with ProcessPoolExecutor(workers, context, initializer=ready, initargs=(start, work)) as pool:
        return list(pool.map(run, shares))


_READY_IN = [0.0]
"""Seconds that this process took for what it measures next."""


def ready(start: Any, work: Work) -> None:
    """Prepare a process, then wait for the others, if there are any."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    few = work.setting._replace(steps=min(work.setting.steps, WARMING))
    population = work.population if work.compiled else work.population and 2
    run(work._replace(population=population, rounds=1, episodes=1, seed=0, setting=few))
    _READY_IN[0] = time.perf_counter() - began
    if start is not None:
        start.wait()


def run(work: Work) -> Done:
    """A process's share, in the precision that it asks for."""
    with multiplying(work.precision):
        return in_batches(work) if work.population else one_by_one(work)


@contextmanager
def multiplying(precision: str) -> Iterator[None]:
    """torch multiplies matrices with this precision inside, and as before outside."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def in_batches(work: Work) -> Done:
    """Batch after batch, with the package's own learner."""
    setting, graduates = work.setting, []
    assert work.population is not None
    clock = time.process_time()
    began = time.perf_counter()
    world, params, horizon = place(work.environment)
    learner = learners.named(setting.algorithm, world.spaces, **setting.structure, compiled=work.compiled)
    hyper = learners.fill(learner, work.population, setting.hyper)
    params = repeat(params, work.population)
    for number in range(work.rounds):
        generator = seeding.generator(work.seed, number)
        agent = learner.init(hyper, setting.steps, generator)
        graduates.append(learners.train(learner, agent, world, params, setting.steps, generator, horizon))
    ended, spent, held = time.perf_counter(), time.process_time() - clock, peak()
    kept = sum(leaf.nbytes for agent in graduates for leaf in agent.values())
    real, exam = worlds.real(target(work.environment)), seeding.generator(work.seed, "exam")
    scores = (learners.score(learner, agent, real, exam, work.episodes, real.horizon)[0] for agent in graduates)
    returns = [value for each in scores for value in each.mean(1).tolist()]
    return Done(began, ended, spent, kept, held, _READY_IN[0], returns)


def one_by_one(work: Work) -> Done:
    """Agent after agent, with SB3."""
    setting = work.setting
    hyperparameters = translated(setting)
    clock = time.process_time()
    began = time.perf_counter()
    graduates = [
        train(setting.algorithm, work.environment, setting.steps, seed=work.seed + number,
              hyperparameters=hyperparameters, n_envs=setting.structure.get("envs", 1), progress=False)
        for number in range(work.rounds)
    ]  # fmt: skip
    ended, spent, held = time.perf_counter(), time.process_time() - clock, peak()
    exam = target(work.environment)
    returns = [float(evaluate(agent, exam, work.episodes, work.seed).mean()) for agent in graduates]
    return Done(began, ended, spent, None, held, _READY_IN[0], returns)


def translated(setting: Setting) -> dict[str, Any]:
    """A setting as hyperparameters of Stable-Baselines3."""
    names = {**SB3, "length": "n_steps"} if setting.algorithm in ("ppo", "a2c") else SB3
    given = {**setting.structure, **setting.hyper}
    found: dict[str, Any] = {names[key]: value for key, value in given.items() if key in names}
    if "hidden" in given:
        found["policy_kwargs"] = {"net_arch": list(given["hidden"])}
    return found


def peak() -> int:
    """The most bytes that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; its defaults are the published protocol."""
    every = [setting for settings in SETTINGS.values() for setting in settings]
    algorithms, labels = (sorted({getattr(setting, key) for setting in every}) for key in ("algorithm", "label"))
    parser = arguments(__doc__, BANDITS)
    parser.add_argument("--algorithms", nargs="+", default=algorithms, choices=algorithms)
    parser.add_argument("--settings", nargs="+", default=labels, choices=labels)
    parser.add_argument("--populations", nargs="+", type=int, default=(32,))
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS, help="how batches learn (default both)")
    parser.add_argument("--precision", nargs="+", default=PRECISIONS, choices=PRECISIONS, help="(default both)")
    parser.add_argument("--agents", type=int, default=32, help="batched agents a process (default %(default)s)")
    parser.add_argument("--one-by-one", type=int, default=2, help="agents of SB3 a process (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=20, help="real episodes an agent (default %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget what the table holds of what is asked for")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
