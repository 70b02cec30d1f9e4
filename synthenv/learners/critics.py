"""What SAC, TD3 and DDPG share: an actor that climbs what critics say of its actions, all learnt from replay.

In here minibatches lie in columns, [P, O, B], as `nets.columns` takes them, and Box actions are scaled to [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from gymnasium import spaces
from torch import Tensor

from synthenv import nets
from synthenv.learners.base import Agent
from synthenv.learners.replay import Replaying
from synthenv.rollout import Steps
from synthenv.tree import Tree, length, part, prefixed, ravel, unravel


@dataclass(frozen=True)
class Guided(Replaying):
    """An actor, and K critics of observation and action, the members' critics side by side as one batch.

    Discrete: a critic values all choices at once. Bootstrapping uses the least of the critics' targets.

    Agent: a replaying one's; flat [P, D], the actor; critics and target [P, K*D']; and for what is learnt, adam.flat.*
    and adam.critics.*, as `nets.adam` keeps it.
    """

    judges: ClassVar[int] = 2
    """K."""
    weight: ClassVar[float] = 1.0
    """Of the critics' squared errors."""

    activation: Literal["relu", "tanh"] = "relu"

    @property
    def heads(self) -> int:
        """Outputs of the actor."""
        return self.sizes[1]

    @cached_property
    def actor_sizes(self) -> tuple[int, ...]:
        """Layer sizes of the actor."""
        return (self.sizes[0], *self.hidden, self.heads)

    @cached_property
    def critic_sizes(self) -> tuple[int, ...]:
        """Layer sizes of a critic."""
        observation, action = self.sizes
        if self.box is None:
            return (observation, *self.hidden, action)
        return (observation + action, *self.hidden, 1)

    @cached_property
    def critic_length(self) -> int:
        """D', the parameters of a critic."""
        return length(nets.layout(self.critic_sizes))

    @cached_property
    def box(self) -> spaces.Box | None:
        """The action space, if it is a Box."""
        return self.spaces.action if isinstance(self.spaces.action, spaces.Box) else None

    def start(self, hyper: Tree, generator: torch.Generator) -> Agent:
        """Fresh networks, targets equal to the critics; hyper leaves [P]."""
        population, draw = len(hyper["rate"]), nets.INITIAL[self.initial]
        flat = ravel(draw(generator, population, self.actor_sizes))
        critics = ravel(draw(generator, population * self.judges, self.critic_sizes))
        critics = critics.reshape(population, -1)
        return {
            "flat": flat,
            "critics": critics,
            "target": critics.clone(),
            **prefixed("adam.flat", nets.adam_memory(flat)),
            **prefixed("adam.critics", nets.adam_memory(critics)),
        }

    def act(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Uniform actions while the memory warms up, then the actor's: [P, N, O] -> [P, N] or [P, N, A]."""
        if int(agent["seen"][0]) >= self.warmup:
            return self.explore(agent, observation, generator)
        episodes, device, (_, size) = observation.shape[:2], observation.device, self.sizes
        if self.box is None:
            return torch.randint(size, episodes, generator=generator, device=device)
        return self.scaled(2 * torch.rand((*episodes, size), generator=generator, device=device) - 1)

    def explore(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """The actor's actions with exploration: [P, N, O] -> [P, N] or [P, N, A]."""
        raise NotImplementedError

    def best(self, agent: Agent, observation: Tensor) -> Tensor:
        """The actor's actions without: [P, N, O] -> int64 [P, N] or [P, N, A]."""
        head = self.head(agent, observation)
        return head.argmax(-1) if self.box is None else self.scaled(head[..., : self.sizes[1]].tanh())

    def value(self, agent: Agent, observation: Tensor) -> Tensor:
        """What the critics expect of the best action: [P, N, O] -> [P, N]."""
        action = self.unit(self.best(agent, observation))
        return self.quality(agent["critics"], observation.mT, action if self.box is None else action.mT).amin(1)

    def head(self, agent: Agent, observation: Tensor) -> Tensor:
        """The actor's outputs: [P, N, O] -> [P, N, heads]."""
        return nets.mlp(self.actor(agent), observation, self.activation)

    def actor(self, agent: Agent) -> Tree:
        """The actor's network, leaves [P, ...], whose first A outputs are logits or unit actions before their tanh."""
        return unravel(agent["flat"], nets.layout(self.actor_sizes))

    def scaled(self, unit: Tensor) -> Tensor:
        """Box actions of unit ones, [..., A]."""
        middle, half = self._middle_and_half(unit)
        return torch.addcmul(middle, unit, half)

    def unit(self, action: Tensor) -> Tensor:
        """Unit actions of Box ones, [..., A]; Discrete ones as they are."""
        if self.box is None:
            return action
        middle, half = self._middle_and_half(action)
        return ((action - middle) / half).clamp(-1, 1)

    def _middle_and_half(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Middle and half width of the box, [A]."""
        assert self.box is not None
        ends = self.box.low, self.box.high
        low, high = (torch.as_tensor(end, dtype=like.dtype, device=like.device) for end in ends)
        return (high + low) / 2, (high - low) / 2

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """Remember steps [P, T, N, ...] with unit actions, then learn from replayed minibatches."""
        return super().update(agent, steps._replace(action=self.unit(steps.action)), generator)

    def judge(self, critics: Tensor, observation: Tensor, action: Tensor | None = None) -> Tensor:
        """All outputs of critics [P, K*D'] on observations [P, O, B] and, for a Box, actions [P, A, B].

        Returns [P, K, A, B] for Discrete actions, whichever is taken, and [P, K, 1, B] for a Box.
        """
        seen = observation if self.box is None or action is None else torch.cat((observation, action), 1)
        judges = critics.shape[1] // self.critic_length
        each = seen[:, None].expand(-1, judges, -1, -1).flatten(0, 1)  # [P, I, B] -> [P*K, I, B]
        told = nets.columns(critics.reshape(-1, self.critic_length), each, self.critic_sizes, self.activation)
        return told.reshape(len(critics), judges, *told.shape[1:])

    def taken(self, judged: Tensor, action: Tensor) -> Tensor:
        """What `judge` says of actions [P, B] or [P, A, B]: [P, K, B]."""
        if self.box is not None:
            return judged[:, :, 0]
        choices = torch.arange(judged.shape[2], device=judged.device)[:, None]
        return (judged * (action[:, None] == choices)[:, None]).sum(2)  # quicker than gather, there and back

    def quality(self, critics: Tensor, observation: Tensor, action: Tensor) -> Tensor:
        """Values of actions, [P, B] or [P, A, B], for observations [P, O, B]: [P, K, B]."""
        return self.taken(self.judge(critics, observation, action), action)

    def prepared(self, batch: Tree, generator: torch.Generator) -> Tree:
        """A minibatch, leaves [P, B, ...], with its vectors in columns, [P, ..., B]."""
        return {name: leaf.mT.contiguous() if leaf.dim() == 3 else leaf for name, leaf in batch.items()}

    def improve_critics(self, agent: Agent, batch: Tree, future: Tensor) -> tuple[Tree, Tensor]:
        """One step of the critics on squared errors; future [P, B], the value of what follows each transition.

        Returns the leaves that it changes, and what the critics judged before it, as `judge` does.
        """
        target = torch.addcmul(batch["reward"], agent["hyper.gamma"][:, None] * ~batch["terminated"], future)
        critics = agent["critics"].detach().requires_grad_()
        judged = self.judge(critics, batch["observation"], batch["action"])
        error = self.taken(judged, batch["action"]) - target[:, None]
        (slope,) = torch.autograd.grad(self.weight * error.square().mean(-1).sum(), critics)
        return self.climb(agent, "critics", slope), judged.detach()

    def climb(self, agent: Agent, name: str, slope: Tensor) -> Tree:
        """An Adam step of the leaf [P, D] called `name`: the leaves that it changes."""
        memory = part(agent, f"adam.{name}")
        flat, memory = nets.adam(agent[name].detach(), slope, memory, agent["hyper.rate"])
        return {name: flat, **prefixed(f"adam.{name}", memory)}
