"""Runs of pipelines on tasks, one a row: what every ranker is fitted to and every reader delivers.

A *pipeline* is a pretrained model with a way to finetune it, a *task* a dataset with a metric, a *budget* how long a
run had been trained when its score was taken. `plain` says how a file holds them.

Nothing is dropped in silence. A table that cannot be meant is an error that says what to do; what `repair=True` changes
it warns of, with counts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from synthenv.catalogue import unknown
from synthenv.ranking import checks, plain
from synthenv.ranking.checks import Curves, Floats, Integers, Strings

Settings = Mapping[str, Any]
"""Hyperparameters and model features of one pipeline, by name."""

ROW = ("task", "pipeline", "budget", "score", "seconds", "seed")
CELLS = 2 * 10**8
"""A grid of more cells (1.6 GB) is a mistake in the budgets, not a table."""


class Grid(NamedTuple):
    """A table as dense arrays, names sorted, so that the order of its rows is forgotten. Read-only.

    budgets: [K] sorted and distinct.
    score:   [T, M, K] mean over seeds, HIGHER IS BETTER (negated where the table minimises); nan where not observed.
    seconds: [T, M, K] mean over seeds; nan where unknown.
    """

    tasks: tuple[str, ...]
    pipelines: tuple[str, ...]
    budgets: Floats
    score: Floats
    seconds: Floats


@dataclass(frozen=True, eq=False)
class RunTable:
    """Runs, one a row: task x pipeline x budget x score x seconds (x seed). Checked when made.

    task:     [n] names.
    pipeline: [n] names.
    budget:   [n] > 0, in `unit`.
    score:    [n] nan is a run that failed.
    seconds:  [n] > 0, from the start of the run up to this budget; nan where unknown.
    seed:     [n]
    """

    task: Strings
    pipeline: Strings
    budget: Floats
    score: Floats
    seconds: Floats
    seed: Integers
    maximize: bool = True
    """Whether higher scores are better."""
    unit: str = "epochs"
    """Of the budget."""
    settings: Mapping[str, Settings] = field(default_factory=dict)
    """Pipeline -> hyperparameters and model features, {} where unknown; may hold pipelines that were never run."""
    features: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Task -> features, {} where unknown; may hold tasks without runs."""
    group: Mapping[str, str] = field(default_factory=dict)
    """Task -> core dataset, by default the task itself."""

    def __post_init__(self) -> None:
        columns: dict[str, npt.NDArray[Any]] = {
            name: checks.names(name, getattr(self, name)) for name in ("task", "pipeline")
        }
        columns |= {name: checks.numbers(name, getattr(self, name)) for name in ("budget", "score", "seconds")}
        columns |= {"seed": checks.integers("seed", self.seed)}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of a table have one length, got {lengths}")
        for name, column in columns.items():
            object.__setattr__(self, name, column)
        pipelines = dict.fromkeys([*self.pipelines, *self.settings])
        tasks = dict.fromkeys([*self.tasks, *self.features, *self.group])
        told: dict[str, dict[str, Any]] = {
            "settings": {name: checks.settings(name, self.settings.get(name, {})) for name in pipelines},
            "features": {name: checks.features(name, self.features.get(name, {})) for name in tasks},
            "group": {name: str(self.group.get(name, name)) for name in tasks},
        }
        for what, names in (("pipeline", pipelines), ("task", tasks), ("group", set(told["group"].values()))):
            for name in names:
                checks.named(what, name)
        checks.named("unit", self.unit)
        for name, mapping in told.items():
            object.__setattr__(self, name, mapping)
        checks.check(self._curves, self.task, self.pipeline, self.seed, self.budget, self.score, self.seconds)

    @classmethod
    def of(
        cls,
        task: npt.ArrayLike,
        pipeline: npt.ArrayLike,
        score: npt.ArrayLike,
        budget: npt.ArrayLike = 1.0,
        seconds: npt.ArrayLike = math.nan,
        seed: npt.ArrayLike = 0,
        *,
        repair: bool = False,
        **told: Any,
    ) -> RunTable:
        """A table from columns [n], or single values for all rows; `told` are the other fields.

        `repair` cuts padded tails and takes zero seconds for unknown ones, with a warning that counts both.
        """
        given = {"task": task, "pipeline": pipeline, "budget": budget, "score": score, "seconds": seconds, "seed": seed}
        columns = {name: np.asarray(column) for name, column in given.items()}
        n = max((len(column) for column in columns.values() if column.ndim), default=1)
        columns = {name: column if column.ndim else np.full(n, column) for name, column in columns.items()}
        return cls(**{**told, **(checks.repaired(columns) if repair else columns)})

    @classmethod
    def read(
        cls, path: str | Path, *, maximize: bool | None = None, unit: str | None = None, repair: bool = False
    ) -> RunTable:
        """Read a CSV file as this module describes it; `maximize` and `unit` are for files that do not say."""
        try:
            return cls.of(**plain.read(Path(path), maximize, unit), repair=repair)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def write(self, path: str | Path) -> None:
        """Write the table as CSV; `read` gives it back."""
        plain.write(Path(path), vars(self))

    def __len__(self) -> int:
        return len(self.task)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have runs, sorted."""
        return self._tasks[0]

    @cached_property
    def pipelines(self) -> tuple[str, ...]:
        """The pipelines that have runs, sorted."""
        return self._pipelines[0]

    @cached_property
    def _tasks(self) -> tuple[tuple[str, ...], Integers]:
        return checks.numbered(self.task)

    @cached_property
    def _pipelines(self) -> tuple[tuple[str, ...], Integers]:
        return checks.numbered(self.pipeline)

    @cached_property
    def _curves(self) -> Curves:
        return checks.curves(self._tasks[1], self._pipelines[1], self.seed, self.budget)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]]) -> RunTable:
        """The table of some rows: a mask [n] or indices. What is known of tasks and pipelines is kept."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in ROW}
        return replace(self, **columns)

    def only(self, tasks: Collection[str] | None = None, pipelines: Collection[str] | None = None) -> RunTable:
        """The runs of some tasks and pipelines, and what is known of these; None stands for all."""
        for what, chosen, known in (("task", tasks, self.features), ("pipeline", pipelines, self.settings)):
            if wrong := [name for name in chosen or () if name not in known]:
                raise ValueError(unknown(what, wrong[0], known))
        rows = np.ones(len(self), bool)
        told: dict[str, Any] = {}
        if tasks is not None:
            rows &= np.isin(self.tasks, list(tasks))[self._tasks[1]]
            told["features"] = {name: self.features[name] for name in tasks}
            told["group"] = {name: self.group[name] for name in tasks}
        if pipelines is not None:
            rows &= np.isin(self.pipelines, list(pipelines))[self._pipelines[1]]
            told["settings"] = {name: self.settings[name] for name in pipelines}
        return replace(self.take(rows), **told)

    def join(self, other: RunTable) -> RunTable:
        """Both tables as one; raises ValueError where they differ in direction or unit, or tell a thing in two ways."""
        if self.maximize != other.maximize:
            raise ValueError("one table maximises and the other minimises: negate the scores of one, and say so")
        if self.unit != other.unit:
            raise ValueError(f"one table counts {self.unit} and the other {other.unit}: convert the budgets of one")
        groups = [
            {name: {"group": group} for name, group in table.group.items() if group != name} for table in (self, other)
        ]
        told: dict[str, Any] = {
            "settings": _merged("pipeline", self.settings, other.settings),
            "features": _merged("task", self.features, other.features),
            "group": {name: told["group"] for name, told in _merged("task", *groups).items()},
        }
        told |= {name: np.concatenate((getattr(self, name), getattr(other, name))) for name in ROW}
        return replace(self, **told)

    def grid(self) -> Grid:
        """The table as arrays over sorted tasks, pipelines and budgets."""
        return self._grid

    @cached_property
    def _grid(self) -> Grid:
        order = self._curves.order  # sums run in an order of their own, or the last digits tell that of the rows
        (tasks, t), (pipelines, m) = self._tasks, self._pipelines
        budgets, k = np.unique(self.budget[order], return_inverse=True)
        shape = (len(tasks), len(pipelines), len(budgets))
        if math.prod(shape) > CELLS:
            raise ValueError(f"{len(self):,} runs have {len(budgets):,} distinct budgets, too many for a grid of "
                             f"{shape[0]:,} tasks and {shape[1]:,} pipelines; round the budgets")  # fmt: skip
        cell = np.ravel_multi_index((t[order], m[order], k.ravel()), shape) if len(order) else np.zeros(0, np.int64)

        def mean(values: Floats) -> Floats:
            known = ~np.isnan(values)
            count = np.bincount(cell[known], minlength=math.prod(shape))
            total = np.bincount(cell[known], values[known], minlength=math.prod(shape))
            filled: Floats = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0).reshape(shape)
            filled.setflags(write=False)
            return filled

        sign = 1.0 if self.maximize else -1.0
        return Grid(tasks, pipelines, budgets, mean(sign * self.score[order]), mean(self.seconds[order]))


def _merged(what: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What two tables tell of each thing; raises ValueError where they differ."""
    merged = {name: dict(told) for name, told in one.items()}
    for name, told in other.items():
        for key, value in told.items():
            known = merged.setdefault(name, {}).setdefault(key, value)
            if known != value:
                raise ValueError(f"'{key}' of {what} '{name}' is {known!r} in one table and {value!r} in the other")
        merged.setdefault(name, {})
    return merged
