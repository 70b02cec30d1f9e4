"""What policies made inside a world model are worth in the real task, beside policies made in the task itself.

The last policy counts, never one that was selected in the task (`evolve` chooses in imagination); returns are of real
episodes that no model has seen. Planning, by the cross-entropy method at every real step, needs no learning and stands
beside it. Classical fits may take the world model's place, under the same simulator, learners and planner.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from benchmarks import contestants
from benchmarks.classical import METHODS
from benchmarks.harness import spread, write_rows
from benchmarks.students import exam_seed
from benchmarks.tables import rows_of
from benchmarks.world_data import collect
from benchmarks.world_tasks import TASKS, available, make
from synthenv.imagine import Plan, imagine
from synthenv.incontext.plan import Planner
from synthenv.incontext.slots import Numbers
from synthenv.incontext.world import WorldModel
from synthenv.sb3 import SynthVecEnv, algorithm

Array = npt.NDArray[Any]
TRANSITIONS = 1_000
"""Real ones that are shown."""
BUDGETS = (1_000, 10_000, 50_000)
"""Real steps of agents that learn in the task itself; SB3's PPO rounds up to 2,048."""
FIRST_SEED = 9_500
CONTEXT_SEED = 9_600
REAL, PLANNED = "the task", "CEM"
PLANNED_EPISODES = 10
"""Real ones that are planned, at most, side by side: every step of them takes a thousand imagined ones."""


class Agent(Protocol):
    """SB3's, or a planner."""

    def predict(self, observation: Array, *, deterministic: bool) -> tuple[Array, Any]:
        """Actions [N] or [N, A] for observations [N, O]."""


class Lesson(NamedTuple):
    """How an agent learns a task: SB3's hyperparameters but for `settings`, in so many environments at once.

    behaviour: of the log, see `world_data`.
    plan: instead, as `synthenv imagine` does it; with several rounds the agent itself collects what is shown next.
    """

    task: str
    algorithm: str
    steps: int = 50_000
    envs: int = 1
    settings: Mapping[str, Any] = {}
    behaviour: str = "random"
    plan: Plan | None = None


ON_POLICY: dict[str, Any] = {"envs": 16, "settings": {"n_steps": 128}}
"""PPO collects its usual 2,048 steps from 16 environments."""
WIDE = {"net_arch": [256, 256]}
BALANCE = {
    "learning_rate": 2.3e-3, "batch_size": 64, "learning_starts": 1_000, "target_update_interval": 10,
    "train_freq": 256, "gradient_steps": 128, "exploration_fraction": 0.16, "exploration_final_eps": 0.04,
    "policy_kwargs": WIDE,
}  # fmt: skip
SWING: dict[str, Any] = {"normalize": True, "n_steps": 128, "gae_lambda": 0.98, "n_epochs": 4}
"""PPO of rl_zoo3 for MountainCar and Acrobot."""


