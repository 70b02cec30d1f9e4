"""Real transitions of one task: all that a world model is ever shown of it.

Letters: C transitions, in the order they happened; O observation size, A action size (Box).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from synthenv.incontext import circles, sources
from synthenv.incontext.rows import ACTIONS, OBSERVATIONS, Rows, Shape
from synthenv.incontext.slots import Slots, spaces_of
from synthenv.incontext.sources import Policy
from synthenv.worlds.base import Spaces

FORMAT = 1
"""Grows when older readers could no longer make sense of a file."""
NUMBERS = ("observation", "action", "reward", "following")
FLAGS = ("terminated", "truncated", "start")


@dataclass(frozen=True, eq=False)
class Transitions:
    """What was seen, done and paid, step by step; read-only arrays.

    observation: [C, O] float32, before the action.
    action:      [C] int64 for Discrete actions, [C, A] float32 within a Box.
    reward:      [C] float32.
    following:   [C, O] float32, seen after the action and before any restart.
    terminated:  [C] bool, the task ended the episode.
    truncated:   [C] bool, a time limit did (never together with terminated).
    start:       [C] bool, the first transition of an episode.
    spaces:      of the task; bounds of the observation may be infinite.
    task:        Gymnasium id, if there is one, with the module that registers it in front if that was given.
    horizon:     steps after which the task truncates an episode, if it is known to.

    Make one with `collect`, `from_arrays`, `from_minari`, `from_sb3_buffer` or `load`, which check everything.
    """

    observation: npt.NDArray[np.float32]
    action: npt.NDArray[Any]
    reward: npt.NDArray[np.float32]
    following: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    start: npt.NDArray[np.bool_]
    spaces: Spaces
    task: str | None = None
    horizon: int | None = None

    def __len__(self) -> int:
        return len(self.reward)

    def __repr__(self) -> str:
        episodes = int(self.start.sum())
        return f"Transitions({len(self)} of {self.task or 'a task'}, {episodes} episode starts)"

    @classmethod
    def collect(
        cls,
        env: str | gymnasium.Env[Any, Any],
        n: int,
        policy: Literal["random"] | Policy = "random",
        seed: int = 0,
        sticky: float = 0.0,
    ) -> Transitions:
        """Exactly n steps of a real task, episode after episode.

        `env` is a Gymnasium id or an environment, which is left open. `policy` takes an observation, a list of numbers
        [O], to an action. `sticky` is the probability with which the last action is repeated instead of a new one asked
        for: random actions that persist go further.
        """
        return cls.from_arrays(**sources.collect(env, n, policy, seed, sticky))

    @classmethod
    def from_minari(cls, dataset: Any, n: int | None = None) -> Transitions:
        """The first n transitions (default: all) of a Minari dataset, or of the local one with this id."""
        return cls.from_arrays(**sources.minari(dataset, n))

    @classmethod
    def from_sb3_buffer(cls, buffer: Any, task: str | None = None) -> Transitions:
        """What a Stable-Baselines3 `ReplayBuffer` holds, environment by environment, oldest first.

        SB3 keeps a Box's actions scaled to [-1, 1]; they are scaled back.
        """
        return cls.from_arrays(**sources.sb3_buffer(buffer, task))

    @classmethod
    def from_arrays(
        cls,
        observation: npt.ArrayLike,
        action: npt.ArrayLike,
        reward: npt.ArrayLike,
        following: npt.ArrayLike,
        terminated: npt.ArrayLike,
        *,
        truncated: npt.ArrayLike | None = None,
        start: npt.ArrayLike | None = None,
        observation_space: gymnasium.Space[Any] | None = None,
        action_space: gymnasium.Space[Any] | None = None,
        task: str | None = None,
        horizon: int | None = None,
    ) -> Transitions:
        """Arrays [C, ...] of any number type, in the order things happened; raises ValueError for what cannot be meant.

        Where `truncated` is not given, nothing was; where `start` is not, an episode begins where the last has ended or
        an observation is not what followed before. Spaces that are not given follow from the data: whole numbers are
        Discrete actions, others a Box as wide as the data, and observations are unbounded.
        """
        seen = _numbers("observation", observation, 2)
        count = len(seen)
        if count == 0:
            raise ValueError("expected at least one transition, got none")
        acted = _numbers("action", action, None, keep=True)
        told = _spaces(task or "the task", seen, acted, observation_space, action_space)
        ended = _flags("terminated", terminated, count)
        late = np.zeros(count, np.bool_) if truncated is None else _flags("truncated", truncated, count) & ~ended
        then = _numbers("following", following, 2)
        if then.shape != seen.shape:
            raise ValueError(f"expected following shaped as observation, {seen.shape}, got {then.shape}")
        paid = _numbers("reward", reward, 1)
        _same_length("reward", paid, count)
        _same_length("action", acted, count)
        if start is None:
            breaks = ended[:-1] | late[:-1] | (seen[1:] != then[:-1]).any(1)
            begun = np.concatenate((np.ones(1, np.bool_), breaks))
        else:
            begun = _flags("start", start, count)
        if horizon is not None and horizon < 1:
            raise ValueError(f"expected a horizon of at least one step, got {horizon}")
        actions = _actions(acted, told.action)
        arrays = map(_frozen, (seen, actions, paid, then, ended, late, begun))
        return cls(**dict(zip(NUMBERS + FLAGS, arrays, strict=True)), spaces=told, task=task, horizon=horizon)

    @classmethod
    def load(cls, path: str | Path) -> Transitions:
        """Read what `save` wrote; raises ValueError for any other file."""
        path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                stored = {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
            raise ValueError(f"{path} is no file of transitions: {error}; write one with Transitions.save") from error
        wanted = {"format", *NUMBERS, *FLAGS, "low", "high", "task", "horizon"}
        if missing := sorted(wanted - stored.keys()):
            raise ValueError(f"{path} is no file of transitions: it lacks {', '.join(missing)}")
        if stored["format"] != FORMAT:
            raise ValueError(f"{path} has format {stored['format']}, and this version of synthenv reads {FORMAT}")
        try:
            task, horizon = str(stored["task"]), int(stored["horizon"])
            box = spaces.Box(stored["low"], stored["high"], dtype=np.float32)
            told: dict[str, Any] = {"task": task or None, "horizon": horizon or None, "observation_space": box}
            if "choices" in stored:
                told["action_space"] = spaces.Discrete(int(stored["choices"]))
            else:
                told["action_space"] = spaces.Box(stored["action_low"], stored["action_high"], dtype=np.float32)
            return cls.from_arrays(**{name: stored[name] for name in (*NUMBERS, *FLAGS)}, **told)
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def save(self, path: str | Path) -> Path:
        """Write an npz file without a pickle, and return where it is: `.npz` is added unless it is there."""
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        box, action = self.spaces
        arrays: dict[str, Any] = {name: getattr(self, name) for name in NUMBERS + FLAGS}
        arrays |= {"format": FORMAT, "low": box.low, "high": box.high}
        if isinstance(action, spaces.Discrete):
            arrays["choices"] = int(action.n)
        else:
            arrays |= {"action_low": action.low, "action_high": action.high}
        np.savez_compressed(path, task=self.task or "", horizon=self.horizon or 0, **arrays)
        return path

    def join(self, *others: Transitions) -> Transitions:
        """These transitions and then the others', which must be of the same spaces."""
        for other in others:
            if other.spaces != self.spaces:
                raise ValueError(f"expected more transitions of {self.spaces}, got some of {other.spaces}")
        parts = (self, *others)
        names = NUMBERS + FLAGS
        arrays = {name: _frozen(np.concatenate([getattr(part, name) for part in parts])) for name in names}
        horizons = [part.horizon for part in parts if part.horizon is not None]
        tasks = [part.task for part in parts if part.task is not None]
        return Transitions(
            **arrays, spaces=self.spaces, task=next(iter(tasks), None), horizon=next(iter(horizons), None)
        )

    def subset(self, index: slice | npt.ArrayLike) -> Transitions:
        """Some of the transitions: a slice, row numbers or a mask [C]. Starts stay those of whole episodes."""
        rows: Any = index if isinstance(index, slice) else np.array(index, ndmin=1)
        rows = rows if isinstance(rows, slice) or len(rows) else slice(0)
        arrays = {name: _frozen(getattr(self, name)[rows]) for name in NUMBERS + FLAGS}
        if not len(arrays["reward"]):
            raise ValueError(f"expected rows that leave some of {len(self)} transitions, got {index!r}")
        return Transitions(**arrays, spaces=self.spaces, task=self.task, horizon=self.horizon)

    def rows(self) -> tuple[Rows, Shape]:
        """The transitions on slots, a batch of one task: leaves [1, C, ...], and which slots are used for what."""
        layout = Slots(self.spaces.action, self.spaces.observation.shape[0])
        seen = [torch.tensor(side) for side in (self.observation, self.following)]
        observation, following = map(layout.observations, seen)
        reward, terminated, start = (torch.tensor(side) for side in (self.reward, self.terminated, self.start))
        action = layout.actions(torch.tensor(self.action))
        rows = Rows(*(leaf[None] for leaf in (observation, action, reward, following, terminated, start)))
        observed, acting = torch.arange(OBSERVATIONS) < layout.observed, torch.arange(ACTIONS) < layout.acting
        turning = circles.found(*seen)
        return rows, Shape(observed[None], acting[None], torch.tensor([layout.discrete]), turning, self.prize)

    @property
    def prize(self) -> float:
        """What an end pays more than other steps, in the median, if it is further from them all than they are apart.

        A goal met ten times in thousands of steps is no smooth function of where they are: who regresses its reward
        promises a little of it everywhere. A reward that grows until the task ends is one.
        """
        end, other = self.reward[self.terminated], self.reward[~self.terminated]
        if not len(end) or not len(other):
            return 0.0
        gap = max(end.min() - other.max(), other.min() - end.max())
        return float(np.median(end) - np.median(other)) if gap > other.max() - other.min() else 0.0

    @property
    def real_horizon(self) -> int | None:
        """Steps after which the real task truncates: as was told, else the longest episode that was truncated."""
        if self.horizon is not None or not self.truncated.any():
            return self.horizon
        begun = np.maximum.accumulate(np.where(self.start, np.arange(len(self)), 0))  # [C], where its episode began
        return int((np.arange(len(self)) - begun + 1)[self.truncated].max())


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy that nobody can write to."""
    own = np.array(array)
    own.setflags(write=False)
    return own


def _numbers(name: str, data: npt.ArrayLike, dimensions: int | None, keep: bool = False) -> npt.NDArray[Any]:
    """Finite numbers [C] or [C, K], float32 unless `keep`; one column may lack its axis or have one too many."""
    try:
        array = np.asarray(data)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"expected {name} as one array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected numbers as {name}, got {array.dtype}; rows of different lengths are no array")
    if dimensions == 2 and array.ndim == 1:
        array = array[:, None]
    if dimensions == 1 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in ((1, 2) if dimensions is None else (dimensions,)):
        raise ValueError(f"expected {name} of {dimensions or '1 or 2'} dimensions, got shape {array.shape}")
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not (sound := np.isfinite(single).all(tuple(range(1, single.ndim)))).all():
        first = int(sound.argmin())
        raise ValueError(
            f"expected finite numbers as {name}, got {array[first].tolist()} in row {first} and {int((~sound).sum())} "
            "such rows; leave those rows out, or look into what recorded them"
        )
    return array if keep else single


def _flags(name: str, data: npt.ArrayLike, count: int) -> npt.NDArray[np.bool_]:
    """Truth values [C], or numbers that are 0 and 1."""
    array = _numbers(name, data, 1, keep=True)
    _same_length(name, array, count)
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"expected {name} to be true or false, got numbers other than 0 and 1")
    return array.astype(np.bool_)


def _same_length(name: str, array: npt.NDArray[Any], count: int) -> None:
    if len(array) != count:
        raise ValueError(f"expected {name} of as many rows as observation, {count}, got {len(array)}")


def _spaces(
    task: str,
    seen: npt.NDArray[np.float32],
    acted: npt.NDArray[Any],
    observation: spaces.Space[Any] | None,
    action: spaces.Space[Any] | None,
) -> Spaces:
    """The task's spaces, as told or as the data [C, O] and [C] or [C, A] have them."""
    if action is None:
        whole = acted.dtype.kind in "biu"
        if whole and acted.ndim == 2 and acted.shape[1] > 1:
            raise ValueError(
                f"whole numbers of shape {acted.shape} may be choices or a Box's actions: give action_space"
            )
        columns = acted.reshape(len(acted), -1)
        if whole:
            most = min(int(columns.max(initial=0)), 2**31)  # numpy cannot count further; so many are refused below
            action = spaces.Discrete(max(2, most + 1))
        else:
            action = spaces.Box(columns.min(0).astype(np.float32), columns.max(0).astype(np.float32))
    told = spaces_of(task, observation or spaces.Box(-np.inf, np.inf, (seen.shape[1],)), action)
    if told.observation.shape[0] != seen.shape[1]:
        raise ValueError(f"expected observations of {told.observation.shape[0]} numbers, got shape {seen.shape}")
    return told


def _actions(acted: npt.NDArray[Any], space: spaces.Discrete | spaces.Box) -> npt.NDArray[Any]:
    """Actions as int64 [C] choices or float32 [C, A] clipped to the Box."""
    if isinstance(space, spaces.Box):
        columns = acted.reshape(len(acted), -1)
        if columns.shape[1] != space.shape[0]:
            raise ValueError(f"expected actions of {space}, {space.shape[0]} numbers each, got shape {acted.shape}")
        return np.clip(columns.astype(np.float32), space.low, space.high)
    if acted.ndim == 2 and acted.shape[1] == 1:
        acted = acted[:, 0]
    choices = acted.astype(np.int64)
    if acted.ndim != 1 or (choices != acted).any() or choices.min() < 0 or choices.max() >= space.n:
        raise ValueError(
            f"expected choices from 0 to {space.n - 1}, got shape {acted.shape}, from {acted.min()} to {acted.max()}; "
            "give action_space where there are more"
        )
    return choices
