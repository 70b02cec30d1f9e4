"""The integration test passes who learns, and says what is wrong with who does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from synthenv import worlds
from synthenv.testing import acting, assert_learns, examine

BANDIT, MDP = "SynthBandit-CartPole-v0", "Synth-CartPole-v0"


def regression(sign: float = 1.0) -> Any:
    """A learner for one-step rewards: random actions, a quadratic fit of what each earns, the better fit acts."""

    def features(observation: Any) -> Any:
        x = np.atleast_2d(observation)
        return np.concatenate([np.ones((len(x), 1)), x, (x[:, :, None] * x[:, None]).reshape(len(x), -1)], 1)

    def train(env: Any, steps: int, seed: int) -> Any:
        random, seen = np.random.default_rng(seed), []
        observation, _ = env.reset()
        for _ in range(steps):
            action = int(random.integers(2))
            following, reward, terminated, truncated, _ = env.step(action)
            seen.append((observation, action, sign * reward))
            observation = env.reset()[0] if terminated or truncated else following
        observations, actions, rewards = map(np.array, zip(*seen, strict=True))
        fits = [np.linalg.lstsq(features(observations[actions == a]), rewards[actions == a])[0] for a in (0, 1)]
        return lambda observation: np.argmax([features(observation)[0] @ fit for fit in fits])

    return train


def test_a_sound_learner_passes() -> None:
    for place, seeds in ((BANDIT, (0,)), (f"synthenv:{MDP}", (0, 1))):
        marks = assert_learns(regression(), place, steps=2000, seeds=seeds)
        assert len(marks.shares) == len(seeds)
        assert marks.random < min(marks.agents) < marks.best + 0.1 <= 0.1


def test_a_wrong_sign_is_told_with_its_numbers() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_learns(regression(sign=-1), BANDIT, steps=1000, seeds=(5,))
    said = str(caught.value)
    assert said.startswith("after 1,000 steps in SynthBandit-CartPole-v0 the policy earns -")
    assert "expected 80% or more (seed 5: -" in said
    assert "wrong sign" in said


def test_a_myopic_learner_passes_until_signals_are_put_off() -> None:
    assert_learns(regression(), MDP, steps=2000)
    with pytest.raises(AssertionError, match=r"with delay 1\.5 .* discount, bootstrapping"):
        assert_learns(regression(), MDP, steps=2000, delay=1.5)


def test_the_demand_is_the_mean_over_seeds() -> None:
    def by_seed(env: Any, steps: int, seed: int) -> Any:
        return regression()(env, 2000, seed) if seed else lambda observation: env.action_space.sample()

    with pytest.raises(AssertionError, match=r"seed 0: .*seed 1: "):
        assert_learns(by_seed, BANDIT, seeds=(0, 1))
    assert_learns(by_seed, BANDIT, seeds=(0, 1), share=0.4)


def test_scale_runs_from_random_to_best() -> None:
    marks = examine(lambda env, steps, seed: lambda x: env.action_space.sample(), MDP, steps=0, seeds=range(3))
    assert np.mean(marks.shares) == pytest.approx(0, abs=0.1)
    assert -0.2 < marks.best <= 0


def test_equal_seeds_get_equal_environments() -> None:
    def spy(env: Any, steps: int, seed: int) -> Any:
        seen.append([env.step(env.action_space.sample())[0] for _ in range(5)])
        return lambda observation: 0

    for settings in ({}, {"num_envs": 3}, {"delay": 1.0}, {"horizon": 5}):
        seen: list[Any] = []
        examine(spy, MDP, steps=0, seeds=(1, 1, 2), **settings)
        np.testing.assert_array_equal(seen[0], seen[1])
        assert not np.array_equal(seen[0], seen[2])


def test_horizons_and_batches_reach_the_learner() -> None:
    def spy(env: Any, steps: int, seed: int) -> Any:
        limits.append([bool(np.any(env.step(env.action_space.sample())[3])) for _ in range(3)])
        return lambda observation: 0

    limits: list[Any] = []
    examine(spy, MDP, steps=0, seeds=(0,), horizon=3)
    examine(spy, MDP, steps=0, seeds=(0,), horizon=3, num_envs=2)
    assert limits == [[False, False, True]] * 2


def test_models_that_predict_are_asked_for_their_best_action() -> None:
    class Model:
        def predict(self, observation: Any, deterministic: bool = False) -> Any:
            assert deterministic
            return np.array(int(observation @ [0, 0, 5, 1] > 0)), None

    marks = examine(lambda *_: Model(), BANDIT, steps=0, seeds=(0,))
    assert marks.shares[0] > 0.5


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(TypeError, match="did it forget to return"):
        examine(lambda *_: None, BANDIT, steps=0, seeds=(0,))
    with pytest.raises(ValueError, match=r"expected the policy to return an action of Discrete\(2\), got one shaped"):
        examine(lambda *_: lambda observation: observation, BANDIT, steps=0, seeds=(0,))
    with pytest.raises(ValueError, match="did you mean 'Synth-CartPole-v0'"):
        assert_learns(regression(), "Synth-Cartpole-v0")


def test_policies_of_boxes_give_a_row_each() -> None:
    act = acting(lambda observation: [0.5], worlds.real("Pendulum-v1"))
    action = act(torch.zeros(1, 4, 3), torch.Generator())
    assert (action.shape, action.dtype) == ((1, 4, 1), torch.float32)
