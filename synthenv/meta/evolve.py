"""From a recipe to an artifact: the four stages of a synthetic environment, in order."""

from __future__ import annotations

import math
import multiprocessing
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthenv import artifact, learners, scores, seeding, strategies, worlds
from synthenv.artifact import Artifact
from synthenv.expected import expected_steps
from synthenv.meta import dynamics, states
from synthenv.meta.greedy import GreedyTask
from synthenv.meta.inner import InnerTask, graduates
from synthenv.meta.run import Run
from synthenv.meta.task import Executor, executor
from synthenv.meta.teacher import teacher, trained
from synthenv.recipe import EnvRecipe, build, check_counts
from synthenv.threads import one_thread
from synthenv.tree import Tree, part, prefixed, ravel, shapes, unravel
from synthenv.worlds import RealTask
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.mdp import SyntheticMDP


def evolve(
    recipe: EnvRecipe,
    folder: str | Path,
    *,
    run_folder: str | Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
    checkpoint_every: int = 1,
    stand_in: RealTask | None = None,
    spent: int = 0,
) -> Artifact:
    """Meta-learn a synthetic environment and write it to `folder`.

    stand_in: a world in which everything happens instead of the real task, as a simulator's is, and that has cost
    `spent` real steps; then only the exam, where the recipe has one, plays the real task. A run is resumed with the one
    that began it: its `fingerprint` is compared, if it has such an attribute, and else its type.

    run_folder holds checkpoints and TensorBoard logs (default: runs/<id>); with `resume` a killed run goes on from
    there, bit for bit. workers: processes for the inner loops (default: one a core); their number changes no result.
    They import the script that they are started from: there, call this under `if __name__ == "__main__":`, or with
    workers=1. progress: None shows bars on a terminal only. Raises ValueError for a recipe that cannot be carried out.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # how multiprocessing itself tells
        raise RuntimeError(
            "evolve was called by one of its own processes, which was only importing the script that calls it; put the "
            'call under `if __name__ == "__main__":`, or give workers=1'
        )
    real = stand_in or worlds.real(recipe.target)
    check(recipe, real)
    artifact.check_free(Path(folder))
    runs = Path(run_folder) if run_folder is not None else Path("runs") / recipe.id
    processes = workers or os.cpu_count() or 1
    known = None if stand_in is None else getattr(stand_in, "fingerprint", type(stand_in).__qualname__)
    with one_thread(), executor(processes) as where, Run(
        recipe, runs, resume=resume, progress=progress, every=checkpoint_every, stand_in=known
    ) as run:  # fmt: skip
        synthetic, params = greedy_stage(recipe, real, run, where)
        synthetic, params, seen, factor = states_stage(recipe, real, run, synthetic, params)
        if isinstance(synthetic, SyntheticMDP):
            params = dynamics_stage(recipe, run, synthetic, params, seen, factor)
        params = inner_stage(recipe, real, run, synthetic, params, where)
        price = run.price()
        if stand_in is not None:
            price = {**price, "real_steps": spent, "imagined_steps": price["real_steps"]}
        exam = examination(recipe, run, synthetic, params)
        facts = {**artifact.describe(*synthetic.spaces), **price, "stages": run.ledger.done, "exam": exam}
        weights = {**params, "centre": synthetic.centre[None], "reach": synthetic.reach[None]}
        steps = expected_steps(synthetic, params, recipe.time_limit)
        return artifact.save(folder, recipe, weights, facts, steps)


def check(recipe: EnvRecipe, real: RealTask | None = None) -> None:
    """Raise ValueError for what would otherwise fail in the middle of a run, in the real task or what stands in."""
    real = real or worlds.real(recipe.target)
    spaces = real.spaces
    build(EnvRecipe, asdict(recipe))  # what was not read from a file has not been checked
    check_counts(recipe)
    for search in (recipe.greedy.search, recipe.inner.search):
        strategy = strategies.named(search.strategy, **search.options)
        state = strategy.init(torch.zeros(2))
        candidates = strategy.ask(state, seeding.generator(0), search.population)
        strategy.tell(state, candidates, torch.arange(float(search.population)))
    teaching = (recipe.greedy.learner,) if recipe.greedy.enabled and recipe.greedy.learner else ()
    for loop in teaching:
        teacher(recipe, real, loop)
    for name in ("calm", "misread"):
        if not 0 <= (amount := getattr(recipe.greedy, name)) < math.inf:
            raise ValueError(f"expected greedy.{name} of 0 or more, got {amount}")
        if amount and teaching:
            raise ValueError(f"greedy.{name} is for evolution, greedy.learner trains instead; leave one of them out")
    if not recipe.states.soft > 0:
        raise ValueError(f"expected states.soft above 0, 1 for the teacher as it is, got {recipe.states.soft}")
    for name in ("nearest", "telling", "stubborn"):
        if not 0 <= (share := getattr(recipe.states, name)) < 1:
            raise ValueError(f"expected states.{name} of 0 or more and below 1, got {share}")
    if recipe.states.nearest and not recipe.states.graded:
        raise ValueError("states.nearest is where grades begin, of which there are none; set states.graded: true")
    if not math.isfinite(recipe.shift):
        raise ValueError(f"expected shift to be a number, got {recipe.shift}")
    if recipe.shift and recipe.form == "mdp":
        raise ValueError("shift is for the bandit form: where episodes go on it makes long ones better or worse")
    if recipe.inner.enabled and not recipe.inner.loops:
        raise ValueError("inner.loops is empty: name a kind of inner loop, or switch the stage off (enabled: false)")
    size = spaces.observation.shape
    synthetic = worlds.synthetic(recipe, spaces.action, torch.zeros(size), torch.ones(size))
    parts = {name.split(".")[0] for name in synthetic.init(seeding.generator(0), 1)}
    if recipe.inner.enabled and not parts & set(recipe.inner.parts):
        raise ValueError(
            f"inner.parts must name one of {', '.join(sorted(parts))}, which a {recipe.form} has, got "
            f"{', '.join(recipe.inner.parts) or 'none'}"
        )
    taught = recipe.inner.loops if recipe.inner.enabled else ()
    examined = recipe.exam.loops if recipe.exam.agents else ()
    for loop in teaching + taught + examined:
        learner = learners.named(loop.algorithm, spaces, **loop.settings)
        learners.fill(learner, 1, dict.fromkeys(loop.draws, 0.0))
        if empty := [name for name, values in loop.draws.items() if not values]:
            raise ValueError(f"draws of {loop.algorithm} list no values for {', '.join(empty)}")


def greedy_stage(recipe: EnvRecipe, real: RealTask, run: Run, where: Executor) -> tuple[SyntheticBandit, Tree]:
    """Stage 1: coordinates from a random policy's states, then rewards whose own policy is good."""

    seen = run.once("look", lambda: states.random_box(real, run.generator("look")))
    synthetic = worlds.synthetic(recipe, real.spaces.action, seen["centre"], seen["reach"])
    params = synthetic.init(run.generator("init"), 1)
    reward = part(params, "reward")
    loop = recipe.greedy.learner
    if recipe.greedy.enabled and loop is not None:
        reward = run.once("greedy", lambda: trained(recipe, real, synthetic, loop, run.generator("greedy")))
    elif recipe.greedy.enabled:
        task = GreedyTask(recipe, real, synthetic, shapes(reward))
        flat = run.search("greedy", task, ravel(reward)[0], recipe.greedy.search, where)
        reward = unravel(flat[None], shapes(reward))
    return synthetic, {**params, **prefixed("reward", reward)}


