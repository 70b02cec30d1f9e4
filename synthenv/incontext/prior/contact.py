"""Mechanisms that meet something: walls, bounces, friction that holds, dead and saturated drives, switches.

The smooth mechanism below takes its step, then what it met changes the result. A switch is thrown where a combination
of the state passes a threshold and thrown back below a lower one, so that it remembers; while it is on, drives are
stronger, dead or reversed, there is a steady push, or the ground brakes.

State: q [4], v [4], c [2], switch [1].
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from synthenv.incontext.prior.base import Drawn, only, upright
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.mechanics import CONSTANTS, Mechanics, Q
from synthenv.tree import Tree

SWITCH = 2 * Q + CONSTANTS
"""Place of the switch in the state."""
FAR = 1e6
"""Where walls are that a world does not have."""


class Contact(Mechanics):
    """Second-order systems with discontinuities. Every world has one kind at least."""

    name: ClassVar[str] = "contact"

    def draw(self, dice: Dice, tasks: int) -> Drawn:
        """A mechanism and what it meets."""
        drawn = super().draw(dice, tasks)
        used = drawn.params["used"][..., 0] > 0
        walls, switch, friction, drive = dice.some(
            torch.ones((tasks, 4), dtype=torch.bool, device=dice.device), 0.4
        ).unbind(-1)
        plain = drawn.shown[:, :Q]
        met = {
            **_walls(dice, drawn, plain & walls[:, None]),
            **_switch(dice, used, switch),
            "friction": drawn.params["step"]
            * self.substeps
            * dice.log_uniform(0.1, 8, tasks, 1, Q)
            * (friction[:, None, None] & dice.chance(0.7, tasks, 1, Q)),
            "dead": dice.uniform(0.1, 0.7, tasks, 1, 1) * (drive[:, None, None] & dice.chance(0.6, tasks, 1, 1)),
            "strongest": torch.where(
                drive[:, None, None] & dice.chance(0.6, tasks, 1, 1), dice.uniform(0.2, 0.8, tasks, 1, 1), 1.0
            ),
        }
        told = (switch & dice.chance(0.8, tasks))[:, None]
        shown = torch.cat((drawn.shown, told), -1)
        params = {**drawn.params, **upright(met)}
        return drawn._replace(params=params, shown=shown, place=torch.cat((drawn.place, 0.2 * told), -1))

    def begin(self, params: Tree, dice: Dice, n: int) -> Tensor:
        """Between the walls, the switch off: [B, S, n]."""
        return self._confined(params, super().begin(params, dice, n), torch.zeros((), device=dice.device))

    def step(self, params: Tree, state: Tensor, action: Tensor, dice: Dice) -> Tensor:
        """[B, 12, N] after action [B, A, N]."""
        drive = action.clamp(-params["strongest"], params["strongest"]).mul_(action.abs() >= params["dead"])
        lever = torch.bmm(params["lever"], state[:, : 2 * Q])  # [B, 1, N]
        switch = torch.maximum(lever > params["on"], state[:, SWITCH : SWITCH + 1] * (lever >= params["off"]))
        drive.mul_(torch.addcmul(params["normal"], switch, params["drive"]))
        following = super().step(params, state, drive, dice)
        v = following[:, Q : 2 * Q]
        v.addcmul_(switch, params["shove"]).addcmul_(v, switch * params["brake"], value=-1)
        v.sub_(v.clamp(-params["friction"], params["friction"]))
        return self._confined(params, following, switch)

    def features(self, params: Tree, state: Tensor) -> Tensor:
        """A mechanism's, and the switch: [B, 21, R]."""
        return torch.cat((super().features(params, state), state[:, SWITCH : SWITCH + 1]), 1)

    def _confined(self, params: Tree, state: Tensor, switch: Tensor) -> Tensor:
        """States after walls have stopped, bounced or passed on what ran into them, in place."""
        q, v = state[:, :Q], state[:, Q : 2 * Q]
        inside = q.clamp(params["low"], params["high"])
        beyond = q - inside
        v.mul_(torch.where(beyond != 0, params["bounce"], 1.0))
        passed = torch.addcmul(beyond, params["width"], beyond.sign(), value=-1)  # from the other side
        torch.addcmul(inside, params["torus"], passed, out=q).clamp_(params["low"], params["high"])
        state[:, SWITCH : SWITCH + 1] = switch
        return state


def _walls(dice: Dice, drawn: Drawn, walled: Tensor) -> Tree:
    """Walls [B, 1, 4] on either side of where episodes begin, for coordinates walled [B, 4]."""
    tasks = len(walled)
    centre, spread = (drawn.params[name].mT[..., :Q] for name in ("centre", "spread"))
    round_about = walled[:, None] & dice.chance(0.12, tasks, 1, 1)
    sides = []
    for sign in (-1, 1):
        there = (walled & dice.chance(0.8, tasks, Q))[:, None] | round_about
        away = spread * dice.uniform(0.6, 1.3, tasks, 1, Q) + dice.log_uniform(0.03, 2, tasks, 1, Q)
        sides.append(torch.where(there, centre + sign * away, sign * FAR))
    bounce = torch.where(dice.chance(0.4, tasks, 1, 1), 0.0, -dice.uniform(0.2, 1, tasks, 1, Q))
    return {
        "low": sides[0],
        "high": sides[1],
        "width": sides[1] - sides[0],
        "torus": round_about.float(),
        "bounce": torch.where(round_about, 1.0, bounce),
    }


def _switch(dice: Dice, used: Tensor, there: Tensor) -> Tree:
    """What throws a switch and what it does, for worlds [B] that have one."""
    tasks, thrown = len(used), there[:, None, None]
    lever = dice.some(torch.cat((used, used), -1), 0.25).float() * dice.signs(tasks, 2 * Q)
    on = torch.where(thrown, 0.4 * dice.normal(tasks, 1, 1), FAR)
    gap = dice.log_uniform(0.02, 0.5, tasks, 1, 1) * dice.chance(0.4, tasks, 1, 1)
    effect = (
        dice.some(torch.ones((tasks, 3), dtype=torch.bool, device=dice.device), 0.3)[:, :, None, None] & thrown[:, None]
    )
    drive = torch.tensor([-1.0, 0.0, 0.3, 2.0], device=dice.device)[dice.pick((1, 1, 1, 1), tasks)][:, None, None]
    return {
        "lever": lever[..., None],
        "on": on,
        "off": on - gap,
        "normal": torch.ones((tasks, 1, 1), device=dice.device),
        "drive": torch.where(effect[:, 0], drive - 1, 0.0),
        "shove": dice.normal(tasks, 1, Q) * dice.log_uniform(0.02, 0.5, tasks, 1, 1) * effect[:, 1] * only(used),
        "brake": dice.uniform(0.05, 1, tasks, 1, 1) * effect[:, 2],
    }
