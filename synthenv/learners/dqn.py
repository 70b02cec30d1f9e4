"""Deep Q-networks (Mnih et al. 2015), with double and dueling variants, P agents at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from gymnasium import Space, spaces
from torch import Tensor

from synthenv import nets
from synthenv.learners.base import Agent
from synthenv.learners.replay import Replaying
from synthenv.rollout import Steps
from synthenv.tree import Shapes, Tree, part, prefixed, ravel, shapes, unravel


@dataclass(frozen=True)
class DQN(Replaying):
    """Replayed transitions, a target network, epsilon-greedy exploration; defaults of Stable-Baselines3.

    Agent: a replaying one's; flat and target [P, D]; explored [P], the steps that epsilon falls for; and adam.* as
    `nets.adam` keeps it.
    """

    name: ClassVar[str] = "dqn"
    actions: ClassVar[tuple[type[Space[Any]], ...]] = (spaces.Discrete,)
    defaults: ClassVar[dict[str, float]] = {
        "rate": 1e-4,
        "gamma": 0.99,
        "epsilon": 0.05,
        "exploration": 0.1,
        "tau": 1.0,
        "max_norm": 10.0,
    }

    length: int = 4
    batch: int = 32
    target_every: int = 10_000
    """Steps between two moves of the target network."""
    double: bool = False
    """van Hasselt et al. (2016): the online network chooses the action that the target network values."""
    dueling: bool = False
    """Wang et al. (2016): separate streams for the state's value and the actions' advantages."""
    shared: int = 1
    """Hidden layers that these streams share; what is left of `hidden`, each has for itself."""
    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        if self.dueling and self.shared > len(self.hidden):
            raise ValueError(
                f"dueling needs {self.shared} hidden layers that its streams share, got hidden={self.hidden}; "
                "name as many in hidden, or fewer in shared"
            )

    @cached_property
    def shapes(self) -> Shapes:
        """Shapes of the networks' leaves."""
        return shapes(self._networks(torch.Generator(), 1))

    def _networks(self, generator: torch.Generator, population: int) -> Tree:
        draw, (observation, choices) = nets.INITIAL[self.initial], self.sizes
        if not self.dueling:
            return draw(generator, population, (observation, *self.hidden, choices))
        trunk, stream = (observation, *self.hidden)[: self.shared + 1], self.hidden[self.shared - 1 :]
        layers = {"trunk": trunk, "value": (*stream, 1), "gain": (*stream, choices)}
        return {
            key: leaf
            for name, widths in layers.items()
            for key, leaf in prefixed(name, draw(generator, population, widths)).items()
        }

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Fresh agents with empty memories; hyper leaves [P]."""
        return {**super().init(hyper, steps, generator), "explored": hyper["exploration"] * steps}

    def start(self, hyper: Tree, generator: torch.Generator) -> Agent:
        """The network, its target and its optimizer; hyper leaves [P]."""
        flat = ravel(self._networks(generator, len(hyper["rate"])))
        return {"flat": flat, "target": flat.clone(), **prefixed("adam", nets.adam_memory(flat))}

    def values(self, flat: Tensor, observation: Tensor) -> Tensor:
        """Q of every action: networks [P, D], observations [P, N, O] -> [P, N, A]."""
        networks = unravel(flat, self.shapes)
        if not self.dueling:
            return nets.mlp(networks, observation, self.activation)
        features = nets.mlp(part(networks, "trunk"), observation, self.activation)
        features = nets.ACTIVATIONS[self.activation](features)
        gain = nets.mlp(part(networks, "gain"), features, self.activation)
        worth = nets.mlp(part(networks, "value"), features, self.activation)
        return worth + gain - gain.mean(-1, keepdim=True)

    def value(self, agent: Agent, observation: Tensor) -> Tensor:
        """Value of the most valued action: [P, N, O] -> [P, N]."""
        return self.values(agent["flat"], observation).amax(-1)

    def best(self, agent: Agent, observation: Tensor) -> Tensor:
        """Most valued actions: [P, N, O] -> [P, N]."""
        return self.values(agent["flat"], observation).argmax(-1)

    def act(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Epsilon-greedy actions, epsilon falling linearly from 1: [P, N, O] -> [P, N]."""
        seen, final = agent["seen"], agent["hyper.epsilon"]
        epsilon = (1 - (1 - final) * seen / agent["explored"]).maximum(final)
        epsilon = torch.where(seen < self.warmup, 1.0, epsilon)[:, None]  # [P, 1]
        chance = torch.rand(observation.shape[:2], generator=generator, device=observation.device)
        wild = torch.randint(self.sizes[1], observation.shape[:2], generator=generator, device=observation.device)
        return torch.where(chance < epsilon, wild, self.best(agent, observation))

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """Move the target network where it is time, then learn as every replaying learner."""
        before = int(agent["seen"][0])
        if (before + steps.reward[0].numel()) // self.target_every > before // self.target_every:
            agent = {**agent, "target": torch.lerp(agent["target"], agent["flat"], agent["hyper.tau"][:, None])}
        return super().update(agent, steps, generator)

    def improve(self, agent: Agent, batch: Tree) -> Tree:
        """One Adam step on the Huber loss of a minibatch, leaves [P, B, ...]: the leaves that it changes."""
        flat = agent["flat"].detach()
        with torch.no_grad():
            future = self.values(agent["target"], batch["following"])
            if self.double:
                chosen = self.values(flat, batch["following"]).argmax(-1, keepdim=True)
                future = future.gather(-1, chosen)[..., 0]
            else:
                future = future.amax(-1)
            target = batch["reward"] + agent["hyper.gamma"][:, None] * future * ~batch["terminated"]
        flat.requires_grad_()
        taken = self.values(flat, batch["observation"]).gather(-1, batch["action"][..., None])[..., 0]
        loss = torch.nn.functional.smooth_l1_loss(taken, target, reduction="none").mean(1)
        (gradient,) = torch.autograd.grad(loss.sum(), flat)
        gradient = nets.clip_norm(gradient, agent["hyper.max_norm"])
        flat, memory = nets.adam(flat.detach(), gradient, part(agent, "adam"), agent["hyper.rate"])
        return {"flat": flat, **prefixed("adam", memory)}
