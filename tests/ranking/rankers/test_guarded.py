"""The default learns from others where they are alike, and does not where they are not."""

import numpy as np
import pytest

from synthenv.ranking import rankers
from synthenv.ranking.evaluate import at_random, by_runs, case_of
from synthenv.ranking.rankers.guarded import LENGTH, Guarded, Policy, chosen
from tests.ranking.made_up import split, table


def regret(runs, task, ranker=None, length=6):
    rest, _ = split(runs, task)
    ranker = rankers.default() if ranker is None else ranker
    return by_runs(ranker.fit(rest), case_of(runs, task), "it", length).regret


def test_default_is_the_guarded_one():
    assert isinstance(rankers.default(), Guarded)


def test_alike_tasks_are_learned_from():
    runs = table(tasks=6, pipelines=60)
    ranker = rankers.default().fit(split(runs)[0])
    assert ranker.policy_.transfer
    for task in runs.tasks[:2]:
        assert regret(runs, task)[0] < at_random(case_of(runs, task), 6).regret[2]


@pytest.mark.parametrize("settings", [True, False])
def test_unlike_tasks_are_not_trusted(settings):
    runs = table(tasks=8, pipelines=60, alike=False, noise=0.02, settings=settings, seed=3)
    found = np.array([regret(runs, task) for task in runs.tasks])
    random = np.array([at_random(case_of(runs, task), 6).regret for task in runs.tasks])
    assert found.mean() < 1.1 * random.mean()


def test_a_task_unlike_the_alike_others_is_noticed():
    runs = table(tasks=6, pipelines=60, noise=0.02)
    own = runs.task == "task 0"
    odd = runs.take(np.arange(len(runs)))
    odd.score[own] = -odd.score[own]
    listed = regret(odd, "task 0", rankers.ranker("average_rank"), 12)
    assert regret(odd, "task 0", length=12)[-1] < 0.5 * listed[-1]


def test_the_policy_least_behind_is_chosen():
    even = np.zeros((4, 5))
    trials = {Policy(5, True): even + 0.5, Policy(1, False): even + 0.1, Policy(LENGTH, True): even + 0.6}
    assert chosen(trials) == Policy(1, False)
    assert chosen({Policy(5, True): even + 0.01, Policy(1, False): even}) == Policy(5, True)


def test_few_are_begun_and_each_is_given_a_chance_before_it_is_judged():
    runs = table(budgets=10)
    rest, own = split(runs)
    ranker = Guarded(Policy(5, True)).fit(rest)
    first = ranker.rank().order[0]
    name = rest.pipelines[first]
    begun = own.take((own.pipeline == name) & (own.budget <= 1))
    second = ranker.rank(observed=begun)
    assert second.order[0] != first
    other = rest.pipelines[second.order[0]]
    both = own.take(((own.pipeline == name) | (own.pipeline == other)) & (own.budget <= 1))
    third = ranker.rank(observed=both)
    assert third.gain is not None
    assert third.gain.max() > 0


def test_a_policy_can_be_given():
    rest, _ = split(table(tasks=5))
    ranker = Guarded(Policy(3, False)).fit(rest)
    assert ranker.policy_ == Policy(3, False)
    assert ranker.trials_ == {}
