"""What is taught stays what it was: new coordinates, another scale and widened states change no decision."""

import math
from dataclasses import replace

import pytest
import torch

from synthenv.meta import states
from synthenv.recipe import StatesStage
from synthenv.tree import part
from tests.meta import toys

STAGE = StatesStage(episodes=40, slips=0.8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(m: int = 400, seed: int = 3) -> torch.Tensor:
    """Observations [M, 4] that fill no box evenly."""
    spread, shift = torch.tensor([0.5, 1.0, 0.05, 2.0]), torch.tensor([0.3, -0.2, 0.01, 0.5])
    return shift + spread * torch.randn((m, 4), generator=seeded(seed))


@pytest.fixture(scope="module")
def old():
    return toys.world()


@pytest.fixture(scope="module")
def params(old):
    """Of a random reward network: its preferences are of all signs and sizes."""
    return old.init(seeded(1), 1)


@pytest.fixture(scope="module")
def new():
    return toys.worlds.synthetic(toys.recipe(), *states.box(cloud(), 3.0, 1.2))


def paid(world, reward, observation):
    """What each action pays at real observations [M, 4], inside the box or not: [M, A]."""
    unit = (observation - world.centre) / world.reach
    return world.preferences({f"reward.{name}": leaf for name, leaf in reward.items()}, unit[None])[0]


def test_rewrite_changes_coordinates_and_nothing_else(old, new, params):
    reward = part(params, "reward")
    rewritten = states.rewrite(reward, old, new)
    torch.testing.assert_close(paid(new, rewritten, cloud()), paid(old, reward, cloud()), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(paid(new, reward, cloud()), paid(old, reward, cloud()), atol=1e-2)
    back = states.rewrite(rewritten, new, old)
    for name, leaf in reward.items():
        torch.testing.assert_close(back[name], leaf, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 0.2])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_standardise_keeps_decisions_and_sets_the_scale(params, scale, activation):
    world, u = toys.world(activation=activation), 2 * torch.rand((1, 500, 4), generator=seeded()) - 1
    reward = part(params, "reward")
    reward = {**reward, "b1": reward["b1"] + torch.tensor([7.0, 7.1])}
    standard = states.standardise(reward, u, scale, activation)
    before, after = (
        world.preferences({f"reward.{name}": leaf for name, leaf in tree.items()}, u) for tree in (reward, standard)
    )
    torch.testing.assert_close(after.mean(-1), torch.zeros(1, 500), rtol=0, atol=1e-4 * scale)
    assert after.std().item() == pytest.approx(scale, rel=1e-3)
    clear = (before[..., 0] - before[..., 1]).abs() > 1e-4  # far from a tie, which float32 may break
    assert clear.float().mean() > 0.95
    assert torch.equal(before.argmax(-1)[clear], after.argmax(-1)[clear])
    ratio = (after[..., 0] - after[..., 1]) / (before[..., 0] - before[..., 1])
    torch.testing.assert_close(ratio[clear], ratio[clear].median().expand_as(ratio[clear]), rtol=0.02, atol=0)


def test_rewards_that_pay_all_actions_alike_do_not_explode(params):
    reward = {name: torch.zeros_like(leaf) for name, leaf in part(params, "reward").items()}
    standard = states.standardise(reward, torch.zeros(1, 5, 4), 1.0, "tanh")
    assert not any(leaf.any() for leaf in standard.values())


def slow_distance(x, y):
    """The definition, one pair at a time."""
    across = sum((a - b).norm() for a in x for b in y) / (len(x) * len(y))
    within = [
        sum((a - b).norm() for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (len(z) * (len(z) - 1))
        for z in (x, y)
    ]
    return 2 * across - sum(within)


def test_energy_distance_is_its_definition():
    x, y = cloud(30, 1), cloud(40, 2) + 0.3
    torch.testing.assert_close(states.energy_distance(x, y), slow_distance(x, y), rtol=1e-3, atol=1e-4)


def test_energy_distance_tells_distributions_apart():
    """Two standard normals a distance d apart: E|x - y| of N(d, 2) is known in closed form (a folded normal)."""
    x, y = torch.randn((2, 2000, 1), generator=seeded())
    assert abs(states.energy_distance(x, y)) < 0.01
    assert abs(states.energy_distance(x, x)) < 0.01
    for d in (0.5, 2.0):
        apart = 2 / math.sqrt(math.pi) * math.exp(-(d**2) / 4) + d * math.erf(d / 2)
        expected = 2 * apart - 2 * 2 / math.sqrt(math.pi)
        assert states.energy_distance(x, y + d).item() == pytest.approx(expected, abs=0.1 * d)
    assert states.energy_distance(x, 3 * y) > 0.3, "a wider one with the same mean"


def test_the_start_network_learns_the_states_it_is_shown(new, params):
    u = new.unit(new.centre + 2 * (cloud() - new.centre)).clamp(-1, 1)
    start = part(params, "start")
    fitted, last = states.fit_start(new, start, u, 80, seeded())

    def drawn(network):
        return new.reset({f"start.{name}": leaf for name, leaf in network.items()}, seeded(9), 2000)["u"][0]

    before, after = (states.energy_distance(drawn(network), u).item() for network in (start, fitted))
    assert after < 0.1 * before
    assert last == pytest.approx(after, abs=0.05)
    torch.testing.assert_close(drawn(fitted).mean(0), u.mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(drawn(fitted).std(0), u.std(0), rtol=0.35, atol=0)
    assert {name: leaf.shape for name, leaf in fitted.items()} == {name: leaf.shape for name, leaf in start.items()}
    assert not any(leaf.requires_grad for leaf in fitted.values())
    again, _ = states.fit_start(new, start, u, 80, seeded())
    assert all(torch.equal(leaf, again[name]) for name, leaf in fitted.items())


def test_box_goes_around_all_but_outliers():
    observations = torch.rand((10_000, 2), generator=seeded()) * torch.tensor([2.0, 6.0])  # 0 to 2, 0 to 6
    observations[0] = 1e4
    centre, reach = states.box(observations, widen=2.0, reach=1.5)
    torch.testing.assert_close(centre, observations.mean(0))
    torch.testing.assert_close(reach, torch.tensor([2.0, 4.0]) * 1.5 * 2, rtol=0.3, atol=0)
    assert states.box(torch.ones(50, 2), 1.0, 1.0)[1].min() > 0, "a coordinate that never moves still has a box"


def test_widened_states_are_further_out_and_stay_in_the_box(new):
    observations = cloud()
    plain, twice = (states.widened(new, observations, factor) for factor in (1.0, 2.0))
    torch.testing.assert_close(plain, (observations - new.centre) / new.reach, rtol=0, atol=1e-5)
    torch.testing.assert_close(twice, (2 * plain).clamp(-1, 1), rtol=0, atol=1e-5)
    assert states.widened(new, observations, 50.0).abs().amax() == 1


def test_regret_is_what_a_random_action_misses(old, params):
    u = 2 * torch.rand((1, 300, 4), generator=seeded()) - 1
    every = [old.step(params, {"u": u}, torch.full((1, 300), choice))[1].reward for choice in (0, 1)]
    missed = torch.maximum(*every) - 0.5 * (every[0] + every[1])
    assert states.regret(old, params, u[0]) == pytest.approx(missed.mean().item(), rel=1e-4)
    assert missed.min() >= 0 < missed.std()


def test_visits_are_real_steps_with_more_slips_from_episode_to_episode(old):
    params, n, length = toys.teaching(old), STAGE.episodes, toys.CARTPOLE.horizon
    seen, facts, real_steps = states.visit(toys.CARTPOLE, old, params, STAGE, seeded())
    assert real_steps == n * length == len(seen["action"])
    assert {name: tuple(leaf.shape) for name, leaf in seen.items()} == {
        "observation": (n * length, 4), "following": (n * length, 4),
        "action": (n * length,), "terminated": (n * length,),
    }  # fmt: skip
    assert facts == {"ends": int(seen["terminated"].sum())}
    real = toys.CARTPOLE.init(seeded(), 1)
    _, witness = toys.CARTPOLE.step(real, {"x": seen["observation"][None]}, seen["action"][None])
    torch.testing.assert_close(witness.observation[0], seen["following"])
    assert torch.equal(witness.terminated[0], seen["terminated"])
    own = old.best_action(params, seen["observation"][None])[0]
    slips = (seen["action"] != own).reshape(length, n).float().mean(0)  # half of the random actions are the best one
    torch.testing.assert_close(2 * slips, torch.linspace(0, 0.8, n), rtol=0, atol=0.15)
    assert not slips[0]
    falls = seen["terminated"].reshape(length, n).sum(0)
    assert not falls[0]
    assert falls[-1] > falls[: n // 2].max()


def test_a_policy_without_slips_visits_only_its_own_states(old):
    seen, facts, _ = states.visit(toys.CARTPOLE, old, toys.teaching(old), replace(STAGE, slips=0.0), seeded())
    assert facts == {"ends": 0}
    assert torch.equal(seen["action"], old.best_action(toys.teaching(old), seen["observation"][None])[0])


def test_first_coordinates_hold_what_a_random_policy_sees():
    found, facts, real_steps = states.random_box(toys.CARTPOLE, seeded())
    assert facts == {}
    assert real_steps == 64 * 50
    assert found["centre"].abs().max() < 0.1
    low, high = torch.tensor([0.1, 1.0, 0.2, 1.5]), torch.tensor([0.6, 2.6, 0.3, 3.6])
    assert (low < found["reach"]).all()
    assert (found["reach"] < high).all()
