"""A Gaussian process on learned features of pipelines, tasks and partial curves, as in Quick-Tune.

Pineda Arango, Ferreira, Kadra, Hutter, Grabocka (2024), "Quick-Tune: quickly learning which pretrained model to
finetune and how", after Wistuba, Grabocka (2021). A network reads the settings, the features of the task, a budget, and
by two convolutions what the curve was before; an exact process with a squared exponential on its features is made
likely on random curve pieces of one task at a time. A second network foretells seconds. Here it is asked for the score
at the last budget instead of the next, and budgets are an input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from synthenv import nets, seeding, tree
from synthenv.ranking.answer import plainly, remaining, sightings, told
from synthenv.ranking.belief import Belief, Places, Sightings, condition, unseen
from synthenv.ranking.checks import Floats
from synthenv.ranking.past import Past, squash
from synthenv.ranking.rankers.base import Candidates, FromPast, Ranking, asked, with_others
from synthenv.ranking.rankers.pairwise import described
from synthenv.ranking.runs import RunTable

CHANNELS, WIDTH, FEATURES = 8, 32, 16
PIECES = 64
"""Curve pieces in a step."""
REMEMBERED, STORED = 400, 1_600
"""At most so many scores of other tasks, and of this one, carry the process."""
COST_STEPS = 300


class DeepKernelGP(FromPast):
    """Deep kernel learning over settings and curves, with a cost model.

    steps: of Adam, each on the pieces of one task. seed: of weights and pieces.
    """

    name: ClassVar[str] = "deep_kernel_gp"

    def __init__(self, steps: int = 600, rate: float = 3e-3, seed: int = 0) -> None:
        self.steps, self.rate, self.seed = steps, rate, seed

    def learn(self, past: Past) -> DeepKernelGP:
        """Learn the features, the kernel and the costs from other tasks."""
        self.past_ = past
        self.names_ = sorted({name for task in past.tasks for name in self.runs_.features.get(task, {})})
        raw = np.array([self._raw(self.runs_.features.get(task, {})) for task in past.tasks])
        raw = raw.reshape(len(past.tasks), len(self.names_))
        filled = np.where(np.isfinite(raw), raw, np.nan)
        self.centre_ = np.array([np.nanmean(c) if np.isfinite(c).any() else 0.0 for c in filled.T])
        self.width_ = np.array([np.nanstd(c) or 1.0 if np.isfinite(c).any() else 1.0 for c in filled.T])
        inputs = 2 * past.encoded.values.shape[1] + len(self.names_)
        generator = seeding.generator(self.seed, "deep kernel")
        layers = {
            "body": nets.init_uniform(generator, 1, (inputs + 1 + 2 * CHANNELS, WIDTH, WIDTH, FEATURES)),
            "near": nets.init_uniform(generator, 1, (2 * 3, CHANNELS)),
            "wide": nets.init_uniform(generator, 1, (CHANNELS * 3, CHANNELS)),
        }
        params = {key: leaf for name, part in layers.items() for key, leaf in tree.prefixed(name, part).items()}
        params |= {"gp": torch.tensor([[0.0, -1.0, -3.0]])}  # mean, log variance, log noise
        self.params_ = self._train(params, generator)
        self.memory_ = self._remember(generator)
        self.cost_ = self._learn_costs(generator)
        return self

    def _raw(self, features: Mapping[str, float]) -> list[float]:
        return [features.get(name, np.nan) for name in self.names_]

    def _facts(self, past: Past, features: Mapping[str, float]) -> Tensor:
        """What is known [M, I] of pipelines on a task."""
        raw = np.array(self._raw(features), float)
        task = np.where(np.isfinite(raw), (raw - self.centre_) / self.width_, 0.0)
        settings = described(past.encoded)
        return torch.from_numpy(
            np.concatenate((settings, np.broadcast_to(task, (len(settings), len(task)))), 1)
        ).float()

    def _train(self, params: tree.Tree, generator: torch.Generator) -> tree.Tree:
        past = self.past_
        value = torch.from_numpy(past.value).float()  # [T, M, K]
        facts = [self._facts(past, self.runs_.features.get(task, {})) for task in past.tasks]
        when = torch.from_numpy(np.log(past.budgets / past.budgets[-1])).float()
        ran = [torch.from_numpy(np.flatnonzero(known)) for known in past.known]
        flat, shapes = tree.ravel(params), tree.shapes(params)
        memory = nets.adam_memory(flat)
        budgets = len(past.budgets)
        for step in range(self.steps):
            task = int(torch.randint(len(past.tasks), (1,), generator=generator))
            drawn = torch.randint(len(ran[task]), (PIECES,), generator=generator)
            m = ran[task][drawn]
            k = torch.randint(budgets, (PIECES,), generator=generator)
            k = torch.where(torch.rand(PIECES, generator=generator) < 0.3, budgets - 1, k)
            before = (torch.rand(PIECES, generator=generator) * (k + 1)).long()  # so many budgets were seen, 0..k
            seen = torch.arange(budgets) < before[:, None]
            flat = flat.detach().requires_grad_()
            net = tree.unravel(flat, shapes)
            features = embed(net, facts[task][m], when[k], value[task, m], seen)
            mean, variance, noise = net["gp"][0, 0], net["gp"][0, 1].exp(), net["gp"][0, 2].exp() + 1e-4
            root = torch.linalg.cholesky(variance * kernel(features, features) + noise * torch.eye(PIECES))
            half = torch.linalg.solve_triangular(root, (value[task, m, k] - mean)[:, None], upper=False)
            loss = (0.5 * half.square().sum() + root.diagonal().log().sum()) / PIECES
            (gradient,) = torch.autograd.grad(loss, flat)
            gradient = nets.clip_norm(gradient, torch.ones(1))
            rate = torch.full((1,), self.rate * (1 - step / self.steps))
            flat, memory = nets.adam(flat.detach(), gradient, memory, rate)
        return tree.unravel(flat.detach(), shapes)

    def _remember(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features [n, F] and values [n] of pipelines on other tasks at the end, which the process starts from."""
        past = self.past_
        ran = torch.from_numpy(np.argwhere(past.known))
        some = ran[torch.randperm(len(ran), generator=generator)[:REMEMBERED].sort().values]
        budgets = len(past.budgets)
        facts = torch.stack([self._facts(past, self.runs_.features.get(task, {})) for task in past.tasks])
        blank = torch.zeros(len(some), budgets)
        task, m = some.unbind(1)
        features = embed(self.params_, facts[task, m], torch.zeros(len(some)), blank, blank.bool())
        return features, torch.from_numpy(past.final).float()[task, m]

    def _learn_costs(self, generator: torch.Generator) -> tree.Tree | None:
        """A network from settings to the logarithm of seconds to the last budget; None where runs tell no time."""
        seconds = torch.from_numpy(self.past_.seconds[:, -1])
        known = seconds.isfinite()
        if not known.any():
            return None
        inputs = torch.from_numpy(described(self.past_.encoded)).float()[known][None]
        target = seconds[known].log().float()
        start = nets.init_uniform(generator, 1, (inputs.shape[2], WIDTH, 1))
        start["b1"] = start["b1"] + target.mean()
        flat, shapes = tree.ravel(start), tree.shapes(start)
        memory = nets.adam_memory(flat)
        for step in range(COST_STEPS):
            flat = flat.detach().requires_grad_()
            told_ = nets.mlp(tree.unravel(flat, shapes), inputs, "relu")[0, :, 0]
            (gradient,) = torch.autograd.grad((told_ - target).square().mean(), flat)
            flat, memory = nets.adam(flat.detach(), gradient, memory, torch.full((1,), 1e-2 * (1 - step / COST_STEPS)))
        return tree.unravel(flat.detach(), shapes)

    def rank(
        self,
        task: str = "new",
        candidates: Candidates | None = None,
        observed: RunTable | None = None,
        budget: float | None = None,
        features: Mapping[str, float] | None = None,
    ) -> Ranking:
        """Rank candidates [M] by the process, conditioned on what was observed; nothing is trained again."""
        named, own = asked(self.runs_, task, candidates, observed)
        past = self._priced(self.past_.over(with_others(named, own)))
        horizon = past.budgets[-1] if budget is None else budget
        belief = self._believe(past, sightings(own, past), horizon, features or {})
        ranking = told(past, [belief], own, horizon, len(named))
        return replace(ranking, seconds=remaining(past, own, horizon)[: len(named)])

    def _priced(self, past: Past) -> Past:
        """Seconds of pipelines that nobody timed, by the cost model."""
        missing = ~np.isfinite(past.seconds[:, -1])
        if self.cost_ is None or not (missing | (past.doubt > 0)).any():
            return past
        inputs = torch.from_numpy(described(past.encoded)).float()[None]
        whole = nets.mlp(self.cost_, inputs, "relu")[0, :, 0].double().exp().numpy()
        guessed = whole[:, None] * past.budgets / past.budgets[-1]
        return replace(past, seconds=np.where((missing | (past.doubt > 0))[:, None], guessed, past.seconds))

    def _believe(self, past: Past, seen: Sightings | None, budget: float, features: Mapping[str, float]) -> Belief:
        """The process at a budget; offset and spread of the task's scores are those that fit the others' mean best."""
        budgets, count = len(past.budgets), len(past.pipelines)
        target = Places.at(np.arange(count), np.full(count, budget), past.budgets)
        usual = past.value.mean(0)
        plain = plainly(past, usual, past.final.std(0))
        facts = self._facts(past, features)
        when = torch.full((count,), float(np.log(min(budget, past.budgets[-1]) / past.budgets[-1])))
        curve, known = torch.zeros(count, budgets), torch.zeros(count, budgets, dtype=torch.bool)
        if seen is None:
            mean, sd = self._process(embed(self.params_, facts, when, curve, known), *self.memory_)
            return unseen(plain, target)._replace(mean=mean[None], sd=sd)
        fitted = condition(plain, seen, target)
        offset, spread = float(fitted.weight @ fitted.offset), float(fitted.weight @ fitted.spread)
        cells = seen.cells.take(np.flatnonzero(seen.real.ravel()))
        knee = (seen.weights @ plain.knee)[seen.real]
        unit = squash((seen.score[seen.blocks[seen.real]] - offset) / spread, knee)
        at = torch.from_numpy(np.where(cells.share < 0.5, cells.below, cells.above))
        owner, z = torch.from_numpy(cells.pipeline), torch.from_numpy(unit).float()
        curve[owner, at], known[owner, at] = z, True
        kept = torch.from_numpy(np.unique(np.linspace(0, len(z) - 1, min(len(z), STORED)).astype(int)))
        owner, at, z = owner[kept], at[kept], z[kept]
        before = known[owner] & (torch.arange(budgets) < at[:, None])
        axis = torch.from_numpy(np.log(past.budgets / past.budgets[-1])).float()
        stored = embed(self.params_, facts[owner], axis[at], curve[owner], before)
        stored, z = (torch.cat(both) for both in zip(self.memory_, (stored, z), strict=True))
        mean, sd = self._process(embed(self.params_, facts, when, curve, known), stored, z)
        one = np.ones(1)
        return Belief(one, mean[None], sd, np.array([unit.max()]), offset * one, spread * one, fitted.knee, 0.0)

    def _process(self, wanted: Tensor, stored: Tensor, z: Tensor) -> tuple[Floats, Floats]:
        """Mean and sd [M] at features [M, F], given values z [n] at features [n, F]."""
        mean, variance, noise = (x.double() for x in (self.params_["gp"][0, 0], *self.params_["gp"][0, 1:].exp()))
        wanted, stored = wanted.double(), stored.double()
        inner = variance * kernel(stored, stored) + (noise + 1e-4) * torch.eye(len(stored), dtype=torch.float64)
        root = torch.linalg.cholesky(inner)
        cross = torch.linalg.solve_triangular(root, variance * kernel(stored, wanted), upper=False)  # [n, M]
        half = torch.linalg.solve_triangular(root, (z.double() - mean)[:, None], upper=False)
        after = mean + (cross.T @ half)[:, 0]
        left = (variance + noise - cross.square().sum(0)).clamp_min(1e-6)
        return after.numpy(), left.sqrt().numpy()


