"""Sparse random networks: what follows is the state, kept or forgotten, plus a step of something nonlinear.

    s' = clip(keep s + step (network(s, a) + chain s + push a))

Every hidden unit sees a few inputs and every column listens to a few units, so that dependencies are a random sparse
graph; chains let a column be another's rate of change. Where network and chain are cut off, what is left is an
integrator within bounds.

State: s [12], of which up to ten columns are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from synthenv.incontext.prior.base import STATE, Drawn, draw_actions, draw_effects, only, scattered, steering, upright
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.settings import PriorSettings
from synthenv.incontext.rows import ACTIONS
from synthenv.tree import Tree

INPUTS = STATE + ACTIONS
RATIO = (2.7, 3.3)
"""An integrator of one column never has bounds this many times its strongest push: that is an evaluation task's."""


class Networks:
    """Random networks as differences of the state."""

    name: ClassVar[str] = "networks"

    def __init__(self, dice: Dice, settings: PriorSettings) -> None:
        """Width and depth are one draw for all worlds."""
        self.settings = settings
        low, high = settings.widths
        self.hidden = 4 * math.ceil(float(dice.log_uniform(low, high, 1)) / 4)
        self.depth = 1 + int(dice.pick((0.6, 0.3, 0.1), 1))

    def draw(self, dice: Dice, tasks: int) -> Drawn:
        """Everything else is a draw a world."""
        actions = draw_actions(dice, tasks, self.settings.discrete)
        used = dice.first(1 + dice.pick((0.2, 0.2, 0.15, 0.15, 0.1, 0.06, 0.05, 0.04, 0.03, 0.02), tasks), STATE)
        straight = dice.chance(0.15, tasks, 1, 1)  # an integrator
        step = dice.log_uniform(0.01, 1, tasks, 1, 1).masked_fill(straight, 1.0)
        mapped = dice.chance(0.15, tasks, 1, 1) & dice.chance(0.5, tasks, 1, STATE) & ~straight  # s' = network(s, a)
        pull = dice.log_uniform(0.05, 2, tasks, 1, STATE) * dice.chance(0.6, tasks, 1, 1)
        keep = torch.where(mapped, 0.0, 1 - step * pull.masked_fill(straight, 0.0))
        push = draw_effects(dice, actions, used) * dice.log_uniform(0.1, 3, tasks, 1, 1)
        push = torch.where(dice.chance(0.7, tasks, 1, 1) | straight, push, torch.zeros_like(push))
        alone = dice.some(used, 0.2)[:, None] & used[:, :, None]  # [B, from, to]
        chain = dice.normal(tasks, STATE, STATE) * alone * dice.chance(0.3, tasks, 1, STATE)
        strength = torch.where(mapped, 1.0, step) * only(used)
        bound = dice.log_uniform(0.7, 20, tasks, 1, STATE)
        ratio = bound / (strength * push).abs().amax(1, keepdim=True).clamp(min=1e-6)
        lone = (used.sum(1) == 1)[:, None, None] & (ratio > RATIO[0]) & (ratio < RATIO[1])
        params = {
            "keep": keep * only(used),
            "direct": torch.cat((chain.masked_fill(straight, 0.0), push), 1) * strength,
            **self._weights(dice, used, actions.acting),
            "bound": torch.where(lone, 2 * bound, bound).masked_fill(dice.chance(0.3, tasks, 1, 1) & ~straight, 1e3),
            "centre": dice.normal(tasks, 1, STATE) * dice.chance(0.5, tasks, 1, 1) * only(used),
            "spread": dice.log_uniform(0.02, 3, tasks, 1, 1) * dice.uniform(0.3, 1, tasks, 1, STATE) * only(used),
        }
        params["out"] = params["out"] * (strength * dice.log_uniform(0.3, 3, tasks, 1, 1)).masked_fill(straight, 0.0)
        shown = used & (dice.chance(0.97, tasks, STATE) | ~dice.chance(0.3, tasks, 1))
        steer = steering(dice, push.sign())
        reach = params["spread"][:, 0] + params["centre"][:, 0].abs() + 0.3
        return Drawn(upright(params), actions, shown, used.float(), reach, steer, dice.chance(0, tasks))

    def begin(self, params: Tree, dice: Dice, n: int) -> Tensor:
        """Uniform about a centre, [B, S, n]."""
        return scattered(dice, params["centre"], params["spread"], n).clamp_(-params["bound"], params["bound"])

    def step(self, params: Tree, state: Tensor, action: Tensor, dice: Dice) -> Tensor:
        """[B, 12, N] after action [B, 6, N]."""
        x = torch.cat((state, action), 1)
        following = torch.baddbmm(state * params["keep"], params["direct"], x)
        for layer in range(self.depth):
            x = bent(torch.baddbmm(params[f"b{layer}"], params[f"w{layer}"], x))
        return following.baddbmm_(params["out"], x).clamp_(-params["bound"], params["bound"])

    def ended(self, params: Tree, state: Tensor) -> Tensor | None:
        """Nowhere by itself: None, not [B, N]."""
        return None

    def features(self, params: Tree, state: Tensor) -> Tensor:
        """The state, [B, 12, R]."""
        return state

    def _weights(self, dice: Dice, used: Tensor, acting: Tensor) -> Tree:
        """Layers w0 [B, I, H], b0 [B, 1, H], ..., out [B, H, S]; few inputs a unit, few units a column."""
        tasks, hidden = len(used), self.hidden
        live = torch.cat((used, acting), -1)
        scale = dice.log_uniform(0.3, 4, tasks, 1, hidden)
        seen = dice.some(live[:, None].expand(-1, hidden, -1), 0.3).mT  # [B, I, H]
        weights = {"w0": dice.normal(tasks, INPUTS, hidden) * seen * scale, "b0": dice.normal(tasks, 1, hidden)}
        for layer in range(1, self.depth):
            mask = dice.chance(min(1.0, 4 / hidden), tasks, hidden, hidden)
            weights[f"w{layer}"] = dice.normal(tasks, hidden, hidden) * mask * dice.log_uniform(0.5, 2, tasks, 1, 1)
            weights[f"b{layer}"] = 0.5 * dice.normal(tasks, 1, hidden)
        heard = dice.chance(0.5, tasks, hidden, STATE) & dice.chance(0.8, tasks, 1, STATE)
        kinds = dice.some(torch.ones((tasks, len(BENDS)), dtype=torch.bool, device=dice.device), 0.4)
        heard = heard & kinds.repeat_interleave(hidden // len(BENDS), 1)[..., None]
        weights["out"] = dice.normal(tasks, hidden, STATE) * heard / heard.sum(1, keepdim=True).clamp(min=1).sqrt()
        return weights


def _stair(x: Tensor) -> Tensor:
    return torch.sigmoid(8 * x)


BENDS: tuple[Callable[[Tensor], Tensor], ...] = (torch.tanh, torch.sin, torch.relu, _stair)
"""Activations; each has a quarter of a layer's units, and a world listens to some of the four."""


def bent(x: Tensor) -> Tensor:
    """x [B, H, N] through the activations."""
    return torch.cat([bend(part) for bend, part in zip(BENDS, x.chunk(len(BENDS), 1), strict=True)], 1)
