"""PPO against Stable-Baselines3's, from the same weights, steps and minibatches."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from synthenv import learners
from tests.learners import sb3_twin
from tests.probes import CARTPOLES, experience

STRUCTURE = ("epochs", "batch")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_defaults_are_theirs():
    sb3_twin.check_defaults(learners.named("ppo", CARTPOLES[0].spaces), PPO, "n_steps", STRUCTURE)


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize("batch", [40, 16, 13], ids=["whole", "smaller-last", "lone-last"])
@pytest.mark.parametrize(("world", "own"), sb3_twin.ON_POLICY)
def test_updates_are_theirs(monkeypatch, world, own, batch):
    """Twice; rates are high enough for ratios to be clipped. A lone row has no spread to be divided by."""
    given = {
        "rate": torch.tensor([3e-4, 1e-2, 3e-3]),
        "gamma": torch.tensor([0.99, 0.9, 1.0]),
        "lam": torch.tensor([0.95, 0.5, 1.0]),
        "clip": torch.tensor([0.2, 0.05, 0.3]),
        "entropy": torch.tensor([0.0, 0.1, 0.5]),
        "value": torch.tensor([0.5, 0.2, 1.0]),
        "max_norm": torch.tensor([0.5, 0.1, 1e3]),
        **own,
    }
    length, envs = 20, 2
    learner = learners.named("ppo", world.spaces, envs=envs, length=length, batch=batch, epochs=4)

    def same_minibatches(seed: int) -> None:
        generator = seeded(seed)

        def permutation(size: int) -> np.ndarray:
            """Our rows count episodes first, Stable-Baselines3's time."""
            rows = torch.randperm(size, generator=generator).numpy()
            return rows % envs * length + rows // envs

        monkeypatch.setattr(np.random, "permutation", permutation)

    batches = [experience(3, length, envs, seed, world) for seed in range(2)]
    sb3_twin.check_on_policy(learner, PPO, given, batches, STRUCTURE, same_minibatches)
