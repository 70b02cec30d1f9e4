"""What pipelines are made of, and how they become rows of numbers with a mask.

A pipeline is a mapping of settings: hyperparameters, and facts of its pretrained model under names that begin with
`model.` (see `features`). A model is so a vector of what is known of it, never a name alone, and one that nobody has
run can be compared with those that were. What is inactive, unknown or never seen is masked; no value is invented.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from synthenv.catalogue import unknown
from synthenv.ranking.checks import Floats
from synthenv.ranking.runs import Settings

FACTS = "model."
"""Begins the names of what is known of a pretrained model."""
WIDE = 100.0
"""Positive numbers that span this factor or more are inferred to be logarithmic."""
LONG = 60
"""Characters of settings that still make a name."""
MANY = 32
"""From a setting with more different words than this, only those that pipelines share become columns."""


@dataclass(frozen=True)
class Float:
    """A number from low to high. On a log scale 0, where it occurs, stands a decade below the lowest."""

    low: float
    high: float
    log: bool = False
    mean: float | None = None
    """That is encoded as 0, by default the middle of the range; on the scale that `log` says."""
    sd: float | None = None
    """That is encoded as 1, by default that of a uniform draw."""

    def __post_init__(self) -> None:
        if not self.low <= self.high or (self.log and self.low <= 0):
            raise ValueError(f"a range goes from low to high, on a log scale from above 0; got {self}")

    def scaled(self, values: npt.ArrayLike) -> Floats:
        """Values [...] on the scale that `log` says."""
        given = np.asarray(values, np.float64)
        if not self.log:
            return given
        if (given < 0).any():
            raise ValueError(f"{given.min():g} has no logarithm; give the setting a linear scale")
        return np.log(np.maximum(given, self.low / 10))

    def encoded(self, values: npt.ArrayLike) -> Floats:
        """Values [...] in standard units."""
        low, high = self.scaled((self.low, self.high))
        zero = (low + high) / 2 if self.mean is None else self.mean
        unit = (high - low) / math.sqrt(12) if self.sd is None else self.sd
        return (self.scaled(values) - zero) / (unit or 1.0)

    def draw(self, generator: np.random.Generator) -> float:
        """A value, uniform on its scale."""
        drawn = generator.uniform(*self.scaled((self.low, self.high)))
        return min(max(math.exp(drawn) if self.log else drawn, self.low), self.high)


@dataclass(frozen=True)
class Integer(Float):
    """A whole number from low to high."""

    def draw(self, generator: np.random.Generator) -> int:
        """A value, uniform on its scale."""
        return round(super().draw(generator))


@dataclass(frozen=True)
class Categorical:
    """One of several words, numbers or truth values without an order."""

    choices: tuple[Any, ...]
    shares: tuple[float, ...] | None = None
    """How often each choice occurs, by default alike; they set the zero and the unit of the columns."""
    open: bool = False
    """Whether other choices are possible: they are masked instead of refused."""

    def __post_init__(self) -> None:
        words = [word(choice) for choice in self.choices]
        if not words or len(set(words)) < len(words) or len(self.shares or words) != len(words):
            raise ValueError(f"a categorical has distinct choices, and as many shares if any; got {self}")

    def draw(self, generator: np.random.Generator) -> Any:
        """One of the choices, by their shares."""
        return self.choices[generator.choice(len(self.choices), p=self.shares)]


Parameter = Float | Integer | Categorical


@dataclass(frozen=True)
class Condition:
    """A setting that matters only where another has one of some values."""

    parent: str
    values: tuple[Any, ...]


class Encoded(NamedTuple):
    """M pipelines as numbers.

    values:  [M, F] in standard units, 0 where masked.
    active:  [M, F] bool; whether the value is known and matters.
    columns: F names, "lr" for a number and "opt=adam" for a choice.
    """

    values: Floats
    active: npt.NDArray[np.bool_]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class PipelineSpace:
    """Settings by name, and when they matter. Declared, or inferred from what was run."""

    parameters: Mapping[str, Parameter]
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, condition in self.conditions.items():
            for wanted in (name, condition.parent):
                if wanted not in self.parameters:
                    raise ValueError(unknown("setting", wanted, self.parameters))
            seen = {name}
            while (parent := self.conditions.get(name)) is not None:
                name = parent.parent
                if name in seen:
                    raise ValueError(f"the condition of '{name}' leads back to itself")
                seen.add(name)

    @classmethod
    def infer(cls, settings: Mapping[str, Settings]) -> PipelineSpace:
        """The space of M pipelines: numbers are scaled by what occurs, in logarithms where that spans two decades.

        Words, truth values and mixtures become choices. A setting in which every pipeline has a word of its own, such
        as a name, tells pipelines apart but relates none: from many words only the shared ones become columns.
        """
        values: dict[str, list[Any]] = {}
        for told in settings.values():
            for name, value in told.items():
                if value is not None:
                    values.setdefault(name, []).append(value)
        found = {name: _inferred(values[name]) for name in sorted(values)}
        return cls({name: parameter for name, parameter in found.items() if parameter is not None})

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the F columns of `encode`, sorted by setting, then by choice."""
        return tuple(column for name in sorted(self.parameters) for column, _ in self._parts(name))

    def encode(self, settings: Mapping[str, Settings] | Sequence[Settings]) -> Encoded:
        """M pipelines as numbers with a mask; settings that the space lacks are not looked at.

        Raises ValueError for a value of the wrong kind, or a choice that a declared setting does not have.
        """
        pipelines = settings if isinstance(settings, Mapping) else dict(enumerate(settings))
        names, every = list(pipelines), list(pipelines.values())
        columns = self.columns
        place = {column: f for f, column in enumerate(columns)}
        values, active = np.zeros((len(every), len(columns))), np.zeros((len(every), len(columns)), bool)
        for name in self.parameters:
            told = [m for m, one in enumerate(every) if one.get(name) is not None and self.matters(name, one)]
            if not told:
                continue
            own = [place[column] for column, _ in self._parts(name)]
            try:
                numbers = self._encoded(name, [every[m][name] for m in told])
            except ValueError:
                for m in told:  # which of them it is
                    try:
                        self._encoded(name, [every[m][name]])
                    except ValueError as error:
                        raise ValueError(f"setting '{name}' of pipeline '{names[m]}': {error}") from error
                raise
            known = ~np.isnan(numbers)
            values[np.ix_(told, own)], active[np.ix_(told, own)] = np.where(known, numbers, 0.0), known
        return Encoded(values, active, columns)

    def matters(self, name: str, told: Settings) -> bool:
        """Whether the conditions of a setting hold."""
        condition = self.conditions.get(name)
        if condition is None:
            return True
        value = told.get(condition.parent)
        holds = value is not None and word(value) in map(word, condition.values)
        return holds and self.matters(condition.parent, told)

    def sample(self, generator: np.random.Generator, n: int) -> list[dict[str, Any]]:
        """Settings of n pipelines drawn alike from the ranges and choices, without those that do not matter."""
        drawn = [{name: self.parameters[name].draw(generator) for name in sorted(self.parameters)} for _ in range(n)]
        return [{name: value for name, value in told.items() if self.matters(name, told)} for told in drawn]

    def _parts(self, name: str) -> list[tuple[str, str]]:
        """The columns of a setting, each with the choice it stands for."""
        parameter = self.parameters[name]
        if not isinstance(parameter, Categorical):
            return [(name, "")]
        return [(f"{name}={choice}", choice) for choice in sorted(map(word, parameter.choices))]

    def _encoded(self, name: str, given: Sequence[Any]) -> Floats:
        """Values of a setting as numbers [n, parts]; nan for what other choices an open one has."""
        parameter = self.parameters[name]
        if not isinstance(parameter, Categorical):
            for value in given:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise ValueError(f"expected a number, got {value!r}")
            return parameter.encoded(given)[:, None]
        words = [word(choice) for choice in parameter.choices]
        share = dict(zip(words, parameter.shares or [1 / len(words)] * len(words), strict=True))
        spread = math.sqrt(sum(p * (1 - p) for p in share.values())) or 1.0  # of all columns together, as of a number
        parts = [choice for _, choice in self._parts(name)]
        codes: dict[str, list[float]] = {
            one: [((choice == one) - share[choice]) / spread for choice in parts] for one in words
        }
        said = [word(value) for value in given]
        if not parameter.open and (strange := [one for one in said if one not in codes]):
            raise ValueError(unknown("choice", strange[0], words))
        return np.array([codes.get(one, [math.nan] * len(parts)) for one in said])