LESSONS = (
    Lesson("CartPole200-v0", "PPO", **ON_POLICY),
    Lesson("CartPole-v1", "PPO", **ON_POLICY),
    Lesson("CartPole-v1", "DQN", settings=BALANCE),
    Lesson("Pendulum-v1", "SAC", 10_000, behaviour="sticky"),
    Lesson("OSWMGrid-v0", "PPO", **ON_POLICY),
    Lesson("OSWMGrid-v0", "evolve", 300_000, plan=Plan(TRANSITIONS, algorithm="evolve")),
    Lesson("OSWMLine-v0", "SAC", 10_000),
    Lesson("Acrobot-v1", "PPO", **ON_POLICY),
    Lesson("Acrobot-v1", "evolve, 4 rounds", 500_000, plan=Plan(TRANSITIONS // 4, 4, "evolve")),
    Lesson(
        "MountainCarContinuous-v0",
        "PPO, 3 rounds",
        30_000,
        plan=Plan(TRANSITIONS, 3, sticky=0.0, hyperparameters=SWING),
    ),
    Lesson("MountainCarContinuous-v0", "evolve, 2 rounds", 500_000, plan=Plan(TRANSITIONS, 2, "evolve")),
    Lesson("MountainCar-v0", "evolve, 2 rounds", 500_000, plan=Plan(TRANSITIONS, 2, "evolve")),
    Lesson("Reacher-v5", "SAC", 20_000),
    Lesson("Room-v0", "SAC", 20_000),
    Lesson("Paddle-v0", "PPO", **ON_POLICY),
    Lesson("Gearbox-v0", "SAC", 10_000),
    Lesson("CartPole200-v0", PLANNED, 0, behaviour="sticky"),
    Lesson("Pendulum-v1", PLANNED, 0, behaviour="sticky"),
)
"""Settings other than SB3's defaults are rl_zoo3's for the task. CliffWalking's observation, the number of a cell, is
nothing that a network of SB3 learns from, with or without a world model."""


class Cell(NamedTuple):
    """One agent: made in a model of a context, or, where `model` is REAL, in the task itself."""

    task: str
    model: str
    algorithm: str
    steps: int
    context: int
    seed: int


Key = tuple[str, ...]


def key(cell: Cell) -> Key:
    """What a cell is filed under."""
    return (cell.task, contestants.name(cell.model), *map(str, cell[2:]))


def ask(parser: argparse.ArgumentParser) -> None:
    """What can be asked of this part."""
    tasks = tuple(dict.fromkeys(lesson.task for lesson in LESSONS))
    ways = tuple(dict.fromkeys(lesson.algorithm for lesson in LESSONS))
    parser.add_argument("--models", nargs="+", default=[contestants.OURS], metavar="MODEL",
                        help=f'as of accuracy, and "{REAL}" for agents without a model')  # fmt: skip
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks, metavar="TASK", help="(default: all)")
    parser.add_argument("--algorithms", nargs="+", choices=ways, default=ways, help="(default %(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="agents a context (default %(default)s)")
    parser.add_argument("--contexts", type=int, default=3, help="logs a task (default %(default)s)")
    parser.add_argument("--steps", nargs="+", type=int, help="of every agent, instead of its lesson's")
    parser.add_argument("--episodes", type=int, default=50, help="real ones an agent (default %(default)s)")


def main(args: argparse.Namespace) -> None:
    """Train and measure the agents that the table lacks."""
    table = args.results / "world_model_transfer.csv"
    cells = plan(args)
    origins = {contestants.name(model): origin(model) for model in args.models}
    asked = {key(cell) for cell in cells}
    known: dict[Key, dict[str, Any]] = {}
    lessons = {(lesson.task, lesson.algorithm) for lesson in LESSONS}
    for row in rows_of(table) if table.is_file() else ():
        if (row["task"], row["algorithm"]) not in lessons:
            continue  # of a lesson that is no more
        same = row["origin"] == origins.get(row["model"], row["origin"])
        redo = args.fresh or int(row["episodes"]) != played_by(row["algorithm"], args.episodes)
        if same and not (redo and key_of(row) in asked):
            known[key_of(row)] = dict(row)
    missing = [cell for cell in cells if key(cell) not in known]
    print(f"{len(missing)} of {len(cells)} agents to train")
    for cell, row in spread(functools.partial(measured, asked=args.episodes), missing, args.workers):
        known[key(cell)] = row
        write_rows(table, (known[at] for at in sorted(known, key=order)))


def plan(args: argparse.Namespace) -> list[Cell]:
    """The agents asked for: a first of every lesson, then the second, and so on."""
    lessons = [
        lesson for lesson in LESSONS if lesson.task in available(args.tasks) and lesson.algorithm in args.algorithms
    ]
    cells = []
    for seed in range(FIRST_SEED, FIRST_SEED + args.seeds):
        for model in args.models:
            for lesson in lessons:
                if lesson.plan and model in (REAL, *METHODS, *contestants.ABLATIONS):
                    continue  # rounds are a world model's
                if model == REAL:
                    ways = [(steps, 0) for steps in args.steps or BUDGETS if lesson.steps]
                elif lesson.algorithm == PLANNED:
                    if seed > FIRST_SEED:
                        continue  # a planner's episodes are its seeds
                    ways = [(0, context) for context in range(args.contexts)]
                else:
                    ways = [(steps, at) for steps in args.steps or [lesson.steps] for at in range(args.contexts)]
                cells += [Cell(lesson.task, model, lesson.algorithm, steps, at, seed) for steps, at in ways]
    return cells


def played_by(way: str, episodes: int) -> int:
    """Real episodes of an agent, of so many asked for."""
    return min(episodes, PLANNED_EPISODES) if way == PLANNED else episodes


def key_of(row: Mapping[str, str]) -> Key:
    """What a row of the table is filed under."""
    return tuple(row[name] for name in Cell._fields)


def order(at: Key) -> tuple[Any, ...]:
    """Where an agent stands in the table."""
    task, model, way, *numbers = at
    return [*TASKS].index(task), model == REAL, model, way, *map(int, numbers)


def origin(model: str) -> str:
    """What a return stands or falls with: the digest of the weights, nothing where no model is used."""
    return "" if model == REAL else contestants.origin(model)


def measured(cell: Cell, asked: int) -> dict[str, Any]:
    """A row of the table: train an agent, then measure its final policy. A planner's CPU seconds are of playing."""
    lesson = next(one for one in LESSONS if (one.task, one.algorithm) == (cell.task, cell.algorithm))
    episodes = played_by(cell.algorithm, asked)
    began = time.process_time()
    if lesson.plan:
        seed = CONTEXT_SEED + 10 * (cell.seed - FIRST_SEED) + cell.context
        plan = replace(lesson.plan, steps=cell.steps, episodes=episodes, seed=seed)
        found = imagine(cell.task, plan, WorldModel.load(contestants.folder(cell.model)), say=lambda _: None)
        returns, spent, seconds = found.returns, len(found.simulator.data), found.cpu_seconds
    else:
        agent, spent = made(lesson, cell)
        seconds = time.process_time() - began
        returns = real_returns(agent, cell.task, episodes, cell.seed)
        if lesson.algorithm == PLANNED:
            seconds = time.process_time() - began
    return {
        **cell._asdict(), "model": contestants.name(cell.model), "transitions": spent, "episodes": episodes,
        "real_return": round(float(returns.mean()), 3), "cpu_seconds": f"{seconds:.2f}", "origin": origin(cell.model),
    }  # fmt: skip


def made(lesson: Lesson, cell: Cell) -> tuple[Agent, int]:
    """An agent that learns in the task, or learns or plans in a model alone; how many real transitions it has cost."""
    if cell.model == REAL:
        return taught(lesson, cell.steps, cell.seed, real_batch(lesson, cell.seed)), cell.steps
    log = collect(cell.task, TRANSITIONS, lesson.behaviour, CONTEXT_SEED + cell.context)
    simulator = contestants.simulator(cell.model, log)
    if lesson.algorithm == PLANNED:
        return Planner(simulator, seed=cell.seed), len(log)
    venv = SynthVecEnv(simulator.make_vec(lesson.envs))
    venv.seed(cell.seed)
    return taught(lesson, cell.steps, cell.seed, venv), len(log)


def taught(lesson: Lesson, steps: int, seed: int, venv: VecEnv) -> BaseAlgorithm:
    """An agent trained in a batch of environments."""
    settings = dict(lesson.settings)
    if venv.num_envs == 1 and lesson.algorithm == "PPO":
        settings["n_steps"] = lesson.envs * settings["n_steps"]
    kind = algorithm(lesson.algorithm)
    return kind("MlpPolicy", venv, seed=seed, device="cpu", **settings).learn(steps, progress_bar=False)


def real_batch(lesson: Lesson, seed: int) -> VecEnv:
    """The task itself for SB3, observations as plain numbers."""
    return make_vec_env(lambda: shown(lesson.task), 1, seed)


def shown(task: str) -> gymnasium.Env[Any, Any]:
    """The task with observations as plain numbers."""
    return Numbers(make(task))


def real_returns(agent: Agent, task: str, episodes: int, seed: int) -> npt.NDArray[np.float64]:
    """Return of each of so many real episodes, [episodes]; of every environment only the first counts."""
    venv = SyncVectorEnv([functools.partial(shown, task)] * episodes)
    observation, _ = venv.reset(seed=exam_seed(seed))
    returns, alive = np.zeros(episodes), np.ones(episodes, np.bool_)
    while alive.any():
        observation, reward, terminated, truncated, _ = venv.step(agent.predict(observation, deterministic=True)[0])
        returns += reward * alive
        alive &= ~(terminated | truncated)
    venv.close()
    return returns
