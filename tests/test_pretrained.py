"""Folders of pretrained networks: whole, tied together by digests, refused when changed."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from synthenv import pretrained


@dataclass(frozen=True)
class Recipe:
    id: str
    width: int = 3


def network():
    net = nn.Linear(3, 2)
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.5)
    return net


@pytest.fixture
def folder(tmp_path):
    pretrained.save(tmp_path / "net", Recipe("net"), network(), {"kind": "test"}, "# net\n")
    return tmp_path / "net"


def test_comes_back(folder):
    found = pretrained.load(folder, Recipe)
    assert found.recipe == Recipe("net")
    assert found.card["kind"] == "test"
    assert found.card["parameters"] == 8
    assert all(leaf.dtype == torch.float32 and (leaf == 0.5).all() for leaf in found.weights.values())
    network().load_state_dict(found.weights)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "card.json", "model.safetensors", "recipe.yaml"
    ]  # fmt: skip


def test_equal_networks_are_equal_bytes(folder, tmp_path):
    pretrained.save(tmp_path / "again", Recipe("net"), network(), {"kind": "test"}, "# net\n")
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("net", "again"))
    assert one == two


@pytest.mark.parametrize("name", ["recipe.yaml", "model.safetensors", "card.json"])
def test_missing_files_are_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"holds no pretrained network: it has no {name}"):
        pretrained.load(folder, Recipe)


def test_changed_files_are_named(folder):
    (folder / "recipe.yaml").write_text("id: net\nwidth: 4\n")
    with pytest.raises(ValueError, match=r"recipe.yaml: model.safetensors says its digest"):
        pretrained.load(folder, Recipe)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match=r"model.safetensors: card.json says its sha256"):
        pretrained.load(folder, Recipe)


def test_what_half_precision_cannot_hold_is_refused(tmp_path):
    big = network()
    nn.init.constant_(big.bias, 1e6)
    with pytest.raises(ValueError, match="expected finite weights below 65,504, but bias are not"):
        pretrained.save(tmp_path / "net", Recipe("net"), big, {}, "")
    assert not (tmp_path / "net").exists()
