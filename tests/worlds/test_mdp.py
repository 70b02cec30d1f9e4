"""The multi-step world: dynamics against layers of torch, and the advantage form's promise by brute force."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synthenv import worlds
from synthenv.tree import part

REACH, CENTRE = torch.tensor([2.4, 3.0, 0.3]), torch.tensor([0.0, -1.0, 0.1])
POPULATION, N, CHOICES = 3, 6, 4
TWO = spaces.Box(np.float32([-1, 0]), np.float32([1, 3]))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def world():
    return worlds.named("mdp")(spaces.Discrete(CHOICES), REACH, CENTRE, hidden=8, latent=3)


@pytest.fixture
def steered():
    """Takes two numbers for an action."""
    return worlds.named("mdp")(TWO, REACH, CENTRE, hidden=8, latent=3)


def loud(world):
    """Transitions loud enough to reach the edge of the box, and ends that are neither rare nor certain."""
    params = world.init(seeded(), POPULATION)
    return {name: 3 * leaf if name.startswith("transition") else leaf for name, leaf in params.items()}


@pytest.fixture
def params(world):
    return loud(world)


def slow_transition(params, u: np.ndarray, p: int, action: np.ndarray) -> tuple[np.ndarray, float]:
    """One member, one state, in numpy: the next state before clamping, and the logit of the end."""
    tree = {name: leaf[p].numpy().astype(np.float64) for name, leaf in part(params, "transition").items()}
    seen = u if action.ndim == 0 else np.append(u, 2 * (action - TWO.low) / (TWO.high - TWO.low) - 1)
    out = np.tanh(seen @ tree["w0"] + tree["b0"][0]) @ tree["w1"] + tree["b1"][0]
    mine = out[action * 4 : action * 4 + 4] if action.ndim == 0 else out
    return u + mine[:3], mine[3]


@pytest.mark.parametrize("kind", ["world", "steered"])
def test_moves_by_its_transition_network(request, kind):
    world = request.getfixturevalue(kind)
    params = loud(world)
    state = world.reset(params, seeded(1), N)
    action = world.payoff.random((POPULATION, N), seeded(2))
    after, outcome = world.step(params, state, action)
    clamped = ended = 0
    for p in range(POPULATION):
        for n in range(N):
            following, end = slow_transition(params, state["u"][p, n].double().numpy(), p, action[p, n].numpy())
            np.testing.assert_allclose(after["u"][p, n], following.clip(-1, 1), atol=1e-5)
            assert outcome.terminated[p, n].item() == (end > 0)
            clamped, ended = clamped + (abs(following) > 1).any(), ended + (end > 0)
    assert 0 < clamped < POPULATION * N
    assert 0 < ended < POPULATION * N
    torch.testing.assert_close(outcome.observation, CENTRE + REACH * after["u"])


def advantages(world, params, u):
    """Preferences minus the best of them, bounded by the member's height, [P, N, A]."""
    preferences, height = world.preferences(params, u), params["height.reward"][:, :, None]
    return height * ((preferences - preferences.amax(-1, keepdim=True)) / height).tanh()


def try_each(world, params, state):
    """Every action's next state and outcome."""
    return [world.step(params, state, torch.full(state["u"].shape[:2], a)) for a in range(CHOICES)]


def test_pays_in_advantage_form(world, params):
    params["height.reward"] = torch.tensor([[0.5], [1.0], [8.0]])
    state = {"u": 2 * torch.rand((POPULATION, 200, 3), generator=seeded()) - 1}
    paid = torch.stack([outcome.reward for _, outcome in try_each(world, params, state)], -1)
    assert (paid.amax(-1) == 0).all(), "the best attainable reward is zero, to the last bit"
    assert (paid.amin(-1) < -1e-3).all()
    torch.testing.assert_close(paid, advantages(world, params, state["u"]))


def test_ending_costs_what_the_member_says(world, params):
    params["cost.end"] = torch.tensor([[0.0], [2.5], [-1.0]])
    state = {"u": 2 * torch.rand((POPULATION, 200, 3), generator=seeded()) - 1}
    free = advantages(world, params, state["u"])
    for a, (_, outcome) in enumerate(try_each(world, params, state)):
        cost = torch.tensor([0, 2.5, 0])[:, None] * outcome.terminated  # a negative one counts as none
        torch.testing.assert_close(outcome.reward, free[..., a] - cost)
        assert all(0 < share < 1 for share in outcome.terminated.float().mean(1))


@pytest.mark.parametrize("gamma", [0.5, 0.99, 1.0])
@pytest.mark.parametrize("ends", ["free", "costly but never reached"])
def test_the_optimal_value_of_an_action_is_its_reward(world, params, gamma, ends):
    """By trying every continuation of four steps, with the dynamics and the ends that the world has."""
    if ends != "free":
        params["cost.end"] += 5
        params["transition.b1"][..., 3::4] -= 100

    def optimal(state, depth):
        """Q* [P, N, A] with `depth` steps left."""
        values = []
        for after, outcome in try_each(world, params, state):
            future = optimal(after, depth - 1).amax(-1) if depth > 1 else torch.zeros(state["u"].shape[:2])
            values.append(outcome.reward + gamma * future * ~outcome.terminated)
        return torch.stack(values, -1)

    state = world.reset(params, seeded(1), N)
    expected = advantages(world, params, state["u"])
    torch.testing.assert_close(optimal(state, 4), expected)
    assert torch.equal(world.best_action(params, world.observe(params, state)), expected.argmax(-1))


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_no_plan_of_numbers_is_worth_more_than_nothing(steered, gamma):
    """Its own policy earns 0 for ever; of 200 random plans of four steps the best earns less, as V* = 0 says."""
    params = loud(steered)
    state, plans = {"u": 0.8 * steered.reset(params, seeded(1), 1)["u"].expand(POPULATION, 200, 3)}, seeded(2)
    own, worth, alive = state, torch.zeros(POPULATION, 200), torch.ones(POPULATION, 200, dtype=torch.bool)
    for step in range(4):
        best = steered.best_action(params, steered.observe(params, own))
        own, outcome = steered.step(params, own, best)
        assert outcome.reward.abs().max() < 1e-6
        state, outcome = steered.step(params, state, steered.payoff.random((POPULATION, 200), plans))
        worth += alive * gamma**step * outcome.reward
        alive &= ~outcome.terminated
    assert (worth.amax(1) < 0).all()
    assert (worth.amin(1) < -0.5).all()


@pytest.mark.parametrize("kind", ["world", "steered"])
def test_starts_and_prefers_as_a_bandit_of_the_same_numbers(request, kind):
    world = request.getfixturevalue(kind)
    params = loud(world)
    bandit = worlds.named("bandit")(world.spaces.action, REACH, CENTRE, hidden=8, latent=3)
    state = world.reset(params, seeded(1), N)
    assert torch.equal(state["u"], bandit.reset(params, seeded(1), N)["u"])
    assert torch.equal(world.preferences(params, state["u"]), bandit.preferences(params, state["u"]))
    own = params.keys() - bandit.init(seeded(), 1).keys()
    assert own == {"transition.w0", "transition.b0", "transition.w1", "transition.b1", "cost.end"}
