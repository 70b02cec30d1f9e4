"""A task that somebody else might bring: `synthenv evolve --target tests.own_task:Swing-v0`."""

from __future__ import annotations

import math
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class Swing(gymnasium.Env):
    """A child on a swing rings a bell that hangs high; pushing with the movement, again and again, gets there.

    Every step costs 1 until the bell rings. Pushing one way moves the swing by a quarter of what is needed, and random
    pushes undo each other: who has not heard the bell has seen nothing but -1. The simulator takes its time.

    Observation: angle in rad from straight down, and its rate in rad a time unit. Actions: push back, push on.
    """

    PUSH, DT, BELL = 0.12, 0.25, 1.2

    def __init__(self, pause: float = 2e-4) -> None:
        self.observation_space = spaces.Box(np.array([-np.pi, -np.inf]), np.array([np.pi, np.inf]), dtype=np.float64)
        self.action_space = spaces.Discrete(2)
        self.pause = pause

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.angle, self.rate = self.np_random.uniform(-0.1, 0.1, 2)
        return np.array([self.angle, self.rate]), {}

    def step(self, action):
        time.sleep(self.pause)
        self.rate += self.DT * (self.PUSH * (2 * action - 1) - math.sin(self.angle))
        self.angle += self.DT * self.rate
        return np.array([self.angle, self.rate]), -1.0, bool(abs(self.angle) > self.BELL), False, {}


gymnasium.register("Swing-v0", Swing, max_episode_steps=100)
gymnasium.register("QuickSwing-v0", Swing, max_episode_steps=100, kwargs={"pause": 0.0})
