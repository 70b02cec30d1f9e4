"""Sixteen steps from seed 0, kept beside an artifact so that silent change is noticed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from synthenv import rollout
from synthenv.worlds.base import Params, World

STEPS = 16


def expected_steps(world: World, params: Params, horizon: int | None) -> dict[str, Any]:
    """What happens to one episode after another, params leaves [1, ...], while the actions are taken in turn.

    Observations [17, O] begin with the first and are those to act on next; actions are [16] or [16, A], the rest [16].
    """
    generator = torch.Generator().manual_seed(0)
    episodes = rollout.begin(world, params, generator, 1)
    observations, steps = [episodes.observation[0, 0].tolist()], []
    for t in range(STEPS):
        action = torch.as_tensor(in_turn(world.spaces.action, t))[None, None]
        episodes, step = rollout.advance(world, params, episodes, action, generator, horizon)
        observations.append(episodes.observation[0, 0].tolist())
        steps.append(step)
    return {
        "seed": 0,
        "actions": [step.action[0, 0].tolist() for step in steps],
        "observations": observations,
        "rewards": [float(step.reward) for step in steps],
        "terminated": [bool(step.terminated) for step in steps],
    }


def in_turn(space: spaces.Discrete | spaces.Box, t: int) -> Any:
    """The action of step t: choices in turn; of a Box low, middle, high, each dimension one ahead of the one before."""
    if isinstance(space, spaces.Discrete):
        return t % int(space.n)
    share = (t + np.arange(len(space.low))) % 3 / 2  # [A], 0, 0.5 or 1
    return (space.low + share * (space.high - space.low)).astype(np.float32)
