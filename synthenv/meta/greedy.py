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
from synthenv.worlds.payoff import Payoff

CHUNK = 1024
"""Candidates at a time, unless the task says: only memory limits it."""


def own_policy(synthetic: SyntheticBandit, params: Tree) -> Act:
    """The optimal policy of each member's reward network, for real observations [P, N, O]."""

    def act(observation: Tensor, _: torch.Generator) -> Tensor:
        return synthetic.best_action(params, observation)

    return act


def remembering(act: Act, wanted: list[Tensor]) -> Act:
    """The policy `act`, whose actions, [P, N] or [P, N, A] a step, are appended to `wanted`."""

    def remembered(observation: Tensor, generator: torch.Generator) -> Tensor:
        wanted.append(act(observation, generator))
        return wanted[-1]

    return remembered


def misreading(act: Act, error: Tensor) -> Act:
    """The policy `act`, which sees every observation of N episodes off by an error [N, O] that stays."""

    def misread(observation: Tensor, generator: torch.Generator) -> Tensor:
        return act(observation + error, generator)

    return misread


def changes(payoff: Payoff, wanted: list[Tensor], lengths: Tensor) -> Tensor:
    """How far apart the actions of successive steps are, [P, N] or [P, N, A] each, added up over episodes: [P, N].

    Episodes are over after lengths [P, N]; what is wanted later does not count.
    """
    actions = torch.stack(wanted)  # [T, P, N, ...]
    step = torch.arange(1, len(actions), device=actions.device)[:, None, None]
    return (payoff.apart(actions[1:], actions[:-1]) * (step < lengths)).sum(0)


@dataclass(frozen=True)
class GreedyTask:
    """Fitness of reward networks: mean and worst real return of their own best actions under slips, at a price for
    every change of the action that they want."""

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
        if stage.misread:
            shape = (stage.episodes, self.synthetic.observation_size)
            unit = torch.randn(shape, generator=generator, device=candidates.device)
            policy = misreading(policy, stage.misread * self.synthetic.reach * unit)
        price = self.price(generation)
        wanted: list[Tensor] = []
        if price:
            policy = remembering(policy, wanted)
        returns, lengths = rollout.evaluate(
            self.real,
            self.real.init(generator, len(candidates)),
            rollout.slipping(policy, self.synthetic.payoff, stage.slips),
            generator,
            stage.episodes,
            self.horizon(generation),
            self.recipe.paired,
        )
        if price:
            returns = returns - price * changes(self.synthetic.payoff, wanted, lengths)
        fitness = (1 - stage.tail) * returns.mean(1) + stage.tail * returns.amin(1)
        return fitness, int(lengths.sum())

    def horizon(self, generation: int) -> int:
        """Time limit of the real episodes: stretched at first, the task's own in the second half of the search."""
        return round(self.real.horizon * (1 + (self.recipe.greedy.stretch - 1) * self.ahead(generation)))

    def price(self, generation: int) -> float:
        """What a change of action costs: nothing at first, when all that pays is jerky, in full in the second half."""
        return self.recipe.greedy.calm * (1 - self.ahead(generation))

    def ahead(self, generation: int) -> float:
        """What is left of the search's first half: from 1 in the first generation to 0."""
        return max(0.0, 1 - 2 * generation / self.recipe.greedy.search.generations)
