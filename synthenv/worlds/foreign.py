"""Any Gymnasium task as a world: the user's own Python environments, stepped here one after the other.

A world of tensors computes the next state from the last one; a Python environment only goes on from where it is. So
this world holds an environment for each of its P * N episodes, made when first needed and kept; a state of it is worth
something only until the next step. Other processes get the id alone and make environments of their own, which is how
they are stepped in parallel: a few candidates a process, see `Foreign.chunk`.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation
from torch import Tensor

from synthenv.worlds.base import Outcome, Params, Spaces, State

Env = gymnasium.Env[Any, Any]

FLAT = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
"""Observation spaces that `gymnasium.spaces.flatten` makes a list of fixed length of."""
VARIANT = "register a variant of it whose entry point adds the wrapper"


class Foreign:
    """A task by Gymnasium id, "MyTask-v0" or "my_package:MyTask-v0"; the module in front is imported first.

    Observations are flattened as `flat` does. Gymnasium's time limit is left to rollouts, as for all worlds; an
    environment that truncates by itself ends. Actions outside a Box are clipped to it. Episodes that are over stand
    still, unpaid, until `restart`, so that none of the task's steps is wasted.

    Parameters: none, as `nothing` [P, 0]. State: what was seen last, observation [P, N, O]; over [P, N] bool; turn
    [P, N], how often this world has moved, by which a state that is out of date is told.
    """

    chunk: ClassVar[int] = 4
    """Candidates to score together: few, so that they spread over processes."""

    def __init__(self, target: str) -> None:
        """Makes one environment; raises ValueError for a task that cannot be a target, with what to do instead."""
        self.name = target
        first = _made(target)
        self.horizon = _limit(target)
        seen, self._action = first.observation_space, first.action_space
        self.spaces = Spaces(observation_space(target, seen), action_space(target, self._action))
        self._envs = [flat(first)]
        self._turn = 0

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Only the id travels: another process keeps a world of its own, whichever candidates it gets."""
        return _resident, (self.name,)

    def init(self, generator: torch.Generator, population: int) -> Params:
        """No parameters: the members are copies of the task."""
        return {"nothing": torch.zeros((population, 0), device=generator.device)}

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """Every episode begins, each with a seed of its own from the generator."""
        population, size = len(params["nothing"]), self.spaces.observation.shape[0]
        while len(self._envs) < population * n:
            self._envs.append(flat(_made(self.name)))
        everyone = torch.ones((population, n), dtype=torch.bool, device=generator.device)
        blank = {"observation": torch.zeros((population, n, size), device=generator.device), "over": everyone}
        return self._begun(blank, everyone, generator)

    def restart(self, params: Params, state: State, ended: Tensor, generator: torch.Generator) -> State:
        """The episodes of ended [P, N] bool begin again; the others stay where they are."""
        self._check(state)
        return self._begun(state, ended, generator)

    def observe(self, params: Params, state: State) -> Tensor:
        """What was seen last, [P, N, O]."""
        return state["observation"]

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One step of every episode that is not over; action [P, N] or [P, N, A]."""
        self._check(state)
        observation, over = _rows(state["observation"]), _rows(state["over"])
        reward, moves = np.zeros(len(over), dtype=np.float32), self._moves(action)
        for i in np.flatnonzero(~over).tolist():
            seen, paid, terminated, truncated, _ = self._envs[i].step(moves[i])
            observation[i], reward[i], over[i] = self._whole(seen), paid, terminated or truncated
        self._check_finite(observation, reward)
        state = self._state(observation, over, action)
        rewards = torch.from_numpy(reward).to(action.device).view_as(state["over"])
        return state, Outcome(state["observation"], rewards, state["over"])

    def _begun(self, state: State, ended: Tensor, generator: torch.Generator) -> State:
        """The state with the episodes of ended [P, N] at their beginning; equally many draws whoever ended."""
        drawn = torch.randint(2**31, ended.shape[1:], generator=generator, device=generator.device)  # [N]
        seeds = drawn.expand(ended.shape).flatten().tolist()
        observation, over = _rows(state["observation"]), _rows(state["over"])
        for i in np.flatnonzero(_rows(ended)).tolist():
            observation[i], over[i] = self._whole(self._envs[i].reset(seed=seeds[i])[0]), False
        self._check_finite(observation, np.zeros(len(over)))
        return self._state(observation, over, ended)

    def _state(self, observation: npt.NDArray[Any], over: npt.NDArray[Any], like: Tensor) -> State:
        """Rows [P*N, ...] as a state [P, N, ...] for the episodes and the device of `like`."""
        self._turn += 1
        episodes = like.shape[:2]
        return {
            "observation": torch.from_numpy(observation).to(like.device).unflatten(0, episodes),
            "over": torch.from_numpy(over).to(like.device).unflatten(0, episodes),
            "turn": torch.full(episodes, self._turn, device=like.device),
        }

    def _whole(self, seen: Any) -> Any:
        """What an environment showed, [O]; raises ValueError where numbers are missing, which numpy would fill in."""
        if np.shape(seen) != self.spaces.observation.shape:
            raise ValueError(
                f"{self.name} showed an observation of shape {np.shape(seen)}, but its observation space promises "
                f"{self.spaces.observation.shape}; correct one of them"
            )
        return seen

    def _check_finite(self, observation: npt.NDArray[Any], reward: npt.NDArray[Any]) -> None:
        """Raise ValueError for an episode whose observation [P*N, O] or reward [P*N] is no number."""
        sound = np.isfinite(observation).all(-1) & np.isfinite(reward)
        if not sound.all():
            first = int(sound.argmin())
            raise ValueError(
                f"{self.name} showed {observation[first]} and paid {reward[first]}: expected finite numbers; look into "
                "its reset() and step()"
            )

    def _moves(self, action: Tensor) -> npt.NDArray[Any]:
        """Actions [P, N] or [P, N, A] as the environments take them, one a row."""
        moves, space = _rows(action).astype(self._action.dtype), self._action
        return np.clip(moves, space.low, space.high) if isinstance(space, spaces.Box) else moves

    def _check(self, state: State) -> None:
        """Raise RuntimeError unless the state is where the environments are."""
        if int(state["turn"].flatten()[0]) != self._turn:
            raise RuntimeError(
                f"{self.name} is stepped in Python and cannot go back: expected the state that the last reset, restart "
                "or step returned; for a second use at the same time make another worlds.real(...)"
            )


def flat(env: Env) -> Env:
    """The environment as agents of synthetic environments see it: its observation a list of numbers, [O].

    Discrete observations become one-hot, those of Dict and Tuple are strung together, by `gymnasium.spaces.flatten`.
    """
    space = env.observation_space
    return env if isinstance(space, spaces.Box) and len(space.shape) == 1 else FlattenObservation(env)


def registered(target: str) -> bool:
    """Whether Gymnasium knows this id, after the import that it asks for; raises ValueError when that fails."""
    module, _, name = target.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{target} asks for the module {module}, but: {error}; install it, or put its folder on PYTHONPATH"
        ) from error
    return name in gymnasium.registry


def observation_space(target: str, space: gymnasium.Space[Any]) -> spaces.Box:
    """The flattened space in float32, whose bounds may be infinite; raises ValueError for one without a flat form."""
    for leaf in _leaves(space):
        if not isinstance(leaf, FLAT):
            raise ValueError(
                f"{target} shows {leaf}, which is no list of numbers of fixed length; {VARIANT} "
                "gymnasium.wrappers.TransformObservation, which picks the numbers that matter"
            )
        if isinstance(leaf, spaces.Box) and (len(leaf.shape) > 1 or leaf.dtype == np.uint8):
            raise ValueError(
                f"{target} shows {leaf}, an image or a table, and a synthetic environment is made of a few numbers; "
                f"{VARIANT} gymnasium.wrappers.TransformObservation with positions, speeds or an encoder's features "
                "(gymnasium.wrappers.FlattenObservation for a small table that is no image)"
            )
    whole: Any = spaces.flatten_space(space)
    with np.errstate(over="ignore"):  # the ends of float64, a usual way to say infinite
        return spaces.Box(whole.low.astype(np.float32), whole.high.astype(np.float32))


def action_space(target: str, space: gymnasium.Space[Any]) -> spaces.Discrete | spaces.Box:
    """The same actions, a Box in float32; raises ValueError where they are neither Discrete nor a bounded list."""
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        if space.is_bounded():
            return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32))
        instead = "a Box as wide as the actions that matter"
    elif isinstance(space, spaces.Box):
        instead = "a Box of floats with one dimension"
    else:
        instead = "Discrete(n), whose numbers from 0 stand for the combinations worth trying"
    raise ValueError(
        f"expected Discrete actions from 0, or a bounded Box of one dimension; {target} takes {space}; {VARIANT} "
        f"gymnasium.wrappers.TransformAction, from {instead}"
    )


def _leaves(space: gymnasium.Space[Any]) -> list[gymnasium.Space[Any]]:
    """The spaces inside Dict and Tuple, however deep."""
    if isinstance(space, spaces.Dict):
        return [leaf for inner in space.spaces.values() for leaf in _leaves(inner)]
    if isinstance(space, spaces.Tuple):
        return [leaf for inner in space.spaces for leaf in _leaves(inner)]
    return [space]


def _made(target: str) -> Env:
    """One environment without time limit; what Gymnasium refuses (no such id, no such package) is a ValueError."""
    try:
        return gymnasium.make(target, max_episode_steps=-1)
    except gymnasium.error.Error as error:
        raise ValueError(f"Gymnasium cannot make {target}: {error}") from error


def _limit(target: str) -> int:
    """Steps after which Gymnasium truncates; raises ValueError where it never does."""
    limit = gymnasium.spec(target.rpartition(":")[2]).max_episode_steps
    if limit is None:
        raise ValueError(
            f"{target} has no time limit, and an agent that never finishes could not be scored; register it with one: "
            "gymnasium.register(..., max_episode_steps=200)"
        )
    return limit


def _rows(leaf: Tensor) -> npt.NDArray[Any]:
    """A copy of [P, N, ...] as an array [P*N, ...]."""
    return leaf.flatten(0, 1).numpy(force=True).copy()


@cache
def _resident(target: str) -> Foreign:
    """This process's world of a task that came from another, with the environments it has made so far."""
    return Foreign(target)
