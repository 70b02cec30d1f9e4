"""MountainCarContinuous-v0 in torch: P variants of the task, N episodes each, all in one operation a step."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.worlds.base import Outcome, Params, State
from synthenv.worlds.mountain_car import MountainCar


class MountainCarContinuous(MountainCar):
    """The mountain car with a throttle that costs, and one prize at the goal.

    Moore (1990); constants of Gymnasium MountainCarContinuous-v0, whose every step it repeats; that one keeps its
    states in float32 whatever it is given, so a float64 episode follows it to float32 rounding.
    """

    name: ClassVar[str] = "MountainCarContinuous-v0"
    horizon: ClassVar[int] = 999
    PRIZE, COST = 100.0, 0.1
    CONSTANTS: ClassVar[dict[str, float]] = {
        "force": 0.0015,  # m/step^2 at full throttle
        "gravity": 0.0025,  # m/step^2 on the steepest slope
        "goal": 0.45,  # m
    }

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(dtype)
        self.spaces = self.spaces._replace(action=spaces.Box(-1, 1, (1,), dtype=np.float32))

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One step; action [P, N, 1] moves the car by what lies in -1 to 1 of it, and costs all of its square."""
        throttle = action[..., 0].to(self.dtype)
        x, arrived = self.roll(params, state, throttle.clamp(-1, 1))
        reward = self.PRIZE * arrived - self.COST * throttle.square()
        return {"x": x}, Outcome(x.float(), reward.float(), arrived)