def embed(net: tree.Tree, facts: Tensor, when: Tensor, curve: Tensor, seen: Tensor) -> Tensor:
    """Features [N, F] of N curve pieces.

    facts: [N, I]. when: [N] logarithm of the budget asked for. curve: [N, K] values; seen: [N, K] which were.
    """
    curves = torch.stack((curve * seen, seen.float()), -1)  # [N, K, 2]
    for name in ("near", "wide"):
        curves = torch.relu(windows(curves) @ net[f"{name}.w0"][0] + net[f"{name}.b0"][0])  # [N, K, C]
    weight = seen.float()[..., None]
    pooled = (curves * weight).sum(1) / weight.sum(1).clamp_min(1)
    # the end of the curve beside its average
    end = (seen * torch.arange(1, seen.shape[1] + 1)).argmax(1)
    ends = (curves * weight)[torch.arange(len(curves)), end]
    whole = torch.cat((facts, when[:, None], pooled, ends), 1)
    return nets.mlp(tree.part(net, "body"), whole[None], "relu")[0]


def windows(curves: Tensor) -> Tensor:
    """Each place with its neighbours, zeros beyond the ends: [N, K, C] -> [N, K, 3 C]."""
    padded = torch.nn.functional.pad(curves, (0, 0, 1, 1))
    return torch.cat((padded[:, :-2], padded[:, 1:-1], padded[:, 2:]), -1)


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Squared exponential [A, B] of features [A, F], [B, F]."""
    return (-0.5 * torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()).exp()
