"""What is taught stays what it was: new coordinates, another scale and widened states change no decision."""

import math
from dataclasses import replace

import pytest
import torch

from synthenv import worlds
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
def new(old):
    centre, far = states.extent(cloud())
    return worlds.synthetic(toys.recipe(), old.spaces.action, centre, 3.6 * far)


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


def test_extent_is_that_of_all_but_outliers():
    observations = torch.rand((10_000, 2), generator=seeded()) * torch.tensor([2.0, 6.0])  # 0 to 2, 0 to 6
    observations[0] = 1e4
    centre, far = states.extent(observations)
    torch.testing.assert_close(centre, observations.mean(0))
    torch.testing.assert_close(far, torch.tensor([2.0, 4.0]), rtol=0.01, atol=0)
    assert states.extent(torch.ones(50, 2))[1].min() > 0, "a coordinate that never moves still has a box"


def test_extent_of_more_than_torch_can_sort(monkeypatch):
    """From some rows, spread over all of them; the centre is that of all."""
    observations = torch.linspace(0, 1, 20_000)[:, None] * torch.tensor([2.0, 6.0])
    centre, far = states.extent(observations)
    monkeypatch.setattr(states, "MANY", 1000)
    seen = []
    monkeypatch.setattr(torch.Tensor, "quantile", lambda x, *_: seen.append(x) or x.amax(0))
    some = states.extent(observations)
    assert torch.equal(some[0], centre)
    torch.testing.assert_close(some[1], far, rtol=0.01, atol=0)
    assert 500 < seen[0].numel() <= 1000


def test_dilation_reaches_the_floor_and_is_never_less_than_asked():
    far = torch.tensor([0.07, 1.0, 0.5, 4.0])
    assert torch.equal(states.dilation(far, 3.0, 0.0), torch.full((4,), 3.0))
    factor = states.dilation(far, 1.5, 2.0)
    torch.testing.assert_close(factor * far, torch.tensor([2.0, 2.0, 2.0, 6.0]))
    assert factor[3] == 1.5


def test_widened_states_are_further_out_and_stay_in_the_box(new):
    observations = cloud()
    plain, twice = (states.widened(new, observations, torch.full((4,), factor)) for factor in (1.0, 2.0))
    torch.testing.assert_close(plain, (observations - new.centre) / new.reach, rtol=0, atol=1e-5)
    torch.testing.assert_close(twice, (2 * plain).clamp(-1, 1), rtol=0, atol=1e-5)
    assert states.widened(new, observations, torch.full((4,), 50.0)).abs().amax() == 1


def test_every_dimension_and_every_state_is_widened_by_its_own_factor(new):
    observations, factor = cloud(), torch.tensor([1.0, 2.0, 3.0, 0.5])
    plain = (observations - new.centre) / new.reach
    torch.testing.assert_close(states.widened(new, observations, factor), (factor * plain).clamp(-1, 1))
    each = factor ** torch.linspace(0, 1, len(observations))[:, None]
    torch.testing.assert_close(states.widened(new, observations, each), (each * plain).clamp(-1, 1))


def test_graded_factors_lie_between_none_and_all():
    """One power for all dimensions of a state, as likely in each octave."""
    factor = torch.tensor([1.0, 2.0, 8.0])
    each = states.between(factor, 4000, 0.0, seeded())
    assert each.shape == (4000, 3)
    assert (each[:, 0] == 1).all()
    assert ((each >= 1) & (each <= factor)).all()
    torch.testing.assert_close(each[:, 1] ** 3, each[:, 2])
    octaves = each[:, 2].log2()
    torch.testing.assert_close(octaves.histc(3, 0, 3) / 4000, torch.full((3,), 1 / 3), rtol=0, atol=0.03)
    assert torch.equal(each, states.between(factor, 4000, 0.0, seeded()))
    assert not torch.equal(each, states.between(factor, 4000, 0.0, seeded(1)))
    far = states.between(factor, 4000, 1 / 3, seeded())
    assert far[:, 2].min() >= 2
    torch.testing.assert_close(far[:, 2].log2().histc(2, 1, 3) / 4000, torch.full((2,), 0.5), rtol=0, atol=0.03)


