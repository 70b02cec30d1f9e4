"""Transitions of the tasks in world_tasks: what models are shown, and what they are examined on.

Behaviours: "random" draws every action evenly; "sticky" keeps the last action with probability 0.9, which gets further;
"mixed" follows the task's simple controller and, three times in ten, a random action. Models are shown random actions
and examined on fresh episodes of random and of mixed ones.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from benchmarks.world_tasks import TASKS, make
from synthenv.incontext.transitions import Transitions

Array = npt.NDArray[Any]
BEHAVIOURS = ("random", "sticky", "mixed")
KEEP, NOISE = 0.9, 0.3
"""How likely the last action is kept, and a random one mixed in."""


@cache
def collect(task: str, rows: int, behaviour: str, seed: int) -> Transitions:
    """So many transitions of a task, from fresh episodes; fewer are the first of more."""
    env, chance = make(task), np.random.default_rng(seed)
    kind: Any = env.action_space

    def mixed(observation: Array) -> Any:
        """The controller's action or, sometimes, any."""
        if chance.random() < NOISE:
            return kind.sample()
        return np.asarray(TASKS[task].expert(observation), kind.dtype)[()]  # a number stays one

    log = Transitions.collect(
        env, rows, mixed if behaviour == "mixed" else "random", seed, KEEP if behaviour == "sticky" else 0.0
    )
    env.close()
    return log


def change(log: Transitions) -> npt.NDArray[np.float64]:
    """What each step did to the observation, [C, O]."""
    return log.following.astype(np.float64) - log.observation


def encoded(observation: Array, action: Array, kind: spaces.Discrete | spaces.Box) -> npt.NDArray[np.float64]:
    """Observations and actions side by side, a discrete action one-hot: [Q, O], [Q] or [Q, A] -> [Q, K]."""
    moves = np.eye(int(kind.n))[action - int(kind.start)] if isinstance(kind, spaces.Discrete) else action
    return np.concatenate((observation, moves), 1).astype(np.float64)
