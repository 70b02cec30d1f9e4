"""Stage 3: whole environments scored by the real return of agents trained inside them.

Hyperparameters and first weights are drawn once a generation and shared by all candidates (common random numbers).
Fitness minds the tail: the worst agent counts beside the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthenv import learners, seeding
from synthenv.learners import Agent, Learner
from synthenv.recipe import EnvRecipe, Inner
from synthenv.tree import Shapes, Tree, repeat, unravel
from synthenv.worlds import RealTask
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.base import Params


@dataclass(frozen=True)
class InnerTask:
    """Fitness of synthetic worlds: mean and worst real return of agents trained in them.

    fixed: the parameters that do not evolve, leaves [1, ...]; like: shapes of those that do.
    """

    recipe: EnvRecipe
    real: RealTask
    synthetic: SyntheticBandit
    fixed: Tree
    like: Shapes

    @property
    def chunk(self) -> int:
        """Candidates trained together."""
        return self.recipe.inner.chunk

    def fitness(self, candidates: Tensor, generation: int) -> tuple[Tensor, int]:
        """candidates [P, D] -> fitness [P] and real steps spent on scoring."""
        stage = self.recipe.inner
        loops = (stage.loops[generation % len(stage.loops)],) if stage.rotate else stage.loops
        generator = seeding.generator(self.recipe.seed, "inner", generation, device=candidates.device)
        params = {**repeat(self.fixed, len(candidates)), **unravel(candidates, self.like)}
        fitness, spent = torch.zeros(len(candidates), device=candidates.device), 0
        for loop in loops:
            returns, steps = graduates(self, loop, params, stage.agents, stage.episodes, generator)
            agents = returns.mean(-1)  # [P, R]
            fitness += ((1 - stage.tail) * agents.mean(1) + stage.tail * agents.amin(1)) / len(loops)
            spent += steps
        return fitness, spent


def graduates(
    task: InnerTask, loop: Inner, params: Params, agents: int, episodes: int, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Real returns [P, R, E] of R agents trained in each member of params [P, ...], and real steps spent."""
    population = len(next(iter(params.values())))
    learner = learners.named(loop.algorithm, task.synthetic.spaces, **loop.settings)
    agent = tiled(learner.init(drawn(learner, loop, agents, generator), loop.steps, generator), population)
    params, limit = repeat(params, agents), task.recipe.time_limit
    agent = learners.train(learner, agent, task.synthetic, params, loop.steps, generator, limit)
    returns, spent = learners.score(
        learner, agent, task.real, generator, episodes, task.real.horizon, task.recipe.paired
    )
    return returns.unflatten(0, (population, agents)), spent


def drawn(learner: Learner, loop: Inner, agents: int, generator: torch.Generator) -> Tree:
    """Hyperparameters [R]: uniform over the listed values, the learner's defaults elsewhere."""
    picked = {}
    for name, values in loop.draws.items():
        which = torch.randint(len(values), (agents,), generator=generator, device=generator.device)
        picked[name] = torch.tensor(values, dtype=torch.float32, device=generator.device)[which]
    return learners.fill(learner, agents, picked, generator.device)


def tiled(agent: Agent, times: int) -> Agent:
    """The same R agents for every candidate: leaves [R, ...] -> [P*R, ...], candidate by candidate."""
    return {name: leaf.repeat((times,) + (1,) * (leaf.dim() - 1)) for name, leaf in agent.items()}
