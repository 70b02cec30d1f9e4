"""Optuna studies: each is a task, each trial a run of the pipeline that its parameters are.

A report at step s was made after budget s, or s + 1 in a study whose steps begin at 0. The value of a complete trial
is what its study optimises: it stands at the last step that was reported, or at budget 1. The duration of a trial is
spread evenly over its budget. A failed trial failed at the step after its last; trials that wait have not run.

`write` notes pipeline, budgets, seconds and what is known of a task as user attributes, which `read` prefers.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synthenv.ranking.runs import ROW, RunTable, Settings
from synthenv.ranking.space import called, hyperparameters, word

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

PIPELINE, BUDGETS, SECONDS, FEATURES, GROUP, UNIT = (
    f"synthenv:{name}" for name in ("pipeline", "budgets", "seconds", "features", "group", "unit")
)
"""Names of user attributes."""


def read(source: Any, *, unit: str = "epochs", repair: bool = False) -> RunTable:
    """Read a study, several, or all of a storage: an Optuna storage or its URL."""
    import optuna

    if isinstance(source, str | optuna.storages.BaseStorage):
        names = optuna.get_all_study_names(source)
        studies: Sequence[optuna.Study] = [optuna.load_study(study_name=name, storage=source) for name in names]
    else:
        studies = [source] if isinstance(source, optuna.Study) else list(source)
    if not studies:
        raise ValueError(f"there is no study in {source!r}")
    for study in studies:
        if len(study.directions) > 1:
            raise ValueError(f"study '{study.study_name}' has {len(study.directions)} objectives; expected one")
    directions = {study.direction for study in studies}
    if len(directions) > 1:
        raise ValueError("some studies maximise and some minimise: read them apart, negate the scores of one, and join")
    found = _table(studies, directions == {optuna.study.StudyDirection.MAXIMIZE}, unit, {}, None, repair)
    if not len(found):
        raise ValueError("no trial of these studies has run")
    if failed := int(np.isnan(found.score).sum()):
        warnings.warn(f"{failed} of {len(found)} rows are failed trials: they count as failed runs", stacklevel=2)
    return found


def so_far(study: optuna.Study, unit: str, candidates: Mapping[str, Settings], complete: float) -> RunTable | None:
    """The runs of a study that is under way; None while there are none.

    Trials are called by the candidate whose settings they have. One that ended without reports ended at `complete`.
    """
    import optuna

    maximize = study.direction == optuna.study.StudyDirection.MAXIMIZE
    found = _table([study], maximize, unit, candidates, complete, repair=False)
    return found if len(found) else None


def pipeline(trial: optuna.trial.FrozenTrial, candidates: Mapping[str, Settings]) -> str:
    """What a trial ran: what it notes, the candidate with its parameters, or a name made of these."""
    if PIPELINE in trial.user_attrs:
        return str(trial.user_attrs[PIPELINE])
    told = _settings(trial)
    known = (name for name, settings in candidates.items() if told and hyperparameters(settings) == told)
    return next(known, called(told) if told else f"trial {trial.number}")


def write(table: RunTable, storage: Any = None) -> list[optuna.Study]:
    """One study a task, into a storage or in memory; budgets must be whole numbers."""
    import optuna

    if (table.budget != np.trunc(table.budget)).any():
        raise ValueError("Optuna counts whole steps: multiply the budgets, or round them")
    kinds = distributions(table.settings)
    studies = []
    for task in table.tasks:
        study = optuna.create_study(
            storage=storage, study_name=task, direction="maximize" if table.maximize else "minimize"
        )
        facts = {FEATURES: dict(table.features[task]), GROUP: table.group[task], UNIT: table.unit}
        for key, fact in facts.items():
            study.set_user_attr(key, fact)
        mine = table.only(tasks=[task])
        runs: dict[tuple[str, int], list[int]] = {}
        for i, run in enumerate(zip(mine.pipeline.tolist(), mine.seed.tolist(), strict=True)):
            runs.setdefault(run, []).append(i)
        for (name, _), unsorted in runs.items():
            rows = sorted(unsorted, key=lambda i: float(mine.budget[i]))
            score = {int(mine.budget[i]): float(mine.score[i]) for i in rows if not math.isnan(mine.score[i])}
            value = score.get(int(mine.budget[rows[-1]]))
            params = dict(table.settings[name])
            notes = {
                PIPELINE: name,
                BUDGETS: [int(mine.budget[i]) for i in rows],
                SECONDS: [None if math.isnan(mine.seconds[i]) else float(mine.seconds[i]) for i in rows],
            }
            study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE,
                    value=value,
                    params=params,
                    distributions={key: kinds[key] for key in params},
                    user_attrs=notes,
                    intermediate_values=score,
                )
            )
        studies.append(study)
    return studies


def distributions(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, BaseDistribution]:
    """Optuna's distributions of everything in settings: ranges of numbers, choices of the rest."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values: dict[str, list[Any]] = {}
    for told in settings.values():
        for name, value in told.items():
            values.setdefault(name, []).append(value)
    found: dict[str, BaseDistribution] = {}
    for name, listed in values.items():
        if any(isinstance(value, bool | str) for value in listed):
            found[name] = CategoricalDistribution(
                [*{word(value): value for value in sorted(listed, key=word)}.values()]
            )
        elif all(isinstance(value, int) for value in listed):
            found[name] = IntDistribution(min(listed), max(listed))
        else:
            found[name] = FloatDistribution(min(listed), max(listed))
    return found


