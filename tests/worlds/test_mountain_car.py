"""MountainCar against Gymnasium's, value by value."""

import numpy as np
import pytest
import torch

from synthenv import worlds
from tests.worlds.witness import follow, gym_task, replay, same_physics, same_steps, same_story, seeded

MountainCar = worlds.named("MountainCar-v0")


@pytest.mark.parametrize("kind", ["random", "along the velocity"])
def test_whole_episodes_equal_gymnasiums(kind):
    env, world, draw = gym_task("MountainCar-v0"), MountainCar(torch.float64), np.random.default_rng(0)
    choices = {"random": lambda _: int(draw.integers(3)), "along the velocity": lambda x: 2 * int(x[1] > 0)}
    for _ in range(5):
        expected = replay(env, np.array([draw.uniform(-0.6, -0.4), 0]), choices[kind], 200)
        same_story(follow(world, world.init(seeded(), 1), expected.states[0], expected.actions), expected, 1e-12)
        assert expected.ended[-1] == (kind != "random")


def test_float32_steps_from_anywhere_equal_gymnasiums():
    """Walls, speed limit and goal among them; one is at the goal but rolls back."""
    draw = np.random.default_rng(1)
    starts = draw.uniform((-1.2, -0.07), (0.6, 0.07), (400, 2))
    starts[:80, 0], starts[80:160, 0], starts[160:240, 0] = -1.2, 0.55, 0.47
    ended = same_steps(MountainCar(), gym_task("MountainCar-v0"), starts, draw.integers(3, size=400))
    assert 0.1 < np.mean(ended) < 0.9


def test_the_wall_stops_the_car():
    world = MountainCar()
    _, outcome = world.step(
        world.init(seeded(), 1), {"x": torch.tensor([[[-1.19, -0.05]]])}, torch.zeros((1, 1), dtype=torch.long)
    )
    torch.testing.assert_close(outcome.observation, torch.tensor([[[-1.2, 0.0]]]), rtol=0, atol=0)


def test_each_member_has_physics_of_its_own():
    names = {"force": "force", "gravity": "gravity"}
    same_physics(MountainCar(torch.float64), names, np.array([-0.7, 0.01]), 2)


def test_each_member_has_a_goal_of_its_own():
    world = MountainCar()
    params = world.init(seeded(), 3)
    params["goal"] += torch.tensor([-0.2, 0.0, 0.05])
    state = {"x": torch.tensor([0.49, 0.04]).expand(3, 1, 2)}
    _, outcome = world.step(params, state, torch.ones((3, 1), dtype=torch.long))
    assert outcome.terminated[:, 0].tolist() == [True, True, False]


def test_begins_as_gymnasium_does():
    world = MountainCar()
    x = world.reset(world.init(seeded(), 2), seeded(), 5000)["x"]
    assert x.shape == (2, 5000, 2)
    assert (x[..., 1] == 0).all()
    position = x[..., 0]
    assert position.min() >= -0.6
    assert position.max() <= -0.4
    np.testing.assert_allclose(position.mean(1), -0.5, atol=2e-3)
    np.testing.assert_allclose(position.std(), 0.2 / np.sqrt(12), rtol=0.02)
