"""The default: learns from other tasks as far as that has helped among them, and no further.

How much other tasks help is found by trying it: each group of tasks is held out in turn, every policy is played on it
for some runs, and taken is the one that is never far behind the best of them. Policies begin with some pipelines of a
greedy portfolio, of scores and places, and go on by expected improvement: under a Gaussian process that knows the other
tasks, or under one that knows only settings. Where tasks have nothing to do with each other (data mixtures for unlike
domains are an example), the second wins; and a new task that is unlike the others, though these are alike, is noticed
by what it shows: the process without transfer is always among the hypotheses. Where most candidates have been begun and
are to be carried on, their own curves tell most, and are extrapolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, NamedTuple
from zlib import crc32

import numpy as np

from synthenv.ranking.answer import gains, in_scores
from synthenv.ranking.belief import Places, Sightings
from synthenv.ranking.checks import Floats
from synthenv.ranking.past import Past
from synthenv.ranking.rankers.base import Candidates, FromPast, Ranking, asked, with_others
from synthenv.ranking.rankers.extrapolation import carried_on
from synthenv.ranking.rankers.portfolio import LENGTH, greedy
from synthenv.ranking.rankers.task_gp import Hypothesis, TaskCovarianceGP, Ways
from synthenv.ranking.runs import RunTable

HELD_OUT = 12
"""At most so many groups are held out in turn."""
RUNS = 10
"""So many runs are played on each."""
STRETCHES = ((0, 1), (1, 3), (3, 6), (6, 10))
"""Policies are compared by their mean regret over these of the runs: after a single one much is luck."""
CHECKED, NORMAL_80, LIMITS = (3, 5, 9), 1.2816, (0.5, 2.0)
"""After so many runs intervals are compared with what they should hold; by how much they may be stretched."""
ENOUGH = 3
"""Fewer groups of tasks than this tell nothing of how tasks relate."""
BEGUN, TRIED = 2, 0.1
"""Where runs can be halted, so many are begun before any is judged, at this share of the budget."""
HANDICAP, ALONE = {5: 0.0, 3: 0.02, LENGTH: 0.01, 1: 0.04}, 0.01
"""Regret by which a policy must be better than the safest to be taken: by its pipelines from the portfolio, and for
doing without other tasks. A dozen tasks tell no finer differences."""
NOTHING: Mapping[str, object] = MappingProxyType({})
"""Settings of a pipeline that is known by its name."""
UNLIKE = 0.3
"""Prior probability that the new task is unlike all others."""


class Policy(NamedTuple):
    """The portfolio for the first `first` pipelines, then expected improvement, with other tasks or without."""

    first: int
    transfer: bool


POLICIES = tuple(Policy(first, transfer) for transfer in (True, False) for first in (1, 3, 5))
ONLY_PORTFOLIO = Policy(LENGTH, True)


class Guarded(FromPast):
    """Portfolio first, then a Gaussian process over tasks or over settings, whichever has helped.

    policy: to use in any case, instead of the one that is found.
    """

    name: ClassVar[str] = "guarded"

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy

    def learn(self, past: Past) -> Guarded:
        """Learn from the runs of other tasks, and whether to."""
        self.past_ = past
        process = TaskCovarianceGP().learn(past)
        own = without_transfer(past)
        self.processes_ = {
            True: with_hypotheses(process, [
                *(h._replace(share=(1 - UNLIKE) * h.share) for h in process.hypotheses_),
                *(h._replace(share=UNLIKE * h.share) for h in own),
            ]),
            False: with_hypotheses(process, own),
        }  # fmt: skip
        self.trials_ = {} if self.policy or len(set(past.groups)) < ENOUGH else tried(past, self.processes_)
        regret = {policy: trial.regret for policy, trial in self.trials_.items()}
        self.policy_ = self.policy or (chosen(regret) if regret else POLICIES[0])
        self.stretch_ = self.trials_[self.policy_].stretch if self.policy_ in self.trials_ else 1.0
        return self

    def rank(
        self,
        task: str = "new",
        candidates: Candidates | None = None,
        observed: RunTable | None = None,
        budget: float | None = None,
        features: Mapping[str, float] | None = None,
    ) -> Ranking:
        """Rank candidates [M]: gains are those of the policy, all else comes from the Gaussian process."""
        named, own = asked(self.runs_, task, candidates, observed)
        process = self.processes_[self.policy_.transfer]
        ranking = process.ranking(named, own, budget)
        past, _ = process.prepared(with_others(named, own))
        horizon = past.budgets[-1] if budget is None else budget
        gain = self._first(past, own, horizon)[: len(named)]
        if not gain.any() and ranking.gain is not None:
            gain = ranking.gain * shuffled(ranking.pipelines)
        ranking = replace(ranking, gain=gain, sd=self.stretch_ * ranking.sd)
        return ranking if own is None else carried_on(ranking, self.runs_, own, ranking.pipelines, horizon)

    def _first(self, past: Past, own: RunTable | None, budget: float) -> Floats:
        """Gain [M] of the pipelines to begin with; all 0 once that is done.

        Where runs are halted on the way, few are begun, and each gets a share of the budget before it is judged.
        """
        reached = {} if own is None else furthest(own)
        seen = np.array([m for m, name in enumerate(past.pipelines) if name in reached], int)
        halted = any(0 < at < budget for at in reached.values())
        first = (BEGUN if self.policy_.transfer else 1) if halted else self.policy_.first
        short = [m for m in seen if 0 < reached[past.pipelines[m]] < TRIED * budget]
        if len(seen) <= first and short:
            gain = np.zeros(len(past.pipelines))
            gain[short] = 1.0
            return gain
        return greedy(past.standing, seen, LENGTH) if len(seen) < first else np.zeros(len(past.pipelines))


def furthest(own: RunTable) -> dict[str, float]:
    """How far each pipeline has got; 0 for one that failed."""
    reached: dict[str, float] = {}
    for name, at, score in zip(own.pipeline.tolist(), own.budget.tolist(), own.score.tolist(), strict=True):
        reached[name] = max(reached.get(name, 0.0), at) if score == score else 0.0
    return reached


def without_transfer(past: Past) -> list[Hypothesis]:
    """What to believe of a task that has nothing to do with others but that settings matter as much.

    In one half the others' mean tells which pipelines are unusual, for better or worse.
    """
    total = float(past.final.var(1).mean()) + 1e-6
    known = 0.0 if past.kernel is None else 0.9
    lean = float(np.sqrt((past.final.mean(0) ** 2).mean()) + 1e-6)
    return [
        Hypothesis(0.0, slope * np.sqrt(total) / lean, 0.0, known * total, (1 - known) * total, 0.5)
        for slope in (0.0, 0.6)
    ]


def with_hypotheses(process: TaskCovarianceGP, hypotheses: list[Hypothesis]) -> TaskCovarianceGP:
    """The same process under other hypotheses."""
    other = copy(process)
    other.hypotheses_ = hypotheses
    return other.reset()


def shuffled(names: tuple[str, ...]) -> Floats:
    """Factors [M] next to 1 by name, so that equal gains are taken in an order that has no meaning."""
    return 1 + 1e-9 * np.array([crc32(name.encode()) / 2**32 for name in names])


class Trial(NamedTuple):
    """How a policy did on held-out tasks.

    regret:  [tasks, STRETCHES] in units of their spread. stretch: of standard deviations, by which intervals hold as
             many scores as they should.
    """

    regret: Floats
    stretch: float


def tried(past: Past, processes: Mapping[bool, TaskCovarianceGP]) -> dict[Policy, Trial]:
    """Every policy on held-out tasks, each once with all pipelines and once without the first of the portfolio.

    The second run is mostly luck, and this draws it twice.
    """
    groups = sorted(set(past.groups))
    held = [groups[i] for i in np.unique(np.linspace(0, len(groups) - 1, min(len(groups), HELD_OUT)).astype(int))]
    regrets: dict[Policy, list[Floats]] = {policy: [] for policy in (*POLICIES, ONLY_PORTFOLIO)}
    missed: dict[Policy, list[Floats]] = {policy: [] for policy in regrets}
    for number, group in enumerate(held):
        rest, own = past.tasks_of(set(groups) - {group}), past.tasks_of({group})
        t = len(own.tasks) * (2 * number + 1) // (2 * len(held))  # now one of the first, now one of the last
        ran = own.known[t]
        if ran.sum() <= RUNS + 1:
            continue
        whole = np.where(ran, own.final[t], -np.inf)
        without = whole.copy()
        without[np.argmax(np.where(ran, greedy(rest.standing, np.array([], int), 1), -1.0))] = -np.inf
        for transfer, process in processes.items():
            part = copy(process)
            part.past_, part.ways_ = rest, Ways.of(rest.value)
            part.reset()
            for policy in (policy for policy in regrets if policy.transfer == transfer):
                for value in (whole, without):
                    order, far = play(policy, part, value)
                    behind = value.max() - np.maximum.accumulate(value[order])
                    regrets[policy].append(np.array([behind[begin:end].mean() for begin, end in STRETCHES]))
                    missed[policy].append(far)
    return {
        policy: Trial(np.array(found), stretched(missed[policy], len(found) // 2))
        for policy, found in regrets.items() if found
    }  # fmt: skip


def stretched(missed: list[Floats], tasks: int) -> float:
    """What standard deviations are to be multiplied with, if scores of so many tasks were missed by so many of them.

    The new task is one more, and may be the worst: so in conformal prediction (Vovk et al. 2005), here of whole tasks.
    """
    level = min(1.0, 0.8 * (tasks + 1) / tasks)
    return float(np.clip(np.quantile(np.concatenate(missed), level) / NORMAL_80, *LIMITS))


def play(policy: Policy, process: TaskCovarianceGP, value: Floats) -> tuple[list[int], Floats]:
    """The pipelines that a policy runs on a task of value [M] at the largest budget, -inf where nobody knows.

    Beside them by how many standard deviations scores of the others were missed, after CHECKED runs.
    """
    past, priors = process.prepared(dict.fromkeys(process.past_.pipelines, NOTHING))
    last, jitter = past.budgets[-1], shuffled(past.pipelines)
    order: list[int] = []
    missed: list[Floats] = []
    listed = greedy(past.standing, np.array([], int), RUNS)
    for _ in range(RUNS):
        left = np.isfinite(value)
        left[order] = False
        gain = listed if len(order) < policy.first and (listed[left] > 0).any() else None
        if gain is None or len(order) in CHECKED:
            cells = Places.at(order, np.full(len(order), last), past.budgets)
            seen = Sightings.of(cells, value[order], len(past.budgets)) if order else None
            beliefs = process.believe(past, priors, seen, last)
            if len(order) in CHECKED:
                mean, sd = in_scores(beliefs)
                missed.append(np.abs(value - mean)[left] / sd[left])
            gain = gains(beliefs) * jitter if gain is None else gain
        order.append(int(np.argmax(np.where(left, gain, -1.0))))
    return order, np.concatenate(missed)


def chosen(trials: Mapping[Policy, Floats]) -> Policy:
    """The policy that is on average, and at its worst, least behind the best in each stretch of runs."""
    policies = list(trials)
    regret = np.stack([trials[policy].mean(0) for policy in policies])  # [policies, stretches]
    behind = regret - regret.min(0)
    odds = np.array([HANDICAP[policy.first] + (0.0 if policy.transfer else ALONE) for policy in policies])
    return policies[int(np.argmin(behind.mean(1) + behind.max(1) + odds))]
