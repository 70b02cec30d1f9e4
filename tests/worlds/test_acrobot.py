"""Acrobot against Gymnasium's, value by value, and against the conservation of energy."""

import numpy as np
import pytest
import torch

from synthenv import worlds
from tests.worlds.witness import follow, gym_task, replay, same_physics, same_steps, same_story, seeded

Acrobot = worlds.named("Acrobot-v1")


@pytest.mark.parametrize("kind", ["random", "swinging"])
def test_whole_episodes_equal_gymnasiums(kind):
    """The motion is chaotic: what rounding differs by grows a hundred thousandfold in an episode."""
    env, world, draw = gym_task("Acrobot-v1"), Acrobot(torch.float64), np.random.default_rng(0)
    choices = {"random": lambda _: int(draw.integers(3)), "swinging": lambda x: 2 * int(x[3] > 0)}
    for _ in range(5):
        expected = replay(env, draw.uniform(-0.1, 0.1, 4), choices[kind], 500)
        same_story(follow(world, world.init(seeded(), 1), expected.states[0], expected.actions), expected, 1e-6)
        assert expected.ended[-1] or kind == "random"


def test_float32_steps_from_anywhere_equal_gymnasiums():
    """Spins beyond their limits among them, and angles that go past pi."""
    draw = np.random.default_rng(1)
    starts = draw.uniform(-1, 1, (400, 4)) * [np.pi, np.pi, 4, 9]
    ended = same_steps(Acrobot(), gym_task("Acrobot-v1"), starts, draw.integers(3, size=400), 2e-5)
    assert 0.05 < np.mean(ended) < 0.95
    fast = draw.uniform(-1, 1, (100, 4)) * [np.pi, np.pi, 4 * np.pi, 9 * np.pi]
    world, env = Acrobot(torch.float64), gym_task("Acrobot-v1")
    told = [replay(env, start, lambda _: 1, 1).states[1] for start in fast]
    after, _ = world.step(world.init(seeded(), 1), {"x": torch.tensor(fast)[None]}, torch.ones((1, 100)).long())
    np.testing.assert_allclose(after["x"][0], told, rtol=0, atol=1e-9)
    assert 0.05 < np.mean(np.abs(told)[:, 2:] == [4 * np.pi, 9 * np.pi]) < 0.95


def test_each_member_has_physics_of_its_own():
    names = {
        "length_1": "LINK_LENGTH_1", "mass_1": "LINK_MASS_1", "mass_2": "LINK_MASS_2", "inertia": "LINK_MOI",
        "centre_1": "LINK_COM_POS_1", "centre_2": "LINK_COM_POS_2",
    }  # fmt: skip
    same_physics(Acrobot(torch.float64), names, np.array([0.3, -0.4, 0.5, 1.0]), 2)


def test_keeps_its_energy_without_torque():
    """Whatever its constants; Gymnasium's gravity cannot be changed."""

    class Slow(Acrobot):
        DT = 0.01

    world, population = Slow(torch.float64), 6
    draw = seeded(1)
    params = {
        name: leaf * (0.7 + torch.rand(population, generator=draw))
        for name, leaf in world.init(draw, population).items()
    }
    gravity, length, mass_1, mass_2, centre_1, centre_2, inertia = params.values()

    def energy(x):
        """J, kinetic and potential, [P]."""
        one, two, spin_1, spin_2 = x[:, 0].unbind(-1)
        level_1, level_2 = -one.cos(), -(one + two).cos()
        around = length**2 + centre_2**2 + 2 * length * centre_2 * two.cos()
        own = (mass_1 * centre_1**2 + inertia) * spin_1**2 + inertia * (spin_1 + spin_2) ** 2
        both = mass_2 * (
            around * spin_1**2 + centre_2**2 * spin_2**2
            + 2 * (centre_2**2 + length * centre_2 * two.cos()) * spin_1 * spin_2
        )  # fmt: skip
        height = mass_1 * centre_1 * level_1 + mass_2 * (length * level_1 + centre_2 * level_2)
        return (own + both) / 2 + gravity * height

    state = {"x": torch.tensor([2.0, 0.5, 0.0, 0.0], dtype=torch.float64).expand(population, 1, 4)}
    before = energy(state["x"])
    for _ in range(100):
        state, _ = world.step(params, state, torch.ones((population, 1), dtype=torch.long))
    assert state["x"][..., 2:].abs().amax(-1).min() > 1, "at rest there is nothing to keep"
    torch.testing.assert_close(energy(state["x"]), before, rtol=0, atol=1e-5)


def test_begins_as_gymnasium_does():
    world = Acrobot()
    x = world.reset(world.init(seeded(), 2), seeded(), 5000)["x"]
    assert x.shape == (2, 5000, 4)
    assert x.abs().max() <= 0.1
    np.testing.assert_allclose(x.mean((0, 1)), 0, atol=2e-3)
    np.testing.assert_allclose(x.std((0, 1)), 0.2 / np.sqrt(12), rtol=0.02)
