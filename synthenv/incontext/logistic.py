"""Where a task ends: logistic regression on features of the state reached, many tasks at once.

Three shapes are tried. Squares tell limits, and ellipsoids along the axes. Fourth powers besides bulge a ball into the
corners of a box. Products of two numbers besides squares tilt it, and know angles of which sines and cosines are seen.
The shape of most evidence is taken (the penalty as a prior, and Laplace's approximation: MacKay 1992), products only
where it is clear: there are many, and among few rows some always seem to tell.

Newton's steps on the penalised likelihood, in float64. Far beyond the range of the states shown nothing is known, and
no number goes on counting there: a position that ends nothing would otherwise, far enough out, speak louder than the
angle that does. Fourth powers and products stop at the range itself.

Letters: B tasks, K shapes, C context rows, Q queries, O observation slots, F features.
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
CLEAR = 5.0
"""Logarithm of the odds that evidence for products must overcome."""
MOST = 8
"""Numbers of a state with which products are tried."""


class Logistic(NamedTuple):
    """Fitted regressions of B tasks."""

    states: Scaling
    seen: tuple[Tensor, Tensor]
    """[B, 1, O] each, the least and the greatest that was shown, scaled."""
    weights: Tensor
    """[B, F, 1], 0 for features that a task's shape does without."""
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
    phi = _features(reached, low, high)
    shapes, odds = _shapes(reached)
    weights, evidence = _fit(phi[:, None] * shapes[:, None], ended.double()[:, None, :, None])
    best = (evidence + odds).argmax(1)  # [B]
    chosen = weights[torch.arange(len(best), device=best.device), best]
    return Logistic(states, (low, high), chosen, _logits(phi, chosen))


def _fit(phi: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [B, K, F, 1] and the logarithm of their evidence [B, K], for features [B, K, C, F], labels [B, 1, C, 1].

    Features that are 0 throughout get no weight and change no evidence.
    """
    rate = (label.sum(2) + 0.1) / (label.shape[2] + 1)  # [B, 1, 1]
    begin = torch.zeros_like(phi[:, :, 0])[..., None]
    begin[..., -1, :] = torch.logit(rate)
    rest = torch.eye(phi.shape[-1], dtype=phi.dtype, device=phi.device) * PENALTY
    weights = begin
    for _ in range(STEPS):
        slope, bend = _slopes(phi, label, weights)
        slope = slope - PENALTY * (weights - begin)
        tried = weights + torch.linalg.solve(bend + rest, slope) * slope.new_tensor(LENGTHS)  # [B, K, F, L]
        best = _likelihood(phi, label, tried, begin).argmax(-1)  # [B, K]
        weights = tried.gather(-1, best[..., None, None].expand_as(weights))
    _, bend = _slopes(phi, label, weights)
    volume = torch.linalg.slogdet((bend + rest) / PENALTY).logabsdet
    return weights, _likelihood(phi, label, weights, begin)[..., 0] - volume / 2


def _slopes(phi: Tensor, label: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """First [B, K, F, 1] and, negative, second derivatives [B, K, F, F] of the likelihood without its penalty."""
    chance = torch.sigmoid(phi @ weights)
    return phi.mT @ (label - chance), (phi * (chance * (1 - chance))).mT @ phi


def _likelihood(phi: Tensor, label: Tensor, weights: Tensor, begin: Tensor) -> Tensor:
    """Penalised log-likelihood [B, K, L] of L weights each, [B, K, F, L]."""
    logit = phi @ weights  # [B, K, C, L]
    told = label * logit - functional.softplus(logit)
    return told.sum(2) - 0.5 * PENALTY * (weights - begin).square().sum(2)


def _logits(phi: Tensor, weights: Tensor) -> Tensor:
    """[B, N, F], [B, F, 1] -> [B, N]; powers grow without end, certainty should not."""
    return (phi @ weights)[..., 0].clamp(-LIMIT, LIMIT).float()


def _features(states: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """States [B, N, O], the range shown [B, 1, O] -> [B, N, F]: numbers, squares, fourth powers, products, and one.

    The fourth power is that of half a number, which the penalty makes dearer: its own would believe few rows too much.
    """
    rim = BEYOND * (high - low)
    near = states.clamp(low - rim, high + rim)
    inside = states.clamp(low, high)
    one, other = _pairs(states)
    return torch.cat(
        (near, near.square(), (inside / 2) ** 4, inside[..., one] * inside[..., other], torch.ones_like(near[..., :1])),
        -1,
    )


def _shapes(states: Tensor) -> tuple[Tensor, Tensor]:
    """Which features of states [B, N, O] each shape has [K, F], and the logarithm of its odds [K]."""
    size, pairs = states.shape[-1], len(_pairs(states)[0])
    kinds = [(1, 1, 0, 0, 1), (1, 1, 1, 0, 1), (1, 1, 0, 1, 1)][: 3 if pairs else 2]
    counts = torch.tensor((size, size, size, pairs, 1), device=states.device)
    shapes = states.new_tensor(kinds).repeat_interleave(counts, 1)
    return shapes, states.new_tensor((0.0, 0.0, -CLEAR))[: len(shapes)]


def _pairs(states: Tensor) -> Tensor:
    """Numbers of states [B, N, O] whose products are looked at, int64 [2, pairs]: none where there are too many."""
    size = states.shape[-1] if states.shape[-1] <= MOST else 0
    return torch.triu_indices(size, size, 1, device=states.device)
