"""A simulator as Gymnasium environments: one episode at a time, or a batch in one call."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from synthenv.incontext.imagined import move
from synthenv.incontext.transitions import Transitions
from synthenv.incontext.world import Conduct, Simulator, WorldModel
from synthenv.players import Draws, Moved, State, Turn
from synthenv.playing import PlayedEnv, PlayedVectorEnv

Context = Simulator | Transitions | str | Path
"""A simulator, the transitions that one should be shown, or a file of them."""


class ImaginedPlayer:
    """Plays N episodes of a simulator; a state is what is observed, [N, O]."""

    native: ClassVar[Literal["numpy", "torch"]] = "torch"
    noise = 0.0

    def __init__(self, simulator: Simulator, conduct: Conduct) -> None:
        self.simulator, self.conduct = simulator, conduct

    def start(self, generator: torch.Generator, n: int) -> State:
        """First states of n episodes."""
        return {"observation": self.simulator.first(generator, n, self.conduct)}

    def observe(self, state: State) -> Tensor:
        """Observations [N, O], a fresh tensor."""
        seen: Tensor = state["observation"].clone()
        return seen

    def step(self, state: State, action: Tensor) -> Moved:
        """The most likely step with actions [N] or [N, A]."""
        following, observation, reward, terminated, _ = self.turn(state, action, None)
        return Moved(following, observation, reward, terminated)

    def turn(self, state: State, action: Tensor, generator: torch.Generator | None) -> Turn:
        """A step, action [N, ...], with the chances that the simulator's conduct leaves to a generator."""
        moved = move(self.simulator, self.conduct, state["observation"], action, generator)
        return Turn({"observation": moved.observation}, moved.observation.clone(), *moved[1:])

    def array(self, data: Any) -> Tensor:
        """The data [...] as a tensor."""
        return torch.as_tensor(data)

    def actions(self, data: Any) -> Tensor | None:
        """Actions [N, ...] as int64 unless they are floats, or as float32; never booleans."""
        action, discrete = self.array(data), self.simulator.slots.discrete
        if action.dtype is torch.bool or (discrete and action.is_floating_point()):
            return None
        return action.long() if discrete else action.float()


class Chances(Draws):
    """First states drawn in blocks; the chances of a step as it happens, for they depend on the state."""

    player: ImaginedPlayer

    def turn(self, state: State, action: Tensor) -> Turn:
        """One step of N episodes, int64 [N] or float32 [N, A]."""
        return self.player.turn(state, action, self._seeded())


class InContextEnv(PlayedEnv):
    """One episode inside a world model, numpy in and out.

    `context` is what the model is shown (or a simulator that has been shown it); `model` is a world model by name or
    folder, the one that ships unless given. Episodes are truncated after `horizon` steps, those of the real task unless
    given, and where the simulator is not to be believed any more; for that and the rest see `world.Conduct`.
    """

    def __init__(
        self,
        context: Context,
        horizon: int | None = None,
        model: str | Path | None = None,
        render_mode: str | None = None,
        **conduct: Any,
    ) -> None:
        self.simulator = simulator_of(context, model)
        data = self.simulator.data
        draws = Chances(ImaginedPlayer(self.simulator, Conduct(**conduct)), self.BLOCK)
        super().__init__(self.simulator.spaces, draws, data.task, render_mode, horizon or data.real_horizon)


class InContextVectorEnv(PlayedVectorEnv):
    """N episodes inside a world model in one call; arguments as those of `InContextEnv` and `gym.SynthVectorEnv`."""

    def __init__(
        self,
        context: Context,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        model: str | Path | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        output: Literal["numpy", "torch"] = "numpy",
        **conduct: Any,
    ) -> None:
        """`max_episode_steps` is the real task's horizon unless given."""
        self.simulator = simulator_of(context, model)
        data = self.simulator.data
        draws = Chances(ImaginedPlayer(self.simulator, Conduct(**conduct)), max(self.BLOCK, 2 * num_envs))
        limit, here = max_episode_steps or data.real_horizon, torch.device("cpu")
        super().__init__(
            self.simulator.spaces, draws, data.task, num_envs, limit, render_mode, autoreset_mode, output, here
        )


def simulator_of(context: Context, model: str | Path | None = None) -> Simulator:
    """The simulator of a context, its model loaded where it is not one already; as it is now, whatever it learns."""
    if isinstance(context, Simulator):
        return copy(context)
    data = context if isinstance(context, Transitions) else Transitions.load(context)
    return WorldModel.load(model).condition(data)
