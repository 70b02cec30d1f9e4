"""Lists run along their order: to the end, halved, in brackets; steps cost what they are said to."""

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.ranking_halting import averaged, halving, hyperband, reading
from synthenv.ranking.evaluate import case_of
from synthenv.ranking.runs import RunTable

BUDGETS = np.arange(1.0, 10.0)


def case(pipelines=9):
    """Pipeline m is worth m in the end, and grows at the same pace at every budget."""
    names = [f"p{m}" for m in range(pipelines)]
    score = np.outer(np.arange(pipelines), BUDGETS / 9)
    runs = RunTable.of("a", np.repeat(names, 9), score.ravel(), np.tile(BUDGETS, pipelines))
    found = case_of(runs, "a")
    assert found is not None
    return found


def test_to_the_end_means_one_after_the_other():
    steps = halving(case(), [2, 8, 0], 18.0, rungs=1)
    assert [spent for spent, _ in steps] == list(range(1, 19))
    assert steps[8][1] == pytest.approx((8 - 2) / 4)  # best 8, median 4
    assert steps[-1][1] == 0.0


def test_the_best_third_goes_on():
    steps = halving(case(), list(range(9)), 100.0)
    # nine to budget 1, three on to 3, one on to 9
    assert [spent for spent, _ in steps] == list(range(1, 9 + 3 * 2 + 6 + 1))
    assert reading(steps)(15.0) == pytest.approx((8 - 8 / 3) / 4)
    assert steps[-1][1] == 0.0


def test_steps_cost_what_they_cost():
    cost = np.full((9, 9), 2.0)
    cost[2] = 0.0  # its runs tell no time
    steps = halving(case(), [2, 8], 100.0, rungs=1, cost=cost)
    assert steps[8][0] == 0.0
    assert steps[-1][0] == 18.0


def test_brackets_end_where_pipelines_do():
    steps = hyperband(case(40), list(range(40)), 1e9)
    spent = [at for at, _ in steps]
    assert spent == sorted(spent)
    assert steps[-1][1] == 0.0
    assert all(low <= high for (_, high), (_, low) in pairwise(steps))


def test_a_mean_of_readings():
    assert averaged([lambda at: at, lambda at: 3 * at])(2.0) == 4.0
