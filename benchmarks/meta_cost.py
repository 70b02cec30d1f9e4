"""The price of an environment: from nothing to the finished artifact, whole and with each stage switched off.

    python -m benchmarks.meta_cost                 every environment on the shelf; a killed run goes on where it was
    python -m benchmarks.meta_cost --targets Pendulum-v1 --without inner      one task's, with one ablation
    python -m benchmarks.meta_cost --fresh         the chosen rows from the beginning
    python -m benchmarks.meta_cost --agents 2 --episodes 2 --steps 500 --results runs/quick      a quicker exam

Every run makes an environment by its shipped recipe, in an empty folder; only stages that the recipe has switched on
are switched off. CPU seconds are those of all processes from the first stage to the artifact on disk. What came out is
then examined in the same way whatever its recipe says, at no part of the price. For Discrete actions: agents of the
package's own PPO, A2C and DQN with default hyperparameters, after 2,000 steps (2,048 for PPO), where what stage 3 is
for shows, and after 10,000. For Box actions: SAC and TD3 with networks of 64x64, after 2,000 and 5,000.

A greedy stage that is a search is timed alone as well, over ten seeds: until 100 real episodes of the search's mean
return on average what `SOLVED` says. Those 100 are left out.

Writes meta_cost.csv and greedy.csv. Rows made by another recipe than the one on the shelf are measured again. A recipe
is told by the keys that its file has: those that the package has learnt since then change nothing about it.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml
from gymnasium import spaces

from benchmarks.harness import arguments, asked, cpu_seconds, gather, order, spread, target, write_rows
from benchmarks.tables import rows_of
from synthenv import artifact, rollout, seeding, shelf, strategies, worlds
from synthenv import recipe as recipes
from synthenv.gym import synthetic
from synthenv.meta import evolve, states
from synthenv.meta.greedy import GreedyTask, own_policy
from synthenv.meta.inner import InnerTask, graduates
from synthenv.recipe import EnvRecipe, Inner
from synthenv.scores import statistics
from synthenv.tree import part, prefixed, ravel, shapes, unravel

STAGES = {"bandit": ("inner", "states", "greedy"), "mdp": ("inner", "dynamics", "states", "greedy")}
SEED = 50_000
SCORES = ("mean", "iqm", "worst", "std")
RACED = (
    "environment",
    "seed",
    "generations",
    "seconds",
    "cpu_seconds",
    "real_steps",
    "real_return",
    "solved",
    "recipe",
)
SOLVED = {
    "CartPole-v1": 500.0, "Acrobot-v1": -100.0, "MountainCar-v0": -110.0, "MountainCarContinuous-v0": 90.0,
    "Pendulum-v1": -175.0,
}  # fmt: skip
"""The most there is in CartPole, Gymnasium's thresholds elsewhere; it has none for Pendulum."""


class Syllabus(NamedTuple):
    """Which agents examine an environment, and after how many steps."""

    loops: tuple[Inner, ...]
    steps: tuple[int, ...]


SYLLABI = {
    spaces.Discrete: Syllabus((Inner("ppo"), Inner("a2c"), Inner("dqn")), (2_000, 10_000)),
    spaces.Box: Syllabus(
        (
            Inner("sac", settings={"envs": 5, "updates": 2, "hidden": (64, 64)}, draws={"rate": (1e-3,)}),
            Inner("td3", settings={"batch": 100, "hidden": (64, 64)}, draws={"noise": (0.1,)}),
        ),
        (2_000, 5_000),
    ),
}


class Exam(NamedTuple):
    """Agents of one kind, trained in the environment in `folder`."""

    folder: str
    loop: Inner
    agents: int
    episodes: int


class Race(NamedTuple):
    """The greedy stage of a recipe from one seed; digest: of the recipe's file."""

    recipe: EnvRecipe
    digest: str
    seed: int
    episodes: int


class Variant(NamedTuple):
    """A shipped recipe, whole or with a stage switched off; digest: of its file's keys."""

    stages: str
    recipe: EnvRecipe
    digest: str


