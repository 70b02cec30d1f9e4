"""What every ranker keeps: orders of rows do not matter, seconds and chances are what they say, curves are read."""

import numpy as np
import pytest

from synthenv import catalogue
from synthenv.ranking import rankers
from synthenv.ranking.runs import RunTable
from tests.ranking.made_up import final, shuffled, split, table

QUICK = {"pairwise": {"steps": 60}, "deep_kernel_gp": {"steps": 60}}
NAMES = sorted(set(catalogue.names(rankers.ROOM)) - {"in_context"})  # which has tests of its own
CORRELATED = dict.fromkeys(NAMES, 0.6) | {"deep_kernel_gp": 0.3}


def fitted(name, runs):
    return rankers.ranker(name, **QUICK.get(name, {})).fit(runs)


@pytest.fixture(scope="module", params=NAMES)
def case(request):
    """A ranker fitted to five alike tasks, and a sixth."""
    rest, own = split(table(budgets=4))
    return request.param, fitted(request.param, rest), rest, own


def same(one, other):
    assert one.pipelines == other.pipelines
    for field in ("mean", "sd", "best", "seconds"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-6, atol=1e-9)
    assert one.order.tolist() == other.order.tolist()


def test_says_what_it_thinks_of_every_candidate(case):
    name, ranker, rest, own = case
    ranking = ranker.rank()
    assert ranking.pipelines == rest.pipelines
    assert (ranking.sd > 0).all()
    assert ranking.best.sum() == pytest.approx(1.0)
    assert sorted(ranking.order.tolist()) == list(range(40))
    assert np.isfinite(ranking.seconds).all()
    assert ranking.table(3).count("\n") == 3
    assert next(row["pipeline"] for row in ranking.rows()) == ranking.pipelines[ranking.order[0]]


def test_ranks_a_task_like_the_others(case):
    name, ranker, rest, own = case
    agreement = np.corrcoef(ranker.rank().mean, final(own))[0, 1]
    assert agreement > CORRELATED[name]


def test_order_of_rows_does_not_matter(case):
    name, ranker, rest, own = case
    seen = own.only(pipelines=["p001", "p007", "p030"])
    again = fitted(name, shuffled(rest)).rank("task 0", observed=shuffled(seen, 1))
    same(again, ranker.rank("task 0", observed=seen))


def test_order_of_candidates_does_not_matter(case):
    name, ranker, rest, own = case
    seen = own.only(pipelines=["p001", "p007", "p030"])
    names = list(rest.pipelines[::-1])
    one, other = ranker.rank(candidates=names, observed=seen), ranker.rank(observed=seen)
    np.testing.assert_allclose(one.mean[::-1], other.mean, rtol=1e-6)
    assert [one.pipelines[m] for m in one.order] == [other.pipelines[m] for m in other.order]


def test_scores_come_on_the_scale_of_the_task(case):
    name, ranker, rest, own = case
    seen = own.only(pipelines=[f"p{m:03d}" for m in range(0, 40, 4)])
    ranking = ranker.rank(observed=seen)
    wide = np.ptp(final(own))
    assert abs(ranking.mean.mean() - final(own).mean()) < 0.5 * wide
    ran = [ranking.pipelines.index(p) for p in seen.pipelines]
    np.testing.assert_allclose(ranking.mean[ran], final(seen), atol=0.25 * wide)


def test_runs_that_began_cost_what_is_left(case):
    name, ranker, rest, own = case
    half = own.take((own.pipeline == "p003") & (own.budget <= 2))
    whole, rest_of_it = ranker.rank().seconds[3], ranker.rank(observed=half).seconds[3]
    assert rest_of_it == pytest.approx(whole / 2, rel=0.05)


def test_pipelines_that_nobody_ran_are_ranked_by_their_settings(case):
    name, ranker, rest, own = case
    new = {"good": {"lr": 0.7, "decay": 0.0}, "bad": {"lr": -0.9, "decay": 0.9}}
    ranking = ranker.rank(candidates=new)
    assert ranking.mean[0] > ranking.mean[1]
    assert np.isfinite(ranking.mean).all()
    assert np.isfinite(ranking.seconds).all()
    swapped = ranker.rank(candidates={"good": new["bad"], "bad": new["good"]})  # the same names with other settings
    np.testing.assert_allclose(swapped.mean, ranking.mean[::-1], rtol=1e-6)


def test_what_minimises_is_ranked_alike(case):
    name, ranker, rest, own = case
    if name == "deep_kernel_gp":
        pytest.skip("trained by steps that rounding grows in")
    down, _ = split(table(budgets=4, maximize=False))
    ranking = fitted(name, down).rank()
    assert ranking.order.tolist() == ranker.rank().order.tolist()
    assert ranking.rows()[0]["mean"] == -ranking.mean[ranking.order[0]]


def test_unknown_candidates_are_refused(case):
    name, ranker, rest, own = case
    with pytest.raises(ValueError, match="no pipeline is called 'p03'; did you mean 'p03"):
        ranker.rank(candidates=["p03"])
    with pytest.raises(ValueError, match="differ in direction"):
        ranker.rank(observed=split(table(budgets=4, maximize=False))[1])


@pytest.mark.parametrize("name", NAMES)
def test_takes_tables_with_holes_failures_and_no_settings(name):
    rest, own = split(table(tasks=4, pipelines=12, budgets=3, settings=False))
    generator = np.random.default_rng(0)
    score = np.where(generator.random(len(rest)) < 0.1, np.nan, rest.score)
    holes = RunTable.of(rest.task, rest.pipeline, score, rest.budget).take(generator.random(len(rest)) < 0.6)
    failed = RunTable.of("new", ["p001", "p002"], [np.nan, 0.5], [1.0, 2.0])
    ranker = fitted(name, holes)
    for observed in (None, failed, failed.take(np.array([0]))):
        ranking = ranker.rank(candidates=rest.pipelines[:8], observed=observed)
        assert np.isfinite(ranking.mean).all()
        assert np.isfinite(ranking.sd).all()


@pytest.mark.parametrize("name", NAMES)
def test_one_task_and_disjoint_tasks_are_enough(name):
    whole = table(tasks=3, pipelines=18)
    one = whole.only(tasks=["task 1"])
    assert np.isfinite(fitted(name, one).rank().mean).all()
    apart = whole.take((np.arange(len(whole)) % 3) == np.array([int(task[-1]) for task in whole.task]))
    ranking = fitted(name, apart).rank(candidates=whole.settings)
    assert np.isfinite(ranking.mean).all()


@pytest.mark.parametrize("name", ["average_rank", "pairwise"])
def test_monotone_transforms_of_scores_change_nothing_but_scores(name):
    rest, own = split(table())
    bent = RunTable.of(rest.task, rest.pipeline, np.exp(2 * rest.score), settings=rest.settings, features=rest.features)
    straight = RunTable.of(rest.task, rest.pipeline, rest.score, settings=rest.settings, features=rest.features)
    assert fitted(name, bent).rank().order.tolist() == fitted(name, straight).rank().order.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_of_a_task_does_not_matter(name):
    if name == "deep_kernel_gp":
        pytest.skip("trained by steps that rounding grows in")
    rest, own = split(table())
    other = RunTable.of(rest.task, rest.pipeline, 1000 * rest.score - 7, rest.budget, rest.seconds,
                        settings=rest.settings, features=rest.features)  # fmt: skip
    assert fitted(name, other).rank().order.tolist() == fitted(name, rest).rank().order.tolist()
