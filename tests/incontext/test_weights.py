"""A world model comes back from disk as it was, and a damaged one does not come back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from synthenv import pretrained
from synthenv.incontext import WorldModel
from synthenv.incontext.model import Architecture
from synthenv.incontext.pretrain import WorldModelRecipe, build
from tests.incontext.standin import context

RECIPE = WorldModelRecipe("Tiny-v0", architecture=Architecture(width=16, layers=1, heads=2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a small random model, whose weights half precision holds exactly."""
    network, generator = build(RECIPE), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for leaf in network.parameters():
            leaf.copy_((0.1 * torch.randn(leaf.shape, generator=generator)).half())
    pretrained.save(tmp_path / "Tiny-v0", RECIPE, network, {}, "a tiny one")
    return tmp_path / "Tiny-v0"


def test_a_folder_is_a_world_model(folder: Path) -> None:
    """The same answers as the network that was saved."""
    data, generator = context().subset(slice(60)), torch.Generator().manual_seed(0)
    network = build(RECIPE).eval()
    with torch.no_grad():
        for leaf in network.parameters():
            leaf.copy_((0.1 * torch.randn(leaf.shape, generator=generator)).half())
    one, other = (model.condition(data) for model in (WorldModel.load(folder), WorldModel(network)))
    state, action = data.observation[:5], data.action[:5]
    assert torch.equal(one.predict(state, action).next_obs, other.predict(state, action).next_obs)


def test_damage_is_noticed(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="the folder was changed or damaged"):
        WorldModel.load(folder)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="is called 'InContext-v99'"):
        WorldModel.load("InContext-v99")
