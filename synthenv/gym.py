"""Synthetic environments as Gymnasium environments: one episode at a time, or a batch in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from synthenv import artifact as artifacts
from synthenv import shelf, worlds
from synthenv.artifact import Artifact
from synthenv.players import Array, Draws, State, player
from synthenv.render import DRAWN, Renderer
from synthenv.tree import Tree, shapes
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.delayed import delayed


def synthetic(artifact: Artifact) -> tuple[SyntheticBandit, Tree]:
    """The world that an artifact describes, and its parameters, leaves [1, ...]; the real task is not needed.

    Raises ValueError when the weights are not those of the recipe's networks.
    """
    recipe, weights = artifact.recipe, artifact.weights
    params = {name: leaf for name, leaf in weights.items() if name not in ("centre", "reach")}
    action = artifacts.action_space(artifact.card)
    world = worlds.synthetic(recipe, action, weights["centre"][0], weights["reach"][0])
    expected, got = shapes(world.init(torch.Generator(), 1)), shapes(params)
    if expected != got:
        raise ValueError(f"recipe {recipe.id} asks for weights shaped {expected}, but the file holds {got}")
    return world, params


class SynthEnv(gymnasium.Env[npt.NDArray[np.float32], Any]):
    """One synthetic environment, numpy in and out.

    `artifact` is an id on the shelf or the folder of an environment of one's own. The time limit of the multi-step
    form is Gymnasium's wrapper, which `gymnasium.make` adds; see `synthenv.register` for a folder of one's own.
    Actions beyond a Box are clipped to it, as in Gymnasium's own continuous tasks.

    `delay` is the difficulty dial of the multi-step form: how much of an action's reward comes later instead, for
    agents whose discount is `discount` (see `worlds.delayed`).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "rgb_array"], "render_fps": 50}  # type: ignore[misc]
    BLOCK: ClassVar[int] = 256
    """Random numbers drawn at once, for so many steps."""

    def __init__(
        self, artifact: str | Path, render_mode: str | None = None, delay: float = 0.0, discount: float = 0.99
    ) -> None:
        self.artifact = artifacts.load(shelf.find(artifact))
        world, params = _world(self.artifact, delay, discount)
        self.observation_space, self.action_space = world.spaces  # type: ignore[assignment]
        self.render_mode = render_mode
        self._renderer = _renderer(self, self.artifact)
        self._player = player(world, params)
        self._draws = Draws(self._player, self.BLOCK)
        self._state: State | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """A fresh episode; the same seed gives the same episodes, bit for bit."""
        super().reset(seed=seed)
        if seed is not None or not self._draws.seeded:
            self._draws.seed(self.np_random, torch.device("cpu"))
        self._state = self._shown = self._draws.starts(1)
        if self.render_mode == "human":
            self.render()
        return self._player.observe(self._state)[0], {}

    def step(self, action: Any) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step; never truncates by itself."""
        if self._state is None:
            raise ResetNeeded("expected a running episode; call reset() first, and again after each end")
        self._shown, observation, reward, terminated = self._player.step(self._state, self._checked(action))
        ended = bool(terminated[0])
        self._state = None if ended else self._shown
        if self.render_mode == "human":
            self.render()
        return observation[0], float(reward[0] + self._draws.luck(1)[0]), ended, False, {}

    def _checked(self, action: Any) -> Array:
        """The action as the player wants it: int64 [1] or float32 [1, A]."""
        space = self.action_space
        if isinstance(space, spaces.Discrete):
            if space.contains(action):
                return np.array([action])
        else:
            taken = self._player.actions(action)
            if taken is not None and taken.shape == space.shape and _possible(space, taken):
                return taken[None]
        raise ValueError(f"expected an action of {space}, got {action!r}; try action_space.sample()")

    def render(self) -> Any:
        """The real task's picture of this state."""
        if self._renderer is None:
            gymnasium.logger.warn("nothing to render: give render_mode='rgb_array' or 'human' to gymnasium.make")
            return None
        return self._renderer.draw(self._player.observe(self._shown)[0])

    def close(self) -> None:
        """Close the window, if any."""
        if self._renderer is not None:
            self._renderer.close()


class Step(NamedTuple):
    """What one step of a batch gave, as arrays or tensors.

    observation: [N, O] to act on next; of the new episode where one has just begun.
    reward:      [N].
    terminated:  [N] bool, the world ended the episode.
    truncated:   [N] bool, the time limit did (never together with terminated).
    following:   [N, O] after the action and before any restart: what to bootstrap from.
    """

    observation: Array
    reward: Array
    terminated: Array
    truncated: Array
    following: Array


