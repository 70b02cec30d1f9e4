"""Proximal policy optimization (Schulman et al. 2017), clipped, P agents at once."""

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
class PPO(ActorCritic):
    """Clipped surrogate, advantages normalised per minibatch; defaults of Stable-Baselines3.

    Agent: an actor-critic's, and adam.* as `nets.adam` keeps it.
    """

    name: ClassVar[str] = "ppo"
    learning: ClassVar[dict[str, float]] = {
        "rate": 3e-4,
        "gamma": 0.99,
        "lam": 0.95,
        "clip": 0.2,
        "entropy": 0.0,
        "value": 0.5,
        "max_norm": 0.5,
    }

    length: int = 2048
    batch: int = 64
    """Steps a gradient step."""
    epochs: int = 10
    """Passes over the collected steps."""

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Fresh agents; hyper leaves [P]."""
        agent = super().init(hyper, steps, generator)
        return {**agent, **prefixed("adam", nets.adam_memory(agent["flat"]))}

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """Several epochs of minibatches, drawn alike for all members, over steps [P, T, N, ...]."""
        with torch.no_grad():
            gain, target = self.targets(agent, steps)
            observation, action = steps.observation.flatten(1, 2), steps.action.flatten(1, 2)  # [P, T*N, ...]
            before, _ = self.log_probability(unravel(agent["flat"], self.shapes), observation, action)
        known = {"observation": observation, "action": action, "before": before, "gain": gain, "target": target}
        for _ in range(self.epochs):
            order = torch.randperm(action.shape[1], generator=generator, device=action.device)
            for rows in order.split(self.batch):
                agent = base.run(self, self.improve, agent, {name: leaf[:, rows] for name, leaf in known.items()})
        return agent

    def improve(self, agent: Agent, batch: Tree) -> Tree:
        """A gradient step on a minibatch, leaves [P, B, ...]: the leaves that it changes."""
        hyper, flat = part(agent, "hyper"), agent["flat"].detach().requires_grad_()
        networks, clip, wins = unravel(flat, self.shapes), hyper["clip"][:, None], batch["gain"]
        after, entropy = self.log_probability(networks, batch["observation"], batch["action"])
        ratio = (after - batch["before"]).exp()
        if wins.shape[1] > 1:  # one alone has no spread
            wins = (wins - wins.mean(1, keepdim=True)) / (wins.std(1, keepdim=True) + 1e-8)
        surrogate = torch.minimum(ratio * wins, ratio.clamp(1 - clip, 1 + clip) * wins).mean(1)
        error = self.worth(networks, batch["observation"]) - batch["target"]
        loss = hyper["value"] * error.square().mean(1) - surrogate - hyper["entropy"] * entropy.mean(1)
        (gradient,) = torch.autograd.grad(loss.sum(), flat)
        gradient = nets.clip_norm(gradient, hyper["max_norm"])
        flat, memory = nets.adam(flat.detach(), gradient, part(agent, "adam"), hyper["rate"], eps=1e-5)
        return {"flat": flat, **prefixed("adam", memory)}
