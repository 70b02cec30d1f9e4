"""Players as Gymnasium environments: one episode at a time, or a batch in one call.

What every environment of ours shares, whatever is behind it: checked actions, seeds, restarts, time limits, pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar, Literal, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from synthenv.players import Array, Draws, State
from synthenv.render import DRAWN, Renderer
from synthenv.worlds.base import Spaces

METADATA: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 50}


class PlayedEnv(gymnasium.Env[npt.NDArray[np.float32], Any]):
    """One episode at a time, numpy in and out, until the player ends it or `limit` steps have gone by.

    Spaces are its own, for they hold the randomness of their samples.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA  # type: ignore[misc]
    BLOCK: ClassVar[int] = 256
    """Random numbers drawn at once, for so many steps."""

    def __init__(
        self, spaces: Spaces, draws: Draws, target: str | None, render_mode: str | None, limit: int | None = None
    ) -> None:
        """`target` is the real task whose pictures are drawn, where it has any."""
        self.observation_space, self.action_space = deepcopy(spaces)  # type: ignore[assignment]
        self.render_mode, self.limit = render_mode, limit
        self._renderer = _renderer(self, target)
        self._player, self._draws = draws.player, draws
        self._out = _converter(self._player.native, "numpy")
        self._state: State | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """A fresh episode; the same seed gives the same episodes, bit for bit."""
        super().reset(seed=seed)
        if seed is not None or not self._draws.seeded:
            self._draws.seed(self.np_random, torch.device("cpu"))
        self._state = self._shown = self._draws.starts(1)
        self._elapsed = 0
        if self.render_mode == "human":
            self.render()
        return self._out(self._player.observe(self._state))[0], {}

    def step(self, action: Any) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step."""
        if self._state is None:
            raise ResetNeeded("expected a running episode; call reset() first, and again after each end")
        taken = self._player.array(one_action(self.action_space, action))
        self._shown, observation, reward, terminated, lost = self._draws.turn(self._state, taken)
        self._elapsed += 1
        ended = bool(terminated[0])
        truncated = not ended and (self._elapsed == self.limit or (lost is not None and bool(lost[0])))
        self._state = None if ended or truncated else self._shown
        if self.render_mode == "human":
            self.render()
        return self._out(observation)[0], float(reward[0]), ended, truncated, {}

    def render(self) -> Any:
        """The real task's picture of this state."""
        if self._renderer is None:
            gymnasium.logger.warn("nothing to render: give render_mode='rgb_array' or 'human' to gymnasium.make")
            return None
        return self._renderer.draw(self._out(self._player.observe(self._shown))[0])

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


class PlayedVectorEnv(VectorEnv[Array, Array, Array]):
    """N episodes in one call.

    Arrays are numpy, or tensors with `output="torch"`; computing happens on the player's device. Loops of one's own may
    call `advance`, which leaves out Gymnasium's infos. Actions beyond a Box are clipped to it.
    """

    BLOCK: ClassVar[int] = 4096
    """Random numbers drawn at once, at least for so many steps."""

    def __init__(
        self,
        spaces: Spaces,
        draws: Draws,
        target: str | None,
        num_envs: int,
        max_episode_steps: int | None,
        render_mode: str | None,
        autoreset_mode: AutoresetMode | str,
        output: Literal["numpy", "torch"],
        device: torch.device,
    ) -> None:
        """`target` is the real task whose pictures are drawn, where it has any."""
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = deepcopy(spaces)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**METADATA, "render_modes": ["rgb_array"], "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self._renderer = _renderer(self, target)
        self.device = device
        self.output = output
        self._player, self._draws = draws.player, draws
        self._out = _converter(self._player.native, output)
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
        self._state, following, reward, terminated, lost = self._draws.turn(state, self._checked(actions))
        observation = following
        self._elapsed += 1
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and self._over.any():
            reward[self._over], terminated[self._over] = 0, False
            if lost is not None:
                lost[self._over] = False
            self._restart(self._over)
            observation = following = self._player.observe(self._state)
        limit = self.max_episode_steps
        truncated = terminated & False if limit is None else ~terminated & (self._elapsed >= limit)
        if lost is not None:
            truncated |= ~terminated & lost
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


def one_action(space: spaces.Space[Any], action: Any) -> npt.NDArray[Any]:
    """An action as int64 [1] or float32 [1, A]; raises ValueError for one that nothing can be made of."""
    if isinstance(space, spaces.Discrete):
        if space.contains(action):
            return np.array([action], dtype=np.int64)
    else:
        taken = np.asarray(action)
        if taken.dtype.kind in "iuf" and taken.shape == space.shape and _possible(space, taken):
            return taken.astype(np.float32)[None]
    raise ValueError(f"expected an action of {space}, got {action!r}; try action_space.sample()")


def _possible(space: spaces.Space[Any], action: Array) -> bool:
    """Whether these are numbers of the space, or for a Box numbers that can be clipped to it: any but NaN."""
    low = action.min()
    if isinstance(space, spaces.Discrete):
        return bool(low >= 0 and action.max() < space.n)
    return bool(low == low)  # NaN alone is not itself, and the least of numbers that hold one


def _renderer(env: Any, target: str | None) -> Renderer | None:
    """The real task's renderer where `env` was given a render mode, which must be one it declares."""
    if target not in DRAWN:
        env.metadata = {**env.metadata, "render_modes": []}
    if env.render_mode is None:
        return None
    if target in DRAWN and env.render_mode not in env.metadata["render_modes"]:
        raise ValueError(f"expected render_mode in {env.metadata['render_modes']} or None, got {env.render_mode!r}")
    renderer = Renderer(target or "a task without a name", env.render_mode)
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