def main(argv: Sequence[str] | None = None) -> None:
    """Race the greedy stage, then make, examine and write one environment after another."""
    args = parse(argv)
    environments = [known for known in asked(args.environments, args.targets) if target(known) != known]
    shipped = [variants(shelf.find(environment), args.without) for environment in environments]
    run_races(args, [whole for whole, *_ in shipped])
    path = args.results / "meta_cost.csv"
    rows: list[dict[str, Any]] = [*rows_of(path)] if path.is_file() else []
    for variant in (variant for every in shipped for variant in every):
        what = {"environment": variant.recipe.id, "stages": variant.stages}
        exams = examined(variant.recipe, args)
        due = [{**what, "recipe": variant.digest, **facts(exam)} for exam in exams]
        known = [row for row in rows if what.items() <= row.items()]
        fits = len(known) == len(due) and all(one.items() <= row.items() for one, row in zip(due, known, strict=True))
        if fits and not args.fresh:
            continue
        print(f"{variant.recipe.id}, {variant.stages}", flush=True)
        new = measured({**what, "recipe": variant.digest}, variant.recipe, args.workers, exams)
        rows = [*(row for row in rows if row not in known), *new]
        write_rows(path, sorted(rows, key=rank))


def rank(row: Mapping[str, Any]) -> tuple[tuple[int, int], int]:
    """Rows environment by environment, the whole recipe before its ablations."""
    stages = ("all", *(f"without {stage}" for stage in STAGES["mdp"]))
    return standing(row["environment"]), stages.index(row["stages"])


def standing(environment: str) -> tuple[int, int]:
    """Task by task, the bandit first."""
    task, place = order(environment)
    return task, -place


def run_races(args: argparse.Namespace, shipped: Sequence[Variant]) -> None:
    """Run the races that greedy.csv does not hold yet, and write it."""
    path = args.results / "greedy.csv"
    digests = {whole.recipe.id: whole.digest for whole in shipped}
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows_of(path) if path.is_file() else []:
        now = digests.get(row["environment"])
        if now is None or (row.get("recipe") == now and not args.fresh):
            rows[row["environment"], int(row["seed"])] = {key: row.get(key, "") for key in RACED}
    entries = [
        Race(whole.recipe, whole.digest, SEED + number, 100)
        for whole in shipped
        if whole.recipe.greedy.enabled and whole.recipe.greedy.learner is None
        for number in range(args.seeds)
        if (whole.recipe.id, SEED + number) not in rows
    ]
    for entry, found in spread(race, entries, args.workers):
        rows[entry.recipe.id, entry.seed] = found
        write_rows(path, [rows[key] for key in sorted(rows, key=lambda key: (standing(key[0]), key))])


def variants(folder: Path, without: Sequence[str]) -> list[Variant]:
    """The recipe in a folder, and the recipe without each of those stages that it has switched on."""
    raw = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    whole = recipes.build(EnvRecipe, raw)
    ablated = [stage for stage in STAGES[whole.form] if stage in without and getattr(whole, stage).enabled]
    files = {"all": raw, **{f"without {stage}": {**raw, stage: {**raw[stage], "enabled": False}} for stage in ablated}}
    return [Variant(stages, recipes.build(EnvRecipe, file), digest(file)) for stages, file in files.items()]


