"""Rankings inside Optuna: a warm start, a sampler and a pruner, none of which changes an objective.

    enqueue_portfolio(study, runs, 3)                          # cheap, and worth most of it
    optuna.create_study(sampler=sampler(runs), pruner=pruner(runs))

The objective has to suggest parameters by the names that `runs.settings` have. A trial is then one of the pipelines of
other tasks' runs; parameters that a pipeline does not tell, and trials after all of them have been run, are left to
another sampler. Each trial notes its pipeline as the user attribute that `readers.optuna_studies` reads. Optuna is
imported by whoever asks for one of these, so their classes live in functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from synthenv.ranking import rankers
from synthenv.ranking.rankers.base import Ranker, Ranking
from synthenv.ranking.readers.optuna_studies import PIPELINE, pipeline, so_far
from synthenv.ranking.runs import RunTable, Settings
from synthenv.ranking.select import worth
from synthenv.ranking.space import hyperparameters

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def enqueue_portfolio(study: optuna.Study, runs: RunTable, k: int, ranker: Ranker | None = None) -> list[str]:
    """Enqueue the first k pipelines of a ranker, by default the greedy portfolio, fitted to `runs`; returns them.

    What the study has tried or waits for is not enqueued again.
    """
    fitted = (ranker or rankers.ranker("portfolio")).fit(runs)
    ranking = fitted.rank(study.study_name)
    chosen = [ranking.pipelines[m] for m in ranking.order[:k]]
    for name in chosen:
        study.enqueue_trial(_parameters(name, runs.settings[name]), user_attrs={PIPELINE: name}, skip_if_exists=True)
    return chosen


def sampler(
    runs: RunTable,
    ranker: Ranker | None = None,
    *,
    candidates: Mapping[str, Settings] | None = None,
    features: Mapping[str, float] | None = None,
    budget: float | None = None,
    cost_exponent: float = 1.0,
    otherwise: optuna.samplers.BaseSampler | None = None,
) -> optuna.samplers.BaseSampler:
    """A sampler that runs candidates in the order of what they are worth, given the study's trials so far.

    ranker:     fitted to `runs`; by default the default one, which is fitted here.
    candidates: pipeline -> settings; by default the pipelines that were run.
    features:   of the study's task.
    budget:     the step at which trials end, by default the largest budget of `runs`.
    otherwise:  samples what candidates do not tell, by default TPE.
    """
    import optuna

    foresight = _Foresight(runs, ranker, candidates, features, budget)
    settings = {name: _parameters(name, told) for name, told in foresight.candidates.items()}
    rest = otherwise or optuna.samplers.TPESampler()

    def told(trial: FrozenTrial) -> Settings:
        return settings.get(trial.user_attrs.get(PIPELINE, ""), {})

    class RankingSampler(optuna.samplers.BaseSampler):
        """Chooses a pipeline when a trial begins, and suggests its settings."""

        def reseed_rng(self) -> None:
            rest.reseed_rng()

        def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
            rest.before_trial(study, trial)
            tried = {pipeline(other, settings) for other in study.get_trials(deepcopy=False)}
            left = [name for name in settings if name not in tried]
            if left and "fixed_params" not in trial.system_attrs:
                ranking = foresight(study)
                value = dict(zip(ranking.pipelines, worth(ranking, cost_exponent).tolist(), strict=True))
                chosen = max(left, key=value.__getitem__)
                study._storage.set_trial_user_attr(trial._trial_id, PIPELINE, chosen)  # as Optuna's samplers take notes
                trial.user_attrs[PIPELINE] = chosen

        def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            return {} if told(trial) else rest.infer_relative_search_space(study, trial)

        def sample_relative(
            self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            return {} if told(trial) else rest.sample_relative(study, trial, search_space)

        def sample_independent(
            self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            if param_name in told(trial):
                value = told(trial)[param_name]
                try:
                    if param_distribution._contains(param_distribution.to_internal_repr(value)):
                        return value
                except ValueError:
                    pass  # no value of this distribution either
            return rest.sample_independent(study, trial, param_name, param_distribution)

        def after_trial(
            self, study: optuna.Study, trial: FrozenTrial, state: optuna.trial.TrialState, values: Any
        ) -> None:
            rest.after_trial(study, trial, state, values)

    return RankingSampler()


def pruner(
    runs: RunTable,
    ranker: Ranker | None = None,
    *,
    candidates: Mapping[str, Settings] | None = None,
    features: Mapping[str, float] | None = None,
    budget: float | None = None,
    chance: float = 0.05,
) -> optuna.pruners.BasePruner:
    """A pruner of trials whose chance of ending above the best complete one has fallen below `chance`.

    The other arguments are those of `sampler`.
    """
    import optuna

    foresight = _Foresight(runs, ranker, candidates, features, budget)

    class RankingPruner(optuna.pruners.BasePruner):
        """Judges a trial by its curve so far, and those of other trials and tasks."""

        def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
            complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
            values = [float(other.value) for other in complete if other.value is not None]
            if not values or not trial.intermediate_values:
                return False
            best = max(values) if runs.maximize else -min(values)
            name = pipeline(trial, foresight.candidates)
            ranking = foresight(study, {name: foresight.candidates.get(name, trial.params)})
            z = (best - ranking.mean[0]) / max(ranking.sd[0], 1e-12)
            return math.erfc(z / math.sqrt(2)) / 2 < chance

    return RankingPruner()


class _Foresight:
    """A ranker that reads a study."""

    def __init__(
        self, runs: RunTable, ranker: Ranker | None, candidates: Mapping[str, Settings] | None,
        features: Mapping[str, float] | None, budget: float | None,
    ) -> None:  # fmt: skip
        self.runs, self.features = runs, features
        self.ranker = ranker or rankers.default().fit(runs)
        self.candidates = dict(candidates or {name: runs.settings[name] for name in runs.pipelines})
        self.budget = float(budget or runs.budget.max())

    def __call__(self, study: optuna.Study, candidates: Mapping[str, Settings] | None = None) -> Ranking:
        """What the ranker thinks of candidates, by default all, after the trials of the study so far."""
        import optuna

        if (study.direction == optuna.study.StudyDirection.MAXIMIZE) != self.runs.maximize:
            raise ValueError(
                f"the runs are to be {'maximised' if self.runs.maximize else 'minimised'}, and study "
                f"'{study.study_name}' is not: create it with the other direction"
            )
        observed = so_far(study, self.runs.unit, self.candidates, self.budget)
        return self.ranker.rank(study.study_name, candidates or self.candidates, observed, self.budget, self.features)


def _parameters(name: str, settings: Settings) -> dict[str, Any]:
    """What there is to suggest of a pipeline."""
    found = hyperparameters(settings)
    if not found:
        raise ValueError(f"pipeline '{name}' has no hyperparameters that a trial could take; see RunTable.settings")
    return found
