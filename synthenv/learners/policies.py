"""Policies as distributions over actions: one class for each kind of action space, both as Stable-Baselines3's.

A policy reads the head of its network, [P, N, A]: logits of A choices, or the middle of A dimensions. What it learns
besides is a tree `own` with leaves [P, ...]. M stands for N or T*N, any number of rows.
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol

import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.tree import Tree


class Policy(Protocol):
    """How actions follow from a head; they are int64 [P, N] for a Discrete space, float [P, N, A] for a Box."""

    defaults: ClassVar[dict[str, float]]
    """Hyperparameters that only this policy has, and their default values."""

    def start(self, hyper: Tree) -> Tree:
        """What it learns besides its network, leaves [P, ...], from hyperparameters [P]."""

    def draw(self, own: Tree, head: Tensor, generator: torch.Generator) -> Tensor:
        """Actions for a head [P, N, A]: [P, N] or [P, N, A]."""

    def best(self, head: Tensor) -> Tensor:
        """Likeliest actions for a head [P, N, A]: [P, N] or [P, N, A]."""

    def log_probability(self, own: Tree, head: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Of actions [P, M] or [P, M, A] for a head [P, M, A], and the entropy there; both [P, M]."""


def policy_of(action: spaces.Discrete | spaces.Box) -> Policy:
    """The policy for an action space."""
    return Gaussian(action) if isinstance(action, spaces.Box) else Categorical()


def clip(action: Tensor, box: spaces.Box) -> Tensor:
    """The nearest actions in the box: [..., A] -> [..., A]."""
    low, high = (torch.as_tensor(end, dtype=action.dtype, device=action.device) for end in (box.low, box.high))
    return action.clamp(low, high)


class Categorical:
    """Discrete actions: the head holds unnormalised log-probabilities."""

    defaults: ClassVar[dict[str, float]] = {}

    def start(self, hyper: Tree) -> Tree:
        """Nothing."""
        return {}

    def draw(self, own: Tree, head: Tensor, generator: torch.Generator) -> Tensor:
        """By the Gumbel-max trick: [P, N, A] -> int64 [P, N]."""
        noise = torch.empty_like(head).exponential_(generator=generator)
        return (head - noise.log()).argmax(-1)

    def best(self, head: Tensor) -> Tensor:
        """[P, N, A] -> int64 [P, N]."""
        return head.argmax(-1)

    def log_probability(self, own: Tree, head: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Of actions [P, M] for a head [P, M, A], and the entropy; both [P, M]."""
        log = head.log_softmax(-1)
        return log.gather(-1, action[..., None])[..., 0], -(log.exp() * log).sum(-1)


class Gaussian:
    """Box actions: independent normal distributions around the head, equally wide in every state.

    It knows nothing of the box but for `best`: draws may lie outside, and their probability is that of the draw.
    Own: log_std [P, 1, A].
    """

    defaults: ClassVar[dict[str, float]] = {"log_std": 0.0}

    def __init__(self, box: spaces.Box) -> None:
        self.box = box

    def start(self, hyper: Tree) -> Tree:
        """The same width in all dimensions, exp(log_std)."""
        return {"log_std": hyper["log_std"][:, None, None].repeat(1, 1, *self.box.shape)}

    def draw(self, own: Tree, head: Tensor, generator: torch.Generator) -> Tensor:
        """[P, N, A] -> [P, N, A], wherever they fall."""
        noise = torch.randn(head.shape, generator=generator, device=head.device)
        return torch.addcmul(head, own["log_std"].exp(), noise)

    def best(self, head: Tensor) -> Tensor:
        """The middle, clipped to the box: [P, N, A] -> [P, N, A]."""
        return clip(head, self.box)

    def log_probability(self, own: Tree, head: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Of actions [P, M, A] for a head [P, M, A], and the entropy; both [P, M]."""
        log_std = own["log_std"]
        surprise = ((action - head) / log_std.exp()).square()
        log = -(0.5 * surprise + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)
        entropy = (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)  # [P, 1]
        return log, entropy.expand_as(log)
