"""The in-context world model: what closed forms say of a task, and whom of them a transformer believes.

A context of C transitions is put into its own units and solved in closed form by several experts: nothing changes,
ridge regression of degree 1 and 2, two Gaussian processes, the nearest neighbours; logistic regression for the end. A
transformer reads each transition with the leave-one-out error that was made on it. For a query it says how far to trust
each expert (it starts from their records), what it would say by itself, and quantiles around the result. So where
physics is smooth the answer is a Gaussian process's, exact to many digits, and where it is not (walls, switches, few
rows) it need not be.

Letters: B tasks, C context rows, Q queries, O observation slots, A action slots, Y = O + 1 outputs (the change of every
slot, then the reward), E experts, L quantile levels, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthenv.attention import Memory, SetTransformer
from synthenv.incontext.closed_form import Ridge, Scaling, ridge, scaling
from synthenv.incontext.gaussian_process import STEPS, GaussianProcess, gaussian_process
from synthenv.incontext.logistic import Logistic, logistic
from synthenv.incontext.neighbours import Neighbours, neighbours
from synthenv.incontext.rows import ACTIONS, OBSERVATIONS, Rows, Shape

LEVELS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.995)
"""Probabilities at which a belief states quantiles, rising and symmetric about the median."""


@dataclass(frozen=True)
class Architecture:
    """Size of the transformer."""

    width: int = 128
    """Numbers a token."""
    layers: int = 4
    """Layers."""
    heads: int = 4
    """Heads a layer."""


class Belief(NamedTuple):
    """What the model expects of queries, in the task's own units.

    change:    [B, Q, O] mean of the change of the observation.
    quantiles: [B, Q, O, L] of that change, at `LEVELS`.
    reward:    [B, Q] mean.  rewards: [B, Q, L] quantiles.
    end:       [B, Q] logit of termination.
    """

    change: Tensor
    quantiles: Tensor
    reward: Tensor
    rewards: Tensor
    end: Tensor


class Units(NamedTuple):
    """A context's own units: inputs x standardised, outputs divided by their root mean square about `middle`."""

    inputs: Scaling
    middle: Tensor
    """[B, 1, Y], 0 for changes, the mean for rewards."""
    size: Tensor
    """[B, 1, Y]"""


EXPERTS = 6
"""Persistence, ridge regression of degree 1 and 2, a Gaussian process with a trend, one without, neighbours."""
FINEST = 1e-5
"""Added to errors, in the context's units: records better than this are alike."""
PROCESS = 3
"""Which of them is the Gaussian process with a trend."""
PLAIN = 96
"""Rows that the process without one is projected on: it is for small contexts."""
FARTHEST = 20.0
"""How far beyond the largest output of a context an expert is followed."""


