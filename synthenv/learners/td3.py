"""Twin delayed DDPG (Fujimoto et al. 2018), P agents at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from synthenv.learners.base import Agent
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

    def foreseen(self, agent: Agent, following: Tensor, generator: torch.Generator) -> Tensor:
        """Unit actions of the target actor, with noise that members share: [P, O, B] -> [P, A, B]."""
        action = super().foreseen(agent, following, generator)
        limit = agent["hyper.target_clip"][:, None, None]
        noise = torch.randn(action.shape[1:], generator=generator, device=action.device)
        noise = (agent["hyper.target_noise"][:, None, None] * noise).clamp(-limit, limit)
        return (action + noise).clamp(-1, 1)

    def follow(self, agent: Agent, observation: Tensor) -> Tree:
        """As DDPG's at observations [P, O, B], for the members whose turn it is."""
        due = agent["adam.critics.count"] % agent["hyper.delay"] == 0
        if not due.any():
            return {}
        moved = super().follow(agent, observation)
        return where(due, moved, {name: agent[name] for name in moved})
