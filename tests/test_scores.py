"""Statistics against hand-worked values; trials survive the trip through CSV."""

import numpy as np
import pytest

from synthenv.scores import Trial, read_trials, statistics, write_trials


def test_statistics_of_eight_runs():
    found = statistics([8, 1, 2, 3, 4, 5, 6, 100])
    assert (found["n"], found["worst"], found["best"]) == (8, 1, 100)
    assert found["mean"] == pytest.approx(129 / 8)
    assert found["iqm"] == pytest.approx((3 + 4 + 5 + 6) / 4)
    assert found["std"] == pytest.approx(np.std([8, 1, 2, 3, 4, 5, 6, 100], ddof=1))


def test_interval_covers_the_true_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(10, 3, size=(200, 20))
    inside = [low <= 10 <= high for low, high in (statistics(row)["interval"] for row in draws)]
    assert 0.88 <= np.mean(inside) <= 0.98


def test_interval_is_the_same_every_time_and_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    assert statistics([1, 2, 3, 4]) == statistics([4, 3, 2, 1])
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_one_run_has_no_spread():
    found = statistics([7])
    assert found == {"n": 1, "mean": 7, "iqm": 7, "worst": 7, "best": 7, "std": 0, "interval": [7, 7]}


def test_no_runs_are_refused():
    with pytest.raises(ValueError, match="at least one return"):
        statistics([])


def test_runs_come_back_from_csv(tmp_path):
    trials = [Trial("Synth-CartPole-v0", "PPO", 10_000, seed, 50, 499.5, 4.25) for seed in range(3)]
    write_trials(tmp_path / "transfer.csv", trials)
    assert read_trials(tmp_path / "transfer.csv") == trials


def test_another_table_is_refused_with_the_columns_it_should_have(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other.csv should have the columns environment, algorithm"):
        read_trials(path)
