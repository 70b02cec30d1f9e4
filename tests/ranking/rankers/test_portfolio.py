"""Lists: average ranks by hand, pipelines that complement each other, seconds that count."""

import numpy as np

from synthenv.ranking import rankers
from synthenv.ranking.rankers.portfolio import GreedyPortfolio, greedy
from synthenv.ranking.runs import RunTable

VALUE = np.array([[1.0, 0.0, 0.8, 0.1], [0.0, 1.0, 0.7, 0.1]])


def runs(seconds=np.nan):
    return RunTable.of(
        np.repeat(["a", "b"], 4), np.tile(["one", "two", "both", "none"], 2), VALUE.ravel(), seconds=seconds
    )


def test_greedy_takes_what_adds_most():
    gain = greedy(VALUE, np.array([], int), 4)
    assert np.argsort(-gain)[:3].tolist() == [2, 1, 0]
    np.testing.assert_allclose(gain, [0.1, 0.15, 0.75, 0.0])


def test_what_ran_is_in_the_portfolio_already():
    gain = greedy(VALUE, np.array([0]), 4)
    assert gain.argmax() == 1
    assert gain[0] == 0


def test_portfolio_and_list_differ_where_pipelines_complement():
    ranking = GreedyPortfolio().fit(runs()).rank()
    assert [ranking.pipelines[m] for m in ranking.order] == ["both", "one", "two", "none"] or ranking.order[0] == 0
    observed = RunTable.of("c", "both", 0.3)
    after = GreedyPortfolio().fit(runs()).rank(observed=observed)
    assert after.pipelines[after.order[0]] in ("one", "two")


def test_seconds_count_where_asked():
    slow = np.tile([1.0, 1.0, 100.0, 1.0], 2)
    plain, aware = (GreedyPortfolio(cost_aware=aware).fit(runs(slow)).rank() for aware in (False, True))
    assert plain.pipelines[plain.order[0]] == "both"
    assert aware.pipelines[aware.order[0]] in ("one", "two")


def test_average_rank_by_hand():
    ranking = rankers.ranker("average_rank").fit(runs()).rank()
    # places from -1 to 1: one (1, -1), two (-1, 1), both (1/3, 1/3), none (-1/3, -1/3)
    np.testing.assert_allclose(dict(zip(ranking.pipelines, ranking.mean, strict=True))["both"], 1 / 3, atol=1e-9)
    assert ranking.pipelines[ranking.order[0]] == "both"


def test_nearest_task_is_told_by_scores_and_by_features():
    told = RunTable.of(
        np.repeat(["a", "b"], 4), np.tile(["one", "two", "both", "none"], 2), VALUE.ravel(),
        features={"a": {"size": 0.0}, "b": {"size": 10.0}},
    )  # fmt: skip
    ranker = rankers.ranker("nearest_task").fit(told)
    seen = RunTable.of("new", ["one", "two", "none"], [5.0, 1.0, 1.5])
    assert ranker.rank(observed=seen).mean[2] > ranker.rank(observed=seen).mean[3]
    by_feature = ranker.rank(features={"size": 10.0})
    assert by_feature.pipelines[by_feature.order[0]] == "two"
