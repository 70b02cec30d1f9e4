"""`synthenv rank` on files: what it prints, draws and refuses."""

import argparse
import math

import numpy as np
import pytest

from synthenv import cli
from synthenv.ranking import commands
from synthenv.ranking.rankers.base import Ranking
from synthenv.ranking.runs import RunTable


@pytest.fixture
def runs(tmp_path):
    """Six tasks on which pipeline p9 is best and the dearest; a minute an epoch at most; and p10, never run."""
    rng = np.random.default_rng(0)
    rows = [(f"t{t}", f"p{p}", k, p / 10 + k / 20 + 0.02 * rng.standard_normal(), 6.0 * p * k + k)
            for t in range(6) for p in range(10) for k in (1, 2, 4)]  # fmt: skip
    task, pipeline, budget, score, seconds = zip(*rows, strict=True)
    settings = {f"p{p}": {"lr": 0.1 * p + 0.01} for p in range(10)} | {"p10": {"lr": 0.02}}
    path = tmp_path / "runs.csv"
    RunTable.of(task, pipeline, score, budget, seconds, settings=settings).write(path)
    return path


def synthenv(capsys, *arguments):
    code = cli.main(["rank", *(str(argument) for argument in arguments)])
    return code, *capsys.readouterr()


def test_ranks_and_draws(capsys, runs, tmp_path):
    plot = tmp_path / "ranking.png"
    code, out, err = synthenv(capsys, "--runs", runs, "--task", "mine", "--top", 3, "--budget", "10m",
                              "--ranker", "average_rank", "--plot", plot)  # fmt: skip
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("11 pipelines, ranked by average_rank from 180 rows of 6 other tasks and none of 'mine'")
    assert lines[1].startswith("mean and sd: score in spreads")
    assert [line.split()[0] for line in lines[3:7]] == ["pipeline", "p9", "p8", "p7"]
    assert "within 10 min: p9 (3.67 min), p8 (" in out
    assert out.endswith(f"plot: {plot}\n")
    assert plot.stat().st_size > 10_000


def test_measures_rankers_on_the_table(capsys, runs):
    code, out, err = synthenv(capsys, "evaluate", "--runs", runs, "--ranker", "average_rank")
    assert (code, err) == (0, "")
    assert out.startswith("6 tasks of 6 core datasets, each held out in turn")
    regret = {line.split()[0]: float(line.split()[1]) for line in out.splitlines() if line.startswith(("aver", "rand"))}
    assert regret["average_rank"] < 0.2 < 0.8 < regret["random"]
    assert "\nportfolio " in out


def test_tasks_that_tell_nothing_are_named(runs, tmp_path):
    path = tmp_path / "more.csv"
    RunTable.read(runs).join(RunTable.of("lonely", "p1", 0.5, 1.0, 9.0)).write(path)
    assert commands.evaluation(path, "average_rank").endswith("fewer than two scores: lonely")


def test_a_task_of_the_table_is_observed_and_not_learned_from(capsys, runs, tmp_path):
    observed = tmp_path / "partial.csv"
    RunTable.of("t0", "p10", 0.9, 1.0, 5.0).write(observed)
    found = commands.answer(runs, "t0", observed, ranker="average_rank")
    assert "150 rows of 5 other tasks and 31 of 't0'" in found.basis
    assert "p10" in found.ranking.pipelines
    assert (found.plan, found.scale) == (None, "score")


def test_observed_rows_take_the_direction_of_the_runs(runs, tmp_path):
    falling, observed = tmp_path / "falling.csv", tmp_path / "observed.csv"
    falling.write_text(runs.read_text().replace(",max,", ",min,"))
    observed.write_text("task,pipeline,score\nmine,p3,0.5\n")
    found = commands.answer(falling, "mine", observed, ranker="average_rank")
    assert found.ranking.pipelines[found.ranking.order[0]] == "p0"
    assert commands.answer(falling, "mine", ranker="average_rank").scale.endswith("-1 the best")
    observed.write_text("task,pipeline,score,direction\nmine,p3,0.5,max\n")
    with pytest.raises(ValueError, match="says max, and min was asked for"):
        commands.answer(falling, "mine", observed, ranker="average_rank")


def test_the_order_of_rows_does_not_matter(runs, tmp_path):
    header, *rows = runs.read_text().splitlines()
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_text("\n".join([header, *rows[::-1]]))
    one, other = (commands.answer(path, "mine", ranker="average_rank").ranking for path in (runs, shuffled))
    assert one.table() == other.table()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "mine"), "--runs"),
        (("--runs", "RUNS"), "--task names the task"),
        (("--runs", "nowhere.csv", "--task", "mine"), "nowhere.csv"),
        (("--runs", "RUNS", "--task", "mine", "--ranker", "averagerank"), "did you mean 'average_rank'"),
        (("--runs", "RUNS", "--task", "mine", "--budget", "soon"), "expected a duration such as"),
        (("--runs", "RUNS", "--task", "mine", "--minimize"), "says max, and min was asked for"),
        (("--runs", "RUNS", "--task", "mine", "--observed", "RUNS"), "should hold runs of 'mine' alone, got t0, t1"),
    ],
)
def test_says_what_is_wrong(capsys, runs, arguments, said):
    try:
        code, _, err = synthenv(capsys, *(str(runs) if word == "RUNS" else word for word in arguments))
    except SystemExit as left:
        code, err = left.code, capsys.readouterr().err
    assert code == 2
    assert said in err


def test_one_task_is_nothing_to_learn_from(runs, tmp_path):
    alone = tmp_path / "alone.csv"
    RunTable.read(runs).only(tasks=["t0"]).write(alone)
    with pytest.raises(ValueError, match="holds runs of 't0' alone"):
        commands.answer(alone, "t0")


def test_warnings_are_lines(capsys, runs, tmp_path):
    with runs.open("a") as file:
        file.write("t0,p10,1,,,0,,,,,\n".replace(",,,,,\n", ",t0,max,epochs,\n"))
    code, _, err = synthenv(capsys, "--runs", runs, "--task", "mine", "--ranker", "average_rank",
                            "--plot", tmp_path / "a.png")  # fmt: skip
    assert (code, err) == (0, f"synthenv: {runs}: 1 of 181 runs have no score: they count as failed\n")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172800), ("1e2", 100)]
)
def test_durations(text, seconds):
    assert commands.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "0", "-1h", "nan", "infh", "1w"])
def test_what_is_no_duration(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a duration"):
        commands.duration(text)


def test_plans_fill_the_budget():
    gain, seconds = np.array([1.0, 3.0, 2.0]), np.array([60.0, 7200.0, 90.0])
    ranking = Ranking(("a", "b", "c"), gain, gain, gain, seconds, gain)
    assert commands.plan(ranking, 150) == "within 2.5 min: c (90 s), a (60 s)".replace("60 s", "1 min")
    assert commands.plan(ranking, 3600, finished=("a",)) == "within 1 h: c (90 s)"
    assert commands.plan(ranking, 10) == "within 10 s: no run is expected to finish"
    unknown = Ranking(("a",), gain[:1], gain[:1], gain[:1], np.array([math.nan]), gain[:1])
    assert "tell no seconds" in commands.plan(unknown, 10)
