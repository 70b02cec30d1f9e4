"""What a set transformer makes of closed forms: it reads the task's partial curves and corrects what they foretell.

Every observed curve is a token, every candidate at a budget a query. Both are told what other tasks and closed forms
say of the pipeline, none what it is called; so the order of tasks, pipelines and features says nothing, and neither
does the number of features. The answer starts as the closed form's normal distribution: the network moves it, stretches
it, and bends it, in units of its own standard deviation. It was shown unrelated tasks, so it can learn from how the
first runs came out whether to believe the others.

Letters: B tasks, M candidates asked about, P observed pipelines, J observations of each, L quantile levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthenv.attention import Memory, SetTransformer
from synthenv.ranking import closed_form
from synthenv.ranking.closed_form import KEPT, Belief, Fitted, Seen
from synthenv.ranking.price import Price, Quote, price, quote
from synthenv.ranking.related import Related, Table, related

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Quantile levels of an answer; the middle one is the median."""
SHOWN = 4
"""Directions of other tasks that are shown."""
FACTS = 9 + 8 + 4
ABOUT = 11 + SHOWN
OBSERVED = 3 * KEPT + 6
ASKED = 14
MOST = 512
"""Observed curves that are read as tokens; of more, the best and some of the rest."""


@dataclass(frozen=True)
class Architecture:
    """Size of the transformer."""

    width: int = 64
    """Numbers a token."""
    layers: int = 3
    """Layers."""
    heads: int = 4
    """Heads a layer."""


class Answer(NamedTuple):
    """What is expected of candidates.

    quantiles: [B, M, L] of scores from the best one seen, in units of `belief.width`, at `LEVELS`.
    cost:      [B, M] mean, cost_sd: [B, M] standard deviation of the logarithm of seconds.
    belief:    what the closed form said.
    """

    quantiles: Tensor
    cost: Tensor
    cost_sd: Tensor
    belief: Belief


class Known(NamedTuple):
    """A task's observations read once: what every later query needs."""

    fitted: Fitted
    price: Price
    seconds: Tensor
    """[B, P] logarithms of seconds until each curve's last observation, nan where unknown."""
    facts: Tensor
    when: Tensor
    memory: Memory


class Network(nn.Module):
    """The trainable part."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.width
        self.common = nn.Linear(ABOUT, width)
        self.facts = nn.Sequential(nn.Linear(FACTS, width), nn.GELU(), nn.Linear(width, width))
        self.observed = nn.Linear(OBSERVED, width)
        self.asked = nn.Linear(ASKED, width)
        self.body = SetTransformer(width, architecture.layers, architecture.heads)
        self.head = nn.Linear(width, len(LEVELS) + 4)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def read(self, told: Related, price: Price, when: Tensor, active: Tensor, seen: Seen, seconds: Tensor) -> Known:
        """Observations of new tasks; active [B, M, F] is the table's, seconds [B, P] as `Known` tells."""
        fitted = closed_form.fit(told, seen)
        facts = _facts(fitted, price, when, active)
        known = Known(fitted, price, seconds, facts, when, Memory([], []))
        chosen = _chosen(fitted)
        tokens = (
            self._token(known, chosen) if chosen.shape[1] else facts.new_zeros(len(facts), 0, self.head.in_features)
        )
        first = self.facts(facts)[:, None]
        return known._replace(memory=self.body.encode(torch.cat((first, tokens), 1)))

    def answer(self, known: Known, pipeline: Tensor, budget: Tensor) -> Answer:
        """What is expected of candidates [B, M] at budgets [B, M], both indices."""
        belief = closed_form.ask(known.fitted, pipeline, budget)
        costs = quoted(known, pipeline, budget)
        token = self.common(_about(known, pipeline, budget)) + self.asked(
            _asked(known, belief, costs, pipeline, budget)
        )
        token = token + self.facts(known.facts)[:, None]
        out = self.head(self.body(token, known.memory))
        out = out.to(belief.mean)
        shift, widen, dear, sure = out[..., :4].unbind(-1)
        bend = belief.sd[..., None] * widen.clamp(-4, 4).exp()[..., None] * fan(out[..., 4:])
        quantiles = (belief.mean + belief.sd * shift)[..., None] + bend
        cost = costs.mean + costs.sd * dear
        return Answer(quantiles, cost, costs.sd * sure.clamp(-4, 4).exp(), belief)

    def _token(self, known: Known, chosen: Tensor) -> Tensor:
        """Observed curves as tokens [B, P, W]; chosen [B, P] are indices of them."""
        fitted, seen = known.fitted, known.fitted.seen
        rows = chosen[..., None].expand(-1, -1, KEPT)
        pipeline, budget = seen.pipeline.gather(1, chosen), seen.budget.gather(1, rows)
        there = seen.known.gather(1, rows)
        last = torch.full_like(pipeline, fitted.related.mean.shape[2] - 1)
        belief = closed_form.ask(fitted, pipeline, last)
        costs = quoted(known, pipeline, last)
        at = known.when.gather(1, budget.flatten(1)).view(budget.shape)
        alone = fitted.alone.gather(1, chosen)
        columns = torch.cat(
            (
                fitted.told.gather(1, rows) * there, at * there / 4, there.to(at),
                torch.stack((belief.mean, belief.sd.log(), alone.clamp(-5, 5), costs.own.clamp(-3, 3),
                             there[..., 0].to(at), (budget[..., 0] == last).to(at)), -1),
            ), -1,
        )  # fmt: skip
        common = self.common(_about(known, pipeline, budget[..., 0])) + self.facts(known.facts)[:, None]
        token: Tensor = common + self.observed(_fit(columns))
        return token


