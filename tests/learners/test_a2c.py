"""A2C against Stable-Baselines3's, from the same weights and steps."""

import torch
from stable_baselines3 import A2C

from synthenv import learners, worlds
from tests.learners import sb3_twin
from tests.probes import experience

SPACES = worlds.real("CartPole-v1").spaces


def test_defaults_are_theirs():
    sb3_twin.check_defaults(learners.named("a2c", SPACES), A2C, "n_steps", ())


def test_updates_are_theirs():
    """Three in a row, so that the optimizer's memory counts; gradients of the first member are clipped."""
    given = {
        "rate": torch.tensor([7e-4, 3e-3, 1e-4]),
        "gamma": torch.tensor([0.99, 0.9, 1.0]),
        "lam": torch.tensor([1.0, 0.9, 0.5]),
        "entropy": torch.tensor([0.0, 0.1, 0.5]),
        "value": torch.tensor([0.5, 0.2, 1.0]),
        "max_norm": torch.tensor([0.1, 0.5, 1e3]),
    }
    learner = learners.named("a2c", SPACES, envs=2, length=15)
    sb3_twin.check_on_policy(learner, A2C, given, [experience(3, 15, 2, seed) for seed in range(3)])
