"""What an action costs, given a reward network's outputs in a state: one class for each kind of action space.

In both the best action is known in closed form, so a reward network is a policy as well, and needs no training to be
tried out. Outputs of the network are [P, N, K]; losses are never negative, and 0 for the best action.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.nets import last_layer, mlp
from synthenv.tree import Tree


class Payoff(Protocol):
    """How rewards depend on actions, int64 [P, N] for a Discrete space and float [P, N, A] for a Box."""

    @property
    def outputs(self) -> int:
        """K, how many numbers the reward network gives a state."""

    def best(self, outputs: Tensor) -> Tensor:
        """Best actions for outputs [P, N, K]: [P, N] or [P, N, A]."""

    def loss(self, outputs: Tensor, action: Tensor) -> Tensor:
        """What actions lose against the best: [P, N]."""

    def mean_loss(self, outputs: Tensor, height: Tensor) -> Tensor:
        """What a random action loses on average when losses are bounded by height [P, 1, 1]: [P, N]."""

    def standard(self, reward: Tree, u: Tensor, scale: float, activation: str) -> Tree:
        """The network with the same best actions, its losses over states u [1, M, O] as steep as `scale` says."""

    def soften(self, reward: Tree, factor: float) -> Tree:
        """The network with best actions that go from one to the other more gradually, if factor is below 1."""

    def adopt(self, actor: Tree) -> Tree:
        """The reward network with the best actions of an actor, whose outputs are logits, or begin with unit actions
        before they are squashed."""

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """How far apart actions are, [..., P, N] or [..., P, N, A] each: [..., P, N]."""

    def random(self, episodes: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Uniform actions for episodes (P, N): [P, N] or [P, N, A]."""

    def transition(self, observation: int, hidden: tuple[int, ...]) -> tuple[int, ...]:
        """Layer sizes of a network with these hidden layers that foresees a step from O observations."""

    def foresee(self, net: Tree, u: Tensor, action: Tensor, activation: str) -> Tensor:
        """Change of u [P, N, O] and logit of the end: [P, N, O+1]."""


def payoff_of(action: spaces.Space, margin: float = 0.0) -> Payoff:  # type: ignore[type-arg]
    """The payoff for an action space; margin is for a Box, see `Vertex`.

    Raises ValueError for a space that is neither Discrete nor a bounded 1-D Box, and for a margin that there cannot be.
    """
    if not 0 <= margin < 1:
        raise ValueError(f"expected a margin of 0 or more and below 1, a share of the box's half, got {margin}")
    if isinstance(action, spaces.Discrete):
        if margin:
            raise ValueError(f"a margin keeps actions off the edges of a Box, {action} has none; leave it at 0")
        return Choices(int(action.n))
    if isinstance(action, spaces.Box) and _takes(action):
        return Vertex(torch.as_tensor(action.low).float(), torch.as_tensor(action.high).float(), margin)
    raise ValueError(
        f"expected Discrete actions, or a bounded Box of one dimension, got {action}; rescale or flatten them with "
        "gymnasium.wrappers.RescaleAction or a wrapper of your own"
    )


def _takes(action: spaces.Box) -> bool:
    """Whether a Box is one row of bounded numbers, each with some room."""
    return len(action.shape) == 1 and action.is_bounded() and bool((action.high > action.low).all())


class Choices:
    """Discrete actions: the network gives each a reward, and an action loses what it lacks to the highest."""

    def __init__(self, choices: int) -> None:
        self.outputs = choices

    def best(self, outputs: Tensor) -> Tensor:
        """argmax_a r(s, a): [P, N, A] -> int64 [P, N]."""
        return outputs.argmax(-1)

    def loss(self, outputs: Tensor, action: Tensor) -> Tensor:
        """max_b r(s, b) - r(s, a) for actions [P, N]: [P, N]."""
        return outputs.amax(-1) - outputs.gather(-1, action[..., None])[..., 0]

    def mean_loss(self, outputs: Tensor, height: Tensor) -> Tensor:
        """Over all choices: [P, N, A] -> [P, N]."""
        return (height * ((outputs.amax(-1, keepdim=True) - outputs) / height).tanh()).mean(-1)

    def standard(self, reward: Tree, u: Tensor, scale: float, activation: str) -> Tree:
        """Rewards of mean 0 over actions in every state u [1, M, O]: what does not depend on the action is noise to a
        learner."""
        names = last_layer(reward)
        centred = {**reward, **{name: reward[name] - reward[name].mean(-1, keepdim=True) for name in names}}
        factor = scale / mlp(centred, u, activation).std().clamp(min=1e-6)
        return {**centred, **{name: centred[name] * factor for name in names}}

    def soften(self, reward: Tree, factor: float) -> Tree:
        """The same network: choices have nothing in between."""
        return reward

    def adopt(self, actor: Tree) -> Tree:
        """The same network: the highest logit is the highest reward."""
        return actor

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """1 where choices [...] differ: [...]."""
        return (one != other).float()

    def random(self, episodes: tuple[int, int], generator: torch.Generator) -> Tensor:
        """int64 [P, N]."""
        return torch.randint(self.outputs, episodes, generator=generator, device=generator.device)

    def transition(self, observation: int, hidden: tuple[int, ...]) -> tuple[int, ...]:
        """O to what each choice leads to."""
        return observation, *hidden, self.outputs * (observation + 1)

    def foresee(self, net: Tree, u: Tensor, action: Tensor, activation: str) -> Tensor:
        """The part of the outputs that belongs to action [P, N]: [P, N, O+1]."""
        every: Tensor = mlp(net, u, activation).unflatten(-1, (self.outputs, u.shape[-1] + 1))  # [P, N, A, O+1]
        index = action[..., None, None].expand(*action.shape, 1, u.shape[-1] + 1)
        return every.gather(-2, index)[..., 0, :]


