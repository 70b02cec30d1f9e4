"""Where transitions come from: a task that is played now, a Minari dataset, a replay buffer.

Each function gives the arguments of `Transitions.from_arrays`; what is no good is refused there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from synthenv.catalogue import unknown
from synthenv.incontext.slots import Floats, Numbers
from synthenv.worlds.foreign import registered

Policy = Callable[[Floats], Any]
"""From an observation [O] to an action."""
Arrays = dict[str, Any]


def collect(
    env: str | gymnasium.Env[Any, Any], n: int, policy: Literal["random"] | Policy, seed: int, sticky: float
) -> Arrays:
    """Exactly n steps of a task; see `Transitions.collect`."""
    if n < 1:
        raise ValueError(f"expected at least one transition to collect, got n={n}")
    if not 0 <= sticky < 1:
        raise ValueError(f"expected sticky as a probability below 1, got {sticky}")
    if policy != "random" and not callable(policy):
        raise ValueError(f"expected policy 'random' or a function from an observation to an action, got {policy!r}")
    made = _made(env) if isinstance(env, str) else env
    shown = Numbers(made)
    made.action_space.seed(seed)
    chance = np.random.default_rng(seed)
    act: Policy = (lambda _: made.action_space.sample()) if policy == "random" else policy
    observation, _ = shown.reset(seed=seed)
    steps: list[tuple[Any, ...]] = []
    action, start = None, True
    while len(steps) < n:
        if start or chance.random() >= sticky:
            action = act(observation)
        following, reward, terminated, truncated, _ = shown.step(action)
        steps.append((observation, action, reward, following, terminated, truncated, start))
        start = terminated or truncated
        observation = shown.reset()[0] if start else following
    names = ("observation", "action", "reward", "following", "terminated", "truncated", "start")
    spec = made.spec
    if isinstance(env, str):
        made.close()
    return {
        **{name: np.array(column) for name, column in zip(names, zip(*steps, strict=True), strict=True)},
        "observation_space": made.observation_space,
        "action_space": made.action_space,
        "task": env if isinstance(env, str) else None if spec is None else spec.id,
        "horizon": None if spec is None else spec.max_episode_steps,
    }


def minari(dataset: Any, n: int | None) -> Arrays:
    """The first n transitions of a Minari dataset; see `Transitions.from_minari`."""
    if isinstance(dataset, str):
        try:
            from minari import load_dataset  # type: ignore[import-untyped, unused-ignore]

            dataset = load_dataset(dataset)
        except ImportError as error:
            raise ValueError(
                f"reading Minari's datasets needs one more package: pip install 'synthenv[minari]' ({error})"
            ) from error
        except FileNotFoundError as error:
            raise ValueError(f"no such Minari dataset is here: {error}; try minari download {dataset}") from error
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    left = np.inf if n is None else n
    for episode in dataset.iterate_episodes():
        seen = np.asarray(episode.observations)
        if seen.dtype.kind not in "biuf":
            raise ValueError(f"expected observations that are numbers, got {type(episode.observations).__name__}")
        length = len(episode.rewards)
        columns = {
            "observation": seen[:-1],
            "action": np.asarray(episode.actions),
            "reward": episode.rewards,
            "following": seen[1:],
            "terminated": episode.terminations,
            "truncated": episode.truncations,
            "start": np.arange(length) == 0,
        }
        for name, column in columns.items():
            parts.setdefault(name, []).append(np.asarray(column)[: int(min(left, length))])
        left -= length
        if left <= 0:
            break
    if not parts:
        raise ValueError("the Minari dataset holds no episode")
    spec = dataset.spec.env_spec
    return {
        **{name: np.concatenate(columns) for name, columns in parts.items()},
        "observation_space": dataset.spec.observation_space,
        "action_space": dataset.spec.action_space,
        "task": None if spec is None else spec.id,
        "horizon": None if spec is None else spec.max_episode_steps,
    }


def sb3_buffer(buffer: Any, task: str | None) -> Arrays:
    """What a replay buffer holds; see `Transitions.from_sb3_buffer`."""
    if getattr(buffer, "optimize_memory_usage", False) or not hasattr(buffer, "next_observations"):
        raise ValueError(
            "expected a ReplayBuffer of Stable-Baselines3 that keeps what followed every step (made without "
            f"optimize_memory_usage), got {type(buffer).__name__}"
        )
    if isinstance(buffer.observations, dict):
        raise ValueError("expected a buffer of observations that are lists of numbers, got a DictReplayBuffer")
    size = buffer.buffer_size if buffer.full else buffer.pos
    if size == 0:
        raise ValueError("the replay buffer is empty")
    order = (buffer.pos + np.arange(size)) % size if buffer.full else np.arange(size)  # oldest first
    late, done = buffer.timeouts[order].astype(bool), buffer.dones[order].astype(bool)

    def apart(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Environment after environment: [T, N, ...] -> [N * T, ...]."""
        return column.swapaxes(0, 1).reshape(-1, *column.shape[2:])

    action = apart(buffer.actions[order])
    if isinstance(space := buffer.action_space, spaces.Box):
        action = space.low + (action + 1) / 2 * (space.high - space.low)
    ended = apart(done)
    begun = np.concatenate((np.zeros((1, done.shape[1]), bool), done[:-1]))
    begun[0] = not buffer.full  # what the ring has overwritten may have begun the oldest episode
    return {
        "observation": apart(buffer.observations[order]),
        "action": action,
        "reward": apart(buffer.rewards[order]),
        "following": apart(buffer.next_observations[order]),
        "terminated": ended & ~apart(late),
        "truncated": apart(late),
        "start": apart(begun),
        "observation_space": buffer.observation_space,
        "action_space": buffer.action_space,
        "task": task,
    }


def _made(target: str) -> gymnasium.Env[Any, Any]:
    """A task by Gymnasium id, "module:ID" or not; raises ValueError with the nearest id for one nobody knows."""
    if not registered(target):
        raise ValueError(unknown_task(target))
    try:
        return gymnasium.make(target)
    except gymnasium.error.Error as error:
        raise ValueError(f"Gymnasium cannot make {target}: {error}") from error


def unknown_task(target: str) -> str:
    """One sentence about an id that Gymnasium does not know."""
    near = unknown("task", target, gymnasium.registry).split(" (known:")[0]
    joint = " The" if near.endswith("?") else "; the"
    return f"{near}{joint} module that registers yours goes in front: 'my_package:MyTask-v0'"
