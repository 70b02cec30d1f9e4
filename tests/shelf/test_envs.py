"""Every environment that ships: its files agree, it behaves as on the day it was made."""

from __future__ import annotations

import json
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import synthenv
from synthenv import artifact, shelf
from synthenv.artifact import Artifact
from synthenv.expected import expected_steps
from synthenv.gym import synthetic


@pytest.fixture(params=shelf.ids())
def shipped(request: pytest.FixtureRequest) -> Artifact:
    return artifact.load(shelf.find(request.param))


def test_files_agree(shipped: Artifact) -> None:
    recipe, card = shipped.recipe, shipped.card
    world, _ = synthetic(shipped)
    assert recipe.id == card["id"] == shipped.folder.name
    assert (recipe.target, recipe.form, recipe.horizon) == (card["target"], card["form"], card["horizon"])
    assert artifact.describe(*world.spaces)["spaces"] == card["spaces"]
    assert gymnasium.spec(recipe.id).kwargs == {"artifact": recipe.id}


def test_sixteen_steps_replay(shipped: Artifact) -> None:
    world, params = synthetic(shipped)
    expected = json.loads((shipped.folder / "expected.json").read_text())
    replayed = expected_steps(world, params, shipped.recipe.time_limit)
    assert replayed.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(replayed[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_check_env_is_content(shipped: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="pygame|pkg_resources")
        # a box as wide as the real task's, not [-1, 1]
        warnings.filterwarnings("ignore", message="(?i).*we recommend .*symmetric and normalized")
        check_env(gymnasium.make(f"{synthenv.__name__}:{shipped.recipe.id}").unwrapped)