def word(value: Any) -> str:
    """A choice as text, so that True, 1 and 1.0 are three things."""
    return value if isinstance(value, str) else json.dumps(value)


def hyperparameters(settings: Settings) -> dict[str, Any]:
    """The settings that can be chosen: all but facts of the pretrained model."""
    return {name: value for name, value in settings.items() if not name.startswith(FACTS)}


def called(settings: Settings) -> str:
    """A name for a pipeline without one: its settings, or their digest where these are long."""
    told = {name: word(settings[name]) for name in sorted(settings)}
    text = ", ".join(f"{name}={value}" for name, value in told.items())
    if 0 < len(text) <= LONG and text.isprintable() and text == text.strip():
        return text
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def _inferred(values: Sequence[Any]) -> Parameter | None:
    """The parameter that M values, in any order, are of; None where they relate no two pipelines."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        positive = sorted(value for value in values if value > 0)
        log = min(values) >= 0 and len(positive) > 1 and positive[-1] >= WIDE * positive[0]
        kind = Integer if all(isinstance(value, int) for value in values) else Float
        plain = kind(positive[0] if log else min(values), max(values), log)
        scaled = np.sort([plain.scaled(value) for value in values])  # sorted: sums then forget the order of pipelines
        return kind(plain.low, plain.high, log, float(scaled.mean()), float(scaled.std()))
    count = Counter(map(word, values))
    shared = sorted(choice for choice, n in count.items() if n > 1 or len(count) <= MANY)
    if not shared:
        return None
    total = sum(count[choice] for choice in shared)
    return Categorical(tuple(shared), tuple(count[choice] / total for choice in shared), open=True)
