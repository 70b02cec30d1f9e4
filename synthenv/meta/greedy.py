"""Stage 1: reward networks scored by the real return of their own optimal policy. There is no inner loop.

A bandit's optimal policy is argmax_a r(s, a), so a candidate reward is tried out directly on the real task.
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
"""Candidates at a time: only memory limits it."""


def own_policy(synthetic: SyntheticBandit, params: Tree) -> Act:
    """The optimal policy of each member's reward network, for real observations [P, N, O]."""

    def act(observation: Tensor, _: torch.Generator) -> Tensor:
        return synthetic.best_action(params, observation)

    return act


def slipping(act: Act, choices: int, share: Tensor | float) -> Act:
    """The policy `act` with a share (one for all, or [N]) of its Discrete actions replaced by random ones."""

    def slipped(observation: Tensor, generator: torch.Generator) -> Tensor:
        action = act(observation, generator)
        chance = torch.rand(action.shape, generator=generator, device=action.device)
        wild = torch.randint(choices, action.shape, generator=generator, device=action.device)
        return torch.where(chance < share, wild, action)

    return slipped


@dataclass(frozen=True)
class GreedyTask:
    """Fitness of reward networks: mean real return of argmax_a r(s, a) under slips."""

    recipe: EnvRecipe
    real: RealTask
    synthetic: SyntheticBandit
    like: Shapes
    chunk: int = CHUNK

    def fitness(self, candidates: Tensor, generation: int) -> tuple[Tensor, int]:
        """candidates [P, D] flat reward networks -> fitness [P] and real steps spent."""
        stage = self.recipe.greedy
        generator = seeding.generator(self.recipe.seed, "greedy", generation, device=candidates.device)
        policy = own_policy(self.synthetic, prefixed("reward", unravel(candidates, self.like)))
        returns, lengths = rollout.evaluate(
            self.real,
            self.real.init(generator, len(candidates)),
            slipping(policy, self.synthetic.choices, stage.slips),
            generator,
            stage.episodes,
            self.real.horizon,
        )
        return returns.mean(1), int(lengths.sum())
