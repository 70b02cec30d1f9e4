"""Pendulum-v1 in torch: P variants of the task, N episodes each, all in one operation a step."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.worlds.base import Outcome, Params, Spaces, State
from synthenv.worlds.physics import Physics, wrapped


class Pendulum(Physics):
    """A rod on a motor too weak to lift it at once, to be swung up and held.

    Constants of Gymnasium Pendulum-v1, whose every step it repeats; its episodes never terminate.
    State x [P, N, 2]: angle rad from upright, not wrapped, and spin rad/s.
    """

    name: ClassVar[str] = "Pendulum-v1"
    horizon: ClassVar[int] = 200
    SPIN, TORQUE, DT = 8.0, 2.0, 0.05  # rad/s, N m, s
    CONSTANTS: ClassVar[dict[str, float]] = {
        "gravity": 10.0,  # m/s^2
        "mass": 1.0,  # kg
        "length": 1.0,  # m
    }

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(dtype)
        reach = np.array([1, 1, self.SPIN], dtype=np.float32)
        action = spaces.Box(-self.TORQUE, self.TORQUE, (1,), dtype=np.float32)
        self.spaces = Spaces(spaces.Box(-reach, reach, dtype=np.float32), action)

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """Any angle, spin uniform in +-1, x [P, N, 2]."""
        shape = (len(params["gravity"]), n, 2)
        draw = 2 * torch.rand(shape, generator=generator, dtype=self.dtype, device=generator.device) - 1
        draw[..., 0] *= math.pi
        return {"x": draw}

    def observe(self, params: Params, state: State) -> Tensor:
        """Cosine and sine of the angle, and the spin, [P, N, 3]."""
        angle, spin = state["x"].unbind(-1)
        return torch.stack((angle.cos(), angle.sin(), spin), -1).float()

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One step of 50 ms under torque action [P, N, 1], clipped; costs what state and torque were before it."""
        gravity, mass, length = (params[name][:, None] for name in self.CONSTANTS)  # [P, 1]
        angle, spin = state["x"].unbind(-1)  # [P, N]
        torque = action[..., 0].to(self.dtype).clamp(-self.TORQUE, self.TORQUE)
        cost = torch.addcmul(torch.addcmul(wrapped(angle).square(), spin, spin, value=0.1), torque, torque, value=0.001)
        weight, inertia = 1.5 * gravity / length, mass * length.square() / 3
        push = torch.addcdiv(weight * angle.sin(), torque, inertia)
        spin = torch.add(spin, push, alpha=self.DT).clamp(-self.SPIN, self.SPIN)
        following = {"x": torch.stack((torch.add(angle, spin, alpha=self.DT), spin), -1)}
        going_on = torch.zeros_like(cost, dtype=torch.bool)
        return following, Outcome(self.observe(params, following), -cost.float(), going_on)
