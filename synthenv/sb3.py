"""Stable-Baselines3 with synthetic environments: batches as its `VecEnv`, training, scores on the real task.

SB3 takes no Gymnasium vector environment and steps its own one by one. Here a batch stays a batch: of N episodes only
those that end cost Python time.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import FlattenObservation
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env as make_real
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from synthenv import worlds
from synthenv.agents import arguments, load_agent, normaliser, save_agent
from synthenv.catalogue import unknown
from synthenv.gym import SynthVectorEnv
from synthenv.incontext.slots import Numbers
from synthenv.playing import PlayedVectorEnv, Step
from synthenv.worlds.foreign import flat, registered

__all__ = [
    "GymVectorToSB3",
    "SynthVecEnv",
    "algorithm",
    "evaluate",
    "load_agent",
    "make_vec_env",
    "measure",
    "normaliser",
    "save_agent",
    "train",
]

CONTRIB = ("ars", "crossq", "maskableppo", "qrdqn", "recurrentppo", "tqc", "trpo")
"""Algorithms of sb3-contrib, to be told apart from words that mean nothing where it is not installed."""


class GymVectorToSB3(VecEnv):
    """Any Gymnasium vector environment that restarts episodes within the step, as SB3 sees environments.

    An ended episode's info has `terminal_observation`, `TimeLimit.truncated` and `episode` (r, l, t, as SB3's
    Monitor writes them); the others share one empty dictionary. Gymnasium's own infos are not passed on.
    """

    def __init__(self, venv: VectorEnv[Any, Any, Any]) -> None:
        mode = venv.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"expected a vector environment with autoreset_mode SAME_STEP, got {mode} from {venv}; try "
                'gymnasium.make_vec(id, n, "sync", vector_kwargs={"autoreset_mode": "SameStep"})'
            )
        self.venv: Any = venv
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)

    def play(self, actions: npt.NDArray[Any]) -> Step:
        """One step of every episode."""
        observation, reward, terminated, truncated, infos = self.venv.step(actions)
        return Step(observation, reward, terminated, truncated, infos.get("final_obs"))

    def reset(self) -> VecEnvObs:
        """Fresh episodes, seeded if `seed` was called."""
        observation, _ = self.venv.reset(seed=self._seeds[0], options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=np.int64)
        self._began = time.perf_counter()
        return observation  # type: ignore[no-any-return]

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Remember the actions; the step itself is `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One step of every episode; those that end begin again at once."""
        step = self.play(self._actions)
        self._returns += step.reward
        self._lengths += 1
        done = step.terminated | step.truncated
        infos: list[dict[str, Any]] = [{}] * self.num_envs
        ended = np.flatnonzero(done)
        if len(ended):
            seconds = round(time.perf_counter() - self._began, 6)
            late = (step.truncated & ~step.terminated)[ended].tolist()
            facts = zip(ended.tolist(), late, self._returns[ended].tolist(), self._lengths[ended].tolist(), strict=True)
            for i, truncated, total, length in facts:
                infos[i] = {
                    "terminal_observation": step.following[i],
                    "TimeLimit.truncated": truncated,
                    "episode": {"r": round(total, 6), "l": length, "t": seconds},
                }
            self._returns[ended], self._lengths[ended] = 0, 0
        return step.observation, step.reward, done, infos

    def close(self) -> None:
        """Release the batch."""
        self.venv.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The batch's attribute, once per episode asked for."""
        return [getattr(self.venv, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the whole batch."""
        setattr(self.venv, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the batch once; its result, once per episode asked for."""
        result = getattr(self.venv, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """True for SB3's Monitor, whose `episode` entry every ended episode carries."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> tuple[Any, ...]:
        """A picture of every episode."""
        return self.venv.render()  # type: ignore[no-any-return]


class SynthVecEnv(GymVectorToSB3):
    """A batch of episodes of ours, synthetic or imagined, stepped without Gymnasium's infos in between."""

    def play(self, actions: npt.NDArray[Any]) -> Step:
        """One step of every episode."""
        step: Step = self.venv.advance(actions)
        return step


def make_vec_env(
    env_id: str | Path,
    n_envs: int = 1,
    seed: int | None = None,
    device: str = "cpu",
    render_mode: str | None = None,
    delay: float = 0.0,
    discount: float = 0.99,
) -> SynthVecEnv:
    """A batch of a synthetic environment, by id or by folder, for any SB3 algorithm.

    `delay` puts off the multi-step form's rewards, for agents whose `gamma` is `discount`; see `synthenv.gym.SynthEnv`.
    """
    batch = SynthVectorEnv(
        _ours(env_id) or env_id, n_envs, device=device, render_mode=render_mode, delay=delay, discount=discount
    )
    venv = SynthVecEnv(batch)
    if seed is not None:
        venv.seed(seed)
    return venv


def train(
    algo: str,
    env_id: str | Path | PlayedVectorEnv,
    steps: int,
    *,
    seed: int,
    hyperparameters: Literal["default"] | Mapping[str, Any] = "default",
    tensorboard: str | Path | None = None,
    progress: bool | None = None,
    n_envs: int | None = None,
    callback: Any = None,
) -> BaseAlgorithm:
    """An SB3 or sb3-contrib agent trained for `steps` steps in a synthetic environment or any Gymnasium task.

    `env_id` may also be a batch of ours that is made already, as a simulator's `make_vec(n)` is; `n_envs` is n then.
    Hyperparameters are those of the algorithm's class, besides `policy` ("MlpPolicy" unless given) and rl_zoo3's
    `normalize`: True, or arguments of SB3's `VecNormalize`. A linear schedule may be written "lin_0.001". A progress
    bar shows where stderr is a terminal, unless `progress` says otherwise.

    To go on with the agent in the real task, whose observation box is wider, save it and read it into that task:
    `load_agent(folder, env="CartPole-v1").learn(10_000)`.
    """
    kind = algorithm(algo)
    env = _place(env_id, n_envs or 1, seed)
    settings = {} if hyperparameters == "default" else dict(hyperparameters)
    policy, normalize = settings.pop("policy", "MlpPolicy"), settings.pop("normalize", False)
    if normalize:
        like = {"gamma": settings["gamma"]} if "gamma" in settings else {}
        env = VecNormalize(env, **(like if normalize is True else {**normalize, **like}))
    log = None if tensorboard is None else str(tensorboard)
    try:
        model = kind(policy, env, seed=seed, tensorboard_log=log, **arguments({"device": "cpu", **settings}))
    except AssertionError as error:  # SB3's way of refusing an action space
        raise ValueError(f"{kind.__name__} cannot be trained in {env_id}: {error}") from error
    show = sys.stderr.isatty() if progress is None else progress
    return model.learn(steps, callback=callback, progress_bar=show)


def evaluate(
    model: Any, env_id: str, episodes: int = 20, seed: int = 0, deterministic: bool = True
) -> npt.NDArray[np.float64]:
    """Undiscounted return of each of `episodes` whole episodes, [episodes]; see `measure`."""
    returns, _ = measure(model, env_id, episodes, seed, deterministic)
    return returns


def measure(
    model: Any,
    env_id: str,
    episodes: int = 20,
    seed: int = 0,
    deterministic: bool = True,
    shown: Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Undiscounted return and length of each of `episodes` whole episodes, both [episodes].

    Every episode has an environment of its own and only its first is counted, so short ones are not favoured.
    `model` is anything with SB3's `predict`; a recurrent policy gets its memory back, and which episodes have begun. An
    agent trained with `normalize` sees observations by the statistics it gathered in training; returns are never
    normalised. A task that shows something else than a list of numbers is wrapped for an agent that was trained on one,
    by `shown` or as `wrapper` says.
    """
    venv = _tasks(env_id, episodes, model, shown)
    observation, _ = venv.reset(seed=seed)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
    alive, seen = np.ones(episodes, dtype=np.bool_), normaliser(model)
    memory, begun = None, alive.copy()
    while alive.any():
        action, memory = model.predict(
            seen(observation), state=memory, episode_start=begun, deterministic=deterministic
        )
        observation, reward, terminated, truncated, _ = venv.step(action)
        returns += reward * alive
        lengths += alive
        begun = terminated | truncated
        alive &= ~begun
    venv.close()
    return returns, lengths


def wrapper(space: spaces.Space[Any], model: Any) -> type[Numbers | FlattenObservation[Any, Any, Any]] | None:
    """What makes a task that shows this one for `model`, trained on lists of numbers; None where nothing has to.

    Agents of synthetic environments know whole numbers as one-hot, as Gymnasium flattens them; those of world models
    know them as they are.
    """
    seen: Any = getattr(model, "observation_space", None)
    own, trained = (isinstance(side, spaces.Box) and len(side.shape) == 1 for side in (space, seen))
    if own or not trained:
        return None
    whole = isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)
    return Numbers if whole and seen.shape == (space.shape or (1,)) else FlattenObservation


def _place(env_id: str | Path | PlayedVectorEnv, n: int, seed: int) -> VecEnv:
    """Where to train, as SB3 sees it."""
    if isinstance(env_id, PlayedVectorEnv):
        batch = SynthVecEnv(env_id)
        batch.seed(seed)
        return batch
    ours = _ours(env_id)
    if ours is not None:
        return make_vec_env(ours, n, seed)
    return make_real(str(env_id), n, seed, wrapper_class=flat)


def _tasks(env_id: str, n: int, model: Any, shown: Any = None) -> VectorEnv[Any, Any, Any]:
    """A batch of a task as `model` wants to see it, under our time limit where Gymnasium sets none."""
    limit = time_limit(env_id)
    if shown is None:
        venv = gymnasium.make_vec(env_id, num_envs=n, max_episode_steps=limit)
        shown = wrapper(venv.single_observation_space, model)
        if shown is None:
            return venv
        venv.close()
    return gymnasium.make_vec(env_id, n, "sync", wrappers=[shown], max_episode_steps=limit)


def time_limit(env_id: str) -> int | None:
    """Steps after which a task's episodes are truncated: Gymnasium's, or ours where Gymnasium sets none."""
    registered(env_id)  # imports the module in front
    limit = gymnasium.spec(env_id.rpartition(":")[2]).max_episode_steps
    if limit is None and env_id in worlds.targets():
        limit = worlds.real(env_id).horizon
    return limit


def algorithm(name: str, besides: Iterable[str] = ()) -> type[BaseAlgorithm]:
    """The class behind "ppo", "dqn", "trpo", ...: SB3's own, and sb3-contrib's where it is installed.

    Raises ValueError for a name nobody knows; `besides` are those that the caller knows, to be told as well.
    """
    known: dict[str, type[BaseAlgorithm]] = {}
    for package in ("stable_baselines3", "sb3_contrib"):
        with suppress(ImportError):
            for key, kind in vars(importlib.import_module(package)).items():
                if isinstance(kind, type) and issubclass(kind, BaseAlgorithm):
                    known[key.lower()] = kind
    if name.lower() in CONTRIB and name.lower() not in known:
        raise ValueError(f"{name} is of sb3-contrib, which is not installed: pip install sb3-contrib")
    if name.lower() not in known:
        raise ValueError(unknown("algorithm", name, [*known, *besides]))
    return known[name.lower()]


def _ours(env_id: str | Path) -> str | None:
    """The artifact behind a registered id or a folder; None for anything that is no synthetic environment."""
    spec = gymnasium.registry.get(str(env_id).removeprefix("synthenv:"))
    if spec is not None:
        return spec.kwargs.get("artifact")
    return str(env_id) if (Path(env_id) / "card.json").is_file() else None
