"""The demonstration: one learner, one budget, once inside a synthetic environment and once in the real task."""

from __future__ import annotations

import time
from typing import NamedTuple

from stable_baselines3.common.callbacks import BaseCallback

from synthenv.sb3 import evaluate, train
from synthenv.threads import one_thread


class Student(NamedTuple):
    """A trained agent's record.

    curve: steps trained -> real return of every episode measured there; its last entry is the finished agent.
    """

    environment: str
    curve: dict[int, list[float]]
    steps: int
    cpu_seconds: float


class Watch(BaseCallback):
    """Measures the agent in the real task before every rollout, that is after every change of its policy."""

    def __init__(self, target: str, episodes: int, seed: int) -> None:
        super().__init__()
        self.target, self.episodes, self.seed = target, episodes, seed
        self.curve: dict[int, list[float]] = {}
        self.cpu_seconds = 0.0
        """Spent on measuring, so that training can be charged without it."""

    def measure(self) -> None:
        """Real returns of the agent as it stands."""
        start = time.process_time()
        self.curve[self.num_timesteps] = evaluate(self.model, self.target, self.episodes, self.seed).tolist()
        self.cpu_seconds += time.process_time() - start

    def _on_rollout_start(self) -> None:
        self.measure()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.measure()


def study(environment: str, target: str, steps: int, episodes: int, seed: int) -> Student:
    """PPO with SB3's default hyperparameters, trained in `environment` and measured in `target`."""
    watch = Watch(target, episodes, seed=seed + 1)
    start = time.process_time()
    with one_thread():
        model = train("ppo", environment, steps, seed=seed, callback=watch)
    cpu_seconds = time.process_time() - start - watch.cpu_seconds
    return Student(environment, watch.curve, model.num_timesteps, cpu_seconds)
