"""The benchmark's own tasks are sound environments that do what their docstrings say, step by step."""

import importlib.util

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from benchmarks import world_data
from benchmarks.world_tasks import ACCURACY, TASKS, Gearbox, Grid, Line, Paddle, Room, available, make

OURS = ("OSWMGrid-v0", "OSWMLine-v0", "Room-v0", "Paddle-v0", "Gearbox-v0")


@pytest.mark.parametrize("task", OURS)
def test_tasks_are_sound_environments(task):
    check_env(gymnasium.make(task).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("task", OURS)
def test_seeds_decide_everything(task):
    first, second = (world_data.collect.__wrapped__(task, 60, "random", 3) for _ in range(2))
    other = world_data.collect(task, 60, "random", 4)
    for name in ("observation", "action", "reward", "following", "terminated"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.observation, other.observation)


def test_twelve_tasks_are_measured():
    assert len(ACCURACY) == 12
    assert sum(not TASKS[task].own for task in ACCURACY) == 6
    for task in available(ACCURACY):
        assert make(task).spec.max_episode_steps == TASKS[task].horizon


def test_tasks_without_their_package_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert available(["Reacher-v5", "Room-v0"]) == ["Room-v0"]
    assert capsys.readouterr().out == "Reacher-v5 is left out: it needs mujoco; try: pip install 'synthenv[mujoco]'\n"


def test_the_grid_pays_as_published():
    env = Grid()
    env.reset(seed=0)
    rewards = [env.step(0)[1] for _ in range(5)]
    assert rewards == pytest.approx([-0.98, -0.97, -0.96, -0.95, 9.06])
    assert sum(rewards) == pytest.approx(5.2)
    env.reset(seed=0)
    cell, reward, terminated, *_ = env.step(1)
    assert (cell[0], reward, terminated) == (0, -11.0, True)
    env.cell = np.array([6, 2])
    assert env.step(3)[1:3] == (pytest.approx(9.06), True)
    env.cell = np.array([5, 1])
    assert env.step(3)[1:3] == (pytest.approx(-10.95), True)


def test_the_line_adds_and_stays_inside():
    env = Line()
    env.reset(seed=0)
    env.place = np.array([25.0], np.float32)
    assert env.step(np.array([-3.5], np.float32))[:2] == (np.array([21.5], np.float32), -21.5)
    assert env.step(np.array([10.0], np.float32))[:2] == (np.array([30.0], np.float32), -30.0)


@pytest.mark.parametrize(
    ("place", "velocity", "expected"),
    [
        ((-0.02, 0.0), (0.1, 0.0), (-0.0375, 0.0, -0.0475, 0.0)),  # the inner wall
        ((0.02, 0.0), (-0.1, 0.0), (0.0375, 0.0, 0.0475, 0.0)),  # from the other side
        ((-0.02, 0.6), (0.1, 0.0), (0.075, 0.6, 0.095, 0.0)),  # the door
        ((0.98, 0.5), (0.1, 0.0), (0.9625, 0.5, -0.0475, 0.0)),  # an outer wall
    ],
)
def test_the_puck_meets_walls(place, velocity, expected):
    env = Room()
    env.reset(seed=0)
    env.place, env.velocity = np.array(place), np.array(velocity)
    seen, reward, terminated, *_ = env.step(np.zeros(2, np.float32))
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    assert not terminated
    assert reward == pytest.approx(-0.1 * np.hypot(expected[0] - 0.6, expected[1] + 0.6))


def test_the_puck_is_pushed_to_the_goal():
    env = Room()
    env.reset(seed=0)
    env.place, env.velocity = np.array([0.6, -0.29]), np.zeros(2)
    seen, reward, terminated, *_ = env.step(np.array([0.0, -1.0], np.float32))
    np.testing.assert_allclose(seen, (0.6, -0.32, 0.0, -0.03), atol=1e-6)
    assert (reward, terminated) == (1.0, True)


def test_the_paddle_kicks_what_it_meets():
    env = Paddle()
    env.reset(seed=0)
    env.state = np.array([0.0, 0.05, 0.02, -0.1, 0.0])
    seen, reward, terminated, *_ = env.step(1)
    np.testing.assert_allclose(seen, (0.02, 0.06, 0.0216, 0.16, 0.0), atol=1e-6)
    assert (reward, terminated) == (1.0, False)
    env.state = np.array([0.0, 0.05, 0.0, -0.1, 0.4])
    assert env.step(2)[1:3] == (0.0, True)
    env.state = np.array([0.99, 1.0, 0.05, 0.0, 0.95])
    seen, *_ = env.step(2)
    np.testing.assert_allclose(seen, (0.96, 0.99, -0.05, -0.01, 1.0), atol=1e-6)


def test_gears_shift_with_hysteresis():
    env = Gearbox()
    env.reset(seed=0)
    env.speed, env.gear, env.wish = 8.9, 1, 10.0
    seen, reward, *_ = env.step(np.array([1.0], np.float32))
    fast = 8.9 + 0.5 * (6 - 0.002 * 8.9**2)
    np.testing.assert_allclose(seen, (fast, 2, 10), rtol=1e-6)
    assert reward == pytest.approx(-0.1 * (fast - 10))
    seen, *_ = env.step(np.array([-1.0], np.float32))
    slow = fast - 0.5 * (8 + 0.002 * fast**2)
    np.testing.assert_allclose(seen, (slow, 2, 10), rtol=1e-6)  # first gear would reach up to 9
    assert slow < 9
    assert env.step(np.array([-1.0], np.float32))[0][1] == 1


@pytest.mark.parametrize("task", available(ACCURACY))
def test_controllers_beat_chance(task):
    def per_episode(behaviour):
        log = world_data.collect(task, 1_000, behaviour, 0)
        return log.reward.sum() / max(1, (log.terminated | log.truncated).sum())

    assert per_episode("mixed") > per_episode("random")


def test_sticky_actions_last():
    shares = [
        np.mean(log.action[1:] == log.action[:-1])
        for log in (world_data.collect("MountainCar-v0", 1_000, behaviour, 0) for behaviour in ("random", "sticky"))
    ]
    assert shares == pytest.approx([1 / 3, 0.9 + 0.1 / 3], abs=0.05)


def test_fewer_transitions_are_the_first_of_more():
    few, many = (world_data.collect("Room-v0", rows, "mixed", 0) for rows in (20, 40))
    np.testing.assert_array_equal(few.following, many.following[:20])
