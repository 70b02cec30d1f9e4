"""What an environment teaches, for one picture: where its states lie, what it prefers there, what came of it.

The expert is the environment's own optimal policy, `best_action`, in the real task. Two dimensions tell most: those
along which the preferred action changes most while the others stay.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv import report, rollout, worlds
from synthenv.artifact import Artifact
from synthenv.cards import PLOT
from synthenv.gym import synthetic
from synthenv.rollout import Act
from synthenv.tree import Tree
from synthenv.worlds import World
from synthenv.worlds.bandit import SyntheticBandit

EPISODES, POINTS = 64, 1500
"""Episodes played by each agent, and the most states of theirs that are kept."""
ACROSS, BASES = 33, 256
"""Places tried along each dimension, and states that they are tried in."""
GRID = 121
"""Places a side of the map."""


def draw(artifact: Artifact, path: Path) -> None:
    """Draw the environment's portrait; learning curves are the picture beside its card, where there is one."""
    curves = artifact.folder / PLOT
    report.portrait(path, portray(artifact), curves if curves.is_file() else None)


def portray(artifact: Artifact) -> report.Portrait:
    """Play inside and outside, and look at what is preferred where."""
    recipe, real = artifact.recipe, worlds.real(artifact.recipe.target)
    world, params = synthetic(artifact)
    generator = torch.Generator().manual_seed(0)
    task, wild = real.init(generator, 1), rollout.uniform(world.payoff)

    def expert(observation: Tensor, _: torch.Generator) -> Tensor:
        return world.best_action(params, observation)

    inside = visited(world, params, wild, recipe.time_limit or 1, generator)
    skilled = visited(real, task, expert, real.horizon, generator)
    visits = {
        f"{recipe.id}, random actions": inside,
        f"{real.name}, random actions": visited(real, task, wild, real.horizon, generator),
        f"{real.name}, best actions": skilled,
    }
    box, share = world.spaces.observation, telling(world, params, inside)
    order = share.argsort(descending=True).tolist()
    first, second = sorted((order[0], order[min(1, len(order) - 1)]))
    sides = [np.linspace(box.low[k], box.high[k], GRID, dtype=np.float32) for k in (first, second)]
    places = skilled.median(0).values.expand(GRID, GRID, -1).clone()  # [Y, X, O]
    places[..., first], places[..., second] = torch.from_numpy(sides[0]), torch.from_numpy(sides[1])[:, None]
    places = places.flatten(0, 1)[None]  # [Y, X, O] -> [1, Y*X, O]
    preferred = world.best_action(params, places)[0].unflatten(0, (GRID, GRID))  # [Y, X] or [Y, X, A]
    action, discrete = 0, isinstance(world.spaces.action, spaces.Discrete)
    if not discrete:
        action = int(preferred.flatten(0, 1).std(0).argmax())
        preferred = preferred[..., action]
    return report.Portrait(
        recipe.id,
        {label: states.numpy() for label, states in visits.items()},
        np.stack((box.low, box.high)),
        share.numpy(),
        (first, second),
        preferred.numpy(),
        world.regret(params, world.unit(places))[0].unflatten(0, (GRID, GRID)).numpy(),
        int(world.spaces.action.n) if isinstance(world.spaces.action, spaces.Discrete) else None,
        action,
    )


def visited(world: World, params: Tree, act: Act, horizon: int, generator: torch.Generator) -> Tensor:
    """States of whole episodes of an agent, restarted when they end: [M, O], at most POINTS."""
    begun = rollout.begin(world, params, generator, EPISODES)
    steps, _ = rollout.collect(world, params, act, begun, horizon, generator, horizon)
    seen = steps.observation.flatten(0, 2)  # [1, T, N, O] -> [T*N, O]
    return seen[torch.randperm(len(seen), generator=generator)[:POINTS]]


def telling(world: SyntheticBandit, params: Tree, states: Tensor) -> Tensor:
    """How much the preferred action varies along each dimension: [O], sum 1.

    From each of some states [M, O], all dimensions but one are kept, and that one goes where the states are.
    """
    u = world.unit(states)
    bases, size = u[:BASES], u.shape[1]
    tried = bases.expand(size, ACROSS, *bases.shape).clone()  # [O, ACROSS, B, O]
    across = u.quantile(torch.linspace(0.01, 0.99, ACROSS), 0)  # [ACROSS, O]
    for k in range(size):
        tried[k, :, :, k] = across[:, k, None]
    best = world.payoff.best(world.preferences(params, tried.reshape(1, -1, size)))[0]
    if isinstance(world.spaces.action, spaces.Discrete):
        best = torch.nn.functional.one_hot(best, int(world.spaces.action.n))
    else:
        best = best / torch.from_numpy(world.spaces.action.high - world.spaces.action.low)
    varied = best.float().reshape(size, ACROSS, len(bases), -1).var(1).sum(-1).mean(-1)  # [O]
    return varied / varied.sum().clamp(min=1e-12)
