"""Advantage actor-critic (Mnih et al. 2016), synchronous, P agents at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from synthenv import nets
from synthenv.learners import base
from synthenv.learners.actor_critic import ActorCritic
from synthenv.learners.base import Agent
from synthenv.rollout import Steps
from synthenv.tree import Tree, part, prefixed, unravel


@dataclass(frozen=True)
class A2C(ActorCritic):
    """One RMSprop step on every few steps of experience; defaults of Stable-Baselines3.

    Agent: an actor-critic's, and rms.* as `nets.rmsprop` keeps it.
    """

    name: ClassVar[str] = "a2c"
    learning: ClassVar[dict[str, float]] = {
        "rate": 7e-4,
        "gamma": 0.99,
        "lam": 1.0,
        "entropy": 0.0,
        "value": 0.5,
        "max_norm": 0.5,
    }

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Fresh agents; hyper leaves [P]."""
        agent = super().init(hyper, steps, generator)
        return {**agent, **prefixed("rms", nets.rmsprop_memory(agent["flat"]))}

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """One gradient step over steps [P, T, N, ...]."""
        with torch.no_grad():
            gain, target = self.targets(agent, steps)
        observation, action = steps.observation.flatten(1, 2), steps.action.flatten(1, 2)  # [P, T*N, ...]
        batch = {"observation": observation, "action": action, "gain": gain, "target": target}
        return base.run(self, self.improve, agent, batch)

    def improve(self, agent: Agent, batch: Tree) -> Tree:
        """A gradient step on a batch, leaves [P, B, ...]: the leaves that it changes."""
        hyper, flat = part(agent, "hyper"), agent["flat"].detach().requires_grad_()
        networks = unravel(flat, self.shapes)
        log, entropy = self.log_probability(networks, batch["observation"], batch["action"])
        error, gained = self.worth(networks, batch["observation"]) - batch["target"], batch["gain"] * log
        loss = hyper["value"] * error.square().mean(1) - gained.mean(1) - hyper["entropy"] * entropy.mean(1)
        (gradient,) = torch.autograd.grad(loss.sum(), flat)
        gradient = nets.clip_norm(gradient, hyper["max_norm"])
        flat, memory = nets.rmsprop(flat.detach(), gradient, part(agent, "rms"), hyper["rate"])
        return {"flat": flat, **prefixed("rms", memory)}
