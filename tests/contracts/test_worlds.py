"""What every world in the catalogue promises.

A world that takes the spaces of a real task is made for CartPole; the others take nothing. Members get different
parameters, so that one that answers for another is found out.
"""

import inspect
import random

import numpy as np
import pytest
import torch

from synthenv import catalogue, rollout, worlds
from synthenv.tree import take

POPULATION, N, LENGTH = 3, 5, 30
REAL = worlds.named("CartPole-v1")().spaces


def made(kind: type):
    """A world of `kind`."""
    if "real" not in inspect.signature(kind).parameters:
        return kind()
    return kind(REAL, torch.tensor([2.4, 3.0, 0.3, 3.0]), torch.tensor([0.0, 0.1, 0.2, 0.3]))


WORLDS = sorted(catalogue.names("synthenv.worlds").items())
pytestmark = pytest.mark.parametrize("world", [made(kind) for _, kind in WORLDS], ids=[name for name, _ in WORLDS])


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def params_of(world, device: str = "cpu"):
    """Parameters that differ between members in every leaf."""
    shift = torch.tensor([0.0, 0.1, 0.2], device=device)
    fresh = world.init(seeded(device=device), POPULATION)
    return {name: leaf + shift.reshape(-1, *[1] * (leaf.dim() - 1)) for name, leaf in fresh.items()}


def any_action(world, seed: int = 2):
    """Random actions [P, N]."""
    return torch.randint(0, int(world.spaces.action.n), (POPULATION, N), generator=seeded(seed))


def walk(world, params, seed: int = 1, device: str = "cpu") -> rollout.Steps:
    """Random actions for LENGTH steps, episodes restarted as they end."""
    generator = seeded(seed, device)
    size = int(world.spaces.action.n)

    def act(observation, generator):
        return torch.randint(0, size, observation.shape[:2], generator=generator, device=observation.device)

    episodes = rollout.begin(world, params, generator, N)
    return rollout.collect(world, params, act, episodes, LENGTH, generator, 9)[0]


def equal(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_is_a_world(world):
    assert isinstance(world, worlds.World)
    assert isinstance(world.spaces, worlds.Spaces)


def test_members_do_not_interact(world):
    """Together or alone: the same; and what one member has moves nobody else, not by a bit."""
    params = params_of(world)
    state, action = world.reset(params, seeded(1), N), any_action(world)
    following, outcome = world.step(params, state, action)
    for p in range(POPULATION):
        alone_after, alone = world.step(take(params, p), take(state, p), action[p : p + 1])
        for name, leaf in alone_after.items():
            torch.testing.assert_close(leaf[0], following[name][p])
        for mine, shared in zip(alone, outcome, strict=True):
            torch.testing.assert_close(mine[0], shared[p])
        torch.testing.assert_close(world.observe(take(params, p), take(state, p))[0], world.observe(params, state)[p])
        touched = {name: leaf.clone() for name, leaf in params.items()}
        for leaf in touched.values():
            leaf[p] += 0.3
        others = [q for q in range(POPULATION) if q != p]
        _, changed = world.step(touched, state, action)
        assert equal([leaf[others] for leaf in changed], [leaf[others] for leaf in outcome])
        assert not equal([leaf[p] for leaf in changed], [leaf[p] for leaf in outcome])


def test_episodes_do_not_interact(world):
    params = params_of(world)
    state, action = world.reset(params, seeded(1), N), any_action(world)
    _, outcome = world.step(params, state, action)
    order = [3, 0, 4, 1, 2]
    _, shuffled = world.step(params, {name: leaf[:, order] for name, leaf in state.items()}, action[:, order])
    for straight, turned in zip(outcome, shuffled, strict=True):
        torch.testing.assert_close(straight[:, order], turned)


def test_repeats_itself_under_a_generator(world):
    params = params_of(world)
    assert equal(walk(world, params), walk(world, params))
    assert not equal(walk(world, params), walk(world, params, seed=2))
    first, again = world.init(seeded(), 2), world.init(seeded(), 2)
    assert equal(first.values(), again.values())


def test_episodes_begin_differently(world):
    params = params_of(world)
    observed = world.observe(params, world.reset(params, seeded(1), N)).flatten(0, 1)
    assert len(observed.unique(dim=0)) == POPULATION * N


def test_leaves_global_generators_alone(world):
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    walk(world, params_of(world))
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_changes_nothing_in_place(world):
    params = params_of(world)
    state, action = world.reset(params, seeded(1), N), any_action(world)
    held = [leaf.clone() for tree in (params, state) for leaf in tree.values()]
    world.observe(params, state)
    world.step(params, state, action, seeded(4))
    assert equal(held, [leaf for tree in (params, state) for leaf in tree.values()])


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_shapes_dtypes_and_device(world, device):
    params = params_of(world, device)
    steps = walk(world, params, device=device)
    size = world.spaces.observation.shape[0]
    expected = {
        "observation": ((POPULATION, LENGTH, N, size), torch.float32),
        "action": ((POPULATION, LENGTH, N), torch.int64),
        "reward": ((POPULATION, LENGTH, N), torch.float32),
        "terminated": ((POPULATION, LENGTH, N), torch.bool),
        "truncated": ((POPULATION, LENGTH, N), torch.bool),
        "following": ((POPULATION, LENGTH, N, size), torch.float32),
    }
    assert {name: (tuple(leaf.shape), leaf.dtype) for name, leaf in steps._asdict().items()} == expected
    state = world.reset(params, seeded(1, device), N)
    after, _ = world.step(params, state, steps.action[:, 0])
    assert {name: (leaf.shape, leaf.dtype) for name, leaf in after.items()} == {
        name: (leaf.shape, leaf.dtype) for name, leaf in state.items()
    }
    for leaf in (*params.values(), *after.values(), *steps):
        assert leaf.device.type == device


def test_what_it_shows_is_finite_and_in_the_declared_space(world):
    steps = walk(world, params_of(world))
    low, high = (torch.tensor(side) for side in (world.spaces.observation.low, world.spaces.observation.high))
    for seen in (steps.observation, steps.following):
        assert seen.isfinite().all()
        assert ((seen >= low) & (seen <= high)).all()
    assert steps.reward.isfinite().all()
    assert len(steps.observation.flatten(0, 2).unique(dim=0)) > LENGTH, "a world that stands still shows little"


def test_starts_from_any_number_of_members_and_episodes(world):
    for population, n in ((1, 1), (1, 4), (4, 1)):
        params = world.init(seeded(), population)
        state = world.reset(params, seeded(1), n)
        assert {leaf.shape[:2] for leaf in state.values()} == {(population, n)}
        _, outcome = world.step(params, state, torch.zeros((population, n), dtype=torch.long))
        assert outcome.observation.shape[:2] == outcome.reward.shape == outcome.terminated.shape == (population, n)
