"""Draws synthetic states with the real task's own Gymnasium renderer."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

DRAWN = {"Acrobot-v1": 2, "CartPole-v1": 0, "MountainCar-v0": 0, "MountainCarContinuous-v0": 0, "Pendulum-v1": 1}
"""Real tasks whose state follows from an observation; how many angles (cosine, sine) the observation begins with."""


class Renderer:
    """A real task that never moves by itself: it is handed a state and asked for its picture."""

    def __init__(self, target: str, mode: str) -> None:
        if target not in DRAWN:
            raise ValueError(f"cannot draw {target}, only {', '.join(DRAWN)}; try render_mode=None")
        self.angles = DRAWN[target]
        self.env: Any = gymnasium.make(target, render_mode=mode).unwrapped
        self.env.reset(seed=0)
        self.fps = int(self.env.metadata["render_fps"])

    def draw(self, observation: npt.NDArray[np.float32]) -> Any:
        """The picture of observation [O]: an rgb array [height, width, 3], or None when shown to a human."""
        cosine, sine = observation[: 2 * self.angles].astype(np.float64).reshape(-1, 2).T  # [angles] each
        self.env.state = np.concatenate((np.arctan2(sine, cosine), observation[2 * self.angles :]))
        return self.env.render()

    def close(self) -> None:
        """Close the real task's window, if any."""
        self.env.close()
