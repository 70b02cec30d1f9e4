"""Small things to evolve: a recipe of seconds, worlds whose policy is known, tasks that a search can be followed on.

Other processes import this module, so it stays light.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from synthenv import seeding, worlds
from synthenv.recipe import DynamicsStage, EnvRecipe, Exam, GreedyStage, Inner, InnerStage, Search, StatesStage
from synthenv.tree import Tree

CARTPOLE, PENDULUM, CAR = map(worlds.real, ("CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0"))
BOXES = {
    CARTPOLE.name: (torch.tensor([0.1, 0.0, 0.02, -0.2]), torch.tensor([2.4, 3.0, 0.3, 3.0])),
    PENDULUM.name: (torch.tensor([0.0, 0.1, 0.0]), torch.tensor([1.2, 1.1, 9.0])),
    CAR.name: (torch.tensor([-0.3, 0.0]), torch.tensor([0.9, 0.07])),
}
"""Centre and reach of a synthetic world's observations, by its target."""
PUSHES = {
    4: (torch.tensor([0.1, 0.5, 5.0, 1.0]), torch.tensor([-1.0, 1.0])),
    2: (torch.tensor([0.0, 50.0]), torch.tensor([1.0, 0.0])),
}
"""What to push for in the observations of the pole and of the car, and which outputs of a reward network say so."""
LOOPS = {
    CARTPOLE.name: (Inner("a2c", 200, {"envs": 8}), Inner("dqn", 200, {"envs": 8}, {"rate": (1e-2, 1e-3)})),
    PENDULUM.name: (
        Inner("a2c", 200, {"envs": 8}),
        Inner("sac", 200, {"envs": 8, "hidden": [16, 16], "batch": 32}, {"rate": (1e-2, 1e-3)}),
    ),
}


def recipe(form: str = "bandit", target: str = CARTPOLE.name, **changes: Any) -> EnvRecipe:
    """All stages, as little as possible of each: half a second."""
    loops = LOOPS.get(target, ())
    tiny: dict[str, Any] = {
        "hidden": 8,
        "horizon": 20 if form == "mdp" else 1,
        "greedy": GreedyStage(search=Search("snes", {"sigma": 0.3}, 8, 3), episodes=1),
        "states": StatesStage(episodes=4, updates=5),
        "dynamics": DynamicsStage(updates=5),
        "inner": InnerStage(
            search=Search("open_es", {"sigma": 0.02}, 4, 2), loops=loops, agents=2, episodes=1, chunk=2
        ),
        "exam": Exam(loops[:1], 2, 1),
    }
    return EnvRecipe(f"Tiny-{form}-v0", target, form, **{**tiny, **changes})  # type: ignore[arg-type]


def world(form: str = "bandit", target: str = CARTPOLE.name, **changes: Any) -> Any:
    """An untrained synthetic world of the tiny recipe."""
    return worlds.synthetic(recipe(form, target, **changes), worlds.real(target).spaces.action, *BOXES[target])


def teaching(world: Any, right: bool = True) -> Tree:
    """Parameters whose own policy balances the pole, or throws it over if not `right`; states fill the box.

    The car is pushed the way it moves, which takes it up the hill, or braked for ever.
    """
    lean, push = PUSHES[world.observation_size]
    params = world.init(torch.Generator().manual_seed(0), 1)
    reward = {name: torch.zeros_like(leaf) for name, leaf in params.items() if name.startswith("reward.")}
    reward["reward.w0"][0, :, 0] = world.reach * lean
    reward["reward.b0"][0, 0, 0] = world.centre @ lean
    reward["reward.w1"][0, 0] = push * (1 if right else -1)
    return {**params, **reward, "start.w1": 3 * params["start.w1"]}


@dataclass(frozen=True)
class Bowl:
    """Best at one, wherever a generation's luck shifts it to; ten real steps a candidate."""

    chunk: int = 4

    def fitness(self, candidates: Tensor, generation: int) -> tuple[Tensor, int]:
        luck = torch.randn(candidates.shape[1], generator=seeding.generator(0, "bowl", generation))
        return -(candidates - 1 - 0.1 * luck).square().sum(1), 10 * len(candidates)


@dataclass(frozen=True)
class Whereabouts:
    """Fitness: the process that scored a candidate; real steps: its threads."""

    chunk: int = 2

    def fitness(self, candidates: Tensor, generation: int) -> tuple[Tensor, int]:
        return torch.full((len(candidates),), os.getpid(), dtype=torch.float64), torch.get_num_threads()


@dataclass(frozen=True)
class Late:
    """Takes its time with the candidate 0."""

    chunk: int = 2

    def fitness(self, candidates: Tensor, generation: int) -> tuple[Tensor, int]:
        time.sleep(0.3 * float((candidates == 0).any()))
        return candidates[:, 0], 0


@dataclass(frozen=True)
class Fragile:
    """Breaks on the candidate 3."""

    chunk: int = 2

    def fitness(self, candidates: Tensor, generation: int) -> tuple[Tensor, int]:
        if (candidates == 3).any():
            raise RuntimeError("candidate 3 fell over")
        return candidates[:, 0], 0


@dataclass(frozen=True)
class Busy:
    """Burns a tenth of a CPU second a chunk."""

    chunk: int = 2

    def fitness(self, candidates: Tensor, generation: int) -> tuple[Tensor, int]:
        start = time.process_time()
        while time.process_time() < start + 0.1:
            pass
        return candidates[:, 0], 0
