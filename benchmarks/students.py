"""One Stable-Baselines3 agent: trained in one place, measured in the real task at several points of the same run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.harness import name, target
from synthenv.sb3 import evaluate, train
from synthenv.scores import Trial


class Lesson(NamedTuple):
    """What one agent goes through.

    budgets: ascending numbers of steps to measure after; the last is the length of training.
    """

    environment: str
    algorithm: str
    seed: int
    budgets: tuple[int, ...]
    episodes: int
    hyperparameters: Literal["default"] | Mapping[str, Any] = "default"
    n_envs: int = 1


def exam_seed(seed: int) -> int:
    """What an agent's measurements are seeded with: far from its training, and from those of other agents.

    The environments of a batch take seeds in a row, and agents that met the same first states would share their luck.
    """
    return 1_000_000 + 1_000 * seed


def study(lesson: Lesson) -> list[Trial]:
    """Train one agent and measure it, greedy, at every budget."""
    marks = Marks(lesson)
    model = train(
        lesson.algorithm, lesson.environment, lesson.budgets[-1], seed=lesson.seed, n_envs=lesson.n_envs,
        hyperparameters=lesson.hyperparameters, callback=marks, progress=False,
    )  # fmt: skip
    environment, algorithm = name(lesson.environment), type(model).__name__
    return [
        Trial(environment, algorithm, steps, lesson.seed, lesson.episodes, real_return, seconds)
        for steps, (real_return, seconds) in marks.found.items()
    ]


class Marks(BaseCallback):
    """Measures the policy that takes the first step beyond each budget, and after the last budget the final policy.

    That is the policy made of no more steps than the budget: PPO's of 1,000 steps is untrained, for it first learns
    after 2,048. Only at the end is what SB3 rounds up to kept, as `learn(10_000)` would leave it.
    """

    def __init__(self, lesson: Lesson) -> None:
        super().__init__()
        self.lesson, self.waiting = lesson, list(lesson.budgets)
        self.target, self.began = target(lesson.environment), 0.0
        self.found: dict[int, tuple[float, float]] = {}
        """Budget -> mean real return, and CPU seconds of training alone until there."""

    def measure(self) -> None:
        """The mark at the next budget."""
        trained = time.process_time() - self.began
        returns = evaluate(self.model, self.target, self.lesson.episodes, exam_seed(self.lesson.seed))
        self.found[self.waiting.pop(0)] = (float(returns.mean()), round(trained, 3))
        self.began = time.process_time() - trained

    def _on_training_start(self) -> None:
        self.began = time.process_time()

    def _on_step(self) -> bool:
        while len(self.waiting) > 1 and self.num_timesteps - self.lesson.n_envs >= self.waiting[0]:
            self.measure()
        return True

    def _on_training_end(self) -> None:
        self.measure()
