"""OSWM's prior is what its authors describe."""

import pytest
import torch

from benchmarks.oswm_prior import HIDDEN, KINDS, MOST, STEPS, networks, pairs, sample
from synthenv.incontext.prior.dice import Dice


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch():
    return sample(seeded(), 400, 120)


def test_the_same_seed_makes_the_same_tasks(batch):
    rows, shape = sample(seeded(), 400, 120)
    for leaf, again in zip((*rows, *shape[:3]), (*batch[0], *batch[1][:3]), strict=True):
        assert torch.equal(leaf, again)


def test_states_and_actions_fill_their_slots(batch):
    rows, shape = batch
    sizes = shape.observed.sum(1)
    assert (sizes.min(), sizes.max()) == (3, 11)
    for leaf in (rows.observation, rows.following):
        assert leaf.isfinite().all()
        assert not leaf.masked_select(~shape.observed[:, None]).any()
    assert not rows.action.masked_select(~shape.acting[:, None]).any()
    assert (rows.action[shape.discrete].sum(-1) == 1).all()
    assert rows.action[~shape.discrete].abs().max() <= 1
    assert 0.4 < shape.discrete.float().mean() < 0.6


def test_episodes_are_cut_after_51_steps_and_end_nowhere(batch):
    rows, _ = batch
    assert not rows.terminated.any()
    assert rows.start.nonzero()[:, 1].unique().tolist() == [0, STEPS, 2 * STEPS]
    goes_on = ~rows.start[:, 1:]
    assert torch.equal(rows.following[:, :-1][goes_on], rows.observation[:, 1:][goes_on])


def test_half_of_the_rewards_are_one(batch):
    constant = (batch[0].reward == 1).all(1)
    assert 0.4 < constant.float().mean() < 0.6
    assert (batch[0].reward[~constant].std(1) > 0).all()


def test_networks_see_what_is_used_alone():
    used = torch.tensor([[True, True, False, True]])
    nets, x = networks(Dice(seeded()), 3, used), torch.randn((1, 6, 4), generator=seeded())
    assert nets(x).shape == (1, 6, 3)
    assert torch.equal(nets(x), nets(x * used))
    assert not torch.equal(nets(x), nets(x * torch.tensor([0.0, 1, 1, 1])))
    assert nets.into.abs().max() <= 3**-0.5
    assert nets.out.abs().max() <= HIDDEN**-0.5


def test_places_stay_between_walls_and_bounce():
    moves = pairs(Dice(seeded()), torch.full((200,), 2))
    place, speed = torch.full((200, 1, MOST // 2), 0.99), torch.full((200, 1, MOST // 2), 5.0)
    after, turned = moves.step(place, speed, torch.zeros(200, 1, 3))
    walled = ~moves.turns
    assert (after[walled] == 1).all()
    assert (turned[walled] <= 0).all()
    assert (after[moves.turns] > 1).all()
    elastic = walled & moves.up
    assert (-turned[elastic] / 5 > 0.28).all()
    assert set(moves.seen.unique().tolist()) == set(range(len(KINDS)))
