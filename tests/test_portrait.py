"""A portrait is of the environment it says it is of."""

import numpy as np
import pytest
import torch

from synthenv import artifact, portrait, report
from synthenv.gym import synthetic
from tests.conftest import random_artifact


def blind(folder, seen):
    """A bandit whose preference depends on one dimension alone."""
    found = artifact.load(random_artifact(folder, "bandit"))
    weights = dict(found.weights)
    weights["reward.w0"] = torch.zeros_like(weights["reward.w0"])
    weights["reward.w0"][:, seen] = 3.0
    weights["reward.b0"] = torch.zeros_like(weights["reward.b0"])
    expected = {}
    return artifact.save(folder, found.recipe, weights, {"spaces": found.card["spaces"]}, expected)


@pytest.mark.parametrize("seen", [0, 3])
def test_the_dimension_that_decides_tells_everything(tmp_path, seen):
    drawn = portrait.portray(blind(tmp_path / "Blind-v0", seen))
    assert drawn.telling[seen] == pytest.approx(1)
    assert seen in drawn.pair
    across = drawn.preferred if drawn.pair[0] == seen else drawn.preferred.T
    assert (across == across[0]).all()
    assert set(np.unique(across)) == {0, 1}


@pytest.mark.parametrize(("form", "target"), [("mdp", "CartPole-v1"), ("bandit", "Pendulum-v1")])
def test_maps_and_visits_are_the_worlds_own(tmp_path, form, target):
    found = artifact.load(random_artifact(tmp_path / "Drawn-v0", form, target=target))
    world, params = synthetic(found)
    drawn = portrait.portray(found)
    box, (first, second) = world.spaces.observation, drawn.pair
    inside, outside, skilled = drawn.visits.values()
    assert list(drawn.visits)[1:] == [f"{target}, random actions", f"{target}, best actions"]
    assert ((inside >= box.low - 1e-5) & (inside <= box.high + 1e-5)).all()
    assert drawn.telling.sum() == pytest.approx(1)
    place = np.median(skilled, 0)
    place[first], place[second] = box.low[first], box.high[second]
    corner = world.best_action(params, torch.from_numpy(place)[None, None]).flatten()[0]
    assert drawn.preferred[-1, 0] == pytest.approx(float(corner), abs=1e-4)
    assert drawn.choices == (2 if target == "CartPole-v1" else None)
    assert (drawn.regret >= 0).all()
    again = portrait.portray(found)
    np.testing.assert_array_equal(again.visits[f"{target}, random actions"], outside)


def test_drawing_takes_the_curves_beside_the_card(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(portrait, "picture", lambda *arguments: given.append(arguments))
    folder = random_artifact(tmp_path / "Drawn-v0", "bandit")
    found = artifact.load(folder)
    portrait.draw(found, tmp_path / "one.png")
    (folder / "learning_curves.png").touch()
    portrait.draw(found, tmp_path / "two.png")
    assert [arguments[2] for arguments in given] == [None, folder / "learning_curves.png"]
    assert given[0][1].title == "Drawn-v0"


@pytest.mark.parametrize("choices", [2, None])
def test_pictures_show_states_preferences_and_curves(tmp_path, drawn, choices):
    random = np.random.default_rng(0)
    what = portrait.Portrait(
        "Synth-A-v0",
        {label: random.uniform(-1, 1, (50, 3)).astype(np.float32) for label in ("inside", "random", "best")},
        np.array([[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]]),
        np.array([0.1, 0.6, 0.3], np.float32),
        (1, 2),
        random.integers(2, size=(9, 9)) if choices else random.uniform(-1, 1, (9, 9)),
        random.uniform(0, 1, (9, 9)).astype(np.float32),
        choices,
        0,
    )
    report.learning_curves(tmp_path / "curves.png", {"PPO": {"Synth-A-v0": {100: [1.0, 2.0]}}}, "A-v0")
    for curves in (None, tmp_path / "curves.png"):
        portrait.picture(tmp_path / "portrait.png", what, curves)
        ranges, states, preferences = drawn[-1].subfigs[0].axes[:3]
        assert [tick.get_text() for tick in ranges.get_yticklabels()][1] == "observation[1]\ntells 60%"
        np.testing.assert_array_equal(states.collections[2].get_offsets(), what.visits["best"][:, 1:])
        assert (*preferences.get_xlim(), *preferences.get_ylim()) == (-2, 2, -3, 3)
        assert len(drawn[-1].subfigs) == 1 + (curves is not None)
