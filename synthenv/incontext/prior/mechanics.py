"""Mechanisms: up to four coordinates that slide or turn, pushed by actions, springs, periodic forces and one another.

A coordinate's acceleration is

    W (r(q) * F),   F = springs q + damping v + push u + waves sin(H q + p) + whirl v^2 sin(H' q + p') + constants c,

where r(q) = 1 / (1 + e sin(H q + p)) makes inertia depend on the configuration, W couples the coordinates through a
random mass matrix, and c are constants of an episode. Coefficients are random, so that this is a space of mechanisms
around the ones in textbooks: a wave never comes alone, so that none of them is a plain pendulum or a valley.

State: q [4], v [4], c [2].
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from synthenv.incontext.prior.base import STATE, Drawn, draw_actions, draw_effects, only, scattered, steering, upright
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.settings import PriorSettings
from synthenv.incontext.rows import ACTIONS
from synthenv.tree import Tree

Q = 4
"""Coordinates at most."""
CONSTANTS = 2
"""Constants of an episode."""
WAVES = 8
"""Periodic functions of the coordinates."""
PLAIN, WRAPPED, CIRCLE = range(3)
"""How a coordinate is shown: as it is, within +-pi, or as cosine and sine."""
FEATURES = 4 * Q + 2 * CONSTANTS
"""What can be seen of a state: coordinates, cosines, sines, velocities, constants, the tip of a chain less those."""
METHODS = ((1, False), (2, False), (4, False), (1, True))
"""Steps within a step and whether each is a Runge-Kutta step, in the order of `PriorSettings.substeps`."""


class Mechanics:
    """Second-order systems with small steps."""

    name: ClassVar[str] = "mechanics"

    def __init__(self, dice: Dice, settings: PriorSettings) -> None:
        """How finely time is cut is one draw for all worlds."""
        self.settings = settings
        self.substeps, self.careful = METHODS[int(dice.pick(settings.substeps, 1))]

    def draw(self, dice: Dice, tasks: int) -> Drawn:
        """Everything else is a draw a world."""
        settings = self.settings
        actions = draw_actions(dice, tasks, settings.discrete)
        used = dice.first(1 + dice.pick((0.34, 0.38, 0.18, 0.1), tasks), Q)
        turns = used & dice.chance(settings.angles, tasks, Q)
        shown = torch.where(turns, dice.pick((0.35, 0.15, 0.5), tasks, Q), PLAIN)
        step = dice.log_uniform(*settings.step, tasks, 1, 1)
        step = step * torch.where(dice.chance(settings.gentle, tasks, 1, 1), 0.25, 1.0)
        params = {
            "used": only(used),
            "harmonics": _harmonics(dice, used, turns),
            "phase": dice.uniform(0, 2 * math.pi, tasks, 1, WAVES),
            "force": _forces(dice, used, turns, shown, draw_effects(dice, actions, used)),
            "bend": dice.uniform(0, 0.8, tasks, 1, Q) * dice.chance(0.5, tasks, 1, 1),
            "couple": _coupling(dice, used),
            "round": turns[:, None] & (shown != PLAIN)[:, None],
            "tip": dice.sparse(0.7, tasks, 2 * Q, CONSTANTS) * torch.cat((turns, turns), -1)[..., None],
            "step": step / self.substeps,
            "late": dice.chance(0.65, tasks, 1, 1).float(),
            "fastest": dice.log_uniform(1, 30, tasks, 1, Q).masked_fill_(dice.chance(0.6, tasks, 1, Q), 1e3),
            **_starts(dice, used, turns),
        }
        push = params["force"][:, 2 * Q : 2 * Q + ACTIONS]
        rest = torch.zeros((tasks, ACTIONS, STATE - 2 * Q), device=dice.device)
        steer = steering(dice, torch.cat((push, push, rest), -1).sign())
        visible = dice.chance(0.96, tasks, Q)
        constant = dice.chance(0.2, tasks, 1) & dice.chance(0.7, tasks, CONSTANTS)
        tip = (dice.chance(0.25, tasks, 1) & turns.any(-1, True)).expand(-1, CONSTANTS)
        circle = used & (shown == CIRCLE)
        seen = torch.cat((used & ~circle, circle, circle, used & visible, constant, tip), -1)
        weight = torch.tensor([1.0] * Q + [0.5] * 2 * Q + [0.35] * Q + [0.05] * CONSTANTS + [1.0] * CONSTANTS)
        place = torch.cat((used, circle, circle, used, constant, tip), -1) * weight.to(dice.device)
        spread = params["spread"][:, 0]
        reach = torch.cat((spread[:, : 2 * Q] + 0.3, torch.ones_like(spread[:, 2 * Q :])), -1)
        return Drawn(upright(params), actions, seen, place, reach, steer, dice.chance(0, tasks))

    def begin(self, params: Tree, dice: Dice, n: int) -> Tensor:
        """Uniform about a centre, [B, S, n]."""
        return scattered(dice, params["centre"], params["spread"], n)

    def step(self, params: Tree, state: Tensor, action: Tensor, dice: Dice) -> Tensor:
        """Semi-implicit or explicit Euler steps, or Runge-Kutta's: [B, S, N] -> [B, S, N]."""
        q, v, c = state[:, :Q], state[:, Q : 2 * Q], state[:, 2 * Q :]
        for _ in range(self.substeps):
            q, v = self._advance(params, q, v, c, action)
        return torch.cat((q, v, c), 1)

    def ended(self, params: Tree, state: Tensor) -> Tensor | None:
        """Nowhere by itself: None, not [B, N]."""
        return None

    def features(self, params: Tree, state: Tensor) -> Tensor:
        """q (within +-pi unless it is shown plain), cos q, sin q, v, c, and the tip of a chain less c: [B, 20, R]."""
        q, c = state[:, :Q], state[:, 2 * Q : 2 * Q + CONSTANTS]
        seen = state.new_empty((len(state), FEATURES, state.shape[2]))
        turned = seen[:, Q : 3 * Q]
        torch.cos(q, out=turned[:, :Q])
        torch.sin(q, out=turned[:, Q:])
        turns = (q / (2 * math.pi)).round_().mul_(params["round"])
        torch.sub(q, turns, alpha=2 * math.pi, out=seen[:, :Q])
        seen[:, 3 * Q : -CONSTANTS] = state[:, Q : 2 * Q + CONSTANTS]
        seen[:, -CONSTANTS:] = torch.baddbmm(c, params["tip"], turned, beta=-1)
        return seen

    def acceleration(self, params: Tree, q: Tensor, v: Tensor, c: Tensor, action: Tensor) -> Tensor:
        """[B, 4, N] of coordinates q and velocities v [B, 4, N] under action [B, A, N]."""
        wave = torch.baddbmm(params["phase"], params["harmonics"], q).sin_()  # [B, 8, N]
        whirl = v.square().mul_(wave[:, Q:])
        causes = torch.cat((q, v, action, wave, whirl, c[:, :CONSTANTS]), 1)
        force = torch.bmm(params["force"], causes)
        inertia = torch.addcmul(torch.ones_like(force), params["bend"], wave[:, :Q])
        return torch.bmm(params["couple"], force.div_(inertia))

    def _advance(self, params: Tree, q: Tensor, v: Tensor, c: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        step, fastest = params["step"], params["fastest"]
        if self.careful:
            return self._runge_kutta(params, q, v, c, action)
        push = self.acceleration(params, q, v, c, action)
        after = torch.addcmul(v, step, push).clamp_(-fastest, fastest)
        return torch.addcmul(q, step, torch.lerp(v, after, params["late"])), after

    def _runge_kutta(self, params: Tree, q: Tensor, v: Tensor, c: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        step = params["step"]
        first = self.acceleration(params, q, v, c, action)
        v2 = torch.addcmul(v, step, first, value=0.5)
        second = self.acceleration(params, torch.addcmul(q, step, v, value=0.5), v2, c, action)
        v3 = torch.addcmul(v, step, second, value=0.5)
        third = self.acceleration(params, torch.addcmul(q, step, v2, value=0.5), v3, c, action)
        v4 = torch.addcmul(v, step, third)
        fourth = self.acceleration(params, torch.addcmul(q, step, v3), v4, c, action)
        flow, push = v + 2 * (v2 + v3) + v4, first + 2 * (second + third) + fourth
        after = torch.addcmul(v, step, push, value=1 / 6).clamp(-params["fastest"], params["fastest"])
        return torch.addcmul(q, step, flow, value=1 / 6), after


def _harmonics(dice: Dice, used: Tensor, turns: Tensor) -> Tensor:
    """How waves depend on coordinates, [B, 4, 8]: whole numbers where they turn. Wave k is mostly coordinate k's."""
    tasks = len(used)
    whole = dice.pick((0.15, 0.7, 0.15), tasks, Q, WAVES).float() * dice.signs(tasks, Q, WAVES)
    rate = torch.where(turns[..., None], whole, dice.log_uniform(0.3, 4, tasks, Q, WAVES))
    own = torch.eye(Q, device=dice.device).bool()
    mostly = torch.cat((own | dice.chance(0.15, tasks, Q, Q), own | dice.chance(0.4, tasks, Q, Q)), -1)
    return rate * mostly * used[..., None]


def _forces(dice: Dice, used: Tensor, turns: Tensor, shown: Tensor, effects: Tensor) -> Tensor:
    """What each cause adds to each coordinate's force, [B, 28, 4], in the order of `acceleration`."""
    tasks, eye = len(used), torch.eye(Q, device=dice.device)
    cross = eye + (1 - eye) * dice.chance(0.15, tasks, Q, Q)
    held = only(used & (~turns | (shown == PLAIN))) * dice.chance(0.35, tasks, 1, Q)
    spring = -dice.log_uniform(0.1, 20, tasks, Q, Q) * eye * held
    damping = -dice.log_uniform(0.01, 3, tasks, Q, Q) * cross * dice.chance(0.6, tasks, 1, Q)
    damping = damping * (eye + (1 - eye) * dice.uniform(-0.3, 0.3, tasks, Q, Q))
    push = effects * dice.log_uniform(0.5, 20, tasks, 1, Q)
    strength = dice.log_uniform(0.3, 15, tasks, 1, Q) * dice.chance(0.75, tasks, 1, Q)
    size = torch.cat((eye + 0.3 * (1 - eye) * dice.normal(tasks, Q, Q), cross * dice.uniform(0.1, 0.6, tasks, Q, Q)), 1)
    wave = size * strength * dice.signs(tasks, WAVES, Q)
    whirl = dice.sparse(0.4, tasks, Q, Q) * dice.uniform(0, 0.6, tasks, 1, Q) * dice.chance(0.6, tasks, 1, 1)
    steady = dice.sparse(0.3, tasks, CONSTANTS, Q) * dice.chance(0.08, tasks, 1, 1)
    return torch.cat((spring, damping, push, wave, whirl, steady), 1) * only(used)


def _coupling(dice: Dice, used: Tensor) -> Tensor:
    """A random symmetric positive definite matrix [B, 4, 4] near the identity; the identity for a third of worlds."""
    tasks, eye = len(used), torch.eye(Q, device=dice.device)
    root = eye + 0.35 * dice.normal(tasks, Q, Q) * dice.chance(0.67, tasks, 1, 1)
    return torch.bmm(root, root.mT) * only(used) * used.float()[..., None]


def _starts(dice: Dice, used: Tensor, turns: Tensor) -> Tree:
    """Where episodes begin: centre and half-width [B, 1, 12]; angles anywhere in a third of worlds."""
    tasks = len(used)
    around = turns & dice.chance(0.35, tasks, 1)
    where = torch.where(turns, dice.uniform(-math.pi, math.pi, tasks, Q), dice.normal(tasks, Q))
    where = where * dice.chance(0.6, tasks, 1)
    near = dice.log_uniform(0.02, 2, tasks, 1) * dice.log_uniform(0.5, 2, tasks, Q)
    speed = dice.log_uniform(0.02, 3, tasks, 1) * dice.chance(0.75, tasks, 1) * dice.uniform(0.3, 1, tasks, Q)
    nothing = torch.zeros((tasks, STATE - 2 * Q), device=dice.device)
    constant = nothing.clone()
    constant[:, :CONSTANTS] = dice.log_uniform(0.05, 1.5, tasks, CONSTANTS)
    spread = torch.cat((torch.where(around, math.pi, near) * used, speed * used, constant), -1)
    centre = torch.cat((where * used, torch.zeros_like(where), nothing), -1)
    return {"centre": centre[:, None], "spread": spread[:, None]}
