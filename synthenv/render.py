"""Draws synthetic states with the real task's own Gymnasium renderer."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt


class Renderer:
    """A real task that never moves by itself: it is handed a state and asked for its picture.

    Works for tasks whose observation is their state, as CartPole's and MountainCar's are.
    """

    def __init__(self, target: str, mode: str) -> None:
        self.env: Any = gymnasium.make(target, render_mode=mode).unwrapped
        self.fps = int(self.env.metadata.get("render_fps", 30))
        observation, _ = self.env.reset(seed=0)
        state: Any = getattr(self.env, "state", None)
        if np.shape(state) != observation.shape or not np.allclose(state, observation):
            self.close()
            raise ValueError(f"cannot draw {target}: its state is not its observation; try render_mode=None")

    def draw(self, observation: npt.NDArray[np.float32]) -> Any:
        """The picture of observation [O]: an rgb array [height, width, 3], or None when shown to a human."""
        self.env.state = observation.astype(np.float64)
        return self.env.render()

    def close(self) -> None:
        """Close the real task's window, if any."""
        self.env.close()
