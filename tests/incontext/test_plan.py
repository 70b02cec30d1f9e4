"""Planning finds what pays in imagination, and that is what pays outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synthenv.incontext import Transitions, WorldModel
from synthenv.incontext.plan import CEM, PRICE, Planner
from tests.incontext.standin import Quadratic, simulator

SMALL = CEM(horizon=12, candidates=32, iterations=2)


def line(reward_at: float = 3.0) -> Transitions:
    """A point that moves as far as it is pushed; rewards fall with the square of the distance to a place."""
    chance = np.random.default_rng(0)
    place, push = chance.uniform(-5, 5, (200, 1)), chance.uniform(-1, 1, (200, 1))
    following = place + push
    paid = -np.square(following[:, 0] - reward_at)
    return Transitions.from_arrays(place, push, paid, following, np.zeros(200), action_space=spaces.Box(-1, 1, (1,)))


def test_goes_where_it_pays() -> None:
    sim = WorldModel(Quadratic()).condition(line())
    planner = Planner(sim, CEM(horizon=3, candidates=64, elites=6, iterations=4))
    place = torch.tensor([[-4.0], [0.0], [3.0], [5.0]])
    for _ in range(12):
        action, _ = planner.predict(place.numpy())
        place = sim.predict(place, action).next_obs
    np.testing.assert_allclose(place[:, 0], 3.0, atol=0.2)


def test_balances_the_real_pole() -> None:
    planner = Planner(simulator(), SMALL, penalty=1.0)
    data = Transitions.collect("CartPole-v1", 80, policy=lambda seen: planner.predict(seen)[0], seed=1)
    assert not data.terminated.any()  # random actions fall after 22


def test_doubt_has_a_price_unless_told_otherwise() -> None:
    sim = simulator()
    assert Planner(sim).conduct.penalty == PRICE
    assert Planner(sim, penalty=0.0).conduct.penalty == 0.0


def test_the_imagined_return_is_what_a_step_by_step_sum_gives() -> None:
    sim = WorldModel(Quadratic()).condition(line())
    planner, start = Planner(sim, SMALL), torch.tensor([[1.0], [2.0]])
    tried = torch.rand((2, 3, 4, 1), generator=torch.Generator().manual_seed(0)) * 2 - 1
    value = planner.imagine(start, tried)
    for n in range(2):
        for k in range(3):
            place, total, alive = start[n : n + 1], 0.0, 1.0
            for step in range(4):
                found = sim.predict(place, tried[n, k, step][None])
                total += alive * float(found.reward)
                alive *= 1 - float(found.terminated)
                place = found.next_obs
            assert float(value[n, k]) == pytest.approx(total, rel=1e-3)


def test_same_seed_same_plan_and_single_observations_will_do() -> None:
    state = np.array([0.01, 0.0, 0.02, 0.0], dtype=np.float32)
    one, two = (Planner(simulator(), SMALL, seed=3).predict(state)[0] for _ in range(2))
    assert one == two
    assert one.shape == ()
    many, _ = Planner(simulator(), SMALL, seed=3).predict(state[None])
    assert many.tolist() == [one]


def test_goes_on_from_what_it_meant_until_told_to_forget() -> None:
    planner = Planner(simulator(), SMALL)
    state = np.zeros((2, 4), dtype=np.float32)
    planner.predict(state)
    assert planner._meant is not None
    planner.predict(state[:1])  # another number of episodes: nothing of it applies
    planner.forget()
    assert planner._meant is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"elites": 99}, "elites from 1 to 24 candidates, got 99"),
        ({"kept": 6}, "from 0 to 5 elites to be kept, got 6"),
        ({"persistence": 1.0}, "persistence from 0 to less than 1, got 1.0"),
        ({"horizon": 0}, "at least one step ahead"),
    ],
)
def test_says_what_is_wrong(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CEM(**settings)
