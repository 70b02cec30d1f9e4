"""Cosine and sine are foretold as one angle, and stay on their circle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from synthenv.incontext import WorldModel
from synthenv.incontext.circles import found, onto, rolled, spread, unrolled
from synthenv.incontext.world import Conduct
from tests.incontext.standin import context


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(n: int, *angles: int) -> torch.Tensor:
    """Angles as cosine and sine, then two other numbers: [n, 2 * len(angles) + 2]."""
    turn = torch.rand((n, len(angles)), generator=seeded()) * 6
    pairs = torch.stack((turn.cos(), turn.sin()), -1).flatten(1)
    return torch.cat((pairs, torch.randn((n, 2), generator=seeded(1))), 1)


def test_pairs_are_found_wherever_they_stand() -> None:
    seen = states(20, 1, 2)
    assert found(seen) == ((0, 1), (2, 3))
    assert found(seen[:, [4, 2, 0, 3, 5, 1]]) == ((1, 3), (2, 5))


@pytest.mark.parametrize("task", ["Pendulum-v1", "Acrobot-v1"])
def test_one_real_step_is_enough_to_see_them(task: str) -> None:
    assert context(task, 1).rows()[1].circles == ((0, 1), (2, 3))[: 1 + (task == "Acrobot-v1")]


def test_what_only_looks_like_a_circle_is_none() -> None:
    switch = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    still = torch.tensor([[0.6, 0.8]]).repeat(3, 1)
    noisy = states(20, 1) + 1e-3 * torch.randn((20, 4), generator=seeded(2))
    for seen in (switch, still, noisy, torch.randn((20, 4), generator=seeded(3))):
        assert found(seen) == ()


def test_a_turn_there_and_back_is_the_same_change() -> None:
    seen = states(50, 1, 2).double()
    change = states(50, 1, 2).double().flip(0) - seen
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
