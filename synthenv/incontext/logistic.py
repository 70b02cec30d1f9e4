"""Where a task ends: logistic regression on powers of the state reached, many tasks at once.

Limits are linear in these features, and so are ellipsoids around a point. Fourth powers bulge such a ball into the
corners of a box, which squares alone would cut. Newton's steps on the penalised likelihood, in float64. Far beyond the
range of the states shown nothing is known, and no number goes on counting there: a position that ends nothing would
otherwise, far enough out, speak louder than the angle that does. A fourth power stops at the range itself.

Letters: B tasks, C context rows, Q queries, O observation slots, F = 3 O + 1 features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from synthenv.incontext.closed_form import Scaling, scaling

STEPS = 12
"""Newton steps."""
LENGTHS = (0.0, 0.02, 0.1, 0.3, 1.0)
"""How much of a Newton step may be taken: whole ones overshoot where few rows ended. The most likely is kept."""
LIMIT = 10.0
"""Logits are kept within."""
BEYOND = 0.1
"""How far out of that range a number and its square still count, as a share of it: ends lie at its rim, and those who
meet one go on a little."""
PENALTY = 0.05
"""Of the squared weights, in transitions' worth of likelihood; the constant's is as small."""


class Logistic(NamedTuple):
    """Fitted regressions of B tasks."""

    states: Scaling
    seen: tuple[Tensor, Tensor]
    """[B, 1, O] each, the least and the greatest that was shown, scaled."""
    weights: Tensor
    """[B, F, 1]"""
    own: Tensor
    """[B, C] float32, logits on the context itself."""

    def predict(self, following: Tensor) -> Tensor:
        """Logits [B, Q] of having ended in the states following [B, Q, O]."""
        return _logits(_features(self.states(following.double()), *self.seen), self.weights)


def logistic(following: Tensor, ended: Tensor) -> Logistic:
    """Fit to states reached [B, C, O] and whether the task ended there [B, C]."""
    states = scaling(following.double())
    reached = states(following.double())
    low, high = reached.amin(1, keepdim=True), reached.amax(1, keepdim=True)
    phi, label = _features(reached, low, high), ended.double()[..., None]
    rate = (label.sum(1) + 0.1) / (label.shape[1] + 1)  # [B, 1]
    weights = torch.zeros_like(phi[:, 0])[..., None]
    weights[:, -1] = torch.logit(rate)
    rest = torch.eye(phi.shape[-1], dtype=phi.dtype, device=phi.device) * PENALTY
    begin = weights
    for _ in range(STEPS):
        chance = torch.sigmoid(phi @ weights)
        slope = phi.mT @ (label - chance) - PENALTY * (weights - begin)
        bend = (phi * (chance * (1 - chance))).mT @ phi + rest
        tried = weights + torch.linalg.solve(bend, slope) * slope.new_tensor(LENGTHS)  # [B, F, K]
        best = _likelihood(phi, label, tried, begin).argmax(-1)  # [B]
        weights = tried.gather(-1, best[:, None, None].expand_as(weights))
    return Logistic(states, (low, high), weights, _logits(phi, weights))


def _likelihood(phi: Tensor, label: Tensor, weights: Tensor, begin: Tensor) -> Tensor:
    """Penalised log-likelihood [B, K] of K weights a task, [B, F, K]."""
    logit = phi @ weights  # [B, C, K]
    told = label * logit - functional.softplus(logit)
    return told.sum(1) - 0.5 * PENALTY * (weights - begin).square().sum(1)


def _logits(phi: Tensor, weights: Tensor) -> Tensor:
    """[B, N, F], [B, F, 1] -> [B, N]; powers grow without end, certainty should not."""
    return (phi @ weights)[..., 0].clamp(-LIMIT, LIMIT).float()


def _features(states: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """States [B, N, O], the range shown [B, 1, O] -> [B, N, 3 O + 1]: first, second and fourth powers, and one.

    The fourth is that of half a state, which the penalty makes dearer: its own would believe few rows too much.
    """
    rim = BEYOND * (high - low)
    near = states.clamp(low - rim, high + rim)
    inside = states.clamp(low, high)
    return torch.cat((near, near.square(), (inside / 2) ** 4, torch.ones_like(states[..., :1])), -1)
