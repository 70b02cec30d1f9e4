"""A Gaussian process whose mean and covariance over pipelines come from the runs of other tasks.

A new task is the mean of the others times a slope, plus ways in which tasks differ, plus a function of the settings,
plus what is a pipeline's own; how much of each is learned by holding each task out in turn. So the covariance is that
of few tasks only as far as those tell (shrinkage), and where the mean of others says nothing of a task, its slope is 0.
Several such mixtures are kept, each for the share of the tasks that it explains best, one of them without any transfer;
what is seen of the new task decides between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from synthenv.ranking import kernel
from synthenv.ranking.answer import levels, sightings, told
from synthenv.ranking.belief import Belief, Places, Prior, Sightings, condition, unseen
from synthenv.ranking.checks import Floats
from synthenv.ranking.kernel import Kernel
from synthenv.ranking.past import Past
from synthenv.ranking.rankers.base import Candidates, FromPast, Ranking, asked, with_others
from synthenv.ranking.runs import RunTable, Settings
from synthenv.ranking.space import Encoded

WAYS = 24
"""At most so many ways in which tasks differ."""
LANDMARKS = 64
"""So many pipelines carry the function of the settings."""
HELD_OUT, POINTS = 16, 128
"""At most so many groups are held out in turn, and of each task so many pipelines predicted."""
COUNTED = 20.0
"""A held-out task counts as so many independent runs: its hundreds of scores are no hundreds of proofs."""
KEPT = 4


class Hypothesis(NamedTuple):
    """A way in which a new task may relate to the others.

    slope, slope_sd: of the mean of the others. ways, settings, own: variances of the three parts besides.
    share: of tasks that are so.
    """

    slope: float
    slope_sd: float
    ways: float
    settings: float
    own: float
    share: float


@dataclass(frozen=True)
class Ways:
    """How T tasks differ from their mean: weights [T, R] of tasks; values weighted with them have variance 1."""

    weights: Floats

    @classmethod
    def of(cls, value: Floats) -> Ways:
        """The principal ways of values [T, M, K]."""
        tasks = len(value)
        if tasks < 3:
            return cls(np.zeros((tasks, 0)))
        apart = (value - value.mean(0)).reshape(tasks, -1)
        size, directions = np.linalg.eigh(apart @ apart.T)
        used = np.flatnonzero(size > 1e-6 * max(size.max(), 1e-12))[::-1][:WAYS]
        weights = directions[:, used] - directions[:, used].mean(0)
        total = (np.tensordot(value[:, :, -1], weights, (0, 0)) ** 2).sum(1).mean()
        return cls(weights / np.sqrt(max(total, 1e-12)))

    def __call__(self, value: Floats) -> Floats:
        """Basis [M, ..., R] of values [T, M, ...]."""
        basis: Floats = np.tensordot(value, self.weights, (0, 0))
        return basis


class Function(NamedTuple):
    """A function of the settings as a basis over landmarks."""

    alike: Kernel
    landmarks: Encoded
    whiten: Floats

    @classmethod
    def of(cls, past: Past) -> Function | None:
        """Landmarks evenly spread over the pipelines; None where nothing is known of these."""
        if past.kernel is None:
            return None
        count = len(past.pipelines)
        chosen = np.unique(np.linspace(0, count - 1, min(LANDMARKS, count)).astype(int))
        landmarks = kernel.rows(past.encoded, chosen)
        size, directions = np.linalg.eigh(past.kernel(landmarks, landmarks))
        used = size > 1e-4 * size.max()
        return cls(past.kernel, landmarks, directions[:, used] / np.sqrt(size[used]))

    def __call__(self, encoded: Encoded) -> Floats:
        """Basis [M, R] of M pipelines."""
        basis: Floats = self.alike(encoded, self.landmarks) @ self.whiten
        return basis


class TaskCovarianceGP(FromPast):
    """Gaussian process over pipelines and budgets, its covariance from other tasks and from settings."""

    name: ClassVar[str] = "task_gp"

    def learn(self, past: Past) -> TaskCovarianceGP:
        """Learn how tasks relate, each group of them held out in turn."""
        self.past_, self.settings_ = past, Function.of(past)
        self.ways_ = Ways.of(past.value)
        self.hypotheses_, self.residual_ = relate(past, self.settings_)
        return self.reset()

    def reset(self) -> TaskCovarianceGP:
        """Forget what was computed for the candidates of before; needed after a learned thing was changed."""
        self._prepared: tuple[Past, list[Prior]] = self.past_, self.priors(self.past_)
        self._fresh: Mapping[str, Settings] = {}
        return self

    def prepared(self, named: Mapping[str, Settings]) -> tuple[Past, list[Prior]]:
        """The past over candidates and what is expected of them; asked for the same again, nothing is computed."""
        ran = set(self.past_.pipelines)
        fresh = {name: dict(settings) for name, settings in named.items() if name not in ran}
        if tuple(named) != self._prepared[0].pipelines or fresh != self._fresh:
            past = self.past_.over(named)
            self._prepared, self._fresh = (past, self.priors(past)), fresh
        return self._prepared

    def priors(self, past: Past) -> list[Prior]:
        """What each hypothesis expects of the pipelines of `past`, which are those fitted or others."""
        mean = past.value.mean(0)  # [M, K]
        ways = self.ways_(past.value)
        still = np.zeros((len(mean), 0)) if self.settings_ is None else self.settings_(past.encoded)
        load = self.residual_[:, -1]
        apart = self.residual_ - np.outer(load, load)
        missed = 1 - np.minimum((still**2).sum(1), 1) if still.shape[1] else np.zeros(len(mean))
        common, knee = levels(past)
        return [
            Prior(
                mean=h.slope * mean,
                curves=np.concatenate((h.slope_sd * mean[..., None], np.sqrt(h.ways) * ways), 2),
                still=np.sqrt(h.settings) * still,
                load=load,
                common=common,
                knee=knee,
                residual=h.own * self.residual_ + h.settings * apart,
                scale=1 + (h.settings * missed + mean[:, -1].var() * past.doubt) / (h.own + 1e-9),
            )
            for h in self.hypotheses_
        ]

    def believe(self, past: Past, priors: list[Prior], seen: Sightings | None, budget: float) -> list[Belief]:
        """What each hypothesis believes of all pipelines at a budget, weighted by its share and by what it foresaw."""
        target = Places.at(np.arange(len(past.pipelines)), np.full(len(past.pipelines), budget), past.budgets)
        beliefs = [unseen(p, target) if seen is None else condition(p, seen, target) for p in priors]
        logs = np.array([b.evidence for b in beliefs]) + np.log([h.share for h in self.hypotheses_])
        shares = np.exp(logs - np.logaddexp.reduce(logs))
        return [b._replace(weight=share * b.weight) for b, share in zip(beliefs, shares, strict=True) if share > 1e-3]

    def rank(
        self,
        task: str = "new",
        candidates: Candidates | None = None,
        observed: RunTable | None = None,
        budget: float | None = None,
        features: Mapping[str, float] | None = None,
    ) -> Ranking:
        """Rank candidates [M]; the gain is the expected improvement on the best score seen, or on a median pipeline."""
        named, own = asked(self.runs_, task, candidates, observed)
        return self.ranking(named, own, budget)

    def ranking(self, named: Mapping[str, Settings], own: RunTable | None, budget: float | None) -> Ranking:
        """What `rank` answers, of candidates with their settings and the task's own runs."""
        past, priors = self.prepared(with_others(named, own))
        horizon = past.budgets[-1] if budget is None else budget
        return told(past, self.believe(past, priors, sightings(own, past), horizon), own, horizon, len(named))


