"""What closed forms make of a context: experts, each with a record of the errors it would have made.

A context of C transitions is put into its own units and solved by several regressors: nothing changes, ridge regression
of degree 1 and 2, two Gaussian processes, the nearest neighbours; logistic regression for the end. Where physics is
smooth a Gaussian process is exact to many digits; where it is not (walls, switches, few rows) others do better.

Letters: B tasks, C context rows, Q queries, O observation slots, A action slots, Y outputs in use (the change of a
slot, or the reward, which comes last), E experts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from synthenv.incontext.circles import Circles, rolled, unrolled
from synthenv.incontext.closed_form import Ridge, Scaling, ridge, scaling
from synthenv.incontext.gaussian_process import SCARCE, GaussianProcess, gaussian_process
from synthenv.incontext.hyperparameters import Search
from synthenv.incontext.kernel import JITTER
from synthenv.incontext.logistic import Logistic, logistic
from synthenv.incontext.neighbours import Neighbours, neighbours
from synthenv.incontext.rows import Rows, Shape

EXPERTS = 6
"""Persistence, ridge regression of degree 1 and 2, a Gaussian process with a trend, one without, neighbours."""
LINE, PROCESS = 1, 3
"""Which of them is ridge regression of degree 1, and which the Gaussian process with a trend."""
PLAIN = 96
"""Rows that the process without one is projected on: it is for small contexts."""
LARGE = 384
"""Rows from which on a context is large, and the process with a trend speaks for both."""
ASIDE = 0.3
"""In a small context the process with a trend measures inputs in no less than this share of how far they are from 0 on
average: what hardly varied has not shown how far it does, and slopes in it are not to be followed there."""
FINEST = 1e-5
"""Added to errors, in the context's units: records better than this are alike."""
FARTHEST = 20.0
"""How far beyond the largest output of a context an expert is followed."""


class Units(NamedTuple):
    """A context's own units: inputs x standardised, outputs divided by their root mean square about `middle`."""

    inputs: Scaling
    middle: Tensor
    """[B, 1, Y], 0 for changes, the mean for rewards."""
    size: Tensor
    """[B, 1, Y]"""


class Record(NamedTuple):
    """Root mean square of the errors that experts would have made on rows of the context, each [B, Y, E].

    alone: had they not seen the row. apart: nor those around it.
    """

    alone: Tensor
    apart: Tensor


