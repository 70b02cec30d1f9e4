"""How a mean follows a gradient uphill: Adam, or SGD with momentum, or ClipUp.

Memory is a tree, so that a search can be saved anywhere.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from synthenv.nets import adam, adam_memory
from synthenv.tree import Tree

Optimizer = Literal["adam", "momentum", "clip_up"]
"""adam: Kingma, Ba (2015). momentum: SGD with momentum 0.9. clip_up: Toklu et al. (2020)."""


def memory(optimizer: Optimizer, mean: Tensor) -> Tree:
    """What the optimizer remembers before its first step from mean [D]."""
    return adam_memory(mean[None]) if optimizer == "adam" else {"velocity": torch.zeros_like(mean)}


def ascend(optimizer: Optimizer, mean: Tensor, gradient: Tensor, memory: Tree, rate: float) -> tuple[Tensor, Tree]:
    """One step uphill: mean, gradient [D]; returns the new mean and memory."""
    if optimizer == "adam":
        stepped, memory = adam(mean[None], -gradient[None], memory, mean.new_tensor([rate]))
        return stepped[0], memory
    if optimizer == "clip_up":
        # The gradient gives only a direction: steps of length `rate`, and a velocity no longer than two of them.
        velocity = 0.9 * memory["velocity"] + rate * gradient / gradient.norm().clamp(min=1e-12)
        velocity = velocity * (2 * rate / velocity.norm().clamp(min=1e-12)).clamp(max=1.0)
    else:
        velocity = 0.9 * memory["velocity"] + rate * gradient
    return mean + velocity, {"velocity": velocity}
