"""CartPole-v1 in torch: P variants of the task, N episodes each, all in one operation a step."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.worlds.base import Outcome, Params, Spaces, State
from synthenv.worlds.physics import Physics


class CartPole(Physics):
    """Pole on a cart, pushed left or right.

    Barto, Sutton, Anderson (1983); constants of Gymnasium CartPole-v1, whose every step it repeats.
    State x [P, N, 4]: position m, velocity m/s, angle rad from upright, spin rad/s.
    """

    name: ClassVar[str] = "CartPole-v1"
    horizon: ClassVar[int] = 500
    PUSH, DT = 10.0, 0.02  # N, s
    TRACK, LEAN = 2.4, 12 * 2 * math.pi / 360  # m, rad
    CONSTANTS: ClassVar[dict[str, float]] = {
        "gravity": 9.8,  # m/s^2
        "cart_mass": 1.0,  # kg
        "pole_mass": 0.1,  # kg
        "half_length": 0.5,  # m
    }

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(dtype)
        reach = np.array([2 * self.TRACK, np.inf, 2 * self.LEAN, np.inf], dtype=np.float32)
        self.spaces = Spaces(spaces.Box(-reach, reach, dtype=np.float32), spaces.Discrete(2))

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """Uniform in +-0.05, x [P, N, 4]."""
        shape = (len(params["gravity"]), n, 4)
        draw = torch.rand(shape, generator=generator, dtype=self.dtype, device=generator.device)
        return {"x": 0.1 * draw - 0.05}

    def observe(self, params: Params, state: State) -> Tensor:
        """The state itself in float32, [P, N, 4]."""
        return state["x"].float()

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One Euler step of 20 ms; action [P, N] in {0, 1}; reward 1 a step."""
        gravity, cart, pole, half = (params[name][:, None] for name in self.CONSTANTS)  # [P, 1]
        position, velocity, angle, spin = state["x"].unbind(-1)  # [P, N]
        total, moment = cart + pole, pole * half
        sine, cosine = angle.sin(), angle.cos()
        push = (2 * self.PUSH) * action.to(self.dtype) - self.PUSH
        drive = (push + moment * spin.square() * sine) / total
        turn = (gravity * sine - cosine * drive) / (half * (4.0 / 3.0 - pole * cosine.square() / total))
        thrust = drive - moment * turn * cosine / total
        x = state["x"] + self.DT * torch.stack((velocity, thrust, spin, turn), -1)
        fell = (x[..., 0].abs() > self.TRACK) | (x[..., 2].abs() > self.LEAN)
        return {"x": x}, Outcome(x.float(), torch.ones_like(fell, dtype=torch.float32), fell)