class SynthVectorEnv(VectorEnv[Array, Array, Array]):
    """N synthetic environments in one call.

    `artifact` is an id on the shelf or a folder. Arrays are numpy, or tensors with `output="torch"`; computing happens
    on `device`. Loops of one's own may call `advance`, which leaves out Gymnasium's infos. Actions beyond a Box are
    clipped to it; `delay` and `discount` are those of `SynthEnv`.
    """

    BLOCK: ClassVar[int] = 4096
    """Random numbers drawn at once, at least for so many steps."""

    def __init__(
        self,
        artifact: str | Path,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        output: Literal["numpy", "torch"] = "numpy",
        device: str | torch.device = "cpu",
        delay: float = 0.0,
        discount: float = 0.99,
    ) -> None:
        """`max_episode_steps` is the recipe's horizon unless given; a one-step form needs none."""
        self.artifact = artifacts.load(shelf.find(artifact))
        recipe = self.artifact.recipe
        world, params = _world(self.artifact, delay, discount)
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = world.spaces
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.max_episode_steps = max_episode_steps or recipe.time_limit
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**SynthEnv.metadata, "render_modes": ["rgb_array"], "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self._renderer = _renderer(self, self.artifact)
        self.device = torch.device(device)
        self.output = output
        self._player = player(world, params, self.device)
        self._out = _converter(self._player.native, output)
        self._draws = Draws(self._player, max(self.BLOCK, 2 * num_envs))
        self._state: State | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Fresh episodes; the same seed gives the same batch, bit for bit.

        options={"reset_mask": [N] bool} restarts only those episodes.
        """
        super().reset(seed=seed)
        if seed is not None or not self._draws.seeded:
            self._draws.seed(self.np_random, self.device)
        mask = (options or {}).get("reset_mask")
        if mask is None:
            self._state = self._draws.starts(self.num_envs)
            self._elapsed = self._player.array(np.zeros(self.num_envs, dtype=np.int64))
            self._over = self._player.array(np.zeros(self.num_envs, dtype=np.bool_))
        else:
            self._restart(self._mask(mask))
        return self._out(self._player.observe(self._running())), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One step of every episode; those that end begin again at once (or as `autoreset_mode` says)."""
        step = self.advance(actions)
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            ended = step.terminated | step.truncated
            if ended.any():
                final = step.following if self.output == "torch" else _rows(step.following, ended)
                infos = {"final_obs": final, "_final_obs": ended, "final_info": {}, "_final_info": ended}
        return step.observation, step.reward, step.terminated, step.truncated, infos

    def advance(self, actions: Array) -> Step:
        """One step of every episode without Gymnasium's infos; actions int64 [N] or float32 [N, A]."""
        state = self._running()
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded("some episodes have ended; call reset(options={'reset_mask': mask}) with those True")
        self._state, following, reward, terminated = self._player.step(state, self._checked(actions))
        reward = reward + self._draws.luck(self.num_envs)
        observation = following
        self._elapsed += 1
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and self._over.any():
            reward[self._over], terminated[self._over] = 0, False
            self._restart(self._over)
            observation = following = self._player.observe(self._state)
        limit = self.max_episode_steps
        truncated = terminated & False if limit is None else ~terminated & (self._elapsed >= limit)
        self._over = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._over.any():
            self._restart(self._over)
            observation = self._player.observe(self._state)
        return Step(*map(self._out, (observation, reward, terminated, truncated, following)))

    def render(self) -> tuple[Any, ...] | None:
        """The real task's picture of every state."""
        if self._renderer is None:
            gymnasium.logger.warn("nothing to render: give render_mode='rgb_array' to gymnasium.make_vec")
            return None
        seen = torch.as_tensor(self._player.observe(self._running())).cpu().numpy()
        return tuple(self._renderer.draw(row) for row in seen)

    def close_extras(self, **kwargs: Any) -> None:
        """Release the renderer, if any."""
        if self._renderer is not None:
            self._renderer.close()

    def _running(self) -> State:
        if self._state is None:
            raise ResetNeeded("expected running episodes; call reset() first")
        return self._state

    def _restart(self, mask: Array) -> None:
        """Begin the episodes of mask [N] again."""
        state, count = self._running(), int(mask.sum())
        fresh = self._draws.starts(count)
        if count == self.num_envs:
            self._state = fresh
        else:
            for name, leaf in state.items():
                leaf[mask] = fresh[name]
        self._elapsed[mask] = 0
        self._over = self._over & ~mask

    def _checked(self, actions: Array) -> Array:
        """The actions as the player wants them, int64 [N] or float32 [N, A], each one possible."""
        space, n, span = self.single_action_space, self.num_envs, ""
        shape = (n, *(space.shape or ()))
        action = self._player.actions(actions)
        if action is not None and tuple(action.shape) == shape:
            if _possible(space, action):
                return action
            span = f" from {action.min()} to {action.max()}"
        wanted = f"{n} integers from 0 to {space.n - 1}" if isinstance(space, spaces.Discrete) else "numbers"
        got = f"{getattr(actions, 'dtype', type(actions).__name__)} of shape {tuple(np.shape(actions))}{span}"
        raise ValueError(f"expected {wanted}, shape {shape}, got {got}; try env.action_space.sample()")

    def _mask(self, mask: Array) -> Array:
        """A reset mask as the player's kind of bool [N]."""
        chosen = self._player.array(mask)
        if tuple(chosen.shape) != (self.num_envs,) or chosen.dtype not in (np.bool_, torch.bool):
            raise ValueError(f"expected a reset_mask of {self.num_envs} booleans, got {mask!r}")
        return chosen


