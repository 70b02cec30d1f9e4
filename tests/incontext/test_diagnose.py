"""A diagnosis finds what is wrong with a simulator, and nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from synthenv.incontext import Transitions, WorldModel
from synthenv.incontext.diagnose import _ends, _left, _ranks, drift
from synthenv.incontext.model import Belief
from tests.incontext.standin import Quadratic, context, simulator


class Boastful(Quadratic):
    """Sure of itself: intervals a hundredth as wide."""

    def believe(self, known, observation, action):
        belief = super().believe(known, observation, action)
        middle = belief.change[..., None]
        return belief._replace(quantiles=middle + (belief.quantiles - middle) / 100)


class Persistent(Quadratic):
    """Expects nothing to change."""

    def believe(self, known, observation, action):
        belief: Belief = super().believe(known, observation, action)
        return belief._replace(change=torch.zeros_like(belief.change))


def holdout(task: str = "CartPole-v1") -> Transitions:
    return context(task, 500, 7)


def test_a_good_simulator_is_found_good() -> None:
    found = simulator().diagnose(holdout())
    assert found.rows == 500
    assert found.nmse.max() < 0.01
    assert found.ends.auroc > 0.98
    assert found.drift.shape == (20,)
    assert found.drift.max() < 0.01
    assert found.calibration.shape == (4, len(found.calibration[0]))


def test_nothing_changes_is_an_error_of_one() -> None:
    found = WorldModel(Persistent()).condition(context()).diagnose(holdout())
    np.testing.assert_allclose(found.nmse, 1, rtol=1e-5)
    np.testing.assert_allclose(found.drift, 1, rtol=1e-5)
    assert sum("whose changes are missed by 100%" in warning for warning in found.warnings) == 4
    assert "more than 0 steps of imagination at a time" in found.warnings


def test_boasting_is_found_out() -> None:
    honest = simulator("Pendulum-v1").diagnose(holdout("Pendulum-v1"))
    boastful = WorldModel(Boastful()).condition(context("Pendulum-v1")).diagnose(holdout("Pendulum-v1"))
    assert honest.coverage.min() > 0.6
    assert boastful.coverage.max() < 0.25
    assert any("intervals of observation[0]" in warning for warning in boastful.warnings)


def test_what_the_context_never_saw_is_named() -> None:
    data = context().subset((context().action == 0) & ~context().terminated)
    found = WorldModel(Quadratic()).condition(data).diagnose(holdout())
    assert "action 1, which the context has never seen" in found.warnings
    assert "that episodes go on: the context has seen none end" in found.warnings


def test_states_beyond_the_context_are_told_apart() -> None:
    data = context("Pendulum-v1")
    slow = data.subset(np.abs(data.observation[:, 2]) < 1)
    found = WorldModel(Quadratic()).condition(slow).diagnose(holdout("Pendulum-v1"))
    assert 0.2 < found.outside < 0.95
    assert found.informed > 0


def test_constant_numbers_have_no_error() -> None:
    data = context()
    extra = {
        name: np.column_stack((getattr(data, name), np.full(len(data), 3.0))) for name in ("observation", "following")
    }
    wide = Transitions.from_arrays(extra["observation"], data.action, data.reward, extra["following"], data.terminated)
    found = WorldModel(Quadratic()).condition(wide).diagnose(wide)
    assert np.isnan(found.nmse[4])
    assert np.isnan(found.coverage[4])
    assert np.isfinite(found.drift).all()
    assert "observation[4]" in str(found)


def test_says_it_and_draws_it(tmp_path: Path) -> None:
    found = simulator().diagnose(holdout())
    assert "| observation[0] |" in str(found)
    assert "AUROC" in str(found)
    assert found.plot(tmp_path / "a.png").stat().st_size > 10_000


def test_another_tasks_transitions_are_refused() -> None:
    with pytest.raises(ValueError, match="expected transitions of"):
        simulator().diagnose(holdout("Pendulum-v1"))


def test_auroc_is_scikit_learns() -> None:
    chance = np.random.default_rng(0)
    ended = chance.random(300) < 0.2
    guess = np.round(chance.random(300) + 0.3 * ended, 1)  # with ties
    assert _ends(guess, ended).auroc == pytest.approx(roc_auc_score(ended, guess))
    assert np.isnan(_ends(guess, np.zeros(300, bool)).auroc)
    assert _ranks(np.array([3.0, 1.0, 3.0, 0.0])).tolist() == [2.5, 1, 2.5, 0]


def test_rollouts_stay_within_episodes() -> None:
    data = Transitions.from_arrays(np.zeros((6, 1)), [0, 1] * 3, np.zeros(6), np.zeros((6, 1)), [0, 0, 1, 0, 0, 0])
    assert _left(data).tolist() == [3, 2, 1, 3, 2, 1]
    assert _left(data.subset([0, 1, 3, 5])).tolist() == [2, 1, 2, 1]
    assert len(drift(WorldModel(Quadratic()).condition(data), data, 20)) == 3
