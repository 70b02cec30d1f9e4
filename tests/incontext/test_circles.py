"""Cosine and sine are foretold as one angle, and stay on their circle."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import contestants
from synthenv.incontext import WorldModel
from synthenv.incontext.circles import found, onto, rolled, spread, unrolled
from synthenv.incontext.world import Conduct
from tests.incontext.standin import Quadratic, context


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(n: int, joints: int, turned: float = 0.0, scale: float = 6.0) -> torch.Tensor:
    """Angles as cosine and sine, `turned` on, then two other numbers: [n, 2 * joints + 2]."""
    angle = torch.rand((n, joints), generator=seeded()) * scale + turned
    pairs = torch.stack((angle.cos(), angle.sin()), -1).flatten(1)
    return torch.cat((pairs, torch.randn((n, 2), generator=seeded(1))), 1)


def test_pairs_are_found_wherever_they_stand() -> None:
    seen, then, order = states(20, 2), states(20, 2, 0.1), [4, 2, 0, 3, 5, 1]
    assert found(seen, then) == ((0, 1), (2, 3))
    assert found(seen[:, order], then[:, order]) == ((1, 3), (2, 5))


def test_the_nearest_miss_is_a_pair() -> None:
    """Near rest any cosine is 1 and any sine 0, to some digits."""
    order = [0, 2, 3, 1]
    for scale in (0.02, 0.05, 0.2):
        seen, then = (states(4, 2, turned, scale)[:, order] for turned in (0.0, 0.01))
        assert set(found(seen, then)) <= {(0, 3), (1, 2)}


def test_what_jumps_is_left_as_it_is() -> None:
    """Of headings that are commanded, or turned around, half a turn one way is half a turn the other."""
    seen = states(40, 1)
    commanded, around = seen[torch.randperm(40, generator=seeded(4))], torch.cat((-seen[:20], seen[20:]))
    assert found(seen, commanded) == found(seen, around) == ()
    assert found(seen, states(40, 1, 2.0)) == ((0, 1),)
    rare = torch.cat((-seen[:3], states(40, 1, 0.1)[3:]))
    assert found(seen, rare) == ((0, 1),)


@pytest.mark.parametrize("task", ["Pendulum-v1", "Acrobot-v1"])
def test_a_few_real_steps_are_enough_to_see_them(task: str) -> None:
    assert context(task, 5).rows()[1].circles == ((0, 1), (2, 3))[: 1 + (task == "Acrobot-v1")]


def test_more_transitions_may_show_them() -> None:
    data = context("Pendulum-v1", 20)
    still = replace(
        data, observation=np.tile(data.observation[:1], (20, 1)), following=np.tile(data.observation[:1], (20, 1))
    )
    sim = WorldModel(Quadratic()).condition(still)
    assert sim.circles == ()
    assert sim.append(data).circles == ((0, 1),)


def test_what_only_looks_like_a_circle_is_none() -> None:
    switch = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    still = torch.tensor([[0.6, 0.8]]).repeat(3, 1)
    noisy = states(20, 1) + 1e-3 * torch.randn((20, 4), generator=seeded(2))
    rounding = torch.stack(
        (1 + 1e-7 * torch.randn(20, generator=seeded(5)), 5e-4 * torch.rand(20, generator=seeded(6))), 1
    )
    for seen in (switch, still, noisy, rounding, torch.randn((20, 4), generator=seeded(3))):
        assert found(seen, seen) == ()


def test_a_turn_there_and_back_is_the_same_change() -> None:
    seen = states(50, 2).double()
    change = states(50, 2).double().flip(0) - seen
    turned = rolled(((0, 1), (2, 3)), seen, change)
    assert turned[:, (1, 3)].abs().max() == 0
    assert turned[:, (0, 2)].abs().max() <= math.pi
    torch.testing.assert_close(turned[:, 4:], change[:, 4:])
    torch.testing.assert_close(unrolled(((0, 1), (2, 3)), seen, turned), change)


def test_the_angle_is_what_turns() -> None:
    angle, turn = torch.tensor([0.1, 2.0, 3.0]), torch.tensor([0.5, -0.7, 0.4])
    here, there = (torch.stack((at.cos(), at.sin()), -1) for at in (angle, angle + turn))
    torch.testing.assert_close(rolled(((0, 1),), here, there - here)[:, 0], turn)


def test_what_strayed_from_the_circle_comes_back() -> None:
    off = states(20, 1) * 1.3
    radius = onto(((0, 1),), off)[:, :2].square().sum(1).sqrt()
    torch.testing.assert_close(radius, torch.ones(20))
    assert onto(((0, 1),), torch.zeros((1, 2))).isfinite().all()


def test_quantiles_of_a_number_are_those_of_the_angle_where_it_only_rises() -> None:
    here = torch.tensor([[[0.0, 1.0]]])  # a quarter turn: the cosine falls with the angle, the sine stays
    turns = torch.linspace(-0.4, 0.4, 15)
    quantiles = torch.stack((turns, torch.zeros(15)))[None, None]
    apart = spread(((0, 1),), here, quantiles)[0, 0]
    torch.testing.assert_close(apart[0], turns.sin())
    assert (apart.diff(dim=-1) >= 0).all()


def test_ten_rows_tell_how_a_joint_turns() -> None:
    """By its speed, which is linear; its cosine, regressed from ten rows, is worse than nothing."""
    data, sim = context("Pendulum-v1", 300, 7), WorldModel.load().condition(context("Pendulum-v1", 10, 1))
    missed = np.square(sim.predict(data.observation, data.action).next_obs.numpy() - data.following).sum(0)
    assert (missed / np.square(data.following - data.observation).sum(0)).max() < 1e-3


def test_imagined_episodes_stay_on_the_circle() -> None:
    sim = WorldModel.load().condition(context("Acrobot-v1", 30))
    first = sim.first(seeded(), 64, Conduct(jitter=0.5))
    state = first
    for _ in range(20):
        state = sim.predict(state, torch.zeros(64, dtype=torch.int64)).sample_next_obs(seeded(1))
    for seen in (first, state):
        for pair in ((0, 1), (2, 3)):
            torch.testing.assert_close(seen[:, pair].square().sum(1), torch.ones(64), rtol=0, atol=1e-5)
    assert state[:, 0].std() > 0.01


def test_intervals_hold_what_happens() -> None:
    data = context("Acrobot-v1", 500, 7)
    quantiles = (
        WorldModel.load().condition(context("Acrobot-v1", 100, 1)).predict(data.observation, data.action).quantiles
    )
    change = torch.tensor(data.following - data.observation)
    assert (quantiles.diff(dim=-1) >= 0).all()
    inside = ((quantiles[..., 2] <= change) & (change <= quantiles[..., -3])).float().mean(0)
    assert inside[:4].min() > 0.7
    assert (quantiles[..., -3] - quantiles[..., 2]).mean(0)[:4].max() < 0.1


def test_engines_that_know_no_circles_go_their_own_way() -> None:
    data = context("Pendulum-v1", 100)
    found = contestants.simulator("linear", data).predict(data.observation, data.action)
    assert found.circles == ()
    assert found.turns is None
    assert (found.next_obs[:, :2].square().sum(1) - 1).abs().max() > 1e-3