class Solution(NamedTuple):
    """What closed forms make of a context."""

    units: Units
    circles: Circles
    """Of whose first number the output is the angle that it turns by, and of whose second it is 0."""
    prize: float
    """What an end pays more; the rewards foretold are of steps that do not end."""
    columns: Tensor
    """[D] int64, the inputs that vary in any of the tasks."""
    kept: Tensor
    """[Y] int64, which outputs any of the tasks uses: slots of the observation, then the reward."""
    used: Tensor
    """[B, Y] bool, which of them each task does."""
    regressors: tuple[Ridge, Ridge, GaussianProcess, GaussianProcess, Neighbours]
    end: Logistic
    told: Tensor
    """[B, C, Y] outputs of the context."""
    missed: Tensor
    """[B, C, Y] leave-one-out errors of the Gaussian process."""
    record: Record
    doubt: Tensor
    """[B, Y], a typical leave-one-out error of the Gaussian process, robust to a few large ones."""
    limit: Tensor
    """[B, 1, Y, 1], beyond which no expert is believed."""

    def predict(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """What every expert expects of queries, and its standard deviation, in the context's units: [B, Q, Y, E]."""
        x = inputs(observation, action)[..., self.columns]
        said = {key: regressor.predict(x) for key, regressor in {id(one): one for one in self.regressors}.items()}
        means, spreads = zip(*(said[id(one)] for one in self.regressors), strict=True)
        still, unit = torch.zeros_like(means[0]), torch.ones_like(means[0])
        mean = torch.stack((still, *means), -1).clamp(-self.limit, self.limit)
        return mean.float(), torch.stack((unit, *spreads), -1).clamp(1e-6, 1e3).float()

    def shared(self, trust: Tensor, spread: Tensor) -> Tensor:
        """Trust [B, Q, Y, E + 1] as queries would have it, by the standard deviations of experts there [B, Q, Y, E].

        Where there are two processes, they share what they have by the inverse of their variances: who has not seen the
        like of a query knows. A straight line does not know; where it is surer than the process with a trend, of which
        it is a special case, as large a part of its trust goes to the two.
        """
        process, plain = self.regressors[PROCESS - 1 : PROCESS + 1]  # persistence is none of them
        if process is plain:
            return trust
        shares = list(trust.unbind(-1))
        sure = (-2 * spread[..., PROCESS : PROCESS + 2].log()).softmax(-1)
        line = shares[LINE] * (spread[..., LINE].clamp(min=JITTER**0.5) / spread[..., PROCESS]).clamp(max=1)
        theirs = shares[PROCESS] + shares[PROCESS + 1] + shares[LINE] - line
        shares[LINE], shares[PROCESS], shares[PROCESS + 1] = line, *(theirs[..., None] * sure).unbind(-1)
        return torch.stack(shares, -1)

    def scaled(self, rows: Rows) -> Tensor:
        """What happened in transitions [B, N], in the context's units: [B, N, Y]."""
        return (outputs(rows, self.circles, self.prize)[..., self.kept] - self.units.middle) / self.units.size

    def following(self, observation: Tensor, mean: Tensor) -> Tensor:
        """What follows observations [B, Q, O] if `mean` [B, Q, Y] is right, slots in use alone, in float64."""
        seen, moved = observation[..., self.kept[:-1]].double(), (mean * self.units.size)[..., :-1]
        return seen + unrolled(self.circles, seen, moved)


def solve(rows: Rows, shape: Shape, search: Search | None = None) -> Solution:
    """Closed forms for contexts of B tasks."""
    search = search or Search()
    varied = torch.cat((shape.observed, shape.acting), -1)
    used = functional.pad(shape.observed, (0, 1), value=True)
    kept, columns = used.any(0).nonzero()[:, 0], varied.any(0).nonzero()[:, 0]
    x, y, used, varied = (
        inputs(rows.observation, rows.action),
        outputs(rows, shape.circles, shape.prize)[..., kept],
        used[:, kept],
        varied[:, columns],
    )
    middle = torch.zeros_like(y[:, :1])
    middle[..., -1] = y[..., -1].mean(1, keepdim=True)
    size = (y - middle).square().mean(1, keepdim=True).sqrt()
    size = torch.where(size > 1e-6 * (1e-6 + y.abs().amax(1, keepdim=True)), size, torch.ones_like(size))
    units = Units(scaling(x), middle, size)
    x, y = x[..., columns], (y - middle) / size
    small = x.shape[1] < LARGE
    process = gaussian_process(x, y, varied, used, search, aside=ASIDE if small else 0.0)
    plain = process
    if small:
        refined = search.refined and x.shape[1] <= SCARCE
        brief = Search(search.rows, search.steps // (1 if x.shape[1] <= PLAIN else 2), refined)
        plain = gaussian_process(x, y, varied, used, brief, PLAIN, trend=False)
    regressors = (ridge(x, y, 1), ridge(x, y, 2), process, plain, neighbours(x, y))
    alone, apart = (
        torch.stack((y, *(getattr(one, kind) for one in regressors)), -1).square().mean(1).sqrt() + FINEST
        for kind in ("residual", "apart")
    )
    doubt = process.residual.abs().median(1).values * 1.5 + FINEST
    limit = FARTHEST * y.abs().amax(1, keepdim=True)[..., None]
    end = logistic(rows.following[..., kept[:-1]], rows.terminated)
    return Solution(
        units, shape.circles, shape.prize, columns, kept, used, regressors, end, y, process.residual,
        Record(alone, apart), doubt, limit,
    )  # fmt: skip


def inputs(observation: Tensor, action: Tensor) -> Tensor:
    """[B, N, O], [B, N, A] -> [B, N, O + A] in float64."""
    return torch.cat((observation, action), -1).double()


def outputs(rows: Rows, circles: Circles, prize: float) -> Tensor:
    """What is foretold of every row, [B, C, O + 1] in float64: the change, on circles a turn, then the reward.

    The reward is what it would have been without an end.
    """
    observation = rows.observation.double()
    change = rolled(circles, observation, rows.following.double() - observation)
    reward = rows.reward.double() - prize * rows.terminated
    return torch.cat((change, reward[..., None]), -1)
