"""Tables as CSV: what is written is read back, what is no table is refused in words."""

import csv
import io
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthenv.ranking.runs import RunTable
from tests.ranking.test_runs import same, small

NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=4)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(-1e99, 1e99), st.text(max_size=5))
CELLS = st.sampled_from(["", "a", "b", "1", "2", "0", "-1", "x", "nan", "inf", "1e999", "max", "min", "true", "[", "é"])
HEADERS = st.sampled_from(["task", "pipeline", "score", "budget", "seconds", "seed", "group", "direction", "unit",
                           "hp:lr", "hp:", "task:n", "epoch", ""])  # fmt: skip


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path):
    table = small(
        maximize=False,
        unit="steps",
        settings={"p": {"lr": 1e-3, "layers": 2, "bias": True, "opt": "1"}, "never run": {"opt": " sgd\n"}},
        features={"a": {"classes": 10}, "untried": {"classes": 2}},
        group={"a": "core"},
    )
    table.write(tmp_path / "runs.csv")
    same(table, RunTable.read(tmp_path / "runs.csv"))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=3), max_size=3), st.floats(-1e99, 1e99))
def test_any_settings_survive_a_file(tmp_path_factory, told, score):
    path = tmp_path_factory.mktemp("any") / "runs.csv"
    table = RunTable.of("ä,\"'", "p;", score, settings=told)
    table.write(path)
    same(table, RunTable.read(path))


def test_the_least_table(tmp_path):
    table = RunTable.read(written(tmp_path / "a.csv", "\ufefftask, score,pipeline\r\nx, 1 ,y\r\n"))
    assert (table.tasks, table.pipelines, table.score.tolist(), table.budget.tolist()) == (("x",), ("y",), [1], [1])
    assert (table.maximize, table.unit, table.group) == (True, "epochs", {"x": "x"})


def test_the_caller_says_what_the_file_does_not(tmp_path):
    path = written(tmp_path / "a.csv", "task,pipeline,score\nx,y,1\n")
    table = RunTable.read(path, maximize=False, unit="examples")
    assert (table.maximize, table.unit) == (False, "examples")


def test_failed_runs_are_counted(tmp_path):
    path = written(tmp_path / "a.csv", "task,pipeline,score\nx,y,1\nx,z,\n")
    with pytest.warns(UserWarning, match="1 of 2 runs have no score"):
        assert math.isnan(RunTable.read(path).score[1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a.csv is empty; its first line should name the columns"),
        ("task,pipeline\nx,y\n", "lacks the column score"),
        ("task,pipeline,scores\nx,y,1\n", "no column is called 'scores'; did you mean 'score'"),
        ("task;pipeline;score\nx;y;1\n", "parted by commas"),
        ("task,pipeline,score,lr\nx,y,1,2\n", "a hyperparameter is called hp:lr"),
        ("task,task,pipeline,score\nx,x,y,1\n", "2 columns 'task'"),
        ("task,pipeline,score\nx,y,1,2\n", "row 2 of a.csv has 4 cells under 3 columns"),
        ("task,pipeline,score\nx,y,good\n", "row 2, column 'score' should be a number, got 'good'"),
        ("task,pipeline,score\n,y,1\n", "row 2 has a score and lacks its task"),
        ("task,pipeline,score\n,,\n", "row 2 names neither"),
        ("task,pipeline,score,direction\nx,y,1,max\nx,z,1,min\n", "'direction' holds max and min.*negate"),
        ("task,pipeline,score,direction\nx,y,1,up\n", "no direction is called 'up'"),
        ("task,pipeline,score,unit\nx,y,1,steps\nx,z,1,epochs\n", "'unit' holds epochs and steps.*convert"),
        ("task,pipeline,score,hp:lr\nx,y,1,1\nz,y,1,2\n", "'lr' of pipeline 'y' is 1 in row 2 and 2 in row 3"),
        ("task,pipeline,score,group\nx,y,1,g\nx,z,1,h\n", "'group' of task 'x' is g in row 2"),
        ("task,pipeline,score,task:n\nx,y,1,many\n", "column 'task:n' should be a number"),
        ("task,pipeline,score,seconds\nx,y,1,0\n", "took no seconds .*repair=True"),
        ('task,pipeline,score\n"x,y,1\n', "row 2 of a.csv has 1 cells"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        RunTable.read(written(tmp_path / "a.csv", text))


def test_a_direction_cannot_be_contradicted(tmp_path):
    path = written(tmp_path / "a.csv", "task,pipeline,score,direction\nx,y,1,max\n")
    with pytest.raises(ValueError, match="says max, and min was asked for"):
        RunTable.read(path, maximize=False)


@settings(max_examples=150, deadline=None)
@given(st.lists(HEADERS, min_size=1, max_size=7), st.lists(st.lists(CELLS, max_size=7), max_size=5), st.booleans())
def test_fuzzed_tables_are_read_or_refused_in_words(tmp_path_factory, header, rows, complete):
    header = [*dict.fromkeys([*header, *(("task", "pipeline", "score") if complete else ())])]
    rows = [(row * 9)[: len(header)] if row else row for row in rows]
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    path = written(tmp_path_factory.mktemp("fuzz") / "runs.csv", text.getvalue())
    _read_or_refused(path)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_fuzzed_bytes_are_refused_in_words(tmp_path_factory, noise, begun):
    path = tmp_path_factory.mktemp("fuzz") / "runs.csv"
    path.write_bytes((b"task,pipeline,score\n" if begun else b"") + noise)
    _read_or_refused(path)


def _read_or_refused(path):
    refused = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = RunTable.read(path, repair=True)
        except ValueError as error:
            refused = str(error).removeprefix(f"{path}: ")
    if refused is None:
        assert np.isfinite(table.grid().score).sum() <= len(table)
    else:
        assert len(refused.split()) > 4
