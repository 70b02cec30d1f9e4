"""Deep deterministic policy gradient (Lillicrap et al. 2015), P agents at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from gymnasium import Space, spaces
from torch import Tensor

from synthenv import nets
from synthenv.learners.base import Agent, Piece
from synthenv.learners.critics import Guided
from synthenv.tree import Tree


@dataclass(frozen=True)
class DDPG(Guided):
    """One critic, a deterministic actor, targets of both; defaults of Stable-Baselines3.

    Hyperparameter noise: deviation of Gaussian exploration noise on unit actions.
    Agent: a guided one's, and target_actor [P, D].
    """

    name: ClassVar[str] = "ddpg"
    actions: ClassVar[tuple[type[Space[Any]], ...]] = (spaces.Box,)
    defaults: ClassVar[dict[str, float]] = {"rate": 1e-3, "gamma": 0.99, "tau": 0.005, "noise": 0.0}
    judges: ClassVar[int] = 1

    hidden: tuple[int, ...] = (400, 300)

    def start(self, hyper: Tree, generator: torch.Generator) -> Agent:
        """Networks and optimizers, targets equal to what they follow; hyper leaves [P]."""
        fresh = super().start(hyper, generator)
        return {**fresh, "target_actor": fresh["flat"].clone()}

    def explore(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """The actor's action and noise, kept within the box: [P, N, O] -> [P, N, A]."""
        unit = self.head(agent, observation).tanh()
        noise = torch.randn(unit.shape, generator=generator, device=unit.device)
        return self.scaled(torch.addcmul(unit, agent["hyper.noise"][:, None, None], noise).clamp(-1, 1))

    def pieces(self, agent: Agent) -> Sequence[Piece]:
        """A step of the critics, then of the actor and the targets."""
        return self.improve, self.follow

    def improve(self, agent: Agent, batch: Tree) -> Tree:
        """A step of the critics: the leaves that it changes."""
        with torch.no_grad():
            future = self.quality(agent["target"], batch["following"], self.foreseen(agent, batch)).amin(1)
        return self.improve_critics(agent, batch, future)[0]

    def foreseen(self, agent: Agent, batch: Tree) -> Tensor:
        """Unit actions of the target actor at what follows: [P, A, B]."""
        return nets.columns(agent["target_actor"], batch["following"], self.actor_sizes, self.activation).tanh()

    def follow(self, agent: Agent, batch: Tree) -> Tree:
        """A step of the actor up the first critic, and of the targets: the leaves that it changes."""
        flat, observation = agent["flat"].detach().requires_grad_(), batch["observation"]
        first = agent["critics"][:, : self.critic_length]
        action = nets.columns(flat, observation, self.actor_sizes, self.activation).tanh()
        loss = -self.quality(first, observation, action).mean(-1)
        (slope,) = torch.autograd.grad(loss.sum(), flat)
        moved, tau = self.climb(agent, "flat", slope), agent["hyper.tau"][:, None]
        return {
            **moved,
            "target": torch.lerp(agent["target"], agent["critics"], tau),
            "target_actor": torch.lerp(agent["target_actor"], moved["flat"], tau),
        }
