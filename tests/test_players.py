"""The numpy players against the worlds themselves: equal values, step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.vector.utils import batch_space

from synthenv import artifact
from synthenv.gym import synthetic
from synthenv.players import Draws, NumpyBandit, NumpyMDP, Player, TorchPlayer, player
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.delayed import delayed
from tests.conftest import TARGETS, random_artifact


def both(folder: Path, delay: float = 0.0) -> tuple[Player, TorchPlayer]:
    world, params = synthetic(artifact.load(folder))
    if delay:
        world, params = delayed(world, params, delay, 0.9)
    return player(world, params), TorchPlayer(world, params, torch.device("cpu"))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("form", "delay"), [("bandit", 0.0), ("mdp", 0.0), ("mdp", 0.7)])
@pytest.mark.parametrize(("activation", "layers"), [("tanh", ()), ("relu", ()), ("silu", ()), ("tanh", (8, 6))])
@pytest.mark.parametrize("n", [1, 64])
def test_numpy_equals_torch(
    tmp_path: Path, form: str, delay: float, activation: str, layers: tuple[int, ...], n: int, target: str
) -> None:
    margin = 0.3 if layers and target != "CartPole-v1" else 0.0
    shift = 0.6 if layers and form == "bandit" else 0.0
    folder = random_artifact(tmp_path / "a", form, activation, target=target, layers=layers, margin=margin, shift=shift)
    light, witness = both(folder, delay)
    assert light.native == "numpy"
    state = light.start(torch.Generator().manual_seed(3), n)
    expected = witness.start(torch.Generator().manual_seed(3), n)
    np.testing.assert_allclose(state["u"], expected["u"], rtol=1e-5, atol=1e-6)
    space, ends = batch_space(TARGETS[target][0], n), 0
    space.seed(0)
    for step in range(20):
        data = space.sample()
        if target != "CartPole-v1":
            data *= 1 + step % 2  # some are beyond the box
        action = light.actions(data)
        expected = witness.step({"u": torch.from_numpy(state["u"].copy())}, witness.actions(data))
        state, *outcome = light.step(state, action)
        np.testing.assert_allclose(state["u"], expected.state["u"], rtol=1e-5, atol=1e-6)
        for got, wanted in zip(outcome, expected[1:], strict=True):
            assert got.dtype == wanted.numpy().dtype
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(light.observe(state), outcome[0])
        ends += outcome[2].sum()
    assert ends > 0 or n == 1 or activation != "tanh" or layers


@pytest.mark.parametrize("kind", [0, 1], ids=["numpy", "torch"])
def test_actions_become_what_a_player_computes_with(tmp_path: Path, kind: int) -> None:
    choosing = both(random_artifact(tmp_path / "a", "bandit"))[kind]
    steering = both(random_artifact(tmp_path / "b", "bandit", target="Pendulum-v1"))[kind]
    assert choosing.actions(np.array([0, 1], dtype=np.int32)).dtype in (np.int64, torch.int64)
    assert steering.actions([[1], [0]]).dtype in (np.float32, torch.float32)
    assert steering.actions(np.zeros((2, 1))).dtype in (np.float32, torch.float32)
    assert choosing.actions([0.0, 1.0]) is None
    assert choosing.actions([True]) is None
    assert steering.actions([[True]]) is None


def test_the_cheapest_player_is_chosen(artifact_folder: Path) -> None:
    world, params = synthetic(artifact.load(artifact_folder))
    assert type(player(world, params)) is (NumpyMDP if world.name == "mdp" else NumpyBandit)
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
