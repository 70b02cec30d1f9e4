"""Rankings inside Optuna: trials take the settings of pipelines, curves without hope are cut."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from synthenv.ranking import plugin
from synthenv.ranking.rankers.base import Ranking
from synthenv.ranking.readers import optuna_studies
from synthenv.ranking.runs import RunTable

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)

LR = {"p": 0.1, "q": 0.2, "r": 0.3}


@pytest.fixture
def runs():
    """Two tasks on which r is best and q next; five epochs."""
    rows = [(t, p, k, LR[p] * k / 5 + 0.2 * (p == "r")) for t in "ab" for p in LR for k in range(1, 6)]
    task, pipeline, budget, score = zip(*rows, strict=True)
    settings = {p: {"lr": lr, "opt": "sgd", "model.parameters": 9} for p, lr in LR.items()}
    return RunTable.of(task, pipeline, score, budget, settings=settings)


@dataclass
class Means:
    """Foretells the mean of other tasks, or the last score where there is one, and remembers what it was shown."""

    name: ClassVar[str] = "means"
    sd: float = 0.01

    def fit(self, runs):
        final = runs.grid().score[:, :, -1].mean(0)
        self.final, self.shown = dict(zip(runs.pipelines, final, strict=True)), []
        return self

    def rank(self, task="new", candidates=None, observed=None, budget=None, features=None):
        self.shown.append((task, observed, budget))
        mean = np.array([self.final.get(name, 0.0) for name in candidates or self.final])
        if observed is not None and len(mean) == 1:
            mean[:] = observed.score[observed.pipeline == next(iter(candidates))][-1]
        sd = np.full(len(mean), self.sd)
        return Ranking(tuple(candidates or self.final), mean, sd, sd, np.full(len(mean), np.nan), mean)


def objective(trial):
    lr = trial.suggest_float("lr", 0.01, 0.25)
    trial.suggest_categorical("opt", ["sgd", "adam"])
    for step in range(1, 6):
        trial.report(lr * step / 5, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return lr


def test_a_portfolio_waits_in_the_queue(runs):
    study = optuna.create_study(direction="maximize")
    assert plugin.enqueue_portfolio(study, runs, 2, Means()) == ["r", "q"]
    plugin.enqueue_portfolio(study, runs, 2, Means())
    study.optimize(lambda trial: trial.suggest_float("lr", 0, 1), 2)
    assert [trial.params for trial in study.trials] == [{"lr": 0.3}, {"lr": 0.2}]
    assert optuna_studies.read(study).pipelines == ("q", "r")


def test_the_sampler_runs_each_candidate_once_and_then_lets_another_go_on(runs):
    rest = optuna.samplers.RandomSampler(seed=0)
    ranker = Means().fit(runs)
    study = optuna.create_study(direction="maximize", sampler=plugin.sampler(runs, ranker, otherwise=rest))
    study.enqueue_trial({"lr": 0.05})
    study.optimize(objective, 5)
    ran = [trial.user_attrs.get(optuna_studies.PIPELINE) for trial in study.trials]
    assert ran == [None, "r", "q", "p", None]
    lr = [trial.params["lr"] for trial in study.trials]
    assert (lr[0], lr[2:4]) == (0.05, [0.2, 0.1])
    assert lr[1] <= 0.25  # 0.3 is none of the objective's
    assert len({*lr}) == 5
    task, observed, budget = ranker.shown[-1]
    assert (task, budget, observed.pipelines) == (
        study.study_name,
        5,
        ("lr=0.05, opt=" + study.trials[0].params["opt"], "q", "r"),
    )
    assert observed.settings["q"] == runs.settings["q"]


def test_a_sampler_made_again_goes_on(runs, tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    for _ in range(2):
        chooser = plugin.sampler(runs, Means().fit(runs))
        study = optuna.create_study(
            storage=storage, study_name="s", direction="maximize", sampler=chooser, load_if_exists=True
        )
        study.optimize(objective, 1)
    assert [trial.user_attrs[optuna_studies.PIPELINE] for trial in study.trials] == ["r", "q"]


def test_a_trial_with_the_settings_of_a_candidate_is_one(runs):
    ranker = Means().fit(runs)
    study = optuna.create_study(direction="maximize", sampler=plugin.sampler(runs, ranker))
    study.enqueue_trial({"lr": 0.2, "opt": "sgd"})
    study.optimize(objective, 3)
    assert ranker.shown[-1][1].pipelines == ("q", "r")
    assert [trial.user_attrs.get(optuna_studies.PIPELINE) for trial in study.trials] == [None, "r", "p"]


def test_values_without_reports_stand_at_the_end(runs):
    ranker = Means().fit(runs)
    study = optuna.create_study(direction="maximize", sampler=plugin.sampler(runs, ranker))
    study.optimize(lambda trial: trial.suggest_float("lr", 0, 1), 2)
    assert ranker.shown[-1][1].budget.tolist() == [5]


def test_the_pruner_stops_what_has_no_chance(runs):
    study = optuna.create_study(direction="maximize", pruner=plugin.pruner(runs, Means().fit(runs)))
    for lr in (0.2, 0.05, 0.25):
        study.enqueue_trial({"lr": lr, "opt": "sgd"})
    study.optimize(objective, 3)
    states = [trial.state.name for trial in study.trials]
    assert states[:2] == ["COMPLETE", "PRUNED"]
    hopeful = plugin.pruner(runs, Means(sd=10.0).fit(runs))
    study = optuna.create_study(direction="maximize", pruner=hopeful)
    for lr in (0.2, 0.05):
        study.enqueue_trial({"lr": lr, "opt": "sgd"})
    study.optimize(objective, 2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]


def test_what_cannot_be_is_refused(runs):
    study = optuna.create_study(direction="minimize", sampler=plugin.sampler(runs, Means().fit(runs)))
    with pytest.raises(ValueError, match="create it with the other direction"):
        study.optimize(objective, 1)
    bare = RunTable.of(["a", "a"], ["p", "q"], [0.1, 0.2])
    with pytest.raises(ValueError, match="'p' has no hyperparameters"):
        plugin.sampler(bare, Means().fit(bare))
