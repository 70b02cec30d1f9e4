"""Sixteen steps from seed 0, kept beside an artifact so that silent change is noticed."""

from __future__ import annotations

from typing import Any

import torch

from synthenv import rollout
from synthenv.worlds.base import Params, World

STEPS = 16


def expected_steps(world: World, params: Params, horizon: int | None) -> dict[str, Any]:
    """What happens to one episode after another, params leaves [1, ...], while the actions are taken in turn.

    Observations [17, O] begin with the first and are those to act on next; the rest is [16].
    """
    generator = torch.Generator().manual_seed(0)
    episodes = rollout.begin(world, params, generator, 1)
    observations, steps = [episodes.observation[0, 0].tolist()], []
    for t in range(STEPS):
        action = torch.tensor([[t % int(world.spaces.action.n)]])  # type: ignore[union-attr]
        episodes, step = rollout.advance(world, params, episodes, action, generator, horizon)
        observations.append(episodes.observation[0, 0].tolist())
        steps.append(step)
    return {
        "seed": 0,
        "actions": [int(step.action) for step in steps],
        "observations": observations,
        "rewards": [float(step.reward) for step in steps],
        "terminated": [bool(step.terminated) for step in steps],
    }
