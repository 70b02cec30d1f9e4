"""Optuna studies as tables and back."""

import numpy as np
import pytest

from synthenv.ranking.readers import optuna_studies
from synthenv.ranking.runs import RunTable
from tests.ranking.test_runs import same, small

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def study():
    """Three trials: complete, pruned, failed; steps begin at 0."""
    made = optuna.create_study(study_name="mine", direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        trial.suggest_categorical("opt", ["sgd", None])
        for step in range(3):
            trial.report(lr + step, step)
            if trial.number and step == 1:
                raise optuna.TrialPruned if trial.number == 1 else RuntimeError
        return lr + 10

    made.optimize(objective, 3, catch=RuntimeError)
    return made


def test_trials_are_runs(study):
    with pytest.warns(UserWarning, match="1 of 8 rows are failed trials"):
        table = optuna_studies.read(study)
    assert (table.tasks, table.maximize, table.unit) == (("mine",), True, "epochs")
    for trial, budgets in zip(study.trials, ([1, 2, 3], [1, 2], [1, 2, 3]), strict=True):
        (pipeline,) = (p for p, told in table.settings.items() if told["lr"] == trial.params["lr"])
        rows = table.pipeline == pipeline
        assert table.budget[rows].tolist() == budgets
        assert table.settings[pipeline]["opt"] in ("sgd", "none")
        assert (np.diff(table.seconds[rows]) > 0).all() or trial.number == 2
    lr = study.trials[0].params["lr"]
    assert table.score[:3].tolist() == [lr, lr + 1, lr + 10]
    assert np.isnan(table.score[-1])


def test_equal_parameters_are_one_pipeline_of_several_tasks():
    studies = [optuna.create_study(study_name=name) for name in "ab"]
    for study in studies:
        study.enqueue_trial({"x": 1})
        study.enqueue_trial({"x": 1})
        study.optimize(lambda trial: trial.suggest_int("x", 0, 3), 2)
    table = optuna_studies.read(studies)
    assert (table.tasks, table.pipelines, table.maximize) == (("a", "b"), ("x=1",), False)
    assert sorted(table.seed.tolist()) == [0, 0, 1, 1]


def test_a_storage_is_read_as_a_whole_and_written(tmp_path):
    table = small(
        maximize=False,
        unit="steps",
        settings={"p": {"lr": 0.1, "layers": 2, "opt": "x"}, "q": {"lr": 1.0, "opt": True}},
        features={"a": {"n": 1.0}},
        group={"a": "core"},
    )
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    studies = optuna_studies.write(table, url)
    assert [study.study_name for study in studies] == ["a", "b"]
    assert studies[0].best_value == 0.4
    same(table, optuna_studies.read(url))


def test_failed_and_empty_cells_survive():
    table = RunTable.of("a", "p", [0.5, np.nan], [1, 2], [1.0, np.nan])
    with pytest.warns(UserWarning, match="1 of 2 rows"):
        same(table, optuna_studies.read(optuna_studies.write(table)))


def test_what_is_no_table_is_refused():
    with pytest.raises(ValueError, match="whole steps"):
        optuna_studies.write(RunTable.of("a", "p", 1.0, 0.5))
    with pytest.raises(ValueError, match="no study"):
        optuna_studies.read([])
    with pytest.raises(ValueError, match="no trial"):
        optuna_studies.read(optuna.create_study())
    with pytest.raises(ValueError, match="2 objectives"):
        optuna_studies.read(optuna.create_study(directions=["minimize", "minimize"]))
    with pytest.raises(ValueError, match="some studies maximise"):
        optuna_studies.read([optuna.create_study(), optuna.create_study(direction="maximize")])
