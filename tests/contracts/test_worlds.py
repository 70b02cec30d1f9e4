"""What every world in the catalogue promises.

Real tasks take nothing; synthetic forms take a task's action space, and are tried with both kinds. Members get
different parameters, so that one that answers for another is found out.
"""

import random

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synthenv import catalogue, rollout, worlds
from synthenv.tree import take
from synthenv.worlds.payoff import payoff_of

POPULATION, N, LENGTH = 3, 5, 30
ACTIONS = {
    "choices": spaces.Discrete(2),
    "box": spaces.Box(np.array([-2, 0], dtype=np.float32), np.array([2, 1], dtype=np.float32)),
}


def every_kind():
    """What can be made, by name: real tasks with no action space, forms with one of each."""
    for name, kind in sorted(catalogue.names("synthenv.worlds").items()):
        if name in worlds.targets():
            yield name, (kind, None)
        else:
            yield from ((f"{name} of {what}", (kind, action)) for what, action in ACTIONS.items())


KINDS = dict(every_kind())


def made(name: str, device: str = "cpu"):
    """A world; a form lives where its box does."""
    kind, action = KINDS[name]
    if action is None:
        return kind()
    reach, centre = torch.tensor([2.4, 3.0, 0.3, 3.0]), torch.tensor([0.0, 0.1, 0.2, 0.3])
    return kind(action, reach.to(device), centre.to(device))


pytestmark = pytest.mark.parametrize("name", KINDS)


@pytest.fixture
def world(name):
    return made(name)


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def shifted(leaf, shift):
    """A leaf changed by `shift` of its own size, or by `shift` itself where it is zero."""
    size = leaf.abs().amax()
    return leaf + shift * torch.where(size > 0, size, 1)


def params_of(world, device: str = "cpu"):
    """Parameters that differ between members in every leaf."""
    shift = torch.tensor([0.0, 0.1, 0.2], device=device)
    fresh = world.init(seeded(device=device), POPULATION)
    return {name: shifted(leaf, shift.reshape(-1, *[1] * (leaf.dim() - 1))) for name, leaf in fresh.items()}


def any_action(world, seed: int = 2):
    """Random actions, [P, N] or [P, N, A]."""
    return payoff_of(world.spaces.action).random((POPULATION, N), seeded(seed))


def walk(world, params, seed: int = 1, device: str = "cpu") -> rollout.Steps:
    """Random actions for LENGTH steps, episodes restarted as they end."""
    payoff, generator = payoff_of(world.spaces.action), seeded(seed, device)
    episodes = rollout.begin(world, params, generator, N)

    def act(observation, generator):
        return payoff.random(observation.shape[:2], generator)

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
            leaf[p] = shifted(leaf[p], 0.3)
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


def test_episodes_begin_differently_or_all_alike(world):
    """A maze has one start; where starts are drawn, no two are the same, and another generator draws others."""
    params = params_of(world)
    observed = [world.observe(params, world.reset(params, seeded(seed), N)).flatten(0, 1) for seed in (1, 2)]
    assert len(torch.cat(observed).unique(dim=0)) in (1, 2 * POPULATION * N)


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
def test_shapes_dtypes_and_device(name, device):
    world = made(name, device)
    params = params_of(world, device)
    steps = walk(world, params, device=device)
    size, action = world.spaces.observation.shape[0], world.spaces.action
    expected = {
        "observation": ((POPULATION, LENGTH, N, size), torch.float32),
        "action": ((POPULATION, LENGTH, N, *action.shape), torch.int64 if action.shape == () else torch.float32),
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
    assert len(steps.observation.flatten(0, 2).unique(dim=0)) > N, "a world that stands still shows little"


def test_starts_from_any_number_of_members_and_episodes(world):
    for population, n in ((1, 1), (1, 4), (4, 1)):
        params = world.init(seeded(), population)
        state = world.reset(params, seeded(1), n)
        assert {leaf.shape[:2] for leaf in state.values()} == {(population, n)}
        _, outcome = world.step(params, state, payoff_of(world.spaces.action).random((population, n), seeded(2)))
        assert outcome.observation.shape[:2] == outcome.reward.shape == outcome.terminated.shape == (population, n)
