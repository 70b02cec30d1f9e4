"""The one-step world against layers of torch, and its promises about the box."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synthenv import worlds
from synthenv.tree import part

PUSH = spaces.Discrete(2)
TWO = spaces.Box(np.float32([-1, 0]), np.float32([1, 3]))
REACH, CENTRE = torch.tensor([2.4, 3.0, 0.3, 1e-3]), torch.tensor([0.0, -1.0, 0.1, 50.0])
POPULATION, N = 3, 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layers(params, name: str, p: int) -> torch.nn.Sequential:
    """One of the world's networks as torch would write it."""
    tree = part(params, name)
    (fan_in, hidden), fan_out = tree["w0"][p].shape, tree["w1"].shape[-1]
    first, second = torch.nn.Linear(fan_in, hidden), torch.nn.Linear(hidden, fan_out)
    first.weight.data, first.bias.data = tree["w0"][p].T, tree["b0"][p, 0]
    second.weight.data, second.bias.data = tree["w1"][p].T, tree["b1"][p, 0]
    return torch.nn.Sequential(first, torch.nn.Tanh(), second)


@pytest.fixture
def world():
    return worlds.named("bandit")(PUSH, REACH, CENTRE, hidden=16, latent=3)


@pytest.fixture
def steered():
    """Takes two numbers for an action."""
    return worlds.named("bandit")(TWO, REACH, CENTRE, hidden=16, latent=3)


def test_pays_what_its_reward_network_says_and_ends(world):
    params = world.init(seeded(), POPULATION)
    height = params["height.reward"] = torch.tensor([[0.1], [1.0], [5.0]])
    state = world.reset(params, seeded(1), N)
    action = torch.randint(0, 2, (POPULATION, N), generator=seeded(2))
    after, outcome = world.step(params, state, action)
    assert outcome.terminated.all()
    assert torch.equal(after["u"], state["u"])
    assert torch.equal(outcome.observation, world.observe(params, state))
    for p in range(POPULATION):
        expected = layers(params, "reward", p)(state["u"][p])  # [N, A]
        torch.testing.assert_close(world.preferences(params, state["u"])[p], expected)
        advantage = expected[torch.arange(N), action[p]] - expected.amax(-1)
        torch.testing.assert_close(outcome.reward[p], height[p] * (advantage / height[p]).tanh())


def test_a_shift_is_added_to_every_reward_and_changes_no_best_action(world):
    shifted = worlds.named("bandit")(PUSH, REACH, CENTRE, hidden=16, latent=3, shift=0.75)
    params = world.init(seeded(), POPULATION)
    state = world.reset(params, seeded(1), N)
    best = world.best_action(params, world.observe(params, state))
    assert torch.equal(shifted.best_action(params, world.observe(params, state)), best)
    for action in (best, 1 - best):
        plain, more = (one.step(params, state, action)[1].reward for one in (world, shifted))
        torch.testing.assert_close(more, plain + 0.75)
    torch.testing.assert_close(shifted.step(params, state, best)[1].reward, torch.full((POPULATION, N), 0.75))


def test_pays_for_the_distance_from_its_vertex(steered):
    """Outputs are the vertex and the logarithms of curvatures; both in actions scaled to [-1, 1]."""
    params = steered.init(seeded(), POPULATION)
    height = params["height.reward"] = torch.tensor([[0.1], [1.0], [5.0]])
    state = steered.reset(params, seeded(1), N)
    share = 2 * torch.rand((POPULATION, N, 2), generator=seeded(2)) - 1
    after, outcome = steered.step(params, state, torch.tensor([0.0, 1.5]) + share * torch.tensor([1.0, 1.5]))
    assert outcome.terminated.all()
    assert outcome.reward.shape == outcome.terminated.shape == (POPULATION, N)
    assert torch.equal(after["u"], state["u"])
    for p in range(POPULATION):
        vertex, curvature = layers(params, "reward", p)(state["u"][p]).chunk(2, -1)
        away = (share[p] - (4 * vertex).clamp(-1, 1)) / 0.1
        loss = (0.02 * curvature.exp() * ((1 + away**2).sqrt() - 1)).sum(-1)
        torch.testing.assert_close(outcome.reward[p], -height[p] * (loss / height[p]).tanh())


def test_states_come_from_gaussian_latents(world):
    params = world.init(seeded(), POPULATION)
    u = world.reset(params, seeded(1), N)["u"]
    latent = torch.randn((POPULATION, N, 3), generator=seeded(1))
    for p in range(POPULATION):
        torch.testing.assert_close(u[p], layers(params, "start", p)(latent[p]).tanh())
    assert u.unique(dim=1).shape == u.shape


