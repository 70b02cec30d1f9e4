"""Linear and bilinear systems, s' = s + step (A s + push a + b) + a_0 step N s, with random spectra.

A is a random basis around rotations that grow or fade, so that modes are fast and slow, oscillating or not. In a third
of worlds some columns come from A of a chain, in which each column is the next one's rate of change.

State: s [12], of which up to eight columns are used.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from synthenv.incontext.prior.base import STATE, Drawn, draw_actions, draw_effects, only, scattered, steering, upright
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.settings import PriorSettings
from synthenv.tree import Tree


class Linear:
    """What classical control theory is about."""

    name: ClassVar[str] = "linear"

    def __init__(self, dice: Dice, settings: PriorSettings) -> None:
        """Nothing is common to all worlds."""
        self.settings = settings

    def draw(self, dice: Dice, tasks: int) -> Drawn:
        """Everything is a draw a world."""
        actions = draw_actions(dice, tasks, self.settings.discrete)
        used = dice.first(1 + dice.pick((0.08, 0.22, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05), tasks), STATE)
        step = dice.log_uniform(0.01, 0.7, tasks, 1, 1)
        flow = _flow(dice, used) * step
        once = torch.bmm(flow, flow)
        follow = flow + once / 2 + torch.bmm(flow, once) / 6  # exp(flow) - 1, nearly
        push = draw_effects(dice, actions, used) * dice.log_uniform(0.3, 5, tasks, 1, 1) * step
        twist = dice.sparse(0.3, tasks, STATE, STATE) * dice.uniform(0, 1, tasks, 1, 1) * dice.chance(0.35, tasks, 1, 1)
        eye = torch.eye(STATE, device=dice.device)
        params = {
            "causes": torch.cat((eye + follow, push, twist * step * only(used)), 1) * only(used),
            "offset": 0.5 * step * dice.normal(tasks, 1, STATE) * dice.chance(0.4, tasks, 1, 1) * only(used),
            "bound": dice.log_uniform(1, 20, tasks, 1, STATE).masked_fill_(dice.chance(0.75, tasks, 1, 1), 50.0),
            "centre": dice.normal(tasks, 1, STATE) * dice.chance(0.5, tasks, 1, 1) * only(used),
            "spread": dice.log_uniform(0.02, 3, tasks, 1, 1) * dice.uniform(0.3, 1, tasks, 1, STATE) * only(used),
        }
        steer = steering(dice, push.sign())
        reach = params["spread"][:, 0] + params["centre"][:, 0].abs() + 0.3
        return Drawn(upright(params), actions, used, used.float(), reach, steer, dice.chance(0, tasks))

    def begin(self, params: Tree, dice: Dice, n: int) -> Tensor:
        """Uniform about a centre, [B, S, n]."""
        return scattered(dice, params["centre"], params["spread"], n).clamp_(-params["bound"], params["bound"])

    def step(self, params: Tree, state: Tensor, action: Tensor, dice: Dice) -> Tensor:
        """[B, 12, N] after action [B, 6, N]; the first action also turns the system."""
        x = torch.cat((state, action, state * action[:, :1]), 1)
        return torch.baddbmm(params["offset"], params["causes"], x).clamp_(-params["bound"], params["bound"])

    def ended(self, params: Tree, state: Tensor) -> Tensor | None:
        """Nowhere by itself: None, not [B, N]."""
        return None

    def features(self, params: Tree, state: Tensor) -> Tensor:
        """The state, [B, 12, R]."""
        return state


def _flow(dice: Dice, used: Tensor) -> Tensor:
    """Rates A [B, from, to] with eigenvalues of decay 0 to 2, a few of growth, and of turning 0 to 5."""
    tasks, half = len(used), STATE // 2
    decay = -dice.log_uniform(0.01, 2, tasks, STATE) * torch.where(dice.chance(0.1, tasks, STATE), -0.2, 1.0)
    turn = dice.log_uniform(0.1, 5, tasks, half) * dice.chance(0.6, tasks, half)
    core = torch.diag_embed(decay)
    even = torch.arange(0, STATE, 2, device=dice.device)
    core[:, even, even + 1] = turn
    core[:, even + 1, even] = -turn
    basis = torch.eye(STATE, device=dice.device) + 0.4 * dice.sparse(0.4, tasks, STATE, STATE) * dice.uniform(
        0, 1, tasks, 1, 1
    )
    basis = basis * only(used) * used[..., None] + torch.diag_embed((~used).float())
    mixed, _ = torch.linalg.solve_ex(basis, core @ basis)
    chain = torch.diag_embed(dice.log_uniform(0.3, 3, tasks, STATE - 1), -1) + torch.diag_embed(
        decay * dice.chance(0.5, tasks, STATE)
    )
    flow = torch.where(dice.chance(0.35, tasks, 1, 1), chain, mixed)
    return flow.clamp(-20, 20) * only(used) * used[..., None]
