"""Partial curves of all candidates are carried on; of few they are not."""

import numpy as np
import pytest

from synthenv.ranking import rankers
from synthenv.ranking.rankers.extrapolation import Curves, as_losses
from synthenv.ranking.runs import RunTable
from tests.ranking.made_up import shuffled, split

BUDGETS = 100.0 * 2 ** np.arange(8)


def losses(tasks=3, pipelines=16, seed=0, **told):
    """Power laws of which some are steep and late: the order at the end is not that at the beginning."""
    generator = np.random.default_rng(seed)
    steep = generator.uniform(0.05, 0.3, pipelines)
    level = 1 + 5 * steep + 0.1 * generator.normal(size=(tasks, pipelines))
    loss = level[..., None] * (BUDGETS / BUDGETS[0]) ** -steep[:, None]
    loss = loss * np.exp(0.005 * generator.normal(size=loss.shape))
    return RunTable.of(
        np.repeat([f"task {t}" for t in range(tasks)], pipelines * 8),
        np.tile(np.repeat([f"p{m:02d}" for m in range(pipelines)], 8), tasks),
        loss.ravel(), np.tile(BUDGETS, tasks * pipelines), **({"maximize": False} | told),
    )  # fmt: skip


@pytest.fixture(scope="module")
def case():
    rest, own = split(losses())
    return rest, own, rankers.ranker("extrapolation").fit(rest)


@pytest.mark.parametrize("name", ["extrapolation", "guarded"])
def test_curves_that_will_cross_are_told_apart(case, name):
    rest, own, _ = case
    ranking = rankers.ranker(name).fit(rest).rank("task 0", observed=own.take(own.budget <= 800))
    grid = own.grid()
    truth, ahead = grid.score[0, :, -1], grid.score[0, :, 3]
    assert np.corrcoef(ranking.mean, truth)[0, 1] > max(0.95, np.corrcoef(ahead, truth)[0, 1])
    assert ranking.best[np.argmax(ranking.mean)] == ranking.best.max()
    assert (np.abs(ranking.mean - truth) < 3 * ranking.sd).mean() > 0.8


def test_a_few_curves_are_left_to_the_process_over_tasks(case):
    rest, own, ranker = case
    few = own.take(own.budget <= 800).only(pipelines=["p00", "p01"])
    np.testing.assert_array_equal(ranker.rank(observed=few).mean, ranker.process_.rank(observed=few).mean)


def test_what_is_at_its_end_is_not_run_again(case):
    rest, own, ranker = case
    seen = own.take((own.budget <= 800) | (own.pipeline == "p03"))
    ranking = ranker.rank(observed=seen)
    assert ranking.gain[3] == 0
    assert (np.delete(ranking.gain, 3) >= 0).all()


def test_order_of_rows_does_not_matter_to_curves(case):
    rest, own, ranker = case
    seen = own.take(own.budget <= 800)
    one, other = ranker.rank(observed=seen), ranker.rank(observed=shuffled(seen))
    np.testing.assert_allclose(one.mean, other.mean)
    again = rankers.ranker("extrapolation").fit(shuffled(rest, 2)).rank(observed=seen)
    np.testing.assert_allclose(one.mean, again.mean)


def test_curves_of_unequal_length_failures_and_other_budgets_are_taken(case):
    rest, own, ranker = case
    generator = np.random.default_rng(0)
    length = dict(zip(own.pipelines, generator.choice(BUDGETS[2:6], 16), strict=True))
    ragged = own.take(np.array([b <= length[p] for p, b in zip(own.pipeline, own.budget, strict=True)]))
    failed = RunTable.of("task 0", "p05", [9.0, np.nan], [100.0, 200.0], maximize=False)
    moved = RunTable.of(ragged.task, ragged.pipeline, ragged.score, ragged.budget * 1.3, maximize=False)
    for seen in (ragged, ragged.take(ragged.pipeline != "p05").join(failed), moved):
        ranking = ranker.rank("task 0", observed=seen)
        assert np.isfinite(ranking.mean).all()
        assert (ranking.sd > 0).all()


def test_scores_of_any_kind_become_what_falls():
    shares, plain = [np.array([[0.2, 0.9, np.nan]])], [np.array([[-3.0, 40.0, np.nan]])]
    for tasks, maximize in ((shares, True), (plain, True), (plain, False)):
        told, back = as_losses(tasks, maximize)
        assert told[0][0, 1] < told[0][0, 0]
        np.testing.assert_allclose(back(told[0]), tasks[0])


def test_curves_are_moved_to_other_budgets():
    curves = Curves(np.array([[1.0, 3.0, np.nan]]), np.array([1.0, 4.0, 8.0]))
    np.testing.assert_allclose(curves.on(np.array([0.5, 1.0, 2.0, 4.0, 8.0])), [[np.nan, 1, 2, 3, np.nan]])
    np.testing.assert_allclose(curves.on(np.array([1.0, 2.0, 4.0]), exactly=True), [[1, np.nan, 3]])
    assert curves.upto(4.0).score.shape == (1, 1)
