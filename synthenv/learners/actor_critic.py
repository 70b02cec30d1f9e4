"""What policy-gradient learners share: separate actor and critic networks, sampling, generalized advantages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import torch
from gymnasium import Space, spaces
from torch import Tensor

from synthenv.learners import base
from synthenv.learners.base import Agent
from synthenv.learners.policies import Policy, policy_of
from synthenv.nets import INITIAL, Initial, init_orthogonal, mlp
from synthenv.rollout import Steps
from synthenv.tree import Shapes, Tree, part, prefixed, ravel, shapes, unravel
from synthenv.worlds.base import Spaces


@dataclass(frozen=True)
class ActorCritic:
    """A policy and a value network a member; how they learn is the subclass's part.

    Agent: flat [P, D] holds actor.* (O -> A), critic.* (O -> 1) and policy.*, what the policy has besides; hyper.* [P].
    """

    name: ClassVar[str]
    actions: ClassVar[tuple[type[Space[Any]], ...]] = (spaces.Discrete, spaces.Box)
    learning: ClassVar[dict[str, float]]
    """Hyperparameters, but for those of the policy."""

    spaces: Spaces
    envs: int = 1
    """Episodes played in parallel."""
    length: int = 5
    """Steps of every episode between two updates."""
    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu", "silu"] = "tanh"
    initial: Initial = "orthogonal"
    """First weights, as `nets.INITIAL` draws them; rl_zoo3's ortho_init: False is "uniform"."""
    compiled: bool = False
    """Whether gradient steps are compiled, once for every size; takes a C++ compiler and a quarter of a minute."""

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """O and A."""
        return base.sizes(self, self.spaces)

    @cached_property
    def policy(self) -> Policy:
        """What makes actions of the actor's outputs."""
        return policy_of(self.spaces.action)

    @cached_property
    def defaults(self) -> dict[str, float]:
        """Hyperparameters and their default values."""
        return {**self.learning, **self.policy.defaults}

    @cached_property
    def shapes(self) -> Shapes:
        """Shapes of the networks' leaves."""
        return shapes(self._networks(dict.fromkeys(self.defaults, torch.zeros(1)), torch.Generator()))

    def _networks(self, hyper: Tree, generator: torch.Generator) -> Tree:
        """As Stable-Baselines3 begins: the actor's last gain is 0.01 where weights are orthogonal."""
        population, (observation, size) = len(hyper["rate"]), self.sizes
        draw = INITIAL[self.initial]
        first = partial(init_orthogonal, last_gain=0.01) if self.initial == "orthogonal" else draw
        actor = first(generator, population, (observation, *self.hidden, size))
        critic = draw(generator, population, (observation, *self.hidden, 1))
        own = self.policy.start(hyper)
        return {**prefixed("actor", actor), **prefixed("critic", critic), **prefixed("policy", own)}

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Fresh agents; hyper leaves [P]."""
        return {"flat": ravel(self._networks(hyper, generator)), **prefixed("hyper", hyper)}

    def act(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Actions drawn from the policy: [P, N, O] -> int64 [P, N] or [P, N, A]."""
        networks = unravel(agent["flat"], self.shapes)
        return self.policy.draw(part(networks, "policy"), self.head(networks, observation), generator)

    def best(self, agent: Agent, observation: Tensor) -> Tensor:
        """Likeliest actions: [P, N, O] -> int64 [P, N] or [P, N, A]."""
        return self.policy.best(self.head(unravel(agent["flat"], self.shapes), observation))

    def value(self, agent: Agent, observation: Tensor) -> Tensor:
        """Expected discounted return: [P, N, O] -> [P, N]."""
        return self.worth(unravel(agent["flat"], self.shapes), observation)

    def head(self, networks: Tree, observation: Tensor) -> Tensor:
        """The actor, what the policy reads: [P, N, O] -> [P, N, A]."""
        return mlp(part(networks, "actor"), observation, self.activation)

    def worth(self, networks: Tree, observation: Tensor) -> Tensor:
        """The critic: [P, N, O] -> [P, N]."""
        return mlp(part(networks, "critic"), observation, self.activation)[..., 0]

    def actor(self, agent: Agent) -> Tree:
        """The actor's network, leaves [P, ...]: logits of choices, or means of a Gaussian over actions [..., A]."""
        return part(unravel(agent["flat"], self.shapes), "actor")

    def log_probability(self, networks: Tree, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Of actions [P, M] or [P, M, A] at observations [P, M, O], and the policy's entropy there; both [P, M]."""
        return self.policy.log_probability(part(networks, "policy"), self.head(networks, observation), action)

    def targets(self, agent: Agent, steps: Steps) -> tuple[Tensor, Tensor]:
        """Advantages and the critic's targets for steps [P, T, N, ...], both [P, T*N]."""
        networks, shape = unravel(agent["flat"], self.shapes), steps.reward.shape
        now, then = (
            self.worth(networks, seen.flatten(1, 2)).reshape(shape) for seen in (steps.observation, steps.following)
        )
        gain = advantages(steps, now, then, agent["hyper.gamma"], agent["hyper.lam"])
        return gain.flatten(1), (gain + now).flatten(1)


def advantages(steps: Steps, now: Tensor, then: Tensor, gamma: Tensor, lam: Tensor) -> Tensor:
    """Generalized advantage estimates (Schulman et al. 2016), [P, T, N].

    now, then [P, T, N]: the critic at `observation` and at `following`; gamma, lam [P]. A termination stops
    bootstrapping, a truncation only the trace.
    """
    gamma, lam = gamma[:, None, None], lam[:, None, None]
    delta = steps.reward + gamma * then * ~steps.terminated - now
    decay = gamma * lam * ~(steps.terminated | steps.truncated)
    trace = torch.zeros_like(delta[:, 0])
    traces = []
    for time in range(delta.shape[1] - 1, -1, -1):
        trace = torch.addcmul(delta[:, time], decay[:, time], trace)
        traces.append(trace)
    return torch.stack(traces[::-1], 1)
