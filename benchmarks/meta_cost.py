"""The price of an environment: from nothing to the finished artifact, whole and with each stage switched off.

    python -m benchmarks.meta_cost                 a killed run goes on where it was
    python -m benchmarks.meta_cost --fresh         from the beginning
    python -m benchmarks.meta_cost --agents 2 --episodes 2 --steps 500 --results runs/quick      a quicker exam

Every run makes an environment by its shipped recipe, in an empty folder. CPU seconds are those of all processes from
the first stage to the artifact on disk. What came out is then examined in the same way whatever its recipe says, at no
part of the price: agents of the package's own PPO, A2C and DQN with default hyperparameters, after 2,000 steps (2,048
for PPO), where what stage 3 is for shows, and after 10,000.

The greedy stage is timed alone as well, over ten seeds: until the policy of the search's mean balances 100 real
episodes to their end. Those 100 are left out.

Writes meta_cost.csv and greedy.csv. Rows made by another recipe than the one on the shelf are measured again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.harness import SYNTHETIC, arguments, cpu_seconds, gather, place, write_rows
from benchmarks.tables import rows_of
from synthenv import recipe as recipes
from synthenv import rollout, seeding, shelf, strategies, worlds
from synthenv.meta import evolve, states
from synthenv.meta.greedy import GreedyTask, own_policy
from synthenv.meta.inner import InnerTask, graduates
from synthenv.recipe import EnvRecipe, Inner
from synthenv.scores import statistics
from synthenv.tree import part, prefixed, ravel, shapes, unravel

STAGES = {"bandit": ("inner", "states", "greedy"), "mdp": ("inner", "dynamics", "states", "greedy")}
ALGORITHMS = ("ppo", "a2c", "dqn")
SEED = 50_000
SCORES = ("mean", "iqm", "worst", "std")


class Exam(NamedTuple):
    """Agents of one algorithm, trained in the environment in `folder`."""

    folder: str
    algorithm: str
    steps: int
    agents: int
    episodes: int


class Race(NamedTuple):
    """The greedy stage of a recipe from one seed."""

    recipe: EnvRecipe
    seed: int
    episodes: int


def main(argv: Sequence[str] | None = None) -> None:
    """Race the greedy stage, then make, examine and write one environment after another."""
    parser = arguments(__doc__, SYNTHETIC)
    parser.add_argument("--agents", type=int, default=16, help="agents an exam (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=20, help="real episodes an agent (default %(default)s)")
    parser.add_argument("--steps", nargs="+", type=int, default=(2_000, 10_000), help="training of the examined")
    parser.add_argument("--seeds", type=int, default=10, help="of the greedy stage (default %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget what meta_cost.csv holds")
    args = parser.parse_args(argv)
    path = args.results / "meta_cost.csv"
    old = [] if args.fresh or not path.is_file() else rows_of(path)
    exams = [Exam("", algorithm, steps, args.agents, args.episodes) for steps in args.steps for algorithm in ALGORITHMS]
    shipped = [recipes.load(EnvRecipe, shelf.find(name) / "recipe.yaml") for name in args.environments]
    races = [Race(recipe, SEED + seed, 100) for recipe in shipped for seed in range(args.seeds)]
    write_rows(args.results / "greedy.csv", gather(race, races, args.workers))
    rows: list[dict[str, Any]] = []
    plan = [(recipe.id, stages, ablated) for recipe in shipped for stages, ablated in variants(recipe).items()]
    for name, stages, recipe in tqdm(plan, disable=None):
        what = {"environment": name, "stages": stages, "recipe": recipes.digest(recipe)[:12]}
        known = [row for row in old if what.items() <= row.items() and str(args.agents) == row["n"]]
        rows += known if len(known) == len(exams) else measured(what, recipe, args.workers, exams)
        write_rows(path, rows)


def variants(recipe: EnvRecipe) -> dict[str, EnvRecipe]:
    """The recipe, and the recipe without each of its stages."""
    without = {
        f"without {stage}": replace(recipe, **{stage: replace(getattr(recipe, stage), enabled=False)})
        for stage in STAGES[recipe.form]
    }
    return {"all": recipe, **without}


def measured(what: dict[str, str], recipe: EnvRecipe, workers: int, exams: Sequence[Exam]) -> list[dict[str, Any]]:
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
    synthetic, params, _ = place(exam.folder)
    recipe = recipes.load(EnvRecipe, Path(exam.folder) / "recipe.yaml")
    task = InnerTask(recipe, worlds.real(recipe.target), synthetic, {}, {})
    generator = seeding.generator(SEED, exam.algorithm, exam.steps)
    returns, _ = graduates(task, Inner(exam.algorithm, exam.steps), params, exam.agents, exam.episodes, generator)
    found = statistics(returns[0].mean(1).tolist())
    low, high = found["interval"]
    return {
        **{key: getattr(exam, key) for key in ("algorithm", "steps", "episodes")},
        "n": found["n"],
        **{key: round(found[key], 2) for key in SCORES},  # type: ignore[literal-required]
        "low": round(low, 2),
        "high": round(high, 2),
    }


def race(entry: Race) -> dict[str, Any]:
    """Run the search of `meta.evolve`'s first stage, a generation at a time, until its mean has solved the task."""
    recipe, stage = entry.recipe, entry.recipe.greedy
    place_of = partial(seeding.generator, entry.seed)
    wall, cpu = time.perf_counter(), time.process_time()
    real = worlds.real(recipe.target)
    seen, _, spent = states.random_box(real, place_of("look"))
    synthetic = worlds.synthetic(recipe, seen["centre"], seen["reach"])
    reward = part(synthetic.init(place_of("init"), 1), "reward")
    task = GreedyTask(replace(recipe, seed=entry.seed), real, synthetic, shapes(reward))
    strategy = strategies.named(stage.search.strategy, **stage.search.options)
    state, mean_return, generation = strategy.init(ravel(reward)[0]), 0.0, 0
    while mean_return < real.horizon and generation < stage.search.generations:
        candidates = strategy.ask(state, place_of("greedy", generation, "ask"), stage.search.population)
        fitness, steps = task.fitness(candidates, generation)
        state, spent, generation = strategy.tell(state, candidates, fitness), spent + steps, generation + 1
        took = time.perf_counter() - wall, time.process_time() - cpu
        act = own_policy(synthetic, prefixed("reward", unravel(state["mean"][None], shapes(reward))))
        generator = place_of("exam", generation)
        returns, _ = rollout.evaluate(real, real.init(generator, 1), act, generator, entry.episodes, real.horizon)
        mean_return = float(returns.mean())
        wall, cpu = time.perf_counter() - took[0], time.process_time() - took[1]
    return {
        "environment": recipe.id,
        "seed": entry.seed,
        "generations": generation,
        "seconds": round(took[0], 2),
        "cpu_seconds": round(took[1], 2),
        "real_steps": spent,
        "real_return": round(mean_return, 2),
        "solved": mean_return >= real.horizon,
    }


if __name__ == "__main__":
    main()