def test_states_in_which_no_action_costs_much_are_left_out(old):
    params = toys.teaching(old)
    u = 2 * torch.rand((500, 4), generator=seeded()) - 1
    cost = old.regret(params, u[None])[0]
    kept = states.telling(old, params, u, 0.25)
    assert 0 < len(kept) < 500
    torch.testing.assert_close(kept, u[cost >= 0.75 * cost.min() + 0.25 * cost.max()])
    assert torch.equal(states.telling(old, params, u, 0.0), u)
    same = u[:1].expand(8, -1)
    assert torch.equal(states.telling(old, params, same, 0.9), same), "where all cost the same, all are kept"


def test_stubborn_policies_never_change_their_action(old):
    """Each pushes its cart one way until the pole falls, and then does so again."""
    n, length = STAGE.episodes, toys.CARTPOLE.horizon
    seen, facts, real_steps = states.stubbornness(toys.CARTPOLE, old, STAGE, seeded())
    assert real_steps == n * length == len(seen["observation"])
    assert not facts
    push = seen["observation"].reshape(length, n, 4)[..., 1].diff(dim=0)  # what a step adds to the cart's speed
    within = push.abs() < 0.5  # else the next episode has begun
    right = push[0] > 0
    assert ((push > 0) == right)[within].all()
    assert 0.85 < within.float().mean() < 0.95
    assert 0 < right.sum() < n, "some push to the left, some to the right"
    again = states.stubbornness(toys.CARTPOLE, old, STAGE, seeded())[0]
    assert torch.equal(seen["observation"], again["observation"])


def test_others_are_mixed_in_by_their_share():
    u, others = torch.zeros(300, 2), torch.tensor([[0.5, 1.0], [1.0, -1.0]])
    both = states.mixed(u, others, 0.4, seeded())
    assert len(both) == 500
    assert torch.equal(both[:300], u)
    of = [(both[300:] == row).all(1).sum().item() for row in others]
    assert sum(of) == 200
    assert min(of) > 70
    assert torch.equal(both, states.mixed(u, others, 0.4, seeded()))


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


def test_visits_to_a_task_of_numbers():
    """The pendulum never ends, and its slips are draws from the whole of its box."""
    world, n, length = toys.world(target="Pendulum-v1"), STAGE.episodes, toys.PENDULUM.horizon
    params = world.init(seeded(), 1)
    seen, facts, real_steps = states.visit(toys.PENDULUM, world, params, STAGE, seeded())
    assert real_steps == n * length
    assert facts == {"ends": 0}
    assert {name: tuple(leaf.shape) for name, leaf in seen.items()} == {
        "observation": (n * length, 3), "following": (n * length, 3),
        "action": (n * length, 1), "terminated": (n * length,),
    }  # fmt: skip
    assert not seen["terminated"].any()
    angle = torch.atan2(seen["observation"][:, 1], seen["observation"][:, 0])
    state = {"x": torch.stack((angle, seen["observation"][:, 2]), -1)[None]}
    _, witness = toys.PENDULUM.step(toys.PENDULUM.init(seeded(), 1), state, seen["action"][None])
    torch.testing.assert_close(witness.observation[0], seen["following"], rtol=0, atol=1e-4)
    own = world.best_action(params, seen["observation"][None])[0]
    slips = ((seen["action"] - own).abs() > 1e-5).reshape(length, n).float().mean(0)
    torch.testing.assert_close(slips, torch.linspace(0, 0.8, n), rtol=0, atol=0.1)


def test_a_random_policy_sees_the_whole_pendulum():
    found, facts, real_steps = states.random_box(toys.PENDULUM, seeded())
    assert (facts, real_steps) == ({}, 64 * 50)
    assert found["centre"].shape == found["reach"].shape == (3,)
    assert (found["reach"][:2] > 0.9).all()
    assert (found["reach"][:2] < 1.8).all()
    assert 4 < found["reach"][2] < 9
