"""Acrobot-v1 in torch: P variants of the task, N episodes each, all in one operation a step."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.worlds.base import Outcome, Params, Spaces, State
from synthenv.worlds.physics import Physics, wrapped


class Acrobot(Physics):
    """Two links hanging from a bar, swung up by a motor at the joint between them.

    Sutton (1996) with the equations of Sutton and Barto's book; constants of Gymnasium Acrobot-v1, whose every step
    it repeats, integrated by Runge and Kutta's fourth-order rule.
    State x [P, N, 4]: angle of the first link rad from hanging, angle of the second rad from the first, spins rad/s.
    """

    name: ClassVar[str] = "Acrobot-v1"
    horizon: ClassVar[int] = 500
    DT, TORQUE = 0.2, 1.0  # s, N m
    SPINS: ClassVar[tuple[float, float]] = (4 * math.pi, 9 * math.pi)  # rad/s
    CONSTANTS: ClassVar[dict[str, float]] = {
        "gravity": 9.8,  # m/s^2
        "length_1": 1.0,  # m; the second link's length moves nothing
        "mass_1": 1.0,  # kg
        "mass_2": 1.0,
        "centre_1": 0.5,  # m from the link's upper end to its centre of mass
        "centre_2": 0.5,
        "inertia": 1.0,  # kg m^2, of either link
    }

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(dtype)
        reach = np.array([1, 1, 1, 1, *self.SPINS], dtype=np.float32)
        self.spaces = Spaces(spaces.Box(-reach, reach, dtype=np.float32), spaces.Discrete(3))

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """Uniform in +-0.1, x [P, N, 4]."""
        shape = (len(params["gravity"]), n, 4)
        draw = torch.rand(shape, generator=generator, dtype=self.dtype, device=generator.device)
        return {"x": 0.2 * draw - 0.1}

    def observe(self, params: Params, state: State) -> Tensor:
        """Cosine and sine of each angle, then the spins, [P, N, 6]."""
        one, two, *spins = state["x"].unbind(-1)
        return torch.stack((one.cos(), one.sin(), two.cos(), two.sin(), *spins), -1).float()

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One Runge-Kutta step of 0.2 s; action [P, N] in {0, 1, 2}; reward -1 until the tip is high enough."""
        angles, spins = state["x"].movedim(-1, 0).contiguous().split(2)  # [P, N, 4] -> [2, P, N] each
        torque, links = self.TORQUE * (action.to(self.dtype) - 1), self.links(params)
        pull_1 = links.accelerate(angles, spins, torque)
        spins_2 = torch.add(spins, pull_1, alpha=self.DT / 2)
        pull_2 = links.accelerate(torch.add(angles, spins, alpha=self.DT / 2), spins_2, torque)
        spins_3 = torch.add(spins, pull_2, alpha=self.DT / 2)
        pull_3 = links.accelerate(torch.add(angles, spins_2, alpha=self.DT / 2), spins_3, torque)
        spins_4 = torch.add(spins, pull_3, alpha=self.DT)
        pull_4 = links.accelerate(torch.add(angles, spins_3, alpha=self.DT), spins_4, torque)
        angles = wrapped(torch.add(angles, torch.add(spins + spins_4, spins_2 + spins_3, alpha=2), alpha=self.DT / 6))
        spins = torch.add(spins, torch.add(pull_1 + pull_4, pull_2 + pull_3, alpha=2), alpha=self.DT / 6)
        one, two = (spin.clamp(-limit, limit) for spin, limit in zip(spins, self.SPINS, strict=True))
        cosines, sines = angles.cos(), angles.sin()
        seen = torch.stack((cosines[0], sines[0], cosines[1], sines[1], one, two), -1).float()
        height = sines[0] * sines[1] - cosines[0] * cosines[1] - cosines[0]  # of the tip above the bar, in links
        arrived = height > 1
        return {"x": torch.stack((*angles, one, two), -1)}, Outcome(seen, arrived.float() - 1, arrived)

    def links(self, params: Params) -> Links:
        """The moments that follow from the constants of each member."""
        gravity, length, mass_1, mass_2, centre_1, centre_2, inertia = (params[k][:, None] for k in self.CONSTANTS)
        second = mass_2 * centre_2.square() + inertia
        first = mass_1 * centre_1.square() + mass_2 * length.square() + inertia + second
        weight_1 = gravity * (mass_1 * centre_1 + mass_2 * length)
        return Links(first, second, mass_2 * length * centre_2, weight_1, gravity * mass_2 * centre_2)


class Links(NamedTuple):
    """What gravity and inertia make of two links, [P, 1] each.

    first, second: kg m^2, moments of inertia about the bar (links at right angles) and about the joint.
    coupling:      kg m^2, by which the angle between the links changes both.
    weight_1:      N m, by which gravity turns the first link when it is level, the second hanging from its end.
    weight_2:      N m, by which it turns the second.
    """

    first: Tensor
    second: Tensor
    coupling: Tensor
    weight_1: Tensor
    weight_2: Tensor

    def accelerate(self, angles: Tensor, spins: Tensor, torque: Tensor) -> Tensor:
        """Changes of the spins [2, P, N] in rad/s^2, of links at these angles and spins under torque [P, N]."""
        (sine_1, sine_2), (cosine_1, cosine_2), (spin_1, spin_2) = angles.sin(), angles.cos(), spins
        bend, swing = self.coupling * cosine_2, self.coupling * sine_2
        both, cross = torch.add(self.first, bend, alpha=2), self.second + bend
        fall_2 = self.weight_2 * torch.addcmul(sine_1 * cosine_2, cosine_1, sine_2)
        whirl = swing * spin_2 * torch.add(spin_2, spin_1, alpha=2)
        fall_1 = torch.addcmul(fall_2 - whirl, self.weight_1, sine_1)
        push = torch.addcmul(torque - fall_2, swing, spin_1.square(), value=-1)
        pull_2 = torch.addcmul(both * push, cross, fall_1) / torch.addcmul(self.second * both, cross, cross, value=-1)
        return torch.stack((-torch.addcmul(fall_1, cross, pull_2) / both, pull_2))
