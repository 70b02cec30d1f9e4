"""Checkpoints are whole or absent, and belong to one recipe."""

import pytest
import torch

from synthenv import checkpoint

TENSORS = {"a": torch.arange(3), "b": torch.eye(2).T}


def test_comes_back(tmp_path):
    checkpoint.write(tmp_path / checkpoint.NAME, TENSORS, {"recipe": "x", "step": 3})
    facts, tensors = checkpoint.read(tmp_path / checkpoint.NAME, "x")
    assert facts == {"recipe": "x", "step": 3}
    assert all(torch.equal(tensors[name], leaf) for name, leaf in TENSORS.items())
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.NAME]


def test_another_recipe(tmp_path):
    checkpoint.write(tmp_path / checkpoint.NAME, TENSORS, {"recipe": "x"})
    with pytest.raises(ValueError, match="is of another recipe; resume with the recipe that began it"):
        checkpoint.read(tmp_path / checkpoint.NAME, "y")


def test_none(tmp_path):
    with pytest.raises(ValueError, match="nothing to resume"):
        checkpoint.read(tmp_path / checkpoint.NAME, "x")


def test_damaged(tmp_path):
    path = tmp_path / checkpoint.NAME
    checkpoint.write(path, TENSORS, {"recipe": "x"})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.read(path, "x")
    checkpoint.write(path, TENSORS, {"step": 3})
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.read(path, "x")