def _table(
    studies: Sequence[optuna.Study], maximize: bool, unit: str, candidates: Mapping[str, Settings],
    complete: float | None, repair: bool,
) -> RunTable:  # fmt: skip
    """The trials of studies, one row a report."""
    from optuna.trial import TrialState

    rows: list[tuple[str, str, float, float, float, int]] = []
    settings: dict[str, Settings] = {}
    for study in studies:
        trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
        shift = int(any(0 in trial.intermediate_values for trial in trials))
        seen: Counter[str] = Counter()
        for trial in trials:
            name = pipeline(trial, candidates)
            settings.setdefault(name, candidates.get(name, _settings(trial)))
            curve = _written(trial) if BUDGETS in trial.user_attrs else _reported(trial, shift, complete)
            rows += [(study.study_name, name, float(b), score, s or math.nan, seen[name]) for b, score, s in curve]
            seen[name] += 1
    columns: dict[str, Any] = {name: [row[i] for row in rows] for i, name in enumerate(ROW)}
    return RunTable.of(
        **columns,
        repair=repair,
        maximize=maximize,
        unit=next((study.user_attrs[UNIT] for study in studies if UNIT in study.user_attrs), unit),
        settings=settings,
        features={study.study_name: study.user_attrs.get(FEATURES, {}) for study in studies},
        group={study.study_name: study.user_attrs.get(GROUP, study.study_name) for study in studies},
    )


def _settings(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """The parameters of a trial; a choice of None is the word none."""
    return {name: "none" if value is None else value for name, value in trial.params.items()}


def _written(trial: optuna.trial.FrozenTrial) -> Iterable[tuple[float, float, float]]:
    """Budget, score and seconds, as `write` noted them."""
    notes = trial.user_attrs
    for budget, seconds in zip(notes[BUDGETS], notes[SECONDS], strict=True):
        yield budget, trial.intermediate_values.get(budget, math.nan), seconds


def _reported(
    trial: optuna.trial.FrozenTrial, shift: int, complete: float | None
) -> Iterable[tuple[float, float, float]]:
    """Budget, score and seconds of a trial that its objective told of."""
    from optuna.trial import TrialState

    curve: dict[float, float] = {step + shift: value for step, value in sorted(trial.intermediate_values.items())}
    last = max(curve, default=complete or 1)
    duration = trial.duration.total_seconds() if trial.duration is not None else 0.0
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        curve[last] = trial.value
    elif trial.state == TrialState.FAIL:
        curve[last + 1 if curve else last] = math.nan
    for budget, score in curve.items():
        yield budget, score, duration * budget / last
