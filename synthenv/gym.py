"""Synthetic environments as Gymnasium environments: one episode at a time, or a batch in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode

from synthenv import artifact as artifacts
from synthenv import shelf, worlds
from synthenv.artifact import Artifact
from synthenv.players import Draws, player
from synthenv.playing import PlayedEnv, PlayedVectorEnv, one_action
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


class SynthEnv(PlayedEnv):
    """One synthetic environment, numpy in and out.

    `artifact` is an id on the shelf or the folder of an environment of one's own. The time limit of the multi-step
    form is Gymnasium's wrapper, which `gymnasium.make` adds; see `synthenv.register` for a folder of one's own.
    Actions beyond a Box are clipped to it, as in Gymnasium's own continuous tasks.

    `delay` is the difficulty dial of the multi-step form: how much of an action's reward comes later instead, for
    agents whose discount is `discount` (see `worlds.delayed`).
    """

    def __init__(
        self, artifact: str | Path, render_mode: str | None = None, delay: float = 0.0, discount: float = 0.99
    ) -> None:
        self.artifact = artifacts.load(shelf.find(artifact))
        world, params = _world(self.artifact, delay, discount)
        draws = Draws(player(world, params), self.BLOCK)
        super().__init__(world.spaces, draws, self.artifact.recipe.target, render_mode)


class SynthVectorEnv(PlayedVectorEnv):
    """N synthetic environments in one call.

    `artifact` is an id on the shelf or a folder. Arrays are numpy, or tensors with `output="torch"`; computing happens
    on `device`. `delay` and `discount` are those of `SynthEnv`.
    """

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
        recipe, where = self.artifact.recipe, torch.device(device)
        world, params = _world(self.artifact, delay, discount)
        draws = Draws(player(world, params, where), max(self.BLOCK, 2 * num_envs))
        limit = max_episode_steps or recipe.time_limit
        super().__init__(
            world.spaces, draws, recipe.target, num_envs, limit, render_mode, autoreset_mode, output, where
        )


def _world(artifact: Artifact, delay: float, discount: float) -> tuple[SyntheticBandit, Tree]:
    """The world of an artifact, its rewards put off where asked for."""
    world, params = synthetic(artifact)
    return delayed(world, params, delay, discount) if delay else (world, params)


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
        moves = torch.from_numpy(one_action(self.action_space, action))[None]  # [N] or [N, A] -> [P, N] or [P, N, A]
        self._state, seen = self._world.step(self._params, self._state, moves, self._generator)
        return seen.observation[0, 0].numpy().copy(), float(seen.reward), bool(seen.terminated), False, {}
