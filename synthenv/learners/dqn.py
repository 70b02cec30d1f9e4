"""Deep Q-networks (Mnih et al. 2015), with double and dueling variants, P agents at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from synthenv import nets
from synthenv.learners.actor_critic import sizes
from synthenv.learners.base import Agent
from synthenv.rollout import Steps
from synthenv.tree import Shapes, Tree, part, prefixed, ravel, shapes, unravel
from synthenv.worlds.base import Spaces


@dataclass(frozen=True)
class DQN:
    """Replayed transitions, a target network, epsilon-greedy exploration; defaults of Stable-Baselines3.

    Members share the rows they replay (common random numbers), not what the rows hold.
    """

    name: ClassVar[str] = "dqn"
    defaults: ClassVar[dict[str, float]] = {
        "rate": 1e-4,
        "gamma": 0.99,
        "epsilon": 0.05,
        "exploration": 0.1,
        "tau": 1.0,
        "max_norm": 10.0,
    }

    spaces: Spaces
    envs: int = 1
    length: int = 4
    """Steps of every episode between two updates."""
    updates: int = 1
    """Gradient steps an update."""
    batch: int = 32
    capacity: int = 1_000_000
    """Transitions kept; no more is reserved than the budget can fill."""
    warmup: int = 100
    """Transitions before the first update, taken at random."""
    target_every: int = 10_000
    """Steps between two moves of the target network."""
    double: bool = False
    """van Hasselt et al. (2016): the online network chooses the action that the target network values."""
    dueling: bool = False
    """Wang et al. (2016): separate streams for the state's value and the actions' advantages."""
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """O and A."""
        return sizes(self.spaces)

    @cached_property
    def shapes(self) -> Shapes:
        """Shapes of the networks' leaves."""
        return shapes(self._networks(torch.Generator(), 1))

    def _networks(self, generator: torch.Generator, population: int) -> Tree:
        observation, choices = self.sizes
        if not self.dueling:
            return nets.init_uniform(generator, population, (observation, *self.hidden, choices))
        trunk, *streams = self.hidden
        layers = {"trunk": (observation, trunk), "value": (trunk, *streams, 1), "gain": (trunk, *streams, choices)}
        return {
            key: leaf
            for name, widths in layers.items()
            for key, leaf in prefixed(name, nets.init_uniform(generator, population, widths)).items()
        }

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Fresh agents with empty memories; hyper leaves [P]."""
        population, device = len(hyper["rate"]), generator.device
        flat = ravel(self._networks(generator, population))
        rows = min(self.capacity, -(-steps // (self.length * self.envs)) * self.length * self.envs)
        observation, _ = self.sizes
        memory = {
            "observation": torch.zeros((population, rows, observation), device=device),
            "following": torch.zeros((population, rows, observation), device=device),
            "action": torch.zeros((population, rows), dtype=torch.long, device=device),
            "reward": torch.zeros((population, rows), device=device),
            "terminated": torch.zeros((population, rows), dtype=torch.bool, device=device),
        }
        return {
            "flat": flat,
            "target": flat.clone(),
            "seen": torch.zeros(population, dtype=torch.long, device=device),
            "explored": hyper["exploration"] * steps,
            **prefixed("adam", nets.adam_memory(flat)),
            **prefixed("hyper", hyper),
            **prefixed("replay", memory),
        }

    def values(self, flat: Tensor, observation: Tensor) -> Tensor:
        """Q of every action: networks [P, D], observations [P, N, O] -> [P, N, A]."""
        networks = unravel(flat, self.shapes)
        if not self.dueling:
            return nets.mlp(networks, observation, self.activation)
        features = nets.ACTIVATIONS[self.activation](nets.mlp(part(networks, "trunk"), observation))
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
        """Remember steps [P, T, N, ...], then learn from replayed minibatches."""
        replay, before = part(agent, "replay"), int(agent["seen"][0])
        added, rows = steps.reward[0].numel(), replay["reward"].shape[1]
        place = torch.arange(before, before + added, device=steps.reward.device) % rows
        for name, leaf in replay.items():
            leaf[:, place] = getattr(steps, name).flatten(1, 2)
        seen = before + added
        agent = {**agent, "seen": agent["seen"] + added}
        if seen // self.target_every > before // self.target_every:
            tau = agent["hyper.tau"][:, None]
            agent["target"] = torch.lerp(agent["target"], agent["flat"], tau)
        if seen <= self.warmup:
            return agent
        flat, memory = agent["flat"].detach(), part(agent, "adam")
        for _ in range(self.updates):
            drawn = torch.randint(min(seen, rows), (self.batch,), generator=generator, device=place.device)
            flat, memory = self._descend(agent, flat, memory, {k: leaf[:, drawn] for k, leaf in replay.items()})
        return {**agent, "flat": flat, **prefixed("adam", memory)}

    def _descend(self, agent: Agent, flat: Tensor, memory: Tree, batch: Tree) -> tuple[Tensor, Tree]:
        """One Adam step on the Huber loss of a minibatch, leaves [P, B, ...]."""
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
        return nets.adam(flat.detach(), gradient, memory, agent["hyper.rate"])