def states_stage(
    recipe: EnvRecipe, real: RealTask, run: Run, old: SyntheticBandit, params: Tree
) -> tuple[SyntheticBandit, Tree, Tree, Tensor]:
    """Stage 2: the box, the start network and the rewards' scale, from where the greedy policy goes.

    Also returns the real transitions seen, leaves [M, ...], and the dilation of each dimension [O].
    """
    stage = recipe.states
    seen = run.once("seen", lambda: states.visit(real, old, params, stage, run.generator("visit")))
    if not stage.enabled:
        return old, params, seen, torch.ones_like(old.reach)
    centre, far = states.extent(seen["observation"])
    factor = states.dilation(far, stage.widen, stage.floor)
    # not stage.reach * factor * far: the last bits of environments that have shipped depend on the order
    edge = far * states.dilation(far, stage.reach * stage.widen, stage.reach * stage.floor)
    synthetic = worlds.synthetic(recipe, real.spaces.action, centre, edge)

    lost = {}
    if stage.stubborn:
        lost = run.once("stubborn", lambda: states.stubbornness(real, old, stage, run.generator("stubborn")))

    def spread(observations: Tensor, generator: torch.Generator) -> Tensor:
        """Real observations [M, O] as widened unit states."""
        grades = states.between(factor, len(observations), stage.nearest, generator) if stage.graded else factor
        return states.widened(synthetic, observations, grades)

    def fit() -> tuple[Tree, dict[str, Any], int]:
        """The start network and the rewards at their scale; how near its draws are; no further real step."""
        u = spread(seen["observation"], run.generator("graded"))
        reward = states.rewrite(part(params, "reward"), old, synthetic)
        reward = synthetic.payoff.soften(reward, stage.soft)
        reward = synthetic.payoff.standard(reward, u[None], stage.scale, recipe.activation)
        shape = {"noise.reward": stage.noise, "height.reward": stage.height}
        taught = {name: torch.full_like(params[name], value) for name, value in shape.items()}
        taught |= prefixed("reward", reward)
        u = states.telling(synthetic, taught, u, stage.telling)
        if lost:
            generator = run.generator("mixed")
            u = states.mixed(u, spread(lost["observation"], generator), stage.stubborn, generator)
        start, distance = states.fit_start(synthetic, part(params, "start"), u, stage.updates, run.generator("fit"))
        taught |= prefixed("start", start)
        return taught, {"energy_distance": distance}, 0

    return synthetic, {**params, **run.once("states", fit)}, seen, factor


