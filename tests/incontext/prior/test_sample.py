"""Batches of the prior: layout, what follows what, randomness."""

import random

import numpy as np
import pytest
import torch

from synthenv.incontext.prior import PriorSettings, behaviour, endings, families, rewards, sample, sample_labelled
from synthenv.incontext.rows import ACTIONS, OBSERVATIONS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch():
    return sample_labelled(seeded(), 256, 200)


@pytest.mark.parametrize(("tasks", "rows"), [(1, 1), (3, 7), (2, 500), (33, 64)])
def test_a_batch_is_exactly_as_large_as_asked(tasks, rows):
    found, shape = sample(seeded(), tasks, rows)
    assert found.observation.shape == found.following.shape == (tasks, rows, OBSERVATIONS)
    assert found.action.shape == (tasks, rows, ACTIONS)
    assert found.reward.shape == found.terminated.shape == found.start.shape == (tasks, rows)
    assert found.terminated.dtype == found.start.dtype == torch.bool
    assert {leaf.dtype for leaf in found[:4]} == {torch.float32}
    assert shape.observed.shape == (tasks, OBSERVATIONS)
    assert shape.acting.shape == (tasks, ACTIONS)
    assert shape.discrete.shape == (tasks,)


def test_refuses_nothing():
    with pytest.raises(ValueError, match="at least one task of one row, got 0 tasks"):
        sample(seeded(), 0, 10)


@pytest.mark.parametrize(
    ("part", "name", "meant"),
    [
        ("families", "grid", "no family of worlds is called 'grid'; did you mean 'grids'"),
        ("behaviours", "unifrom", "no behaviour is called 'unifrom'; did you mean 'uniform'"),
        ("rewards", "distances", "no kind of reward is called 'distances'; did you mean 'distance'"),
        ("endings", "nonee", "no kind of ending is called 'nonee'; did you mean 'none'"),
    ],
)
def test_names_what_was_meant(part, name, meant):
    with pytest.raises(ValueError, match=meant):
        sample(seeded(), 4, 10, PriorSettings(**{part: {name: 1.0}}))


@pytest.mark.parametrize("part", ["families", "behaviours", "rewards", "endings"])
@pytest.mark.parametrize("values", [(), (0.0,), (-1.0, 2.0)])
def test_refuses_weights_that_leave_nothing(part, values):
    told = dict(zip(getattr(PriorSettings(), part), values, strict=False))
    with pytest.raises(ValueError, match="expected weights of 0 or more, and one above 0, for a "):
        sample(seeded(), 4, 10, PriorSettings(**{part: told}))


def test_everything_is_finite(batch):
    assert all(leaf.isfinite().all() for leaf in batch.rows[:4])


def test_slots_are_filled_from_the_front_and_the_rest_is_zero(batch):
    rows, shape = batch.rows, batch.shape
    for used, leaves in ((shape.observed, (rows.observation, rows.following)), (shape.acting, (rows.action,))):
        assert (used.sum(-1) >= 1).all()
        assert (used == (torch.arange(used.shape[1]) < used.sum(-1, keepdim=True))).all()
        for leaf in leaves:
            assert (leaf.abs().amax(1)[~used] == 0).all()


def test_actions_are_one_hot_or_within_one(batch):
    action, discrete = batch.rows.action, batch.shape.discrete
    assert (action[discrete].sum(-1) == 1).all()
    assert set(action[discrete].unique().tolist()) == {0.0, 1.0}
    assert action[~discrete].abs().max() == 1
    assert (batch.shape.acting[discrete].sum(-1) >= 2).all()


def test_rows_follow_one_another_until_an_episode_ends(batch):
    rows = batch.rows
    goes_on = ~rows.start[:, 1:]
    torch.testing.assert_close(rows.observation[:, 1:][goes_on], rows.following[:, :-1][goes_on])
    assert rows.start[:, 0].all()
    assert rows.start[:, 1:][rows.terminated[:, :-1]].all(), "an episode went on after it ended"


def test_every_kind_of_everything_appears(batch):
    assert set(batch.family.tolist()) == set(range(len(families())))
    assert set(batch.behaviour.tolist()) == set(range(len(behaviour.KINDS)))
    assert set(batch.reward.tolist()) == set(range(len(rewards.KINDS)))
    assert set(batch.ending.tolist()) == set(range(len(endings.KINDS)))
    assert 0.2 < batch.shape.discrete.float().mean() < 0.9


def test_shares_of_families_are_those_of_the_settings():
    shares = PriorSettings().families
    found = sample_labelled(seeded(), 400, 16).family.bincount() / 400
    for name, share in zip(families(), found.tolist(), strict=True):
        assert abs(share - shares[name] / sum(shares.values())) < 0.05, name


def test_endings_are_neither_never_nor_always(batch):
    rate = batch.rows.terminated.float().mean(1)[batch.ending > 0]
    assert (rate > 0).float().mean() > 0.6
    assert (rate > 0.02).float().mean() > 0.15
    assert rate.median() < 0.05


def test_repeats_itself_under_a_generator():
    first, again, other = (sample(seeded(seed), 8, 64) for seed in (3, 3, 4))
    assert all(
        torch.equal(one, two) for one, two in zip((*first[0], *first[1][:3]), (*again[0], *again[1][:3]), strict=True)
    )
    assert not torch.equal(first[0].observation, other[0].observation)


def test_a_generator_never_repeats_itself():
    generator = seeded()
    first, second = (sample(generator, 8, 64)[0].observation for _ in range(2))
    assert not torch.equal(first, second)


def test_leaves_global_generators_alone():
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    sample(seeded(), 16, 64)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_half_precision_around_it_changes_nothing():
    expected = sample(seeded(), 16, 64)[0]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = sample(seeded(), 16, 64)[0]
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert all(torch.equal(one, two) for one, two in zip(expected, found, strict=True))


def test_tasks_are_not_alike(batch):
    change = (batch.rows.following - batch.rows.observation).abs().mean(1).amax(-1)
    assert (change > 0).all(), "something stands still"
    spread = change.log10()
    assert spread.max() - spread.min() > 3, "the scales of changes span decades"


def test_episodes_are_short_and_long():
    lengths = torch.stack([60 / sample(seeded(seed), 4, 60)[0].start.sum(1) for seed in range(50)])
    assert lengths.min() < 4
    assert lengths.max() == 60
