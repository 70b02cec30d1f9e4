"""Freeze-thaw: what is asked, when it stops, and that a kill loses nothing."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from synthenv.ranking import rankers
from synthenv.ranking.rankers.base import Ranking
from synthenv.ranking.runs import RunTable
from synthenv.ranking.select import Selector, worth


@dataclass
class Oracle:
    """Expects of each pipeline a fixed gain and a fixed price of an epoch; remembers what it was shown."""

    name: ClassVar[str] = "oracle"
    gain: dict = field(default_factory=dict)
    pace: dict = field(default_factory=dict)
    shown: list = field(default_factory=list)

    def fit(self, runs):
        return self

    def rank(self, task="new", candidates=None, observed=None, budget=None, features=None):
        self.shown.append(observed)
        done = dict.fromkeys(candidates, 0.0)
        if observed is not None:
            done |= {p: observed.budget[observed.pipeline == p].max() for p in observed.pipelines}
        gain = np.array([self.gain[name] for name in candidates], float)
        seconds = np.array([self.pace.get(name, math.nan) * (budget - done[name]) for name in candidates])
        even = np.full(len(gain), 1 / len(gain))
        return Ranking(tuple(candidates), gain, even, even, seconds, gain)


GAIN, PACE = {"a": 1.0, "b": 2.0, "c": 4.0}, {"a": 1.0, "b": 1.0, "c": 10.0}


def selector(**told):
    return Selector(Oracle(GAIN, PACE), **{"candidates": ["a", "b", "c"], "budgets": (1, 2, 4), **told})


def test_asks_for_gain_at_the_end_per_second_left():
    chooser = selector()
    assert chooser.ask()[:4] == ("b", {}, 0, 1)
    assert selector(cost_exponent=0.0).ask().pipeline == "c"
    assert selector(candidates={"a": {"lr": 1}, "c": {}}).ask().settings == {"lr": 1}


def test_goes_on_with_a_run_and_leaves_finished_and_failed_ones():
    chooser = selector()
    for start, budget in ((0, 1), (1, 2), (2, 4)):
        assert chooser.ask()[2:4] == (start, budget)
        chooser.tell("b", budget, 0.5, budget)
    assert chooser.ask().pipeline == "a"
    chooser.tell("a", 1, math.nan)
    assert chooser.ask().pipeline == "c"
    chooser.tell("c", 4, 0.9, 40.0)
    assert (chooser.ask(), chooser.stopped) == (None, "all runs are finished")


def test_workers_get_different_runs():
    chooser = selector()
    assert [chooser.ask().pipeline for _ in range(3)] == ["b", "a", "c"]
    assert (chooser.ask(), chooser.stopped) == (None, None)
    chooser.tell("a", 1, 0.1)
    assert chooser.ask()[:1] == ("a",)


def test_the_seconds_are_kept():
    chooser = selector(budget_seconds=6.0)
    chooser.tell("b", 4, 0.5, 4.0)
    step = chooser.ask()  # a would take 4 seconds to the end, its first epoch 1; c cannot even have one
    assert (step.pipeline, step.budget) == ("a", 1)
    chooser.tell("a", 1, 0.5, 1.9)
    assert (chooser.ask(), chooser.stopped) == (None, "no run gets any further in the 0 seconds that are left")
    chooser.tell("a", 2, 0.5, 2.1)
    assert (chooser.ask(), chooser.stopped) == (None, "the seconds are spent")
    assert chooser.spent == pytest.approx(6.1)


def test_stops_when_a_second_buys_too_little():
    chooser = selector(price=0.3)
    assert chooser.ask().pipeline == "b"  # nothing is known yet, nothing to compare with
    chooser.tell("b", 4, 0.5, 4.0)
    assert chooser.ask() is None
    assert "less than its price of 0.3" in chooser.stopped
    assert selector(price=0.2).ask() is not None


def test_order_alone_will_do():
    ranking = Ranking(("a", "b"), np.array([0.0, 1.0]), *[np.ones(2)] * 2, np.full(2, math.nan))
    assert np.argmax(worth(ranking)) == 1


def test_unknown_seconds_are_usual_ones():
    gain = np.array([1.0, 1.0, 1.0])
    ranking = Ranking(("a", "b", "c"), gain, gain, gain, np.array([1.0, math.nan, 3.0]), gain)
    np.testing.assert_allclose(worth(ranking), [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(worth(ranking, 0), 1)


def test_the_ranker_sees_all_that_was_told():
    chooser = selector(maximize=False, unit="steps", features={"classes": 3})
    chooser.tell("a", 1, 0.5, 2.0)
    chooser.tell("b", 1, math.nan)
    chooser.ask()
    shown = chooser.ranker.shown[-1]
    assert (shown.tasks, shown.maximize, shown.unit) == (("new",), False, "steps")
    assert (len(shown), shown.features["new"]) == (2, {"classes": 3})


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (("d", 1, 0.5), "no candidate is called 'd'"),
        (("a", 1, 0.5), "repeat a cell"),
        (("a", 2, 0.5, 1.0), "fewer seconds"),
        (("b", 0, 0.5), "no budget > 0"),
        (("b", 1, math.inf), "beyond"),
    ],
)
def test_what_cannot_be_is_refused_and_forgotten(told, said):
    chooser = selector()
    chooser.tell("a", 1, 0.5, 2.0)
    with pytest.raises(ValueError, match=said):
        chooser.tell(*told)
    assert len(chooser.told) == 1
    with pytest.raises(ValueError, match="tell the seconds"):
        selector(budget_seconds=9.0).tell("a", 1, 0.5)


@pytest.mark.parametrize(
    ("told", "said"),
    [({"budgets": ()}, "budgets are"), ({"budgets": (0, 1)}, "budgets are"), ({"candidates": []}, "no candidates")],
)
def test_what_is_no_selection_is_refused(told, said):
    with pytest.raises(ValueError, match=said):
        selector(**told)


def test_pareto_keeps_what_nothing_beats():
    chooser = selector()
    chooser.tell("a", 1, 0.5, 1.0, 100)
    chooser.tell("b", 1, 0.4, 2.0, 100)  # beaten by a
    chooser.tell("b", 2, 0.4, 3.0, 50)
    chooser.tell("c", 1, 0.9, 10.0, 900)
    chooser.tell("c", 2, math.nan, 20.0)
    assert [(row["pipeline"], row["budget"]) for row in chooser.pareto()] == [("a", 1), ("b", 2), ("c", 1)]
    assert selector().pareto() == []
    falling = selector(maximize=False)
    falling.tell("a", 1, 0.5)
    falling.tell("b", 1, 0.4)
    assert [row["pipeline"] for row in falling.pareto()] == ["b"]


def test_a_state_is_gone_on_from(tmp_path):
    path = tmp_path / "deep" / "state.json"
    chooser = selector(state=path)
    chooser.ask()
    chooser.tell("b", 1, 0.5, 1.0, 7.0)
    chooser.tell("a", 1, math.nan)
    again = selector(state=path, budget_seconds=99.0)
    assert again.told == chooser.told
    assert again.ask()[:3] == ("b", {}, 1)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"task": "other"}, "its task is 'new'"),
        ({"maximize": False}, "its maximize"),
        ({"candidates": ["a", "c"]}, "'b'"),
    ],
)
def test_a_state_of_another_selection_is_refused(tmp_path, told, said):
    path = tmp_path / "state.json"
    selector(state=path).tell("b", 1, 0.5, 1.0)
    with pytest.raises(ValueError, match=said):
        selector(state=path, **told)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ValueError, match="no state of a selector"):
        selector(state=path)


def test_a_kill_between_tells_loses_nothing(tmp_path):
    """The child says what it has told, then is killed while it goes on; whatever it said is on the disk."""
    program = """
        import sys
        from tests.ranking.test_select import selector
        chooser = selector(budgets=range(1, 100_000), state=sys.argv[1])
        for budget in range(1, 100_000):
            chooser.tell("a", budget, budget / 2, budget)
            print(budget, flush=True)
    """
    path = tmp_path / "state.json"
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=os.getcwd()) as child:
        said = 0
        while said < 40:
            said = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        said = max([said, *map(int, child.stdout.read().split())])
    assert child.returncode == -signal.SIGKILL
    again = selector(budgets=range(1, 100_000), state=path)
    assert [row["budget"] for row in again.told][:said] == list(range(1, said + 1))
    assert len(again.told) <= said + 1
    assert json.loads(path.read_text())["told"] == again.told


def test_a_real_ranker_finds_the_best_within_the_seconds():
    rows = [(f"t{t}", f"p{p}", k, p * k + t, 1.0 * k) for t in range(5) for p in range(6) for k in (1, 2, 4)]
    task, pipeline, budget, score, seconds = zip(*rows, strict=True)
    runs = RunTable.of(task, pipeline, score, budget, seconds)
    ranker = rankers.ranker("task_gp").fit(runs.only(tasks=["t1", "t2", "t3", "t4"]))
    chooser = Selector(ranker, runs.pipelines, 8.0, (1, 2, 4))
    while (step := chooser.ask()) is not None:
        place = int(step.pipeline[1])
        chooser.tell(step.pipeline, step.budget, place * step.budget, step.budget)
    assert chooser.spent <= 8
    assert max(row["score"] for row in chooser.told) == 20
