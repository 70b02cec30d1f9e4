"""Tables of runs: what they forget, what they refuse, what they repair and say so."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthenv.ranking.runs import CELLS, RunTable


def small(**told):
    """Two tasks, two pipelines, three budgets; q was not run on b."""
    rows = [(t, p, k) for t, p in (("a", "p"), ("a", "q"), ("b", "p")) for k in (1, 2, 4)]
    task, pipeline, budget = zip(*rows, strict=True)
    score = [0.1, 0.2, 0.4, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9]
    return RunTable.of(task, pipeline, score, budget, [10.0 * k for k in budget], **told)


def same(one, other):
    """Whether two tables say the same, whatever the order of their rows."""
    for mine, yours in zip(one.grid(), other.grid(), strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert (one.maximize, one.unit, one.settings) == (other.maximize, other.unit, other.settings)
    assert (one.features, one.group) == (other.features, other.group)


def test_grid_is_sorted_and_keeps_holes():
    grid = small().grid()
    assert (grid.tasks, grid.pipelines, grid.budgets.tolist()) == (("a", "b"), ("p", "q"), [1, 2, 4])
    np.testing.assert_array_equal(grid.score[0], [[0.1, 0.2, 0.4], [0.3, 0.5, 0.6]])
    assert np.isnan(grid.score[1, 1]).all()
    np.testing.assert_array_equal(grid.seconds[0, 1], [10, 20, 40])


def test_grid_is_higher_better_and_averages_seeds():
    table = RunTable.of("a", "p", [1.0, 3.0, math.nan], seed=[0, 1, 2], maximize=False)
    assert table.grid().score.tolist() == [[[-2.0]]]


def test_grid_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        small().grid().score[0, 0, 0] = 1


def test_too_many_budgets_are_refused_before_memory_is():
    n = int(CELLS**0.5) + 1
    table = RunTable.of("a", [str(i % 30_000) for i in range(n)], 0.0, np.arange(1.0, n + 1))
    with pytest.raises(ValueError, match="round the budgets"):
        table.grid()


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(9)))
def test_order_of_rows_does_not_matter(order):
    table = small()
    same(table, table.take(np.array(order)))


NUMBERS = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, math.nan, math.inf, -1.0]), st.floats())
ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", ""]), st.sampled_from(["p", "q"]), NUMBERS, NUMBERS, NUMBERS, NUMBERS)
)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.booleans())
def test_any_rows_are_a_table_or_refused_in_words(rows, repair):
    columns = zip(*rows, strict=True) if rows else [()] * 6
    refused = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = RunTable.of(*columns, repair=repair)
        except ValueError as error:
            refused = str(error)
    if refused is None:
        grid = table.grid()
        assert np.isfinite(grid.score).any() == np.isfinite(table.score).any()
        assert not (grid.seconds <= 0).any()
    else:
        assert len(refused.split()) > 4


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"task": ["a"], "pipeline": ["p", "q"], "score": 1.0}, "one length"),
        ({"task": [1.5], "pipeline": ["p"], "score": 1.0}, "'task' holds names, got 1.5"),
        ({"task": [""], "pipeline": ["p"], "score": 1.0}, "name of a task is printable"),
        ({"task": ["a"], "pipeline": ["p\n"], "score": 1.0}, "name of a pipeline is printable"),
        ({"task": "a", "pipeline": "p", "score": ["x"]}, "'score' holds numbers"),
        ({"task": "a", "pipeline": "p", "score": [math.inf]}, "'score' is beyond 1e[+]100 in 1 rows; leave such"),
        ({"task": "a", "pipeline": "p", "score": 1.0, "seed": [0.5]}, "'seed' holds whole numbers"),
        ({"task": "a", "pipeline": "p", "score": [1.0, 2.0], "budget": [0, 1]}, "1 of 2 rows have no budget > 0"),
        ({"task": "a", "pipeline": "p", "score": 1.0, "budget": math.nan}, "have no budget > 0"),
        ({"task": "a", "pipeline": "p", "score": [1.0, 2.0]}, "repeat a cell .*pipeline 'p', budget 1, seed 0.*'seed'"),
        ({"task": "a", "pipeline": "p", "score": 1.0, "seconds": -1.0}, "negative seconds"),
        ({"task": "a", "pipeline": "p", "score": 1.0, "seconds": 0.0}, "took no seconds .*empty where unknown"),
        ({"task": "a", "pipeline": "p", "score": [1, 2, 3], "budget": [1, 2, 3], "seconds": [5, math.nan, 4]},
         r"1 of 3 rows have fewer seconds .*budget 3.*sum up"),
        ({"task": "a", "pipeline": "p", "score": 1.0, "settings": {"p": {"x": [1, 2]}}}, "'x' of pipeline 'p' is"),
        ({"task": "a", "pipeline": "p", "score": 1.0, "settings": {1: {}}}, "name of a pipeline"),
        ({"task": "a", "pipeline": "p", "score": 1.0, "features": {"a": {"n": "many"}}}, "'n' of task 'a' is a number"),
        ({"task": "a", "pipeline": "p", "score": 1.0, "unit": ""}, "name of a unit"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(columns, said):
    with pytest.raises(ValueError, match=said):
        RunTable.of(**columns)


PADDED = {
    "task": "a",
    "pipeline": ["p"] * 4 + ["q"] * 4,
    "budget": [1, 2, 3, 4] * 2,
    "score": [0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.6],
    "seconds": [2.0, 4.0, 4.0, 4.0, 3.0, 3.0, 6.0, 0.0],
}
"""p stopped after 2 and q after 3; that q scored the same at 1 and 2 is no padding, for it went on."""


def test_padded_tails_are_refused_and_can_be_cut():
    with pytest.raises(ValueError, match=r"3 of 8 rows look like padding .*pipeline 'p', budget 3"):
        RunTable.of(**PADDED)
    with pytest.warns(UserWarning, match="cut 3 of 8 rows"):
        table = RunTable.of(**PADDED, repair=True)
    assert table.budget.tolist() == [1, 2, 1, 2, 3]


def test_plateaus_that_were_trained_are_no_padding():
    RunTable.of("a", "p", [0.5, 1.0, 1.0], [1, 2, 3], [1.0, 2.0, 3.0])
    RunTable.of("a", "p", [0.5, 1.0, 1.0], [1, 2, 3], [1.0, 2.0, math.nan])
    RunTable.of("a", "p", [0.5, 1.0, 1.0], [1, 2, 3])


def test_zero_seconds_can_be_taken_for_unknown():
    with pytest.warns(UserWarning, match="seconds of 3 of 3 rows for unknown"):
        table = RunTable.of("a", "p", [0.5, 0.6, 0.6], [1, 2, 3], 0.0, repair=True)
    assert np.isnan(table.seconds).all()


def test_only_keeps_what_is_known_of_what_it_keeps():
    table = small(settings={"p": {"lr": 0.1}, "new": {"lr": 1.0}}, group={"a": "core", "b": "core"})
    part = table.only(tasks=["a"])
    assert (part.tasks, part.pipelines, dict(part.group)) == (("a",), ("p", "q"), {"a": "core"})
    assert part.settings == {"p": {"lr": 0.1}, "q": {}, "new": {"lr": 1.0}}
    assert table.only(pipelines=["p"]).settings == {"p": {"lr": 0.1}}
    assert len(table.only(tasks=[])) == 0
    with pytest.raises(ValueError, match="no pipeline is called 'nev'; did you mean 'new'"):
        table.only(pipelines=["nev"])


def test_join_is_the_inverse_of_only():
    table = small(settings={"p": {"lr": 0.1}}, features={"a": {"classes": 3}}, group={"a": "core"})
    same(table, table.only(["a"]).join(table.only(["b"])))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"maximize": False}, "one table maximises"),
        ({"unit": "steps"}, "counts epochs and the other steps"),
        ({"settings": {"p": {"lr": 2}}}, "'lr' of pipeline 'p' is 1 in one table and 2 in the other"),
        ({"group": {"a": "core"}}, "'group' of task 'a'"),
        ({}, "repeat a cell"),
    ],
)
def test_join_refuses_what_contradicts(told, said):
    one, other = small(settings={"p": {"lr": 1}}, group={"a": "x"}), small(**told)
    with pytest.raises(ValueError, match=said):
        one.join(other)
