"""Tables of ranking: means over tasks, a row a suite and method; differences paired by task; a plot."""

from benchmarks.ranking_tables import (
    draw_runs,
    mean_ranks,
    ranking_budget,
    ranking_peft,
    ranking_published,
    ranking_runs,
    ranking_seconds,
    ranking_speed,
    ranking_unseen,
)
from benchmarks.ranking_unseen import MEAN


def run(ranker, task, regret, runs="1", covered="nan"):
    return {"suite": "a", "ranker": ranker, "task": task, "group": task, "runs": runs, "regret": regret,
            "covered": covered}  # fmt: skip


def test_regrets_are_averaged_over_tasks():
    rows = [run("list", "x", "0.2", covered="0.5"), run("list", "y", "0.4", covered="0.7"),
            run("list", "x", "0.1", "10"), run("list", "y", "0.1", "10")]  # fmt: skip
    lines = ranking_runs(rows).splitlines()
    assert lines[0] == "| suite | ranker | n | 1 runs | 10 runs | mean rank | 80 % intervals cover |"
    assert lines[2] == "| a | list | 2 | 0.300 | 0.100 | 1.0 | 60 % |"


def test_ranks_are_those_of_shared_tasks_with_ties_in_the_middle():
    found = {
        ("a", "p", 1): {("x", "x"): 0.1, ("y", "y"): 0.5},
        ("a", "q", 1): {("x", "x"): 0.2, ("y", "y"): 0.5, ("z", "z"): 0.0},
        ("b", "q", 1): {("x", "x"): 0.2},
    }
    assert mean_ranks(found) == {("a", "p"): 1.25, ("a", "q"): 1.75, ("b", "q"): 1.0}


def test_differences_are_paired_by_task():
    ours = [run("guarded", "x", "0.2", mark) for mark in ("1", "3", "5", "10", "20")]
    theirs = [run("tpe", task, "0.5", mark) for mark in ("1", "3", "5", "10", "20") for task in ("x", "y")]
    assert "| a | tpe | 1 | -0.300 [-0.300, -0.300] |" in ranking_runs([*ours, *theirs])


def test_runs_are_drawn(tmp_path):
    draw_runs(tmp_path / "runs.png", [run("guarded", t, "0.2", m) for t in ("x", "y") for m in ("1", "3")])
    assert (tmp_path / "runs.png").stat().st_size > 1_000


def test_budgets_have_no_intervals():
    rows = [{"suite": "a", "method": "m", "task": "x", "group": "x", "epochs": "51.0", "regret": "0.25"}]
    assert ranking_budget(rows).splitlines()[2] == "| a | m | 1 | 0.250 |"


def test_cells_are_averaged_over_all_and_by_set():
    rows = [{"method": "AtS", "source": "printed", "set": name, "ratio": "8", "metric": metric, "value": value}
            for name, value in (("flan", "0.4"), ("wmt19", "0.8")) for metric in ("PearCorr", "RelAcc")]  # fmt: skip
    line = ranking_published(rows).splitlines()[2]
    assert line == "| AtS | printed | 2 | 0.600 | 0.400 | 0.800 | 0.600 | 0.400 | 0.800 |"


def test_models_are_ranked_beside_what_is_known_of_them():
    known = {"models_size": "30", "ours_size": "0.9", "models_public": "14", "ours_public": "0.8", "public": "0.5"}
    ends = {"size_low": "0.6", "size_high": "0.9", "public_low": "-0.1", "public_high": "0.5"}
    rows = [{"suite": "a", "task": MEAN, "size": "0.5", **known, **ends},
            {"suite": "a", "task": "x", "size": "0.1", **known},
            {"suite": "a", "task": "y", "size": "0.95", **known}]  # fmt: skip
    lines = ranking_unseen(rows).splitlines()
    assert lines[2] == (
        f"| a | {MEAN} | 30 | 0.9 | 0.5 | [0.6, 0.9], 1 of 2 tasks | 14 | 0.8 | 0.5 | [-0.1, 0.5], 2 of 2 tasks |"
    )
    assert lines[3] == "| a | x | 30 | 0.9 | 0.1 |  | 14 | 0.8 | 0.5 |  |"
    many = [rows[0], *({**rows[1], "task": str(i)} for i in range(9))]
    assert [line for line in ranking_unseen(many).splitlines() if line.startswith("| a")] == [
        f"| a | {MEAN} | 30 | 0.9 | 0.5 | [0.6, 0.9], 9 of 9 tasks | 14 | 0.8 | 0.5 | [-0.1, 0.5], 9 of 9 tasks |"
    ]


def test_hours_are_columns():
    rows = [{"task": task, "method": method, "hours": hours, "regret": regret, "pipelines": "63", "usual_hours": "0.29"}
            for task, method, hours, regret in (("a", "m", "10", "0.1"), ("a", "m", "2", "0.25"), ("a", "n", "2", "0"),
                                                ("a", "n", "10", "0"))]  # fmt: skip
    lines = ranking_seconds(rows).splitlines()
    assert lines[0] == "| task | pipelines, usual run | method | 2 h | 10 h |"
    assert lines[2:4] == ["| a | 63, 0.29 h | m | 0.250 | 0.100 |", "| a | 63, 0.29 h | n | 0.000 | 0.000 |"]


def test_shares_begun_have_a_correlation():
    rows = [{"method": "begun", "runs": "0.5", "regret": "0.1", "rank correlation": "0.85", "pipelines": "63"},
            {"method": "whole", "runs": "1", "regret": "0.4", "rank correlation": "", "pipelines": "63"}]  # fmt: skip
    lines = ranking_peft(rows).splitlines()
    assert lines[2] == "| begun | 0.100 (0.85) |  |"
    assert lines[3] == "| whole |  | 0.400 |"


def test_questions_are_in_milliseconds():
    row = {"ranker": "r", "tasks": "3", "pipelines": "1000", "candidates": "10000", "observed": "20",
           "cpu_seconds": "0.0123", "first_cpu_seconds": "0.5", "fit_cpu_seconds": "1.5"}  # fmt: skip
    assert ranking_speed([row]).splitlines()[2] == "| r | 10,000 | 20 | 500.0 | 12.3 | 1.5 |"
