"""Spends seconds on candidates: ask which run to go on with, train it a little, tell what came out.

Freeze-thaw (Swersky, Snoek, Adams 2014): every run may be halted after each of some budgets and taken up again. Asked
is the one whose improvement at the last budget, not at the next, is expected to be largest per second that is left to
that budget. It ends when the seconds are spent, when all runs are finished, or when a second buys less than its price.

What was told lies on the disk before `tell` returns. A `Selector` made again with the same file goes on where the one
before was killed; what that one had asked and was never told is asked again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from synthenv.catalogue import unknown
from synthenv.ranking.rankers.base import Candidates, Ranker, Ranking
from synthenv.ranking.runs import RunTable, Settings

FORMAT = 1
"""Grows when older readers could no longer make sense of a state."""


class Step(NamedTuple):
    """What to do next: train `pipeline` from `start` (0 for a new run) up to `budget`, then tell its score."""

    pipeline: str
    settings: Settings
    start: float
    budget: float
    seconds: float
    """Expected to be left to the last budget; nan where nobody knows."""


class Observation(TypedDict):
    """One thing told: the score at a budget, the seconds of the run so far, the most memory it took. None: unknown."""

    pipeline: str
    budget: float
    score: float | None
    seconds: float | None
    memory: float | None


def worth(ranking: Ranking, cost_exponent: float = 1.0) -> npt.NDArray[np.float64]:
    """What candidates [M] are worth running: expected gain over expected seconds to the power of `cost_exponent`.

    Where the ranker tells no gain, its order counts; unknown seconds are taken for the median of those known.
    """
    if ranking.gain is None:
        place = np.empty(len(ranking.pipelines))
        place[ranking.order] = np.arange(len(place))
        return -place
    known = ranking.seconds[~np.isnan(ranking.seconds)]
    usual = np.median(known) if len(known) else 1.0
    seconds = np.where(np.isnan(ranking.seconds), usual, ranking.seconds).clip(min=1e-9)
    value: npt.NDArray[np.float64] = ranking.gain / seconds**cost_exponent
    return value


@dataclass
class Selector:
    """Chooses runs with a fitted ranker. `ask` and `tell` in turn; several asks at a time serve several workers."""

    ranker: Ranker
    """Fitted to the runs of other tasks."""
    candidates: Candidates
    """Names, or names with settings for pipelines that the ranker's runs do not know."""
    budget_seconds: float = math.inf
    """To spend on this task, all runs together."""
    budgets: Sequence[float] | None = None
    """Where a run may be halted, and at the last of which it is finished; default those of the ranker's runs."""
    task: str = "new"
    features: Mapping[str, float] | None = None
    """Of the task."""
    maximize: bool = True
    """Whether higher scores are better; as in the runs that the ranker was fitted to."""
    unit: str = "epochs"
    """Of the budgets; as in those runs."""
    cost_exponent: float = 1.0
    """How much cheapness counts: 0 not at all, 1 improvement per second."""
    price: float = 0.0
    """Improvement that a second must buy, in units of the score; below that it stops."""
    state: str | Path | None = None
    """A file that keeps what was told."""

    def __post_init__(self) -> None:
        known = np.unique(self.ranker.runs_.budget) if self.budgets is None else self.budgets
        self.stages = sorted(map(float, known))
        if not self.stages or self.stages[0] <= 0:
            raise ValueError(f"budgets are one or more numbers > 0, got {self.stages}")
        self.names = tuple(self.candidates)
        if not self.names:
            raise ValueError("there are no candidates to choose from")
        self.told: list[Observation] = []
        self.pending: dict[str, float] = {}
        self.stopped: str | None = None
        """Why it asks no more; None while it may."""
        if self.state is not None and Path(self.state).exists():
            self.told = self._load(Path(self.state))
        self._observed()  # raises where the file tells what cannot be

    @property
    def spent(self) -> float:
        """Seconds told so far, over all runs."""
        seconds: dict[str, float] = {}
        for row in self.told:
            seconds[row["pipeline"]] = max(seconds.get(row["pipeline"], 0.0), row["seconds"] or 0.0)
        return sum(seconds.values())

    def ask(self) -> Step | None:
        """The run to go on with; None where all that is left is under way, or it `stopped`."""
        reached, failed = dict.fromkeys(self.names, 0.0), set()
        for row in self.told:
            reached[row["pipeline"]] = max(reached[row["pipeline"]], row["budget"])
            if row["score"] is None:
                failed.add(row["pipeline"])
        last = self.stages[-1]
        going = [name for name in self.names if name not in failed and reached[name] < last]
        left = self.budget_seconds - self.spent
        self.stopped = "all runs are finished" if not going else "the seconds are spent" if left <= 0 else None
        if self.stopped:
            return None
        ranking = self.rank()
        seconds = dict(zip(ranking.pipelines, ranking.seconds.tolist(), strict=True))
        following = {name: next(budget for budget in self.stages if budget > reached[name]) for name in going}
        share = {name: (following[name] - reached[name]) / (last - reached[name]) for name in going}
        within = [name for name in going if not seconds[name] > left]
        within = within or [name for name in going if not seconds[name] * share[name] > left]
        if not within:
            self.stopped = f"no run gets any further in the {left:,.0f} seconds that are left"
        elif self.told and ranking.gain is not None:
            gain = dict(zip(ranking.pipelines, ranking.gain.tolist(), strict=True))
            if all(gain[name] < self.price * seconds[name] for name in within):
                self.stopped = f"a second buys less than its price of {self.price:g}"
        free = [name for name in within if name not in self.pending]
        if self.stopped or not free:
            return None
        value = dict(zip(ranking.pipelines, worth(ranking, self.cost_exponent).tolist(), strict=True))
        best = max(free, key=value.__getitem__)
        self.pending[best] = following[best]
        return Step(best, self._settings(best), reached[best], following[best], seconds[best])

    def tell(
        self, pipeline: str, budget: float, score: float, seconds: float = math.nan, memory: float = math.nan
    ) -> None:
        """Note the score of a run at a budget; seconds count from the start of the run. A score of nan: it failed.

        Raises ValueError, and notes nothing, for what cannot be: an unknown pipeline, a budget told before, seconds
        that fall, or none where there is a budget of them.
        """
        if pipeline not in self.names:
            raise ValueError(unknown("candidate", pipeline, self.names))
        if math.isnan(seconds) and math.isfinite(self.budget_seconds) and not math.isnan(score):
            raise ValueError("tell the seconds of the run so far: there is a budget of seconds to keep")
        row: Observation = {
            "pipeline": pipeline,
            "budget": float(budget),
            "score": None if math.isnan(score) else float(score),
            "seconds": None if math.isnan(seconds) else float(seconds),
            "memory": None if math.isnan(memory) else float(memory),
        }
        self.told.append(row)
        try:
            self._observed()
        except ValueError:
            self.told.pop()
            raise
        self.pending.pop(pipeline, None)
        if self.state is not None:
            self._save(Path(self.state))

    def rank(self) -> Ranking:
        """What the ranker thinks of all candidates by now, at the last budget."""
        return self.ranker.rank(self.task, self.candidates, self._observed(), self.stages[-1], self.features)

    def pareto(self) -> list[Observation]:
        """What was told that nothing else beats in score, seconds and memory at once, cheapest first.

        Unknown seconds or memory are worse than any known.
        """
        sign = -1.0 if self.maximize else 1.0
        left = [
            ((_or_inf(row["seconds"]), sign * row["score"], _or_inf(row["memory"])), row)
            for row in self.told
            if row["score"] is not None
        ]
        left.sort(key=lambda one: one[0])  # nothing beats the first of what is left
        front = []
        while left:
            (first, row), *left = left
            front.append(row)
            left = [one for one in left if one[0] == first or any(b < a for a, b in zip(first, one[0], strict=True))]
        return front

    def _settings(self, name: str) -> Settings:
        return self.candidates[name] if isinstance(self.candidates, Mapping) else {}

    def _observed(self) -> RunTable | None:
        """What was told as a table; None where that is nothing."""
        if not self.told:
            return None
        names = [row["pipeline"] for row in self.told]
        return RunTable.of(
            self.task,
            names,
            [math.nan if row["score"] is None else row["score"] for row in self.told],
            [row["budget"] for row in self.told],
            [math.nan if row["seconds"] is None else row["seconds"] for row in self.told],
            maximize=self.maximize,
            unit=self.unit,
            settings={name: self._settings(name) for name in set(names)},
            features={self.task: self.features or {}},
        )

    def _sort(self) -> dict[str, Any]:
        """What a state must have in common with a selector that goes on from it."""
        return {"format": FORMAT, "task": self.task, "maximize": self.maximize, "unit": self.unit}

    def _save(self, path: Path) -> None:
        """Write aside, flush, rename: the file is always whole, and on the disk."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + ".partial")
        with aside.open("w", encoding="utf-8") as file:
            json.dump({**self._sort(), "told": self.told}, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)

    def _load(self, path: Path) -> list[Observation]:
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            told: list[Observation] = [{key: row[key] for key in Observation.__annotations__} for row in held["told"]]  # type: ignore[misc]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no state of a selector ({error!r}); move it away, or name another") from error
        for name, wanted in self._sort().items():
            if held.get(name) != wanted:
                raise ValueError(f"{path} is of another selection: its {name} is {held.get(name)!r}, not {wanted!r}")
        for row in told:
            if row["pipeline"] not in self.names:
                raise ValueError(f"{path}: {unknown('candidate', row['pipeline'], self.names)}")
        return told


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value
