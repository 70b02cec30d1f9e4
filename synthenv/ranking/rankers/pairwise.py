"""Pairwise ranking, as in ZAP: networks learn which of two pipelines is better on a task.

Öztürk, Ferreira, Jomaa, Schmidt-Thieme, Grabocka, Hutter (2022), "Zero-shot AutoML with pretrained models". The loss is
that of Bayesian personalised ranking (Rendle et al. 2009): of two pipelines run on the same task, the better one's
score is to be the higher, in logistic units. An ensemble is trained side by side and averaged. Theirs tells pipelines
apart by settings alone; here each pipeline that was run may also have a level of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from synthenv import nets, seeding, tree
from synthenv.ranking.answer import alone
from synthenv.ranking.checks import Floats
from synthenv.ranking.past import Past
from synthenv.ranking.rankers.base import Candidates, FromPast, Ranking, asked, with_others
from synthenv.ranking.runs import RunTable
from synthenv.ranking.space import Encoded

SIZES = (64, 64)
PAIRS = 256
"""Pairs a member sees in one step."""
DECAY = 1e-4
"""Of the pipelines' own levels, a step."""


class PairwiseRanker(FromPast):
    """An ensemble of networks over settings and task features, trained on pairs.

    members: networks, P. steps: of Adam, each with 256 pairs a member. seed: of weights and pairs.
    """

    name: ClassVar[str] = "pairwise"

    def __init__(self, members: int = 5, steps: int = 600, rate: float = 3e-3, seed: int = 0) -> None:
        self.members, self.steps, self.rate, self.seed = members, steps, rate, seed

    def learn(self, past: Past) -> PairwiseRanker:
        """Train on the pairs of all tasks."""
        self.past_ = past = past.ranked()
        told = [self.runs_.features.get(task, {}) for task in past.tasks]
        self.names_ = sorted({name for facts in told for name in facts})
        raw = np.array([[facts.get(name, np.nan) for name in self.names_] for facts in told]).reshape(len(told), -1)
        known = np.isfinite(raw)
        self.centre_ = np.array([raw[k, i].mean() if k.any() else 0.0 for i, k in enumerate(known.T)])
        self.width_ = np.array([raw[k, i].std() or 1.0 if k.any() else 1.0 for i, k in enumerate(known.T)])
        self.sizes_ = (2 * past.encoded.values.shape[1] + 2 * len(self.names_) + 1, *SIZES, 1)
        self._train(self._tasks(raw))
        return self

    def _tasks(self, raw: Floats) -> Floats:
        """Features [..., F] of tasks, a mask beside them, and a 1 for tables without any: [..., 2 F + 1]."""
        known = np.isfinite(raw)
        scaled = np.where(known, (raw - self.centre_) / self.width_, 0.0)
        return np.concatenate((scaled, known, np.ones((*raw.shape[:-1], 1))), -1)

    def _train(self, tasks: Floats) -> None:
        past, generator = self.past_, seeding.generator(self.seed, "pairwise")
        inputs = torch.from_numpy(described(past.encoded)).float()  # [M, F]
        context = torch.from_numpy(tasks).float()  # [T, F]
        place = torch.from_numpy(np.where(past.known, past.final, np.nan)).float()
        start = nets.init_uniform(generator, self.members, self.sizes_)
        flat = tree.ravel(start)
        split, shapes = flat.shape[1], tree.shapes(start)
        flat = torch.cat((flat, torch.zeros(self.members, len(inputs))), 1)
        memory = nets.adam_memory(flat)
        able = torch.nonzero(~place.isnan())  # [n, 2] task, pipeline
        by_task = torch.from_numpy(past.known).float()
        for step in range(self.steps):
            first = able[torch.randint(len(able), (self.members, PAIRS), generator=generator)]  # [P, N, 2]
            task, one = first.unbind(-1)
            other = torch.multinomial(by_task[task.flatten()], 1, generator=generator).view_as(one)
            better = (place[task, one] - place[task, other]).sign()
            flat = flat.detach().requires_grad_()
            params = tree.unravel(flat[:, :split], shapes)
            levels = flat[:, split:]
            scores = [
                nets.mlp(params, torch.cat((inputs[m], context[task]), -1), "relu")[..., 0] + levels.gather(1, m)
                for m in (one, other)
            ]
            loss = torch.nn.functional.softplus(-better * (scores[0] - scores[1])) * better.abs()
            total = loss.mean(1).sum() + DECAY * levels.square().sum()
            (gradient,) = torch.autograd.grad(total, flat)
            rate = torch.full((self.members,), self.rate * (1 - step / self.steps))
            flat, memory = nets.adam(flat.detach(), gradient, memory, rate)
        self.params_ = tree.unravel(flat.detach()[:, :split], shapes)
        self.levels_ = flat.detach()[:, split:]
        # the ensemble's scores have no unit: a line through the places they were to foretell gives them one
        foretold = np.stack([self._scores(past, row).mean(0) for row in tasks])  # [T, M]
        x, y = foretold[past.known], past.final[past.known]
        self.slope_ = float(max(((x - x.mean()) * (y - y.mean())).sum() / (((x - x.mean()) ** 2).sum() + 1e-9), 1e-3))
        self.level_ = float(y.mean() - self.slope_ * x.mean())
        self.rest_ = float(np.std(y - self.level_ - self.slope_ * x))

    def _scores(self, past: Past, task: Floats) -> Floats:
        """Scores [P, M] of the pipelines of `past` on a task with features [F]."""
        described_ = described(past.encoded)
        whole = np.concatenate((described_, np.broadcast_to(task, (len(described_), len(task)))), 1)
        inputs = torch.from_numpy(whole).float().expand(self.members, -1, -1)
        place = {name: m for m, name in enumerate(self.past_.pipelines)}
        own = torch.tensor([place.get(name, len(place)) for name in past.pipelines])
        levels: Tensor = torch.cat((self.levels_, torch.zeros(self.members, 1)), 1)[:, own]
        scores: Floats = (nets.mlp(self.params_, inputs, "relu")[..., 0] + levels).double().numpy()
        return scores

    def rank(
        self,
        task: str = "new",
        candidates: Candidates | None = None,
        observed: RunTable | None = None,
        budget: float | None = None,
        features: Mapping[str, float] | None = None,
    ) -> Ranking:
        """Rank candidates [M] without a look at what was observed, which sets the scale of the scores alone."""
        named, own = asked(self.runs_, task, candidates, observed)
        past = self.past_.over(with_others(named, own))
        raw = np.array([(features or {}).get(name, np.nan) for name in self.names_], float)
        scores = self.level_ + self.slope_ * self._scores(past, self._tasks(raw))
        mean = np.repeat(scores.mean(0)[:, None], len(past.budgets), 1)
        return alone(past, mean, np.sqrt(scores.var(0) + self.rest_**2), own, budget, len(named))


def described(encoded: Encoded) -> Floats:
    """Settings [M, 2 F]: values, and whether they matter."""
    return np.concatenate((encoded.values, encoded.active), 1)
