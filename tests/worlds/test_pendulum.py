"""Pendulum against Gymnasium's, value by value."""

import math

import numpy as np
import pytest
import torch

from synthenv import worlds
from tests.worlds.witness import follow, gym_task, replay, same_physics, same_steps, same_story, seeded

Pendulum = worlds.named("Pendulum-v1")


@pytest.mark.parametrize("kind", ["random", "along the spin"])
def test_whole_episodes_equal_gymnasiums(kind):
    """Torques beyond the limits among them; along the spin the rod goes round and round, at the limit of its speed."""
    env, world, draw = gym_task("Pendulum-v1"), Pendulum(torch.float64), np.random.default_rng(0)
    side = {"random": lambda _: draw.choice((-1, 1)), "along the spin": lambda x: 1 if x[1] > 0 else -1}[kind]
    for _ in range(5):
        start = draw.uniform((-np.pi, -1), (np.pi, 1))
        expected = replay(env, start, lambda x: np.array([side(x) * draw.uniform(0, 4)]), 200)
        same_story(follow(world, world.init(seeded(), 1), start, expected.actions), expected, 1e-9)
        assert len(expected.actions) == 200
        if kind == "along the spin":
            assert abs(expected.states[:, 1]).max() == 8
            assert abs(expected.states[-1, 0]) > 8 * np.pi


def test_float32_steps_from_anywhere_equal_gymnasiums():
    draw = np.random.default_rng(1)
    starts, torques = draw.uniform((-9, -8), (9, 8), (400, 2)), draw.uniform(-4, 4, (400, 1))
    assert not any(same_steps(Pendulum(), gym_task("Pendulum-v1"), starts, torques))


def test_each_member_has_physics_of_its_own():
    names = {"gravity": "g", "mass": "m", "length": "l"}
    same_physics(Pendulum(torch.float64), names, np.array([2.0, -0.7]), np.array([1.3]))


def test_begins_as_gymnasium_does():
    world = Pendulum()
    x = world.reset(world.init(seeded(), 2), seeded(), 5000)["x"]
    assert x.shape == (2, 5000, 2)
    for column, reach in ((0, math.pi), (1, 1.0)):
        assert x[..., column].abs().max() <= reach
        np.testing.assert_allclose(x[..., column].mean(1), 0, atol=0.03 * reach)
        np.testing.assert_allclose(x[..., column].std(), reach / np.sqrt(3), rtol=0.02)