class Solution(NamedTuple):
    """What closed forms make of a context."""

    units: Units
    columns: Tensor
    """[D] int64, the inputs that vary in any of the tasks."""
    regressors: tuple[Ridge, Ridge, GaussianProcess, GaussianProcess, Neighbours]
    end: Logistic
    missed: Tensor
    """[B, C, Y] leave-one-out errors of the Gaussian process."""
    record: Tensor
    """[B, 1, Y, E] root mean square of every expert's leave-one-out errors."""
    doubt: Tensor
    """[B, 1, Y], a typical leave-one-out error of the Gaussian process, robust to a few large ones."""
    limit: Tensor
    """[B, 1, Y, 1], beyond which no expert is believed."""

    def predict(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """What every expert expects of queries, and its standard deviation, in the context's units: [B, Q, Y, E]."""
        x = inputs(observation, action)[..., self.columns]
        means, spreads = zip(*(regressor.predict(x) for regressor in self.regressors), strict=True)
        still, unit = torch.zeros_like(means[0]), torch.ones_like(means[0])
        mean = torch.stack((still, *means), -1).clamp(-self.limit, self.limit)
        return mean.float(), torch.stack((unit, *spreads), -1).clamp(1e-6, 1e3).float()


class Known(NamedTuple):
    """A context read once: what every later query needs."""

    solution: Solution
    memory: Memory
    facts: Tensor
    """[B, 1, W], what all tokens share."""


def solve(rows: Rows, shape: Shape, steps: int = STEPS) -> Solution:
    """Closed forms for contexts of B tasks."""
    y, varied = outputs(rows), torch.cat((shape.observed, shape.acting), -1)
    x = inputs(rows.observation, rows.action)
    middle = torch.zeros_like(y[:, :1])
    middle[..., -1] = y[..., -1].mean(1, keepdim=True)
    size = (y - middle).square().mean(1, keepdim=True).sqrt()
    size = torch.where(size > 1e-6 * (1e-6 + y.abs().amax(1, keepdim=True)), size, torch.ones_like(size))
    units = Units(scaling(x), middle, size)
    columns, y = varied.any(0).nonzero()[:, 0], (y - middle) / size
    x, used = x[..., columns], functional.pad(shape.observed, (0, 1), value=True)
    process = gaussian_process(x, y, varied[:, columns], used, steps)
    plain = gaussian_process(x, y, varied[:, columns], used, steps, PLAIN, trend=False)
    regressors = (ridge(x, y, 1), ridge(x, y, 2), process, plain, neighbours(x, y))
    record = (
        torch.stack((y, *(regressor.residual for regressor in regressors)), -1).square().mean(1, keepdim=True).sqrt()
    )
    doubt = process.residual.abs().median(1, keepdim=True).values * 1.5 + FINEST
    limit = FARTHEST * y.abs().amax(1, keepdim=True)[..., None]
    end = logistic(rows.following, rows.terminated)
    return Solution(units, columns, regressors, end, process.residual, record + FINEST, doubt, limit)


def inputs(observation: Tensor, action: Tensor) -> Tensor:
    """[B, N, O], [B, N, A] -> [B, N, O + A] in float64."""
    return torch.cat((observation, action), -1).double()


def outputs(rows: Rows) -> Tensor:
    """What is foretold of every row, [B, C, Y] in float64: the change, then the reward."""
    return torch.cat((rows.following.double() - rows.observation.double(), rows.reward.double()[..., None]), -1)


class Guess(NamedTuple):
    """The model's answer in the context's units, before it is put into the task's.

    mean: [B, Q, Y].  quantiles: [B, Q, Y, L].  unit: [B, Q, Y], how far those believed disagree and doubt themselves.
    end: [B, Q] logit.  trust: [B, Q, Y, E + 1], shares of the experts, then of the network's own answer.
    start: [B, Q, Y], the mean by the experts' records alone.
    """

    mean: Tensor
    quantiles: Tensor
    unit: Tensor
    end: Tensor
    trust: Tensor
    start: Tensor


class Network(nn.Module):
    """The trainable part: tokens in, trust, an answer of its own and quantiles out."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, y, seen = architecture.width, OBSERVATIONS + 1, OBSERVATIONS + ACTIONS
        self.common = nn.Linear(2 * seen + y * (EXPERTS + 1) + 3, width)  # inputs, slots in use, records, size, kind
        self.known = nn.Linear(2 * y + 3, width)
        self.asked = nn.Linear(2 * y * (EXPERTS - 1) + 1, width)
        self.body = SetTransformer(width, architecture.layers, architecture.heads)
        self.head = nn.Linear(width, y * (EXPERTS + 3 + len(LEVELS)) + 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def read(self, solution: Solution, rows: Rows, shape: Shape) -> Known:
        """Encode contexts [B, C] that were solved."""
        told = ((outputs(rows) - solution.units.middle) / solution.units.size).float()
        missed = (solution.missed / solution.doubt).float()
        flags = torch.stack((rows.terminated.float(), rows.start.float(), squash(solution.end.own)), -1)
        facts = self._facts(solution, shape)
        token = self._common(solution, facts, rows.observation, rows.action)
        token = token + self.known(torch.cat((squash(told), squash(missed), flags), -1))
        return Known(solution, self.body.encode(token), facts)

    def answer(self, known: Known, observation: Tensor, action: Tensor) -> Guess:
        """Queries [B, Q, O], [B, Q, A]."""
        solution = known.solution
        means, spreads = solution.predict(observation, action)  # [B, Q, Y, E]
        record, doubt = solution.record.float(), solution.doubt.float()
        base = functional.pad(-3 * record.log(), (0, 1), value=1.0)  # [B, 1, Y, E + 1]
        start = (means * base[..., :-1].softmax(-1)).sum(-1)
        following = observation + (start * solution.units.size)[..., :-1].float()
        end = solution.end.predict(following)
        heard = torch.cat((squash(means[..., 1:]), (spreads[..., 1:] / record[..., 1:]).log()), -1).flatten(2)
        token = self._common(solution, known.facts, observation, action)
        token = token + self.asked(torch.cat((heard, squash(end)[..., None]), -1))
        out = self.head(self.body(token, known.memory)).float()
        heads, ends = out[..., :-2].unflatten(-1, (means.shape[2], -1)), out[..., -2:]
        trust, own, widen, steps = heads.split([EXPERTS + 1, 1, 1, len(LEVELS)], -1)
        trust = (base + trust).softmax(-1)
        voices = torch.cat((means, torch.sinh(own.clamp(-4, 4))), -1)
        mean = (trust * voices).sum(-1)
        doubts = record.clamp(max=1.0).repeat(1, mean.shape[1], 1, 1)  # [B, Q, Y, E]
        doubts[..., PROCESS] = torch.maximum(spreads[..., PROCESS], doubt).clamp(max=1.0)  # it knows best where
        doubts = functional.pad(doubts, (0, 1), value=1.0)
        unit = (trust * ((voices - mean[..., None]).square() + doubts.square())).sum(-1).sqrt()
        quantiles = mean[..., None] + (unit * (widen[..., 0] - 1).clamp(-12, 8).exp())[..., None] * fan(steps)
        end = end * torch.exp(ends[..., 0].clamp(-3, 3)) + ends[..., 1]
        return Guess(mean, quantiles, unit, end, trust, start)

    def _common(self, solution: Solution, facts: Tensor, observation: Tensor, action: Tensor) -> Tensor:
        """What the tokens of context rows and of queries have in common, [B, N, W]."""
        x = solution.units.inputs(inputs(observation, action)).float()
        return functional.linear(squash(x), self.common.weight[:, : x.shape[-1]]) + facts

    def _facts(self, solution: Solution, shape: Shape) -> Tensor:
        """What is the same for all rows: slots in use, records, size and kind of a task, [B, 1, W]."""
        records = torch.cat((solution.record[:, 0], solution.doubt[:, 0, :, None]), -1).float().log().flatten(1) / 4
        rows = records.new_full((len(records), 1), math.log(solution.missed.shape[1]) / 4)
        used = torch.cat((shape.observed, shape.acting), -1).float()
        facts = torch.cat((used, records, rows, shape.discrete[:, None].float(), torch.ones_like(rows)), -1)
        weight = self.common.weight[:, -facts.shape[-1] :]
        return functional.linear(facts, weight, self.common.bias)[:, None]

    def condition(self, rows: Rows, shape: Shape, steps: int = STEPS) -> Known:
        """Read contexts [B, C] once."""
        return self.read(solve(rows, shape, steps), rows, shape)

    def believe(self, known: Known, observation: Tensor, action: Tensor) -> Belief:
        """What follows from observations [B, Q, O] and actions [B, Q, A], in the task's units."""
        guess, units = self.answer(known, observation, action), known.solution.units
        middle, size = units.middle.float(), units.size.float()
        mean, quantiles = guess.mean * size + middle, guess.quantiles * size[..., None] + middle[..., None]
        return Belief(mean[..., :-1], quantiles[..., :-1, :], mean[..., -1], quantiles[..., -1, :], guess.end)


def squash(x: Tensor) -> Tensor:
    """A logarithm on either side of 0, so that a network can read numbers of any size."""
    return torch.asinh(x)


def fan(steps: Tensor) -> Tensor:
    """Ascending offsets [..., L] from free numbers [..., L]: the middle one shifts all, the others are gaps."""
    half = steps.shape[-1] // 2
    gaps = functional.softplus(steps)
    up = gaps[..., half + 1 :].cumsum(-1)
    down = gaps[..., :half].flip(-1).cumsum(-1).flip(-1)
    return steps[..., half : half + 1] + torch.cat((-down, torch.zeros_like(up[..., :1]), up), -1)
