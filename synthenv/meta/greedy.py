"""Stage 1: reward networks scored by the real return of their own optimal policy. There is no inner loop.

A bandit's optimal policy is known in closed form, so a candidate reward is tried out directly on the real task.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthenv import rollout, seeding
from synthenv.recipe import EnvRecipe
from synthenv.rollout import Act
from synthenv.tree import Shapes, Tree, prefixed, unravel
from synthenv.worlds import RealTask
from synthenv.worlds.bandit import SyntheticBandit

CHUNK = 1024
"""Candidates at a time, unless the task says: only memory limits it."""


def own_policy(synthetic: SyntheticBandit, params: Tree) -> Act:
    """The optimal policy of each member's reward network, for real observations [P, N, O]."""

    def act(observation: Tensor, _: torch.Generator) -> Tensor:
        return synthetic.best_action(params, observation)

    return act


@dataclass(frozen=True)
class GreedyTask:
    """Fitness of reward networks: mean and worst real return of their own best actions under slips."""

    recipe: EnvRecipe
    real: RealTask
    synthetic: SyntheticBandit
    like: Shapes

    @property
    def chunk(self) -> int:
        """Candidates scored together."""
        return int(getattr(self.real, "chunk", CHUNK))

    def fitness(self, candidates: Tensor, generation: int) -> tuple[Tensor, int]:
        """candidates [P, D] flat reward networks -> fitness [P] and real steps spent."""
        stage = self.recipe.greedy
        generator = seeding.generator(self.recipe.seed, "greedy", generation, device=candidates.device)
        policy = own_policy(self.synthetic, prefixed("reward", unravel(candidates, self.like)))
        returns, lengths = rollout.evaluate(
            self.real,
            self.real.init(generator, len(candidates)),
            rollout.slipping(policy, self.synthetic.payoff, stage.slips),
            generator,
            stage.episodes,
            self.horizon(generation),
            self.recipe.paired,
        )
        fitness = (1 - stage.tail) * returns.mean(1) + stage.tail * returns.amin(1)
        return fitness, int(lengths.sum())

    def horizon(self, generation: int) -> int:
        """Time limit of the real episodes: stretched at first, the task's own in the second half of the search."""
        stage = self.recipe.greedy
        left = max(0.0, 1 - 2 * generation / stage.search.generations)
        return round(self.real.horizon * (1 + (stage.stretch - 1) * left))
