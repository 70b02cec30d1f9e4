"""What a world model is asked about transitions it has not seen, and how its answers are marked."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.classical import Model
from benchmarks.world_data import change
from synthenv.incontext.transitions import Transitions

Array = npt.NDArray[np.float64]

HORIZON, WINDOWS = 20, 200
"""Steps of an open-loop prediction, and how many are made."""
LOST = 10.0
"""A window's error counts no more than this: ten times that of expecting no change at all."""
NEAR = 1e-6
"""Of the root mean square change: intervals need not be right, nor spreads believed, to less than this."""
FEWEST = 5
"""Ends, or windows, below which a figure would be chance and is left out."""


class Marks(NamedTuple):
    """The figures of one model on one examination; None where there is nothing to mark.

    nmse: squared error of the change over the squared change, mean over the numbers of an observation that change; 1 is
    what "nothing changes" gets. open_loop: the same after 20 steps of its own predictions, errors over the squared
    change in 20 steps, mean over windows. coverage: how often the truth lies within the 90 % interval. nll: negative
    log likelihood of a normal distribution, in units of the root mean square change. reward: squared error over
    variance. auroc: how well ends are told from the rest.
    """

    nmse: float | None
    open_loop: float | None
    coverage: float | None
    nll: float | None
    reward: float | None
    auroc: float | None


def examine(model: Model, test: Transitions) -> Marks:
    """Mark a model on transitions."""
    guess = model.guess(test.observation, test.action)
    truth, observed = change(test), test.observation.astype(np.float64)
    power = np.square(truth).mean(0)  # [O]
    moving = power > 1e-12 * np.square(observed).mean(0)
    size = np.sqrt(power[moving])
    error = (guess.change - truth)[:, moving] / size
    spread = np.maximum(guess.spread[:, moving] / size, NEAR)
    near = NEAR * np.sqrt(power)
    nll = np.log(spread) + 0.5 * np.square(error / spread) + 0.5 * math.log(2 * math.pi)
    varied = test.reward.std() > 1e-6 * np.abs(test.reward).max()
    return Marks(
        nmse=float(np.square(error).mean()),
        open_loop=open_loop(model, test, moving),
        coverage=float(((guess.low <= truth + near) & (truth - near <= guess.high))[:, moving].mean()),
        nll=float(nll.mean()),
        reward=float(np.square(guess.reward - test.reward).mean() / test.reward.var()) if varied else None,
        auroc=auroc(guess.end, test.terminated),
    )


def open_loop(model: Model, test: Transitions, moving: npt.NDArray[np.bool_]) -> float | None:
    """Error after HORIZON steps fed with their own predictions, actions as they were taken."""
    starts = windows(test)
    if len(starts) < FEWEST:
        return None
    state = test.observation[starts].astype(np.float64)
    limit = 1e3 * (1 + np.abs(test.observation).max(0))
    for step in range(HORIZON):
        state = np.clip(np.nan_to_num(state + model.change(state, test.action[starts + step])), -limit, limit)
    truth = test.following[starts + HORIZON - 1]
    power = np.square(truth - test.observation[starts]).mean(0)[moving]
    square = np.square(state - truth)[:, moving] / np.maximum(power, 1e-12)
    return float(np.minimum(square.mean(1), LOST).mean())


def windows(test: Transitions) -> npt.NDArray[np.int64]:
    """Starts of windows that lie within an episode, evenly over the log, at most WINDOWS."""
    cuts = np.concatenate(([0], np.cumsum(test.terminated | test.truncated)))  # episodes that ended before a row
    starts = np.arange(len(test.reward) - HORIZON + 1)
    whole = starts[cuts[starts + HORIZON - 1] == cuts[starts]]  # the last step of a window may end the episode
    chosen: npt.NDArray[np.int64] = whole[np.linspace(0, len(whole) - 1, min(WINDOWS, len(whole))).astype(int)]
    return chosen


def auroc(score: Array, happened: npt.NDArray[np.bool_]) -> float | None:
    """Chance that a row where it happened scores above one where not, ties counting half; None where either is rare."""
    yes, no = int(happened.sum()), int((~happened).sum())
    if min(yes, no) < FEWEST:
        return None
    _, group, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[group]
    return float((rank[happened].sum() - yes * (yes + 1) / 2) / (yes * no))
