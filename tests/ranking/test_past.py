"""Runs in units of a task: by hand, with holes, with curves that end early."""

import numpy as np
import pytest

from synthenv.ranking.past import BUDGETS, LOWEST, Past, checkpoints, kept, places, squash, unsquash
from synthenv.ranking.runs import RunTable
from tests.ranking.made_up import table


def test_units_by_hand():
    past = Past.of(RunTable.of("a", ["p", "q", "r"], [10.0, 20.0, 18.0]))
    np.testing.assert_allclose(past.final[0], [squash(np.array(-4.0), np.array(-0.5)), 1.0, 0.0])
    np.testing.assert_allclose(past.place[0, :, 0], [-1.0, 1.0, 0.0])


def test_one_task_with_far_better_pipelines_does_not_choose_for_all():
    """In two tasks a is just ahead of b; in a third, where most diverged, b is twice as far from the median as a."""
    alike = [100.0, 99.0, 90.0, 10.0, 0.0]
    past = Past.of(
        RunTable.of([t for t in "rst" for _ in "abcde"], [*"abcde"] * 3, [*alike, *alike, 50.0, 100.0, 0.0, -1.0, -2.0])
    )
    assert [np.argmax(x.mean(0)) for x in (past.final, past.standing)] == [1, 0]


def test_squashed_values_come_back_until_the_end():
    z, knee = np.linspace(-3.6, 2, 50), np.full(50, -0.5)
    np.testing.assert_allclose(unsquash(squash(z, knee), knee), z, atol=1e-9)
    assert squash(np.array(-1e9), np.array(-0.5)) == LOWEST


def test_ties_share_a_place():
    score = np.array([[[1.0], [2.0], [2.0], [np.nan]]])
    np.testing.assert_allclose(places(score)[0, :, 0], [-1.0, 0.5, 0.5, np.nan])


def test_a_run_keeps_its_best_checkpoint_and_a_failed_one_what_it_had():
    nan = np.nan
    score = np.array([[[1.0, 3.0, 2.0], [nan, nan, nan], [4.0, nan, nan], [5.0, nan, nan]]])
    failed = np.zeros(score.shape, bool)
    failed[0, 1, 0] = failed[0, 2, 1] = True
    best, extent = checkpoints(score, failed)
    np.testing.assert_allclose(best[0], [[1, 3, 3], [1, 1, 1], [4, 4, 4], [5, 5, 5]])
    assert extent.tolist() == [[2, 2, 2, 0]]


def test_ends_of_curves_go_on_as_others_went():
    runs = table(tasks=3, pipelines=30, budgets=6, noise=0.02)
    whole = Past.of(runs)
    short = Past.of(runs.take(~((runs.task == "task 1") & (runs.pipeline == "p004") & (runs.budget > 3))))
    gone, seen = whole.value[1, 4, -1], whole.value[1, 4, 2]
    assert abs(short.value[1, 4, -1] - gone) < abs(seen - gone)
    np.testing.assert_allclose(short.value[0], whole.value[0])


def test_holes_are_filled_from_other_tasks_and_settings():
    runs = table(tasks=4, pipelines=30, noise=0.02)
    whole, hole = Past.of(runs), Past.of(runs.take(~((runs.task == "task 1") & (runs.pipeline == "p004"))))
    assert not hole.known[1, 4]
    assert hole.known.sum() == hole.known.size - 1
    assert hole.final[1, 4] == pytest.approx(whole.final[1, 4], abs=0.3)


def test_unknown_candidates_take_values_from_their_likes():
    runs = table(pipelines=60, noise=0.01)
    past = Past.of(runs)
    part = past.over({"p007": {}, "new": dict(runs.settings["p007"]), "odd": {}})
    np.testing.assert_allclose(part.value[:, 0], past.value[:, 7])
    np.testing.assert_allclose(part.value[:, 1], past.value[:, 7], atol=0.15)
    assert part.doubt[0] == 0
    assert part.doubt[0] < part.doubt[1] < part.doubt[2]
    assert np.isfinite(part.seconds).all()


def test_groups_are_taken_whole():
    past = Past.of(table(tasks=4))
    part = past.tasks_of({"task 1", "task 3"})
    assert part.tasks == ("task 1", "task 3")
    np.testing.assert_array_equal(part.value, past.value[[1, 3]])


def test_first_and_last_of_many_budgets_are_kept():
    chosen = kept(500)
    assert chosen[0] == 0
    assert chosen[-1] == 499
    assert len(chosen) <= BUDGETS
    assert kept(4).tolist() == [0, 1, 2, 3]


def test_a_table_without_scores_is_refused():
    with pytest.raises(ValueError, match="expected runs of other tasks with scores"):
        Past.of(RunTable.of("a", ["p", "q"], [np.nan, np.nan]))
