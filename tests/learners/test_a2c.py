"""A2C against Stable-Baselines3's, from the same weights and steps."""

import pytest
import torch
from stable_baselines3 import A2C

from synthenv import learners
from tests.learners import sb3_twin
from tests.probes import CARTPOLES, experience


def test_defaults_are_theirs():
    sb3_twin.check_defaults(learners.named("a2c", CARTPOLES[0].spaces), A2C, "n_steps", ())


@pytest.mark.parametrize(("world", "own"), sb3_twin.ON_POLICY)
def test_updates_are_theirs(world, own):
    """Three in a row, so that the optimizer's memory counts; gradients of the first member are clipped."""
    given = {
        "rate": torch.tensor([7e-4, 3e-3, 1e-4]),
        "gamma": torch.tensor([0.99, 0.9, 1.0]),
        "lam": torch.tensor([1.0, 0.9, 0.5]),
        "entropy": torch.tensor([0.0, 0.1, 0.5]),
        "value": torch.tensor([0.5, 0.2, 1.0]),
        "max_norm": torch.tensor([0.1, 0.5, 1e3]),
        **own,
    }
    learner = learners.named("a2c", world.spaces, envs=2, length=15)
    sb3_twin.check_on_policy(learner, A2C, given, [experience(3, 15, 2, seed, world) for seed in range(3)])