def _world(artifact: Artifact, delay: float, discount: float) -> tuple[SyntheticBandit, Tree]:
    """The world of an artifact, its rewards put off where asked for."""
    world, params = synthetic(artifact)
    return delayed(world, params, delay, discount) if delay else (world, params)


def _possible(space: spaces.Space[Any], action: Array) -> bool:
    """Whether these are numbers of the space, or for a Box numbers that can be clipped to it: any but NaN."""
    low = action.min()
    if isinstance(space, spaces.Discrete):
        return bool(low >= 0 and action.max() < space.n)
    return bool(low == low)  # NaN alone is not itself, and the least of numbers that hold one


class WorldEnv(gymnasium.Env[npt.NDArray[np.float32], Any]):
    """A real task of our own as a Gymnasium environment, for those that Gymnasium does not have; no time limit."""

    def __init__(self, target: str) -> None:
        self._world = worlds.real(target)
        self._params = self._world.init(torch.Generator(), 1)
        self.observation_space, self.action_space = self._world.spaces  # type: ignore[assignment]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin an episode; no options are known."""
        super().reset(seed=seed)
        self._generator = torch.Generator().manual_seed(int(self.np_random.integers(2**63)))
        self._state = self._world.reset(self._params, self._generator, 1)
        return self._world.observe(self._params, self._state)[0, 0].numpy().copy(), {}

    def step(self, action: Any) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step."""
        moves = torch.as_tensor(action)[None, None]  # [] or [A] -> [P, N] or [P, N, A]
        self._state, seen = self._world.step(self._params, self._state, moves, self._generator)
        return seen.observation[0, 0].numpy().copy(), float(seen.reward), bool(seen.terminated), False, {}


def _renderer(env: Any, artifact: Artifact) -> Renderer | None:
    """The real task's renderer where `env` was given a render mode, which must be one it declares."""
    if artifact.recipe.target not in DRAWN:
        env.metadata = {**env.metadata, "render_modes": []}
    if env.render_mode is None:
        return None
    if artifact.recipe.target in DRAWN and env.render_mode not in env.metadata["render_modes"]:
        raise ValueError(f"expected render_mode in {env.metadata['render_modes']} or None, got {env.render_mode!r}")
    renderer = Renderer(artifact.recipe.target, env.render_mode)
    env.metadata = {**env.metadata, "render_fps": renderer.fps}
    return renderer


def _converter(native: str, output: str) -> Callable[[Array], Array]:
    """From the player's kind of array to the one asked for."""
    if output not in ("numpy", "torch"):
        raise ValueError(f"expected output 'numpy' or 'torch', got {output!r}")
    if native == output:
        return lambda array: array
    return torch.from_numpy if output == "torch" else lambda tensor: tensor.cpu().numpy()


def _rows(observation: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    """Gymnasium's form of final observations: an object array [N] of rows [O], None outside the mask."""
    rows = np.full(len(mask), None, dtype=object)
    rows[mask] = np.fromiter(observation[mask], dtype=object, count=int(mask.sum()))
    return rows