class Vertex:
    """Box actions: the network gives the best action and how fast losses grow away from it, for each dimension.

    Near the best action mu the loss is the concave quadratic of NAF's advantage (Gu et al. 2016), sum_k exp(c_k) d_k^2
    for distances d_k = a_k - mu_k in actions scaled to [-1, 1]; beyond NEAR it grows like |d_k| (a pseudo-Huber loss).
    Agents that do not explore then still feel which way to go from afar, and critics need not fit large numbers.
    Outputs are m and c, [P, N, 2A], and mu = clip(STEEP m): a fresh network's outputs are small, and good policies
    often push as hard as they can. Actions outside the box count as clipped to it.

    With a margin above 0, best actions keep to the inner 1 - margin of the box, beyond which losses grow faster.
    Policies that are clipped feel nothing outside the box: one that strays there while it learns the rough shape of a
    task stays there, on the wrong side as well. The margin tells it before it is lost.
    """

    NEAR, STEEP, EDGE = 0.1, 4.0, 2.0

    def __init__(self, low: Tensor, high: Tensor, margin: float = 0.0) -> None:
        self.middle, self.half, self.inner = (high + low) / 2, (high - low) / 2, 1 - margin
        self.size = len(low)
        self.outputs = 2 * self.size

    def unit(self, action: Tensor) -> Tensor:
        """Actions [..., A] clipped to the box and scaled to [-1, 1]."""
        return ((action - self.middle.to(action.device)) / self.half.to(action.device)).clamp(-1, 1)

    def best(self, outputs: Tensor) -> Tensor:
        """The vertex: [P, N, 2A] -> float [P, N, A]."""
        mu = self.vertex(outputs)
        return torch.addcmul(self.middle.to(mu.device), mu, self.half.to(mu.device))

    def vertex(self, outputs: Tensor) -> Tensor:
        """Best unit actions mu of outputs [P, N, 2A]: [P, N, A]."""
        return (self.STEEP * outputs[..., : self.size]).clamp(-self.inner, self.inner)

    def loss(self, outputs: Tensor, action: Tensor) -> Tensor:
        """Weighted squared distance of actions [P, N, A] from the vertex: [P, N]."""
        return self.fall(self.unit(action), outputs)

    def fall(self, unit: Tensor, outputs: Tensor) -> Tensor:
        """Loss of unit actions [..., A] for outputs [..., 2A]: [...]."""
        beyond = (1 + ((unit - self.vertex(outputs)) / self.NEAR).square()).sqrt() - 1
        if self.inner < 1:
            beyond = beyond + self.EDGE * (unit.abs() - self.inner).clamp(min=0) / self.NEAR
        return (2 * self.NEAR**2 * outputs[..., self.size :].exp() * beyond).sum(-1)

    def mean_loss(self, outputs: Tensor, height: Tensor) -> Tensor:
        """Over the middles of nine equal parts of the box's diagonal: [P, N, 2A] -> [P, N]."""
        walk = torch.linspace(-8 / 9, 8 / 9, 9, device=outputs.device)[:, None]  # [9, 1]
        losses = self.fall(walk, outputs[..., None, :])  # [P, N, 1, 2A] -> [P, N, 9]
        return (height * (losses / height).tanh()).mean(-1)

    def standard(self, reward: Tree, u: Tensor, scale: float, activation: str) -> Tree:
        """The same curvature `scale` in every state u [1, M, O] and dimension."""
        names = last_layer(reward)
        weight, bias = (reward[name].clone() for name in names)
        weight[..., self.size :], bias[..., self.size :] = 0, math.log(scale)
        return {**reward, **dict(zip(names, (weight, bias), strict=True))}

    def soften(self, reward: Tree, factor: float) -> Tree:
        """The vertex times `factor` before it is clipped to the box: what switches from bound to bound then bends."""
        share = reward["b0"].new_ones(self.outputs)
        share[: self.size] = factor
        return {**reward, **{name: reward[name] * share for name in last_layer(reward)}}

    def adopt(self, actor: Tree) -> Tree:
        """Clipped where the actor squashes, and of curvature 1."""
        vertex = {name: actor[name][..., : self.size] / self.STEEP for name in last_layer(actor)}
        return {**actor, **{name: torch.cat((leaf, torch.zeros_like(leaf)), -1) for name, leaf in vertex.items()}}

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """Squared distance of actions [..., A], cut off at the box, in halves of it: [...]."""
        return (self.unit(one) - self.unit(other)).square().sum(-1)

    def random(self, episodes: tuple[int, int], generator: torch.Generator) -> Tensor:
        """float [P, N, A]."""
        share = torch.rand((*episodes, self.size), generator=generator, device=generator.device)
        return torch.addcmul(self.middle.to(share.device), 2 * share - 1, self.half.to(share.device))

    def transition(self, observation: int, hidden: tuple[int, ...]) -> tuple[int, ...]:
        """O and A to what follows."""
        return observation + self.size, *hidden, observation + 1

    def foresee(self, net: Tree, u: Tensor, action: Tensor, activation: str) -> Tensor:
        """One network for all actions [P, N, A]: [P, N, O+1]."""
        return mlp(net, torch.cat((u, self.unit(action)), -1), activation)
