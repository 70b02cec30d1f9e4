"""What policy-gradient learners share: separate actor and critic networks, sampling, generalized advantages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.learners.base import Agent
from synthenv.nets import init_orthogonal, mlp
from synthenv.rollout import Steps
from synthenv.tree import Shapes, Tree, part, prefixed, ravel, shapes, unravel
from synthenv.worlds.base import Spaces


def sizes(task: Spaces) -> tuple[int, int]:
    """O and A of a task with Discrete actions; raises ValueError for any other."""
    if not isinstance(task.action, spaces.Discrete):
        raise ValueError(f"expected a task with Discrete actions, got {task.action}; this learner has no other policy")
    return int(task.observation.shape[0]), int(task.action.n)


@dataclass(frozen=True)
class ActorCritic:
    """A policy and a value network a member; how they learn is the subclass's part.

    Agent: flat [P, D] holds actor.* (O -> A) and critic.* (O -> 1); hyper.* [P].
    """

    defaults: ClassVar[dict[str, float]]

    spaces: Spaces
    envs: int = 1
    """Episodes played in parallel."""
    length: int = 5
    """Steps of every episode between two updates."""
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """O and A."""
        return sizes(self.spaces)

    @cached_property
    def shapes(self) -> Shapes:
        """Shapes of the networks' leaves."""
        return shapes(self._networks(torch.Generator(), 1))

    def _networks(self, generator: torch.Generator, population: int) -> Tree:
        """Orthogonal, the actor's last gain 0.01, as Stable-Baselines3 begins."""
        observation, choices = self.sizes
        actor = init_orthogonal(generator, population, (observation, *self.hidden, choices), last_gain=0.01)
        critic = init_orthogonal(generator, population, (observation, *self.hidden, 1))
        return {**prefixed("actor", actor), **prefixed("critic", critic)}

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Fresh agents; hyper leaves [P]."""
        return {"flat": ravel(self._networks(generator, len(hyper["rate"]))), **prefixed("hyper", hyper)}

    def act(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """Actions drawn from the policy by the Gumbel-max trick: [P, N, O] -> int64 [P, N]."""
        unnormalised = self.logits(unravel(agent["flat"], self.shapes), observation)
        noise = torch.empty_like(unnormalised).exponential_(generator=generator)
        return (unnormalised - noise.log()).argmax(-1)

    def best(self, agent: Agent, observation: Tensor) -> Tensor:
        """Likeliest actions: [P, N, O] -> int64 [P, N]."""
        return self.logits(unravel(agent["flat"], self.shapes), observation).argmax(-1)

    def value(self, agent: Agent, observation: Tensor) -> Tensor:
        """Expected discounted return: [P, N, O] -> [P, N]."""
        return self.worth(unravel(agent["flat"], self.shapes), observation)

    def logits(self, networks: Tree, observation: Tensor) -> Tensor:
        """Unnormalised log-probabilities: [P, N, O] -> [P, N, A]."""
        return mlp(part(networks, "actor"), observation, self.activation)

    def worth(self, networks: Tree, observation: Tensor) -> Tensor:
        """The critic: [P, N, O] -> [P, N]."""
        return mlp(part(networks, "critic"), observation, self.activation)[..., 0]

    def log_probability(self, networks: Tree, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Of actions [P, M] at observations [P, M, O], and the policy's entropy there; both [P, M]."""
        log = self.logits(networks, observation).log_softmax(-1)
        return log.gather(-1, action[..., None])[..., 0], -(log.exp() * log).sum(-1)

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