def relate(past: Past, settings: Function | None) -> tuple[list[Hypothesis], Floats]:
    """The hypotheses that explain tasks best when each is held out, and the covariance [K, K] of residuals.

    The shares of all hypotheses, a simplex of variances and one without the others' mean, are those of a mixture that
    is fitted to the held-out likelihoods by expectation maximisation.
    """
    groups = sorted(set(past.groups))
    has_settings, mixtures = settings is not None, simplex(settings is not None)
    if len(groups) < 2:
        even = Hypothesis(0.7, 0.5, 0.0, 0.4 * has_settings, 0.6 - 0.2 * has_settings, 1.0)
        return [even], smooth(past.value - past.value.mean(1, keepdims=True))
    held = [groups[i] for i in np.unique(np.linspace(0, len(groups) - 1, min(len(groups), HELD_OUT)).astype(int))]
    folds = []
    for group in held:
        inside = np.array([g == group for g in past.groups])
        rest, tested = past.value[~inside], past.value[inside]
        folds.append((rest.mean(0), rest, tested[len(tested) // 2]))
    slopes = np.array([(m[:, -1] @ z[:, -1]) / (m[:, -1] @ m[:, -1] + 1e-9) for m, _, z in folds])
    slope, slope_sd = float(slopes.mean()), float(max(slopes.std(), 0.1))
    apart = np.stack([z - slope * m for m, _, z in folds])
    total = float((apart[:, :, -1] ** 2).mean()) + 1e-6
    scales = (0.5, 1.0, 2.0)
    kinds = [Hypothesis(slope, slope_sd, total * s * ways, total * s * told, total * s * own, 0.0)
             for ways, told, own in mixtures for s in scales]  # fmt: skip
    alone = [Hypothesis(0.0, 0.0, 0.0, total * part[1] * s, total * (part[2] + part[0]) * s, 0.0)
             for part in mixtures if part[0] == 0 for s in (1.0, 2.0)]  # fmt: skip
    kinds += alone
    logs = np.stack([likelihoods(fold, kinds, settings, past) for fold in folds])  # [folds, kinds]
    share = np.full(len(kinds), 1 / len(kinds))
    for _ in range(50):
        belongs = np.log(share) + logs
        belongs = np.exp(belongs - np.logaddexp.reduce(belongs, axis=1)[:, None])
        share = (belongs.sum(0) + 1 / len(kinds)) / (len(folds) + 1)
    best = np.argsort(-share, kind="stable")[: KEPT - 1]
    last = len(kinds) - len(alone) + int(np.argmax(share[-len(alone) :]))
    chosen = np.unique(np.append(best, last))
    return [kinds[i]._replace(share=float(share[i] / share[chosen].sum())) for i in chosen], smooth(apart)


def simplex(settings: bool) -> list[tuple[float, float, float]]:
    """Shares of ways, settings and own."""
    steps = (0.0, 0.25, 0.5, 0.75)
    return [(w, s, 1 - w - s) for w in steps for s in (steps if settings else (0.0,)) if 1 - w - s > 0.2 - 1e-9] + [
        (w, s, 0.1) for w, s in (((0.9, 0.0), (0.45, 0.45), (0.0, 0.9)) if settings else ((0.9, 0.0),))
    ]


def likelihoods(fold: tuple[Floats, Floats, Floats], kinds: list[Hypothesis], settings: Function | None, past: Past
                ) -> Floats:  # fmt: skip
    """Logarithms [kinds] of the probability of a held-out task's values at the largest budget."""
    mean, rest, value = fold
    some = np.unique(np.linspace(0, len(mean) - 1, min(len(mean), POINTS)).astype(int))
    ways = Ways.of(rest)(rest[:, some, -1])
    still = np.zeros((len(some), 0)) if settings is None else settings(kernel.rows(past.encoded, some))
    straight, one = mean[some, -1], np.eye(len(some))
    parts = np.stack([np.outer(straight, straight), ways @ ways.T, still @ still.T, one])
    share = np.array([[k.slope_sd**2, k.ways, k.settings, k.own] for k in kinds])
    root = np.linalg.cholesky(np.tensordot(share, parts, 1))
    far = value[some, -1] - np.array([k.slope for k in kinds])[:, None] * straight
    half = np.linalg.solve(root, far[..., None])[..., 0]
    logs = -0.5 * (half**2).sum(1) - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
    counted: Floats = logs * min(1.0, COUNTED / len(some))
    return counted


def smooth(apart: Floats) -> Floats:
    """Covariance [K, K] over budgets of residuals [S, M, K], 1 at the largest."""
    flat = (apart - apart.mean(1, keepdims=True)).reshape(-1, apart.shape[-1])
    covariance = flat.T @ flat / len(flat) + 1e-6 * np.eye(flat.shape[1])
    relative: Floats = covariance / covariance[-1, -1]
    return relative
