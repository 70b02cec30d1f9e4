"""What a table of runs must be, with an error that says what to do; and the two repairs that can be meant.

Rows are looked at as curves: those of one task, pipeline and seed, in the order of their budgets.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Strings = npt.NDArray[np.str_]
Integers = npt.NDArray[np.int64]
Setting = bool | int | float | str

WIDEST = 1e100
"""Numbers beyond this are taken for infinite, so that no sum of squares is."""
REPAIR = "read the table with repair=True"


class Curves(NamedTuple):
    """Rows in the order of curves, and where a curve begins.

    order: [n] rows sorted by task, pipeline, seed, budget.
    first: [n] bool over `order`; the first row of its curve.
    """

    order: Integers
    first: npt.NDArray[np.bool_]


def names(column: str, values: npt.ArrayLike) -> Strings:
    """Names [n] as text; raises ValueError for what is none."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"column '{column}' is one-dimensional, got shape {array.shape}")
    if array.dtype.kind != "U":
        listed = array.tolist()
        if wrong := [value for value in listed if not isinstance(value, str | int) or isinstance(value, bool)]:
            raise ValueError(f"column '{column}' holds names, got {wrong[0]!r}; write text")
        array = array.astype(str)
    return array


def named(what: str, name: Any) -> None:
    """Raise ValueError unless `name` is some printable text without blanks around it, so that any file can hold it."""
    if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable():
        raise ValueError(f"the name of a {what} is printable text without blanks around it, got {name!r}")


def numbers(column: str, values: npt.ArrayLike) -> Floats:
    """Numbers [n], nan for none; raises ValueError for what is no number, or infinite."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column '{column}' holds numbers: {error}") from error
    if array.ndim != 1:
        raise ValueError(f"column '{column}' is one-dimensional, got shape {array.shape}")
    if (wide := np.abs(array) > WIDEST).any():
        raise ValueError(f"column '{column}' is beyond {WIDEST:g} in {wide.sum()} rows; leave such cells empty")
    return array


def integers(column: str, values: npt.ArrayLike) -> Integers:
    """Whole numbers [n]."""
    array = numbers(column, values)
    if not (np.abs(array) < 2**53).all() or (array != np.trunc(array)).any():  # nan fails the first test
        raise ValueError(f"column '{column}' holds whole numbers, got {array[array != np.trunc(array)][:1]}")
    return array.astype(np.int64)


def settings(pipeline: str, told: Mapping[str, Any]) -> dict[str, Setting]:
    """What is known of a pipeline: numbers, text and truth values; None and nan mean inactive or unknown."""
    known: dict[str, Setting] = {}
    for name, value in told.items():
        named("setting", name)
        value = value.item() if isinstance(value, np.generic) else value
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        if not isinstance(value, bool | int | float | str) or (isinstance(value, int | float) and abs(value) > WIDEST):
            raise ValueError(
                f"setting '{name}' of pipeline '{pipeline}' is {value!r}; expected a finite number, text, true or "
                "false; write a list as one text, or as several settings"
            )
        known[name] = value
    return known


def features(task: str, told: Mapping[str, Any]) -> dict[str, float]:
    """The numbers known of a task; None and nan mean unknown."""
    known = {}
    for name, value in told.items():
        named("feature", name)
        try:
            number = math.nan if value is None else float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"feature '{name}' of task '{task}' is a number, got {value!r}") from error
        if abs(number) > WIDEST:
            raise ValueError(f"feature '{name}' of task '{task}' is beyond {WIDEST:g}; leave it out")
        if not math.isnan(number):
            known[name] = number
    return known


def curves(task: Integers, pipeline: Integers, seed: Integers, budget: Floats) -> Curves:
    """The rows [n] as curves; tasks and pipelines are told as `numbered` does."""
    codes = (task, pipeline, seed)
    order = np.lexsort((budget, *reversed(codes)))
    changes = [np.diff(code[order]) != 0 for code in codes]
    return Curves(order, np.r_[True, np.logical_or.reduce(changes)][: len(order)])


def numbered(values: Strings) -> tuple[tuple[str, ...], Integers]:
    """The distinct names, sorted, and for each row [n] its name's place among them."""
    listed = values.tolist()  # hashing text is several times as fast as sorting it
    known = tuple(sorted(set(listed)))
    place = {name: i for i, name in enumerate(known)}
    return known, np.fromiter((place[name] for name in listed), np.int64, len(listed))


