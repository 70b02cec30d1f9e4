"""The protocol: folds hold groups out, regret is as defined, intervals and differences are as counted."""

import numpy as np
import pytest

from synthenv.ranking import evaluate as protocol
from synthenv.ranking import rankers
from synthenv.ranking.rankers.base import Ranking
from synthenv.ranking.runs import RunTable
from tests.ranking.made_up import table


def test_groups_are_held_out_together():
    runs = table(tasks=5)
    runs = RunTable.of(runs.task, runs.pipeline, runs.score, group={"task 1": "g", "task 2": "g"})
    for rest, cases in protocol.folds(runs):
        inside = {case.task for case in cases}
        assert inside | set(rest.tasks) == set(runs.tasks)
        assert not inside & set(rest.tasks)
        assert {case.group for case in cases} == {runs.group[case.task] for case in cases}
    with pytest.raises(ValueError, match="needs two or more, got 1"):
        next(protocol.folds(table(tasks=1)))


def test_regret_by_hand():
    own = RunTable.of("a", ["p", "q", "r"], [1.0, 5.0, 3.0])
    case = protocol.case_of(own, "a")
    np.testing.assert_allclose(protocol.curve_of(case, [0, 2, 1]), [2.0, 1.0, 0.0])
    down = protocol.case_of(RunTable.of("a", ["p", "q", "r"], [1.0, 5.0, 3.0], maximize=False), "a")
    np.testing.assert_allclose(protocol.curve_of(down, [0]), [0.0])


def test_a_failed_first_run_is_as_bad_as_the_worst():
    case = protocol.case_of(RunTable.of("a", ["p", "q", "r", "s"], [np.nan, 5.0, 3.0, 1.0]), "a")
    assert protocol.curve_of(case, [0, 1])[1] == 0
    assert np.isfinite(protocol.curve_of(case, [0]))


def test_intervals_are_counted():
    case = protocol.case_of(RunTable.of("a", ["p", "q", "r", "s"], [0.0, 1.0, 2.0, 3.0]), "a")
    sure = Ranking(
        case.pipelines, np.array([0.0, 1.0, 0.0, 3.0]), np.full(4, 0.1), np.full(4, 0.25), np.full(4, np.nan)
    )
    assert protocol.coverage(sure, case, []) == 0.75
    assert protocol.coverage(sure, case, [2]) == 1.0


def test_rank_correlation_by_hand():
    assert protocol.rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([0.0, 5.0, 6.0])) == pytest.approx(1)
    assert protocol.rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(0.5)
    assert protocol.rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])) == pytest.approx(1)


def test_bootstrap_resamples_groups():
    values = np.array([1.0, 1.0, 1.0, 0.0])
    alone = protocol.bootstrap(values, ["a", "b", "c", "d"])
    together = protocol.bootstrap(values, ["a", "a", "a", "d"])
    assert alone.mean == together.mean == 0.75
    assert together.high - together.low > alone.high - alone.low
    assert protocol.bootstrap(values, ["a", "b", "c", "d"]) == alone


def test_every_ranker_and_random_are_measured_on_every_task():
    runs = table(tasks=4, pipelines=30)
    fits = {name: rankers.ranker(name).fit for name in ("average_rank", "task_gp")}
    traces = protocol.evaluate(runs, fits, 5)
    assert len(traces) == 3 * 4
    rows = {row["ranker"]: row for row in protocol.summary(traces, (1, 3, 5))}
    assert rows["average_rank"]["regret@1"] < rows["random"]["regret@1"]
    assert rows["average_rank"]["advantage"] == 0
    assert rows["random"]["high"] < 0
    assert sum(row["wins"] for row in rows.values()) == pytest.approx(1)
    assert np.mean([row["rank"] for row in rows.values()]) == pytest.approx(2)
    text = protocol.report(list(rows.values()))
    assert text.splitlines()[0].split()[:2] == ["ranker", "regret@1"]


def test_freeze_thaw_spends_its_budget_and_regret_falls():
    runs = table(tasks=4, pipelines=20, budgets=5)
    rest, cases = next(protocol.folds(runs))
    steps = protocol.by_budget(rankers.default().fit(rest), cases[0], 40.0)
    spent, regret = np.array(steps).T
    assert (np.diff(spent) > 0).all()
    assert spent[-1] <= 41
    assert (np.diff(regret) <= 0).all()
    assert regret[-1] < 0.5