def digest(file: Mapping[str, Any]) -> str:
    """Of a recipe's keys and values, written as `recipe.dump` writes them."""
    text = yaml.safe_dump(file, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def examined(recipe: EnvRecipe, args: argparse.Namespace) -> list[Exam]:
    """The exams of a recipe's environment."""
    loops, steps = SYLLABI[type(worlds.real(recipe.target).spaces.action)]
    return [Exam("", replace(loop, steps=many), args.agents, args.episodes)
            for many in args.steps or steps for loop in loops]  # fmt: skip


def facts(exam: Exam) -> dict[str, str]:
    """What an exam's row says of it."""
    told = {"algorithm": exam.loop.algorithm, "steps": exam.loop.steps, "episodes": exam.episodes, "n": exam.agents}
    return {key: str(value) for key, value in told.items()}


def measured(what: Mapping[str, str], recipe: EnvRecipe, workers: int, exams: Sequence[Exam]) -> list[dict[str, Any]]:
    """Make an environment from nothing; a row for each exam of it, the price in every one."""
    unexamined = replace(recipe, exam=recipes.Exam(agents=0))
    with TemporaryDirectory() as scratch:
        folder, run = Path(scratch) / recipe.id, Path(scratch) / "run"
        before, began = cpu_seconds(), time.perf_counter()
        made = evolve(unexamined, folder, run_folder=run, workers=workers)
        price = {
            "cpu_seconds": round(cpu_seconds() - before, 1),
            "seconds": round(time.perf_counter() - began, 1),
            "real_steps": made.card["real_steps"],
        }
        marks = gather(examine, [exam._replace(folder=str(folder)) for exam in exams], workers)
    return [{**what, **price, **mark} for mark in marks]


def examine(exam: Exam) -> dict[str, Any]:
    """What agents trained in an environment are worth in the real task."""
    made = artifact.load(exam.folder)
    world, params = synthetic(made)
    task = InnerTask(made.recipe, worlds.real(made.recipe.target), world, {}, {})
    generator = seeding.generator(SEED, exam.loop.algorithm, exam.loop.steps)
    returns, _ = graduates(task, exam.loop, params, exam.agents, exam.episodes, generator)
    found = statistics(returns[0].mean(1).tolist())
    low, high = found["interval"]
    return {
        **facts(exam),
        **{key: round(found[key], 2) for key in SCORES},  # type: ignore[literal-required]
        "low": round(low, 2),
        "high": round(high, 2),
    }


def race(entry: Race) -> dict[str, Any]:
    """Run the search of `meta.evolve`'s first stage, a generation at a time, until its mean has solved the task."""
    recipe, stage, goal = entry.recipe, entry.recipe.greedy, SOLVED[entry.recipe.target]
    place_of = partial(seeding.generator, entry.seed)
    wall, cpu = time.perf_counter(), time.process_time()
    real = worlds.real(recipe.target)
    seen, _, spent = states.random_box(real, place_of("look"))
    world = worlds.synthetic(recipe, real.spaces.action, seen["centre"], seen["reach"])
    reward = part(world.init(place_of("init"), 1), "reward")
    task = GreedyTask(replace(recipe, seed=entry.seed), real, world, shapes(reward))
    strategy = strategies.named(stage.search.strategy, **stage.search.options)
    state, mean_return, generation = strategy.init(ravel(reward)[0]), -math.inf, 0
    while mean_return < goal and generation < stage.search.generations:
        candidates = strategy.ask(state, place_of("greedy", generation, "ask"), stage.search.population)
        fitness, steps = task.fitness(candidates, generation)
        state, spent, generation = strategy.tell(state, candidates, fitness), spent + steps, generation + 1
        took = time.perf_counter() - wall, time.process_time() - cpu
        act = own_policy(world, prefixed("reward", unravel(state["mean"][None], shapes(reward))))
        generator = place_of("exam", generation)
        returns, _ = rollout.evaluate(real, real.init(generator, 1), act, generator, entry.episodes, real.horizon)
        mean_return = float(returns.mean())
        wall, cpu = time.perf_counter() - took[0], time.process_time() - took[1]
    found = (recipe.id, entry.seed, generation, round(took[0], 2), round(took[1], 2), spent, round(mean_return, 2),
             mean_return >= goal, entry.digest)  # fmt: skip
    return dict(zip(RACED, found, strict=True))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = arguments(__doc__, None)
    parser.add_argument(
        "--without", nargs="*", default=STAGES["mdp"], choices=STAGES["mdp"], metavar="STAGE",
        help="stages to switch off, one at a time (default all; none: the whole recipes alone)",
    )  # fmt: skip
    parser.add_argument("--agents", type=int, default=16, help="agents an exam (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=20, help="real episodes an agent (default %(default)s)")
    parser.add_argument("--steps", nargs="+", type=int, help="training of the examined, instead of the syllabus")
    parser.add_argument("--seeds", type=int, default=10, help="of the greedy stage (default %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget what the tables hold of what is asked for")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