def check(rows: Curves, task: Strings, pipeline: Strings, seed: Integers, budget: Floats, score: Floats,
          seconds: Floats) -> None:  # fmt: skip
    """Raise ValueError, naming the first row at fault and what to do, unless columns [n] are a table of runs."""

    def refuse(wrong: npt.NDArray[np.bool_], fault: str, remedy: str) -> None:
        if wrong.any():
            i = rows.order[np.argmax(wrong)]
            where = f"task '{task[i]}', pipeline '{pipeline[i]}', budget {budget[i]:g}, seed {seed[i]}"
            raise ValueError(f"{int(wrong.sum())} of {len(wrong)} rows {fault} (the first: {where}); {remedy}")

    order, first = rows
    b, s = budget[order], seconds[order]
    refuse(~(b > 0), "have no budget > 0", "count budgets from 1")
    again = ~first & np.r_[False, np.diff(b) == 0][: len(b)]
    refuse(again, "repeat a cell", "tell repeats apart by a column 'seed', or keep one row of each")
    refuse(s < 0, "have negative seconds", "leave seconds empty where unknown")
    refuse(
        _padding(rows, budget, score, seconds),
        "look like padding after a run had stopped: the score repeats to the end while seconds stand still",
        f"cut them, or {REPAIR}; if they were trained, leave their seconds empty",
    )
    refuse(s == 0, "took no seconds", f"leave seconds empty where unknown, or {REPAIR}")
    known = order[~np.isnan(s)]
    one_curve = np.cumsum(first)[~np.isnan(s)]
    falls = (np.diff(seconds[known]) < 0) & (np.diff(one_curve) == 0)
    wrong = np.zeros(len(order), bool)
    wrong[np.flatnonzero(~np.isnan(s))[1:][falls]] = True
    refuse(wrong, "have fewer seconds than a smaller budget of the same run",
           "seconds count from the start of the run: sum up those of single steps")  # fmt: skip


def repaired(columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The columns [n] without padded tails, and with unknown seconds instead of none at all; warns, with counts."""
    task, pipeline = names("task", columns["task"]), names("pipeline", columns["pipeline"])
    seed, (budget, score, seconds) = integers("seed", columns["seed"]), (
        numbers(name, columns[name]) for name in ("budget", "score", "seconds")
    )  # fmt: skip
    if len({len(column) for column in columns.values()}) > 1:
        return dict(columns)  # the table itself says what is wrong with that
    rows = curves(numbered(task)[1], numbered(pipeline)[1], seed, budget)
    keep = np.ones(len(task), bool)
    keep[rows.order] = ~_padding(rows, budget, score, seconds)
    free = keep & (seconds == 0)
    if not keep.all():
        warnings.warn(f"cut {(~keep).sum()} of {len(keep)} rows: padding after a run had stopped", stacklevel=3)
    if free.any():
        warnings.warn(f"took the seconds of {free.sum()} of {len(keep)} rows for unknown: they are 0", stacklevel=3)
    seconds = np.where(free, np.nan, seconds)
    return {name: column[keep] for name, column in {**columns, "seconds": seconds}.items()}


def _padding(rows: Curves, budget: Floats, score: Floats, seconds: Floats) -> npt.NDArray[np.bool_]:
    """Rows of curves, [n] in their order, at whose end the score repeats exactly and the clock stands still.

    A curve without any seconds is not meant: of that nobody can tell whether it was padded.
    """
    order, first = rows
    if not len(order):
        return np.zeros(0, bool)
    s = seconds[order]
    timed = np.maximum.reduceat(np.nan_to_num(s), np.flatnonzero(first))[np.cumsum(first) - 1] > 0
    repeats = np.r_[False, (np.diff(score[order]) == 0) & ((np.diff(s) == 0) | (s[1:] == 0))]
    going_on = ~(repeats & ~first & timed)
    ends = np.r_[np.flatnonzero(first)[1:], len(order)][np.cumsum(first) - 1]
    before = np.r_[0, np.cumsum(going_on)]
    padded: npt.NDArray[np.bool_] = before[ends] == before[:-1]
    return padded