def quoted(known: Known, pipeline: Tensor, budget: Tensor) -> Quote:
    """What closed forms say of costs of candidates [B, M] to budgets [B, M]."""
    seen = known.fitted.seen
    return quote(known.price, pipeline, budget, seen.pipeline, seen.budget[..., 0], known.seconds)


def fan(steps: Tensor) -> Tensor:
    """Ascending quantiles [..., L] about 0 from free numbers [..., L]: standard normal where these are 0."""
    normal = torch.special.ndtri(torch.tensor(LEVELS, dtype=torch.float64, device=steps.device)).to(steps)
    gaps = normal.diff() * (functional.softplus(steps[..., 1:] + math.log(math.e - 1)))
    half = len(LEVELS) // 2
    up, down = gaps[..., half:].cumsum(-1), gaps[..., :half].flip(-1).cumsum(-1).flip(-1)
    return torch.cat((-down, torch.zeros_like(up[..., :1]), up), -1)


def _chosen(fitted: Fitted) -> Tensor:
    """Indices [B, P] of observed curves that become tokens, the best first and then every so many of the others."""
    last = torch.where(fitted.seen.known[..., 0], fitted.told[..., 0], -torch.inf)
    order = last.argsort(dim=-1, descending=True, stable=True)
    if not bool(fitted.seen.known.any()):
        return order[:, :0]
    if order.shape[1] <= MOST:
        return order
    half = MOST // 2
    others = torch.linspace(half, order.shape[1] - 1, half, device=order.device).long()
    return torch.cat((order[:, :half], order[:, others]), 1)


def _facts(fitted: Fitted, price: Price, when: Tensor, active: Tensor) -> Tensor:
    """What is known of the task as a whole, [B, FACTS]."""
    told, seen = fitted.related, fitted.seen
    curves = seen.known[..., 0].sum(1)
    tasks = told.units.known.sum(1)
    m = told.mean.shape[1]
    same = [torch.full_like(curves, value).to(when) for value in (m, when.shape[1])]
    columns = [
        curves.to(when).log1p() / 3, tasks.to(when).log1p() / 3, same[0].log() / 5, same[1].log() / 3,
        active.any(1).sum(-1).to(when).log1p() / 3, (curves == 0).to(when), price.known.to(when),
        told.variance[..., -1].mean(1).log() / 3,
    ]  # fmt: skip
    return _fit(torch.cat((closed_form.odds(fitted), torch.stack(columns, -1), told.shape), -1))


def _about(known: Known, pipeline: Tensor, budget: Tensor) -> Tensor:
    """What other tasks say of pipelines [B, N] at budgets [B, N]: [B, N, ABOUT]."""
    told = known.fitted.related
    rows = torch.arange(len(pipeline), device=pipeline.device)[:, None]
    usual = told.variance[..., -1].mean(1).sqrt()[:, None]
    end = told.mean[..., -1]
    best, tasks = end.amax(1, keepdim=True), told.tasks.gather(1, pipeline)
    columns = [
        told.mean[rows, pipeline, budget], end.gather(1, pipeline), end.gather(1, pipeline) - best,
        told.variance[rows, pipeline, budget].log() / 3, (told.doubt.gather(1, pipeline) + 1e-4).log() / 5,
        told.rank.gather(1, pipeline) * 2 - 1, told.peak.gather(1, pipeline),
        tasks.log1p() / 3, (tasks == 0).to(end), known.when.gather(1, budget) / 4,
        (told.variance[rows, pipeline, budget].sqrt() / usual).clamp(0, 5),
    ]  # fmt: skip
    directions = told.directions[rows, pipeline, budget][..., :SHOWN] / usual[..., None]
    return _fit(torch.cat((torch.stack(columns, -1), directions.clamp(-5, 5)), -1))


def _asked(known: Known, belief: Belief, costs: Quote, pipeline: Tensor, budget: Tensor) -> Tensor:
    """What closed forms say of candidates [B, M] at budgets [B, M]: [B, M, ASKED]."""
    seen = known.fitted.seen
    rows = closed_form.owner(pipeline, seen.pipeline, known.fitted.related.mean.shape[1], seen.known[..., 0])
    has = rows >= 0
    rows = rows.clamp_min(0)
    last = known.fitted.told[..., 0].gather(1, rows)
    at = known.when.gather(1, seen.budget[..., 0].gather(1, rows))
    step = last - torch.where(seen.known[..., 1], known.fitted.told[..., 1], known.fitted.told[..., 0]).gather(1, rows)
    apart = ((belief.extreme - belief.mean[..., None]) / belief.sd[..., None]).clamp(-5, 5)
    columns = [
        belief.mean, belief.sd.log(), (belief.mean / belief.sd).clamp(-6, 6), has.to(at), last * has,
        (known.when.gather(1, budget) - at) * has / 4, (belief.mean - last) * has,
        known.fitted.alone.gather(1, rows).clamp(-5, 5) * has,
        step * has, costs.own.clamp(-3, 3),
    ]  # fmt: skip
    return _fit(torch.cat((torch.stack(columns, -1), apart), -1))


def _fit(x: Tensor) -> Tensor:
    """Numbers of any size as a network can read them."""
    return torch.asinh(x).float()


def context(table: Table) -> tuple[Related, Price]:
    """What other tasks tell, read once for all new ones; seconds of the table are logarithms here."""
    told = related(table)
    return told, price(table.seconds, table.when, told.likeness)
