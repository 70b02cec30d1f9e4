"""What a ranker is, and what it answers.

"Fitted to the runs of other tasks, a ranker says of each candidate what it would score on the new task, at which price,
and how much running it next is worth." Higher scores are better everywhere in this room: those of a table that
minimises are negated on the way in (as in `RunTable.grid`) and on the way out (`Ranking.rows`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from synthenv.catalogue import unknown
from synthenv.ranking.past import Past
from synthenv.ranking.runs import RunTable, Settings

Floats = npt.NDArray[np.float64]
Candidates = Sequence[str] | Mapping[str, Settings]
"""Names of pipelines that the runs know, or names with their settings; so also of pipelines that nobody has run."""
Self = TypeVar("Self", bound="Ranker")
Fitted = TypeVar("Fitted", bound="FromPast")


@dataclass(frozen=True, eq=False)
class Ranking:
    """What a ranker thinks of M candidates.

    pipelines: their names.
    mean, sd:  [M] of the score at the budget asked for, higher is better; on the scale of the task's scores where some
               were observed, else in units of the tasks' spread (0 a median pipeline, 1 the best).
    best:      [M] probability of being the best candidate.
    seconds:   [M] expected seconds that are left to that budget; nan where the runs tell none.
    gain:      [M] how much better than the best seen so far the task's score is expected to be once the candidate is
               carried to the budget. None from a method with an order and nothing more.
    """

    pipelines: tuple[str, ...]
    mean: Floats
    sd: Floats
    best: Floats
    seconds: Floats
    gain: Floats | None = None
    maximize: bool = True
    """Whether the runs do; `rows` and `table` give the scores of runs that minimise their own sign back."""

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """Candidates [M] in the order of running them: by gain where there is one, then by mean, then by name."""
        gain = np.zeros(len(self.mean)) if self.gain is None else self.gain
        return np.lexsort((np.argsort(np.argsort(self.pipelines)), -self.mean, -gain))

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary a candidate, in the order of running them; means have the sign that the task's scores have."""
        sign = 1.0 if self.maximize else -1.0
        columns = {"sd": self.sd, "best": self.best, "seconds": self.seconds}
        return [
            {"pipeline": self.pipelines[m], "mean": float(sign * self.mean[m])}
            | {name: float(column[m]) for name, column in columns.items()}
            for m in self.order
        ]

    def table(self, limit: int | None = 20) -> str:
        """The first `limit` rows as text, a header above them."""
        rows = [list(row.values()) for row in self.rows()[:limit]]
        cells = [["pipeline", "mean", "sd", "P(best)", "seconds"]]
        cells += [[name, f"{mean:.4g}", f"{sd:.2g}", f"{best:.2f}", "" if np.isnan(seconds) else f"{seconds:,.0f}"]
                  for name, mean, sd, best, seconds in rows]  # fmt: skip
        widths = [max(len(row[column]) for row in cells) for column in range(5)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in cells
        ]
        return "\n".join(lines)


class Ranker(Protocol):
    """Learns from runs which pipeline suits a task. Parameters in the constructor, learned things end in an underscore.

    name: what it is called; `rankers.ranker` finds it by that.  runs_: what it was fitted to.
    """

    name: ClassVar[str]
    runs_: RunTable

    def fit(self: Self, runs: RunTable) -> Self:
        """Learn from the runs of other tasks; returns itself."""
        ...

    def rank(
        self,
        task: str = "new",
        candidates: Candidates | None = None,
        observed: RunTable | None = None,
        budget: float | None = None,
        features: Mapping[str, float] | None = None,
    ) -> Ranking:
        """Rank candidates for a task.

        candidates: default all pipelines of the runs.
        observed:   runs of the task so far, at whatever budgets.
        budget:     that scores are wanted at; default the largest of the runs.
        features:   of the task.
        """
        ...