@pytest.mark.parametrize("loud", [1.0, 1e3, 1e30])
def test_no_observation_leaves_the_declared_box(world, loud):
    params = {name: loud * leaf for name, leaf in world.init(seeded(), POPULATION).items()}
    observed = world.observe(params, world.reset(params, seeded(1), 500))
    assert all(world.spaces.observation.contains(one) for one in observed.flatten(0, 1).numpy())
    if loud > 1:
        assert (observed == torch.tensor(world.spaces.observation.high)).any(), "the edge itself was not tried"


def test_the_box_is_centre_and_reach(world):
    edges = torch.tensor([-1.0, 1.0])[None, :, None].expand(1, 2, 4)
    observed = world.observe({}, {"u": edges})[0].numpy()
    np.testing.assert_array_equal(observed[0], world.spaces.observation.low)
    np.testing.assert_array_equal(observed[1], world.spaces.observation.high)
    np.testing.assert_allclose(world.spaces.observation.high, CENTRE + REACH)
    assert world.spaces.observation.dtype == np.float32


@pytest.mark.parametrize("action", [PUSH, TWO], ids=repr)
def test_its_actions_are_the_tasks_and_seeded_apart(action):
    own = worlds.named("bandit")(action, REACH, CENTRE).spaces.action
    assert own is not action
    assert own == action
    action.seed(0)
    own.seed(1)
    before = str(action.np_random.bit_generator.state)
    own.sample()
    assert str(action.np_random.bit_generator.state) == before


def test_unit_undoes_observe_and_clamps(world):
    u = 2 * torch.rand((POPULATION, N, 4), generator=seeded()) - 1
    u[..., 3] = u[..., 3].round()  # its box is too narrow, so far from zero, for more than a few float32 values
    torch.testing.assert_close(world.unit(world.observe({}, {"u": u})), u, rtol=0, atol=1e-2)
    torch.testing.assert_close(world.unit(world.observe({}, {"u": u}))[..., :3], u[..., :3], rtol=0, atol=1e-6)
    assert world.unit(CENTRE[None, None] + 9 * REACH).tolist() == [[[1] * 4]]


def test_best_action_pays_most(world):
    params = world.init(seeded(), POPULATION)
    state = world.reset(params, seeded(1), 50)
    best = world.best_action(params, world.observe(params, state))
    paid = torch.stack([world.step(params, state, torch.full_like(best, a))[1].reward for a in (0, 1)], -1)
    close = (paid[..., 0] - paid[..., 1]).abs() < 1e-4  # the way through the box costs some digits
    assert torch.equal(best[~close], paid.argmax(-1)[~close])
    assert 0 < best.float().mean() < 1
    assert close.float().mean() < 0.1


def test_no_action_beats_the_vertex(steered):
    params = steered.init(seeded(), POPULATION)
    state = steered.reset(params, seeded(1), 50)
    best = steered.best_action(params, steered.observe(params, state))
    _, outcome = steered.step(params, state, best)
    assert (outcome.reward <= 0).all()
    assert outcome.reward.min() > -1e-4, "the way through the box costs some digits"
    wild = [steered.payoff.random((POPULATION, 50), seeded(seed)) for seed in range(50)]
    paid = torch.stack([steered.step(params, state, action)[1].reward for action in wild])
    assert (paid.amax(0) <= outcome.reward).all()
    assert paid.min() < -0.5


@pytest.mark.parametrize("kind", ["world", "steered"])
def test_regret_is_what_a_random_action_misses(request, kind):
    world = request.getfixturevalue(kind)
    params = world.init(seeded(1), POPULATION)
    params["height.reward"] = torch.tensor([[0.5], [1.0], [8.0]])
    u = 2 * torch.rand((POPULATION, 20, 4), generator=seeded()) - 1
    wild = world.payoff.random((POPULATION, 20 * 2000), seeded(2))
    _, outcome = world.step(params, {"u": u.repeat_interleave(2000, 1)}, wild)
    missed = -outcome.reward.unflatten(1, (20, 2000)).mean(-1)
    torch.testing.assert_close(world.regret(params, u), missed, rtol=0.25, atol=0.01)
    assert missed.std(1).min() > 0


def test_refuses_actions_it_has_no_network_for():
    with pytest.raises(ValueError, match=r"expected Discrete actions, or a bounded Box of one dimension, got Multi"):
        worlds.named("bandit")(spaces.MultiBinary(3), REACH, CENTRE)


def test_luck_is_added_with_a_generator_only(world):
    params = world.init(seeded(), 1)
    params["noise.reward"] += 0.5
    state = world.reset(params, seeded(1), 4096)
    action = torch.zeros((1, 4096), dtype=torch.long)
    _, expected = world.step(params, state, action)
    _, lucky = world.step(params, state, action, seeded(2))
    luck = lucky.reward - expected.reward
    assert abs(luck.mean()) < 0.05
    assert luck.std() == pytest.approx(0.5, rel=0.05)
