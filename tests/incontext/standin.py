"""An engine of a few lines in closed form: enough to test what is built around engines, in milliseconds."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from synthenv.incontext import Simulator, Transitions, WorldModel
from synthenv.incontext.belief import GAUSSIAN
from synthenv.incontext.closed_form import Ridge, Scaling, ridge, scaling
from synthenv.incontext.model import Belief
from synthenv.incontext.rows import Rows, Shape


class Known(NamedTuple):
    fit: Ridge
    reached: Scaling
    end: Tensor  # [F]


class Quadratic:
    """Quadratic ridge for changes and rewards, a logistic regression on squares for ends, Gaussian beliefs."""

    def condition(self, rows: Rows, shape: Shape) -> Known:
        x = torch.cat((rows.observation, rows.action), -1)
        y = torch.cat((rows.following - rows.observation, rows.reward[..., None]), -1)
        reached = scaling(rows.following.double())
        end = logistic(squares(reached, rows.following)[0], rows.terminated[0].double())
        return Known(ridge(x, y, 2), reached, end)

    def believe(self, known: Any, observation: Tensor, action: Tensor) -> Belief:
        mean, sd = (leaf.float() for leaf in known.fit.predict(torch.cat((observation, action), -1)))  # [B, Q, Y]
        quantiles = mean[..., None] + sd[..., None] * torch.tensor(GAUSSIAN)
        change = mean[..., :-1]
        end = squares(known.reached, observation + change) @ known.end
        return Belief(change, quantiles[..., :-1, :], mean[..., -1], quantiles[..., -1, :], end.float())


def squares(reached: Scaling, following: Tensor) -> Tensor:
    """[B, N, O] -> [B, N, 2 O + 1]."""
    state = reached(following.double())
    return torch.cat((state, state.square(), torch.ones_like(state[..., :1])), -1)


def logistic(phi: Tensor, ended: Tensor) -> Tensor:
    """Weights [F] for features [C, F] and whether each row ended [C]: Newton's steps, each the best of some lengths."""
    weights, lengths = torch.zeros_like(phi[0]), 0.5 ** torch.arange(12, dtype=phi.dtype)
    penalty = 0.02 * torch.eye(phi.shape[1], dtype=phi.dtype)
    for _ in range(20):
        chance = (phi @ weights).sigmoid()
        slope = phi.T @ (ended - chance) - penalty @ weights
        step = torch.linalg.solve((phi * (chance * (1 - chance))[:, None]).T @ phi + penalty, slope)
        tried = weights + lengths[:, None] * step  # [12, F]
        labels = ended.expand(len(tried), -1)
        missed = binary_cross_entropy_with_logits(tried @ phi.T, labels, reduction="none").sum(1)
        weights = tried[(missed + (tried @ penalty * tried).sum(1) / 2).argmin()]
    return weights


@cache
def context(task: str = "CartPole-v1", n: int = 400, seed: int = 0) -> Transitions:
    """Transitions of random actions."""
    return Transitions.collect(task, n, seed=seed)


@cache
def simulator(task: str = "CartPole-v1") -> Simulator:
    """A simulator that tests share: they must not append to it."""
    return WorldModel(Quadratic()).condition(context(task))