class FromPast(ABC):
    """A ranker that needs nothing of the runs but their `Past`: it says what it learns of that, and fitting follows."""

    runs_: RunTable

    def fit(self: Fitted, runs: RunTable) -> Fitted:
        """Read the runs of other tasks and learn from them; returns itself."""
        self.runs_ = runs
        return self.learn(Past.of(runs))

    @abstractmethod
    def learn(self: Fitted, past: Past) -> Fitted:
        """The same from runs that were read already; returns itself."""


def asked(
    runs: RunTable, task: str, candidates: Candidates | None, observed: RunTable | None
) -> tuple[dict[str, Settings], RunTable | None]:
    """Candidates by name, and the task's own runs; see `candidates_of` and `own_runs`, which say what is refused."""
    return candidates_of(runs, candidates, observed), own_runs(runs, task, observed)


def candidates_of(runs: RunTable, candidates: Candidates | None, observed: RunTable | None) -> dict[str, Settings]:
    """The candidates with their settings, by name: all pipelines that were run, the named ones, or those given.

    Raises ValueError for a name that no table knows.
    """
    if isinstance(candidates, Mapping):
        return {name: settings or runs.settings.get(name, {}) for name, settings in candidates.items()}
    known = {**(observed.settings if observed is not None else {}), **runs.settings}
    if candidates is None:
        ran = dict.fromkeys((*runs.pipelines, *(observed.pipelines if observed is not None else ())))
        return {name: known[name] for name in sorted(ran)}
    for name in candidates:
        if name not in known:
            raise ValueError(
                unknown("pipeline", name, known) + "; give new pipelines with their settings, as a mapping"
            )
    return {name: known[name] for name in candidates}


def own_runs(runs: RunTable, task: str, observed: RunTable | None) -> RunTable | None:
    """The rows of `observed` that are of the task; None where there are none.

    Rows of a single task are taken to be of this one, whatever they call it. Raises ValueError for several others.
    """
    if observed is None or not len(observed):
        return None
    if observed.maximize != runs.maximize:
        raise ValueError("the observed runs and those of other tasks differ in direction: negate the scores of one")
    if len(observed.tasks) == 1:
        return observed
    if task not in observed.tasks:
        raise ValueError(unknown("task of the observed runs", task, observed.tasks))
    return observed.only(tasks=[task])


def with_others(candidates: Mapping[str, Settings], own: RunTable | None) -> dict[str, Settings]:
    """The candidates, then what else the task's own runs have of pipelines."""
    others = {} if own is None else {name: own.settings[name] for name in own.pipelines if name not in candidates}
    return {**candidates, **others}


def chances(mean: Floats, sd: Floats, points: int = 128) -> Floats:
    """Probability [M] of being the largest of independent normals with mean, sd [M], by quadrature."""
    sd = np.maximum(sd, 1e-9 + 1e-6 * np.ptp(mean))
    floor = (mean - sd).max()
    able = np.flatnonzero(mean + 5 * sd >= floor)
    some, spread = mean[able], sd[able]
    grid = np.linspace(floor - 4 * sd[np.argmax(mean - sd)], (some + 5 * spread).max(), points)  # [G]
    far = (grid - some[:, None]) / spread[:, None]  # [A, G]
    logs = torch.special.log_ndtr(torch.from_numpy(far)).numpy()
    rest = logs.sum(0) - logs  # all others stay below
    chance = np.zeros(len(mean))
    chance[able] = (np.diff(np.exp(logs), axis=1) * np.exp((rest[:, 1:] + rest[:, :-1]) / 2)).sum(1)
    chance /= chance.sum()
    return chance


def improvement(mean: Floats, sd: Floats, best: Floats) -> Floats:
    """Expected improvement [...] of normals with mean, sd [...] on `best`."""
    sd = np.maximum(sd, 1e-12)
    z = (mean - best) / sd
    below = torch.special.ndtr(torch.from_numpy(z)).numpy()
    gained: Floats = sd * (z * below + np.exp(-z * z / 2) / np.sqrt(2 * np.pi))
    return gained
