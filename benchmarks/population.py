"""Agents a second: PPO agents trained as one batch, beside Stable-Baselines3 training them one by one.

    python -m benchmarks.population
    python -m benchmarks.population --agents 16 --one-by-one 1 --populations 16 --episodes 5 --results runs/quick

Three settings, the same for both: SB3's defaults; that of Liesen et al. (2024), 2,000 minibatches of 50 steps; and a
fast one, chosen by hand with seeds 1 and 2, where those measured begin at 30,000. As many processes as cores train at
the same time, one thread each, and start together; a second is a second on the clock, from the first start to the last
end, reading the environment included and measuring left out. Every trained agent counts in the returns, over 20
episodes of CartPole-v1.

Writes population.csv.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from benchmarks.harness import SYNTHETIC, TARGET, arguments, name, origin, place, write_rows
from synthenv import learners, seeding, worlds
from synthenv.sb3 import evaluate, train
from synthenv.scores import statistics
from synthenv.tree import repeat

SEED = 30_000


class Setting(NamedTuple):
    """How PPO is set; what is not said here is SB3's default."""

    steps: int
    envs: int = 1
    length: int = 2048
    batch: int = 64
    epochs: int = 10
    rate: float = 3e-4
    hidden: tuple[int, ...] = (64, 64)


SETTINGS = {
    "SB3 defaults": Setting(10_000),
    "Liesen et al.": Setting(10_000, envs=5, length=100, batch=50, rate=5e-3),
    "fast": Setting(2_000, envs=50, length=10, batch=125, epochs=4, rate=1e-2, hidden=(32,)),
}


class Work(NamedTuple):
    """What each process does at the same time: `rounds` batches of `population` agents, or None for one by one."""

    environment: str
    setting: str
    population: int | None
    rounds: int
    episodes: int
    seed: int


class Done(NamedTuple):
    """When a process trained, what that took, and what its agents are worth."""

    began: float
    ended: float
    cpu_seconds: float
    returns: list[float]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every setting in every way."""
    parser = arguments(__doc__, SYNTHETIC[1:])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--populations", nargs="+", type=int, default=(16, 64, 256))
    parser.add_argument("--agents", type=int, default=256, help="batched agents a process (default %(default)s)")
    parser.add_argument("--one-by-one", type=int, default=6, help="agents of SB3 a process (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=20, help="real episodes an agent (default %(default)s)")
    args = parser.parse_args(argv)
    ways = [(p, -(-args.agents // p)) for p in args.populations] + [(None, args.one_by_one)]
    plan = [
        Work(environment, setting, population, rounds, args.episodes, SEED)
        for environment in args.environments
        for setting in args.settings
        for population, rounds in ways
    ]
    rows = [row(work, at_once(work, args.workers)) for work in tqdm(plan, disable=None)]
    write_rows(args.results / "population.csv", rows)


def row(work: Work, done: Sequence[Done]) -> dict[str, Any]:
    """A line of the table."""
    returns = [value for process in done for value in process.returns]
    seconds = max(process.ended for process in done) - min(process.began for process in done)
    cpu_seconds = sum(process.cpu_seconds for process in done)
    found = statistics(returns)
    return {
        "trained in": name(work.environment),
        "setting": work.setting,
        "steps": SETTINGS[work.setting].steps,
        "how": f"batches of {work.population}" if work.population else "SB3, one by one",
        "processes": len(done),
        "agents": len(returns),
        "agents a second": round(len(returns) / seconds, 3),
        "CPU s an agent": round(cpu_seconds / len(returns), 5),
        **{key: round(found[key], 2) for key in ("mean", "iqm", "worst", "std")},  # type: ignore[literal-required]
        "weights": origin(work.environment)[:12],
    }


def at_once(work: Work, workers: int) -> list[Done]:
    """The same work in that many processes, warmed up, from the same moment on; each has seeds of its own."""
    run = in_batches if work.population else one_by_one
    shares = [work._replace(seed=work.seed + 1_000 * process) for process in range(workers)]
    if workers == 1:
        return [run(shares[0])]
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(workers)
    with ProcessPoolExecutor(workers, context, initializer=ready, initargs=(start, work)) as pool:
        return list(pool.map(run, shares))


def ready(start: Any, work: Work) -> None:
    """Prepare a process, then wait for the others: nobody measures what the first call of everything costs."""
    torch.set_num_threads(1)
    run = in_batches if work.population else one_by_one
    run(work._replace(population=work.population and 2, rounds=1, episodes=1, seed=0, setting="fast"))
    start.wait()


def in_batches(work: Work) -> Done:
    """Batch after batch, with the package's own PPO."""
    setting, graduates = SETTINGS[work.setting], []
    assert work.population is not None
    clock = time.process_time()
    began = time.perf_counter()
    world, params, horizon = place(work.environment)
    structure = {key: getattr(setting, key) for key in ("envs", "length", "batch", "epochs", "hidden")}
    learner = learners.named("ppo", world.spaces, **structure)
    hyper = learners.fill(learner, work.population, {"rate": setting.rate})
    params = repeat(params, work.population)
    for number in range(work.rounds):
        generator = seeding.generator(work.seed, number)
        agent = learner.init(hyper, setting.steps, generator)
        graduates.append(learners.train(learner, agent, world, params, setting.steps, generator, horizon))
    ended, spent = time.perf_counter(), time.process_time() - clock
    real, exam = worlds.real(TARGET), seeding.generator(work.seed, "exam")
    scores = (learners.score(learner, agent, real, exam, work.episodes, real.horizon)[0] for agent in graduates)
    return Done(began, ended, spent, [value for returns in scores for value in returns.mean(1).tolist()])


def one_by_one(work: Work) -> Done:
    """Agent after agent, with SB3."""
    setting = SETTINGS[work.setting]
    translated = {
        "n_steps": setting.length,
        "batch_size": setting.batch,
        "n_epochs": setting.epochs,
        "learning_rate": setting.rate,
        "policy_kwargs": {"net_arch": list(setting.hidden)},
    }
    clock = time.process_time()
    began = time.perf_counter()
    graduates = [
        train("ppo", work.environment, setting.steps, seed=work.seed + number, hyperparameters=translated,
              n_envs=setting.envs, progress=False)
        for number in range(work.rounds)
    ]  # fmt: skip
    ended, spent = time.perf_counter(), time.process_time() - clock
    returns = [float(evaluate(agent, TARGET, work.episodes, work.seed).mean()) for agent in graduates]
    return Done(began, ended, spent, returns)


if __name__ == "__main__":
    main()
