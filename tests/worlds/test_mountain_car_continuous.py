"""MountainCarContinuous against Gymnasium's, value by value. Gymnasium keeps its states in float32, so to no more."""

import numpy as np
import pytest
import torch

from synthenv import worlds
from tests.worlds.witness import follow, gym_task, replay, same_physics, same_steps, same_story, seeded

NAME = "MountainCarContinuous-v0"
MountainCarContinuous = worlds.named(NAME)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["random", "along the velocity"])
def test_whole_episodes_equal_gymnasiums(kind, dtype):
    """Throttles beyond the limits among them, which push no more but cost more."""
    env, world, draw = gym_task(NAME), MountainCarContinuous(dtype), np.random.default_rng(0)
    side = {"random": lambda _: draw.choice((-1, 1)), "along the velocity": lambda x: 1 if x[1] > 0 else -1}[kind]
    for _ in range(3):
        start = np.array([draw.uniform(-0.6, -0.4), 0])
        expected = replay(env, start, lambda x: np.array([side(x) * draw.uniform(0, 1.5)]), 999)
        found = follow(world, world.init(seeded(), 1), start, expected.actions)
        same_story(found, expected, 2e-5)
        assert expected.ended[-1] == (kind != "random")
        assert (expected.rewards[-1] > 90) == (kind != "random")


def test_float32_steps_from_anywhere_equal_gymnasiums():
    draw = np.random.default_rng(1)
    starts = draw.uniform((-1.2, -0.07), (0.6, 0.07), (400, 2))
    starts[:80, 0], starts[80:160, 0], starts[160:240, 0] = -1.2, 0.55, 0.42
    ended = same_steps(MountainCarContinuous(), gym_task(NAME), starts, draw.uniform(-3, 3, (400, 1)))
    assert 0.1 < np.mean(ended) < 0.9


def test_each_member_has_physics_of_its_own():
    same_physics(MountainCarContinuous(torch.float64), {"force": "power"}, np.array([-0.7, 0.01]), np.array([0.8]))


def test_what_it_charges_for_cannot_be_seen_in_the_car():
    world = MountainCarContinuous()
    state = {"x": torch.tensor([[[-0.5, 0.0]] * 3])}
    after, outcome = world.step(world.init(seeded(), 1), state, torch.tensor([[[1.0], [3.0], [0.0]]]))
    assert torch.equal(after["x"][0, 0], after["x"][0, 1])
    torch.testing.assert_close(outcome.reward, torch.tensor([[-0.1, -0.9, 0.0]]))


def test_begins_as_its_sibling():
    ours, sibling = MountainCarContinuous(), worlds.real("MountainCar-v0")
    starts = [world.reset(world.init(seeded(), 2), seeded(), 9)["x"] for world in (ours, sibling)]
    assert torch.equal(*starts)
