"""Finding what ships, and folders of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthenv import shelf


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two environments, one agent and an unfinished folder."""
    (tmp_path / "synthenv").mkdir()
    for name in ("envs/Synth-B-v0", "envs/Synth-A-v0", "agents/ppo"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "card.json").write_text(json.dumps({"id": name}))
    (tmp_path / "envs/unfinished").mkdir()
    monkeypatch.setattr(shelf, "__file__", str(tmp_path / "synthenv/shelf.py"))
    return tmp_path


def test_a_checkout_is_read_until_a_package_brings_its_own(house: Path) -> None:
    assert shelf.root("envs") == house / "envs"
    (house / "synthenv/_data/envs").mkdir(parents=True)
    assert shelf.root("envs") == house / "synthenv/_data/envs"
    assert shelf.root("agents") == house / "agents"


def test_names_and_paths_are_found(house: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert shelf.ids() == ["Synth-A-v0", "Synth-B-v0"]
    assert shelf.ids("agents") == ["ppo"]
    assert shelf.find("Synth-A-v0") == house / "envs/Synth-A-v0"
    assert shelf.find("ppo", "agents") == house / "agents/ppo"
    own = tmp_path_factory.mktemp("own")
    (own / "card.json").write_text("{}")
    assert shelf.find(own) == own
    assert shelf.find(str(own)) == own


def test_what_is_not_there_is_named(house: Path) -> None:
    with pytest.raises(ValueError, match="no environment is called 'Synth-C-v0'; did you mean 'Synth-"):
        shelf.find("Synth-C-v0")
    with pytest.raises(ValueError, match="no agent is called"):
        shelf.find("Synth-A-v0", "agents")
    with pytest.raises(ValueError, match=r"unfinished is a folder without a card\.json"):
        shelf.find(house / "envs/unfinished")
    (house / "envs/unfinished/artifact").mkdir()
    (house / "envs/unfinished/artifact/card.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no finished environment; did you mean '.*unfinished/artifact'"):
        shelf.find(house / "envs/unfinished")


def test_a_path_is_no_name_of_the_shelf(house: Path) -> None:
    with pytest.raises(ValueError, match=r"^there is no agent's folder at runs/ppo$"):
        shelf.find("runs/ppo", "agents")
    with pytest.raises(
        ValueError, match=r"there is no environment's folder at .*; did you mean '.*envs/Synth-A-v0'\?$"
    ):
        shelf.find(house / "envs/synth-a-v0")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_card_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ValueError, match=r"card\.json"):
        shelf.card(tmp_path)
