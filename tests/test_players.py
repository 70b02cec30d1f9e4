"""The numpy players against the worlds themselves: equal values, step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from synthenv import artifact
from synthenv.gym import synthetic
from synthenv.players import Draws, NumpyBandit, NumpyMDP, Player, TorchPlayer, player
from synthenv.worlds.bandit import SyntheticBandit
from tests.conftest import random_artifact


def both(folder: Path) -> tuple[Player, TorchPlayer]:
    loaded = artifact.load(folder)
    world, params = synthetic(loaded.recipe, loaded.weights)
    return player(world, params), TorchPlayer(world, params, torch.device("cpu"))


@pytest.mark.parametrize("form", ["bandit", "mdp"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "silu"])
@pytest.mark.parametrize("n", [1, 64])
def test_numpy_equals_torch(tmp_path: Path, form: str, activation: str, n: int) -> None:
    light, witness = both(random_artifact(tmp_path / "a", form, activation))
    state = light.start(torch.Generator().manual_seed(3), n)
    expected = witness.start(torch.Generator().manual_seed(3), n)
    np.testing.assert_allclose(state["u"], expected["u"], rtol=1e-5, atol=1e-6)
    random, ends = np.random.default_rng(0), 0
    for _ in range(20):
        action = random.integers(2, size=n)
        expected = witness.step({"u": torch.from_numpy(state["u"].copy())}, torch.from_numpy(action))
        state, *outcome = light.step(state, action)
        np.testing.assert_allclose(state["u"], expected.state["u"], rtol=1e-5, atol=1e-6)
        for got, wanted in zip(outcome, expected[1:], strict=True):
            assert got.dtype == wanted.numpy().dtype
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(light.observe(state), outcome[0])
        ends += outcome[2].sum()
    assert ends > 0 or n == 1


def test_the_cheapest_player_is_chosen(artifact_folder: Path) -> None:
    loaded = artifact.load(artifact_folder)
    world, params = synthetic(loaded.recipe, loaded.weights)
    assert type(player(world, params)) is (NumpyMDP if loaded.recipe.form == "mdp" else NumpyBandit)
    assert isinstance(player(world, params, "meta"), TorchPlayer)

    class Changed(SyntheticBandit):
        """A form whose arithmetic numpy does not know."""

    world.__class__ = Changed
    assert isinstance(player(world, params), TorchPlayer)


def test_draws_never_hand_out_the_same_twice(artifact_folder: Path) -> None:
    draws = Draws(both(artifact_folder)[0], block=8)
    draws.seed(np.random.default_rng(0), torch.device("cpu"))
    starts = np.concatenate([draws.starts(n)["u"] for n in (3, 3, 3, 8, 1)])
    luck = np.concatenate([draws.luck(n) for n in (3, 3, 3, 8, 1)])
    assert len(np.unique(starts, axis=0)) == len(starts)
    assert len(np.unique(luck)) == len(luck)


def test_luck_has_the_deviation_of_the_weights(artifact_folder: Path) -> None:
    draws = Draws(both(artifact_folder)[0], block=4096)
    draws.seed(np.random.default_rng(0), torch.device("cpu"))
    assert draws.luck(4096).std() == pytest.approx(0.1, rel=0.05)
