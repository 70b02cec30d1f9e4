"""Where transitions come from: tasks, Minari, replay buffers; values against what really happened."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer, RolloutBuffer

from synthenv.incontext import Transitions


def test_collects_what_the_task_shows() -> None:
    """Against a walk by hand."""
    data = Transitions.collect("CartPole-v1", 100, seed=3)
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=3)
    start = True
    for i in range(100):
        following, reward, terminated, truncated, _ = env.step(int(data.action[i]))
        np.testing.assert_array_equal(data.observation[i], observation)
        np.testing.assert_array_equal(data.following[i], following)
        seen = (data.reward[i], data.terminated[i], data.truncated[i], data.start[i])
        assert seen == (reward, terminated, truncated, start)
        start = terminated or truncated
        observation = env.reset()[0] if start else following
    assert data.task == "CartPole-v1"
    assert data.horizon == 500
    assert data.start.sum() > 1


def test_equal_seeds_collect_equally() -> None:
    one, again, other = (Transitions.collect("Pendulum-v1", 30, seed=seed, sticky=0.5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.following, again.following)
    assert (one.following != other.following).any()


def test_a_policy_is_asked_with_what_is_seen() -> None:
    data = Transitions.collect("CartPole-v1", 200, policy=lambda seen: int(seen[2] + seen[3] > 0))
    np.testing.assert_array_equal(data.action, data.observation[:, 2] + data.observation[:, 3] > 0)
    assert not data.terminated.any()


def test_truncation_is_no_end() -> None:
    data = Transitions.collect("Pendulum-v1", 450)
    assert np.flatnonzero(data.truncated).tolist() == [199, 399]
    assert np.flatnonzero(data.start).tolist() == [0, 200, 400]
    assert not data.terminated.any()


def test_sticky_actions_persist() -> None:
    """With probability .9 repeated, and else a choice of three."""
    data = Transitions.collect("MountainCar-v0", 2000, seed=0, sticky=0.9)
    repeated = (data.action[1:] == data.action[:-1]).mean()
    assert 0.9 < repeated < 0.96


def test_discrete_observations_become_numbers() -> None:
    data = Transitions.collect("CliffWalking-v1", 60, seed=0)
    assert data.observation.shape == (60, 1)
    assert data.spaces.observation == spaces.Box(0, 47, (1,))
    assert data.observation[0] == 36


def test_a_task_keeps_the_module_that_registers_it() -> None:
    quick = "tests.own_task:QuickSwing-v0"
    assert Transitions.collect(quick, 5).task == quick
    assert Transitions.collect(gymnasium.make(quick), 5).task == "QuickSwing-v0"


def test_a_task_may_write_to_what_it_showed() -> None:
    class Counter(gymnasium.Env[Any, Any]):
        observation_space, action_space = spaces.Box(0, 99, (1,)), spaces.Discrete(2)
        count = np.zeros(1, dtype=np.float32)

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
            self.count[:] = 0
            return self.count, {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, Any]:
            self.count += 1
            return self.count, 0.0, bool(self.count[0] == 3), False, {}

    data = Transitions.collect(Counter(), 5)
    assert data.observation[:, 0].tolist() == [0, 1, 2, 0, 1]
    assert data.following[:, 0].tolist() == [1, 2, 3, 1, 2]


def test_an_environment_of_ones_own_stays_open() -> None:
    env = gymnasium.make("CartPole-v1", max_episode_steps=5)
    data = Transitions.collect(env, 20)
    assert data.real_horizon == 5
    env.reset(seed=0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("CartPole-v1", 0), "at least one transition"),
        (("CartPole-v1", 5, "best"), "policy 'random' or a function"),
        (("CartPole-v1", 5, "random", 0, 1.0), "sticky as a probability below 1"),
        (("CartPole-v7", 5), r"no task is called 'CartPole-v7'; did you mean 'CartPole-v\d'\? The module that"),
        (("Zzz", 5), "no task is called 'Zzz'; the module that"),
        (("GridWorld-v0", 5), "shows 54 numbers"),
        (("nowhere:Task-v0", 5), "asks for the module nowhere"),
    ],
)
def test_says_what_is_wrong(arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Transitions.collect(*arguments)


# Replay buffers


def test_a_buffer_of_choices() -> None:
    model = DQN("MlpPolicy", "CartPole-v1", buffer_size=500, learning_starts=1000, seed=0)
    model.learn(200)
    data = Transitions.from_sb3_buffer(model.replay_buffer, "CartPole-v1")
    assert len(data) == 200
    assert data.spaces.action == spaces.Discrete(2)
    joined = ~data.start[1:]
    np.testing.assert_array_equal(data.following[:-1][joined], data.observation[1:][joined])
    assert (data.start[1:] == data.terminated[:-1]).all()
    assert data.terminated.any()


def test_a_full_buffer_of_several_environments_and_scaled_actions() -> None:
    """Only the last 50 steps of each of two environments are left, oldest first, environment by environment."""
    from stable_baselines3.common.env_util import make_vec_env

    model = SAC("MlpPolicy", make_vec_env("Pendulum-v1", 2), buffer_size=100, learning_starts=1000, seed=0)
    model.learn(240)
    data = Transitions.from_sb3_buffer(model.replay_buffer)
    assert len(data) == 100
    joined = np.delete(np.arange(99), 49)
    np.testing.assert_array_equal(data.following[joined], data.observation[joined + 1])
    assert np.abs(data.action).max() > 1.5  # up to 2, not 1
    assert not data.start.any()


def test_buffers_that_do_not_say_what_follows_are_refused() -> None:
    box, choices = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)
    thrifty = ReplayBuffer(9, box, choices, optimize_memory_usage=True, handle_timeout_termination=False)
    for buffer in (thrifty, RolloutBuffer(9, box, choices)):
        with pytest.raises(ValueError, match="keeps what followed every step"):
            Transitions.from_sb3_buffer(buffer)
    with pytest.raises(ValueError, match="got a DictReplayBuffer"):
        Transitions.from_sb3_buffer(DictReplayBuffer(9, spaces.Dict({"a": box}), choices))
    with pytest.raises(ValueError, match="is empty"):
        Transitions.from_sb3_buffer(ReplayBuffer(9, box, choices))


# Minari


def test_a_minari_dataset(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env, buffers = gymnasium.make("CartPole-v1"), []
    env.action_space.seed(0)
    for number in range(3):
        observations, steps, ended = [env.reset(seed=number)[0]], [], False
        while not ended:
            action = env.action_space.sample()
            following, reward, terminated, truncated, _ = env.step(action)
            observations.append(following)
            steps.append((action, reward, terminated, truncated))
            ended = terminated or truncated
        columns = (list(column) for column in zip(*steps, strict=True))
        names = ("actions", "rewards", "terminations", "truncations")
        episode = dict(zip(names, columns, strict=True))
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=np.array(observations),
                **{name: np.array(column) if name == "actions" else column for name, column in episode.items()},
            )
        )
    minari.create_dataset_from_buffers("cartpole/test-v0", buffers, env, algorithm_name="random")
    data = Transitions.from_minari("cartpole/test-v0")
    assert data.start.sum() == data.terminated.sum() == 3
    assert data.task == "CartPole-v1"
    assert data.horizon == 500
    joined = ~data.start[1:]
    np.testing.assert_array_equal(data.following[:-1][joined], data.observation[1:][joined])
    some = Transitions.from_minari(minari.load_dataset("cartpole/test-v0"), 7)
    np.testing.assert_array_equal(some.observation, data.observation[:7])
    with pytest.raises(ValueError, match="no such Minari dataset is here"):
        Transitions.from_minari("cartpole/none-v0")
