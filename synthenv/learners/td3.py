"""Twin delayed DDPG (Fujimoto et al. 2018), P agents at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from synthenv.learners.base import Agent, Piece
from synthenv.learners.ddpg import DDPG
from synthenv.tree import Tree, where


@dataclass(frozen=True)
class TD3(DDPG):
    """DDPG with two critics, a delayed actor and smoothed targets; defaults of Stable-Baselines3.

    Hyperparameters, delay: steps of the critics between two of the actor and the targets; target_noise, target_clip:
    deviation and largest size of the noise on the target actor's unit actions.
    """

    name: ClassVar[str] = "td3"
    defaults: ClassVar[dict[str, float]] = {**DDPG.defaults, "delay": 2.0, "target_noise": 0.2, "target_clip": 0.5}
    judges: ClassVar[int] = 2

    def prepared(self, batch: Tree, generator: torch.Generator) -> Tree:
        """In columns, with normal noise [A, B] on actions that follow."""
        batch = super().prepared(batch, generator)
        return {**batch, "noise": torch.randn(batch["action"].shape[1:], generator=generator, device=generator.device)}

    def pieces(self, agent: Agent) -> Sequence[Piece]:
        """As DDPG's, without the second where it is no member's turn."""
        return super().pieces(agent) if self.due(agent["adam.critics.count"] + 1, agent).any() else (self.improve,)

    def due(self, count: Tensor, agent: Agent) -> Tensor:
        """Whose actor moves after this many steps of the critics: [P] -> bool [P]."""
        return count % agent["hyper.delay"] == 0

    def foreseen(self, agent: Agent, batch: Tree) -> Tensor:
        """Unit actions of the target actor at what follows, with noise that members share: [P, A, B]."""
        limit = agent["hyper.target_clip"][:, None, None]
        noise = (agent["hyper.target_noise"][:, None, None] * batch["noise"]).clamp(-limit, limit)
        return (super().foreseen(agent, batch) + noise).clamp(-1, 1)

    def follow(self, agent: Agent, batch: Tree) -> Tree:
        """As DDPG's, for the members whose turn it is."""
        moved = super().follow(agent, batch)
        return where(self.due(agent["adam.critics.count"], agent), moved, {name: agent[name] for name in moved})
