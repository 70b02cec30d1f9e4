"""MountainCar-v0 in torch: P variants of the task, N episodes each, all in one operation a step."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.worlds.base import Outcome, Params, Spaces, State
from synthenv.worlds.physics import Physics


class MountainCar(Physics):
    """A car too weak for the hill before it, which has to swing back first.

    Moore (1990); constants of Gymnasium MountainCar-v0, whose every step it repeats. The road is cos(3 m) steep.
    State x [P, N, 2]: position m, velocity m/step.
    """

    name: ClassVar[str] = "MountainCar-v0"
    horizon: ClassVar[int] = 200
    LEFT, RIGHT, SPEED = -1.2, 0.6, 0.07  # m, m, m/step
    CONSTANTS: ClassVar[dict[str, float]] = {
        "force": 0.001,  # m/step^2 at full throttle
        "gravity": 0.0025,  # m/step^2 on the steepest slope
        "goal": 0.5,  # m
    }

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(dtype)
        low, high = (np.array(side, dtype=np.float32) for side in ((self.LEFT, -self.SPEED), (self.RIGHT, self.SPEED)))
        self.spaces = Spaces(spaces.Box(low, high, dtype=np.float32), spaces.Discrete(3))

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """At rest, uniform in -0.6 to -0.4 m, x [P, N, 2]."""
        shape = (len(params["gravity"]), n)
        draw = torch.rand(shape, generator=generator, dtype=self.dtype, device=generator.device)
        return {"x": torch.stack((0.2 * draw - 0.6, torch.zeros_like(draw)), -1)}

    def observe(self, params: Params, state: State) -> Tensor:
        """The state itself in float32, [P, N, 2]."""
        return state["x"].float()

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One step of throttle left, none or right; action [P, N] in {0, 1, 2}; reward -1 a step."""
        x, arrived = self.roll(params, state, action.to(self.dtype) - 1)
        return {"x": x}, Outcome(x.float(), torch.full_like(arrived, -1, dtype=torch.float32), arrived)

    def roll(self, params: Params, state: State, throttle: Tensor) -> tuple[Tensor, Tensor]:
        """The next states [P, N, 2] under throttle [P, N] in -1 to 1, and which of them are at the goal [P, N]."""
        force, gravity, goal = (params[name][:, None] for name in self.CONSTANTS)  # [P, 1]
        position, velocity = state["x"].unbind(-1)  # [P, N]
        pull = torch.addcmul(force * throttle, gravity, (3 * position).cos(), value=-1)
        velocity = (velocity + pull).clamp(-self.SPEED, self.SPEED)
        position = (position + velocity).clamp(self.LEFT, self.RIGHT)
        velocity = torch.where(position > self.LEFT, velocity, velocity.relu())  # the wall on the left stops the car
        return torch.stack((position, velocity), -1), (position >= goal) & (velocity >= 0)
