"""One folder, one environment: written whole, read with care."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from synthenv import artifact
from synthenv.gym import synthetic
from synthenv.recipe import digest
from tests.conftest import HORIZON, TARGETS, random_artifact


def again(loaded: artifact.Artifact, folder: Path) -> artifact.Artifact:
    return artifact.save(folder, loaded.recipe, loaded.weights, {"spaces": loaded.card["spaces"]}, {})


def test_what_is_saved_is_loaded(artifact_folder: Path, tmp_path: Path) -> None:
    loaded = artifact.load(artifact_folder)
    copy = again(loaded, tmp_path / "copy")
    assert copy.recipe == loaded.recipe
    assert copy.weights.keys() == loaded.weights.keys()
    assert all(torch.equal(copy.weights[name], leaf) for name, leaf in loaded.weights.items())
    assert all(len(leaf) == 1 for leaf in copy.weights.values())
    assert (copy.card["id"], copy.card["target"]) == (artifact_folder.name, "CartPole-v1")
    assert copy.card["recipe"] == digest(loaded.recipe)
    assert copy.card["spaces"]["action"] == {"n": 2}
    assert copy.card["sha256"] == loaded.card["sha256"], "equal weights, equal bytes"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", ["bandit", "mdp"])
def test_a_card_tells_the_actions(tmp_path: Path, target: str, form: str) -> None:
    """All that a player needs: nobody has to have the task, and one of these targets nobody has."""
    loaded = artifact.load(random_artifact(tmp_path / "Any-v0", form, target=target))
    told, action = artifact.action_space(loaded.card), TARGETS[target][0]
    assert told == action
    assert told.dtype == action.dtype
    world, params = synthetic(loaded)
    assert artifact.describe(*world.spaces) == {"spaces": loaded.card["spaces"]}
    assert world.spaces.action == action
    assert all(torch.equal(leaf, loaded.weights[name]) for name, leaf in params.items())
    assert loaded.weights.keys() == {*params, "centre", "reach"}


@pytest.mark.parametrize("name", ["recipe.yaml", "model.safetensors", "card.json"])
def test_a_missing_file_is_named(bandit_folder: Path, name: str) -> None:
    (bandit_folder / name).unlink()
    with pytest.raises(ValueError, match=f"it has no {name}"):
        artifact.verify(bandit_folder)


def test_changed_weights_are_noticed(bandit_folder: Path) -> None:
    path = bandit_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"model\.safetensors: card\.json says its sha256"):
        artifact.verify(bandit_folder)


def test_a_changed_recipe_is_noticed_but_line_ends_are_not(bandit_folder: Path) -> None:
    path = bandit_folder / "recipe.yaml"
    text = path.read_text()
    path.write_bytes(text.replace("\n", "\r\n").encode())
    artifact.verify(bandit_folder)
    path.write_text(text.replace("hidden: 8", "hidden: 9"))
    with pytest.raises(ValueError, match=r"recipe\.yaml: model\.safetensors says its sha256"):
        artifact.verify(bandit_folder)


def rewrite(folder: Path, **changes: Any) -> None:
    """Change facts of the card; None takes one out."""
    path = folder / "card.json"
    facts = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: fact for name, fact in facts.items() if fact is not None}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "Other-v0"}, r"card\.json: recipe\.yaml says its id is Random-mdp-v0, but it is Other-v0"),
        ({"target": "Acrobot-v1"}, "its target is CartPole-v1, but it is Acrobot-v1"),
        ({"form": "bandit"}, "its form is mdp, but it is bandit"),
        ({"horizon": 2}, f"its horizon is {HORIZON}, but it is 2.*make it again"),
        ({"horizon": None}, "but it is None"),
        ({"recipe": "0" * 64}, r"recipe\.yaml: card\.json says its sha256 is 000"),
        ({"spaces": {"action": {"n": 3}, "observation": {}}}, r"card\.json: it says its spaces' sha256 is"),
    ],
)
def test_a_changed_card_is_noticed(mdp_folder: Path, changes: dict[str, Any], said: str) -> None:
    rewrite(mdp_folder, **changes)
    with pytest.raises(ValueError, match=said):
        artifact.verify(mdp_folder)


def test_a_card_may_tell_more_and_an_old_one_told_less(mdp_folder: Path) -> None:
    rewrite(mdp_folder, real_steps=9, scores=[], spaces_sha256=None)
    assert artifact.load(mdp_folder).card["real_steps"] == 9


def test_a_file_of_another_kind_is_refused(bandit_folder: Path) -> None:
    path = bandit_folder / "model.safetensors"
    save_file(load_file(path), path)
    rewrite(bandit_folder, sha256=artifact.sha256(path))
    with pytest.raises(ValueError, match="its format is 1, but it is None"):
        artifact.verify(bandit_folder)


def test_a_failed_save_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = random_artifact(tmp_path / "Old-v0", "bandit")
    loaded, before = artifact.load(folder), {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(artifact, "save_file", fail)
    for target in (folder, tmp_path / "New-v0"):
        with pytest.raises(OSError, match="disk full"):
            again(loaded, target)
    assert [path.name for path in tmp_path.iterdir()] == ["Old-v0"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_take_its_place_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = random_artifact(tmp_path / "Old-v0", "bandit")
    loaded, before = artifact.load(folder), {path.name: path.read_bytes() for path in folder.iterdir()}
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    for target in (folder, tmp_path / "New-v0"):
        with pytest.raises(OSError, match="disk full"):
            again(loaded, target)
    assert [path.name for path in tmp_path.iterdir()] == ["Old-v0"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_replaces_the_folder_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = random_artifact(tmp_path / "Old-v0", "bandit")
    loaded = artifact.load(folder)
    (folder / "within").mkdir()
    (tmp_path / "empty").mkdir()
    for here, target in ((folder, "."), (folder, folder), (folder / "within", ".."), (tmp_path / "empty", "")):
        monkeypatch.chdir(here)
        with pytest.raises(ValueError, match="the folder that this process works in; choose another"):
            again(loaded, Path(target))
    monkeypatch.chdir(tmp_path / "empty")
    again(loaded, Path("New-v0"))
    assert artifact.load(folder).card == loaded.card


def test_a_new_artifact_replaces_an_old_one_and_nothing_else(tmp_path: Path) -> None:
    folder = random_artifact(tmp_path / "Mine-v0", "bandit", seed=1)
    old = artifact.load(folder)
    (folder / "README.md").write_text("about the old one")
    random_artifact(folder, "bandit", seed=2)
    assert artifact.load(folder).card["sha256"] != old.card["sha256"]
    assert not (folder / "README.md").exists()
    assert list(tmp_path.iterdir()) == [folder]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not ours to replace"):
        again(old, tmp_path / "thesis")
    assert (tmp_path / "thesis/chapter.txt").exists()
