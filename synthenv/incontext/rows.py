"""Transitions as rows of numbers: what the prior makes, what solvers and the network take.

Tasks of different sizes share one layout. Each has so many observation and action slots, filled from the front; the
others hold 0. A discrete action is one-hot in the action slots, a Box is scaled to [-1, 1].

Letters: B tasks, C transitions of each, O observation slots, A action slots.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from synthenv.incontext.circles import Circles

OBSERVATIONS = 16
"""Observation slots: tasks with more numbers are refused."""
ACTIONS = 6
"""Action slots: tasks with more choices, or more numbers an action, are refused."""


class Rows(NamedTuple):
    """Transitions of B tasks.

    observation: [B, C, O] float32, before the action.
    action:      [B, C, A] float32, one-hot or in [-1, 1].
    reward:      [B, C] float32.
    following:   [B, C, O] float32, seen after the action and before any restart.
    terminated:  [B, C] bool, the task ended there.
    start:       [B, C] bool, the first transition of an episode.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    following: Tensor
    terminated: Tensor
    start: Tensor

    def pick(self, index: Tensor | slice) -> Rows:
        """The same transitions of every task: index [R] or a slice -> leaves [B, R, ...]."""
        return Rows(*(leaf[:, index] for leaf in self))


class Shape(NamedTuple):
    """Which slots tasks use.

    observed: [B, O] bool.  acting: [B, A] bool.  discrete: [B] bool, the action slots are one-hot.
    circles: pairs of slots that in every one of the tasks are cosine and sine of an angle.
    prize: what an end pays more than another step, in every one of the tasks.
    """

    observed: Tensor
    acting: Tensor
    discrete: Tensor
    circles: Circles = ()
    prize: float = 0.0
