"""Soft actor-critic (Haarnoja et al. 2018) for a Box, and its discrete form (Christodoulou 2019), P agents at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from gymnasium import Space, spaces
from torch import Tensor

from synthenv import nets
from synthenv.learners.base import Agent
from synthenv.learners.critics import Guided
from synthenv.learners.policies import Categorical
from synthenv.tree import Tree, prefixed

LOG_STD = (-20.0, 2.0)
"""Range of the logarithm of a deviation."""
EDGE = 1e-6
"""Keeps the density of actions at the edge of the box finite."""


@dataclass(frozen=True)
class SAC(Guided):
    """Two critics, a policy paid for its entropy, and a price of entropy (alpha) that is learnt; SB3's defaults.

    The policy is a squashed Gaussian for a Box, a softmax for Discrete actions. Hyperparameters, alpha: the price to
    begin with; entropy_ratio: the entropy aimed at, as a multiple of A (Box) or of log A (Discrete).
    Agent: a guided one's; log_alpha [P, 1] and adam.log_alpha.*.
    """

    name: ClassVar[str] = "sac"
    actions: ClassVar[tuple[type[Space[Any]], ...]] = (spaces.Discrete, spaces.Box)
    weight: ClassVar[float] = 0.5

    @cached_property
    def defaults(self) -> dict[str, float]:
        """Hyperparameters and their default values."""
        ratio = 0.98 if self.box is None else -1.0
        return {"rate": 3e-4, "gamma": 0.99, "tau": 0.005, "alpha": 1.0, "entropy_ratio": ratio}

    @property
    def heads(self) -> int:
        """Logits of A choices, or means and logarithms of deviations in A dimensions."""
        return self.sizes[1] if self.box is None else 2 * self.sizes[1]

    def start(self, hyper: Tree, generator: torch.Generator) -> Agent:
        """Networks, alpha and optimizers; hyper leaves [P]."""
        log_alpha = hyper["alpha"].log()[:, None]
        memory = prefixed("adam.log_alpha", nets.adam_memory(log_alpha))
        return {**super().start(hyper, generator), "log_alpha": log_alpha, **memory}

    def explore(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Actions drawn from the policy: [P, N, O] -> int64 [P, N] or [P, N, A]."""
        head = self.head(agent, observation)
        if self.box is None:
            return Categorical().draw({}, head, generator)
        noise = torch.randn((*head.shape[:2], self.sizes[1]), generator=generator, device=head.device)
        return self.scaled(drawn(head.mT, noise.mT)[0].mT)

    def prepared(self, batch: Tree, generator: torch.Generator) -> Tree:
        """In columns; for a Box with normal noise [A, B] of actions that follow, and that the actor is judged by."""
        batch = super().prepared(batch, generator)
        names = () if self.box is None else ("noise.following", "noise.observation")
        shape, device = batch["action"].shape[1:], generator.device
        return {**batch, **{name: torch.randn(shape, generator=generator, device=device) for name in names}}

    def improve(self, agent: Agent, batch: Tree) -> Tree:
        """A step of alpha, of the critics, of the actor and of the target: the leaves that they change.

        In one piece, for what the critics judge serves the actor too.
        """
        alpha = agent["log_alpha"].exp()
        with torch.no_grad():
            noise = batch.get("noise.following")
            quality, entropy = self.prospect(agent["flat"], agent["target"], batch["following"], noise)
        critics, judged = self.improve_critics(agent, batch, quality + alpha * entropy)
        flat = agent["flat"].detach().requires_grad_()
        noise, said = batch.get("noise.observation"), judged if self.box is None else None
        quality, entropy = self.prospect(flat, critics["critics"], batch["observation"], noise, said)
        (slope,) = torch.autograd.grad(-(quality + alpha * entropy).mean(-1).sum(), flat)
        spare = entropy.detach().mean(-1, keepdim=True) - self.entropy_wanted(agent)[:, None]
        return {
            **critics,
            **self.climb(agent, "flat", slope),
            **self.climb(agent, "log_alpha", spare),
            "target": torch.lerp(agent["target"], critics["critics"], agent["hyper.tau"][:, None]),
        }

    def prospect(
        self, flat: Tensor, critics: Tensor, observation: Tensor, noise: Tensor | None, judged: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the policy is worth to the less convinced critic, and its entropy: [P, O, B] -> [P, B] each.

        flat [P, D], critics [P, K*D']; noise [A, B], which members share as they share rows, None for choices; judged
        [P, K, A, B], what critics say of all choices, spares asking them. Expectations over choices; for a Box, of one
        draw.
        """
        head = nets.columns(flat, observation, self.actor_sizes, self.activation)
        if noise is None:
            log = head.log_softmax(1)  # [P, A, B]
            chance, least = log.exp(), (self.judge(critics, observation) if judged is None else judged).amin(1)
            return (chance * least).sum(1), -(chance * log).sum(1)
        action, log = drawn(head, noise)
        return self.quality(critics, observation, action).amin(1), -log

    def entropy_wanted(self, agent: Agent) -> Tensor:
        """The entropy that alpha is to bring about, [P]."""
        unit: float = self.sizes[1]
        return agent["hyper.entropy_ratio"] * (math.log(unit) if self.box is None else unit)


def drawn(head: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Unit actions of a squashed Gaussian: head [P, 2A, B], normal noise [P, A, B] or [A, B] -> [P, A, B].

    Returns also their log-probabilities [P, B].
    """
    mean, log_std = head.chunk(2, 1)
    log_std = log_std.clamp(*LOG_STD)
    action = torch.addcmul(mean, log_std.exp(), noise).tanh()
    log = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi) - (1 - action.square() + EDGE).log()
    return action, log.sum(1)