def dynamics_stage(
    recipe: EnvRecipe, run: Run, synthetic: SyntheticMDP, params: Tree, seen: Tree, factor: Tensor
) -> Tree:
    """First half of stage 4: dynamics and termination from the real steps of stage 2, dilated by factor [O].

    No further real step.
    """
    if not recipe.dynamics.enabled:
        return params

    def fit() -> tuple[Tree, dict[str, Any], int]:
        steps = dynamics.strided(seen, recipe.states.episodes, recipe.dynamics.stride)
        ends = {name: states.widened(synthetic, steps[name], factor) for name in ("observation", "following")}
        transition, facts = dynamics.fit_transition(
            synthetic, part(params, "transition"), {**steps, **ends}, recipe.dynamics.updates, run.generator("dynamics")
        )
        random_action = float(synthetic.regret(params, ends["observation"][None]).mean())
        cost = torch.full_like(params["cost.end"], recipe.dynamics.cost * recipe.horizon * random_action)
        return {**prefixed("transition", transition), "cost.end": cost}, facts, 0

    return {**params, **run.once("dynamics", fit)}


def inner_stage(
    recipe: EnvRecipe, real: RealTask, run: Run, synthetic: SyntheticBandit, params: Tree, where: Executor
) -> Tree:
    """Stage 3, and the second half of stage 4: all networks, by what agents trained inside are worth."""
    stage = recipe.inner
    if not stage.enabled:
        return params
    moving = {name: leaf for name, leaf in params.items() if name.split(".")[0] in stage.parts}
    fixed = {name: leaf for name, leaf in params.items() if name not in moving}
    task = InnerTask(recipe, real, synthetic, fixed, shapes(moving))
    flat = run.search("inner", task, ravel(moving)[0], stage.search, where)
    evolved = unravel(flat[None], shapes(moving))
    return {name: evolved.get(name, leaf) for name, leaf in params.items()}


def examination(recipe: EnvRecipe, run: Run, synthetic: SyntheticBandit, params: Tree) -> dict[str, Any]:
    """Real returns of fresh agents; the real steps it takes test the artifact and are no part of its price."""
    marks = {}
    for number, loop in enumerate(recipe.exam.loops if recipe.exam.agents else ()):
        task = InnerTask(recipe, worlds.real(recipe.target), synthetic, {}, {})
        generator = run.generator("exam", number)
        returns, _ = graduates(task, loop, params, recipe.exam.agents, recipe.exam.episodes, generator)
        marks[f"{loop.algorithm}-{loop.steps}"] = scores.statistics(returns[0].mean(-1).tolist())
    return marks
