"""Replay memory, and what learners share that draw from it."""

import pytest
import torch

from synthenv import catalogue, learners
from synthenv.learners.replay import Replaying, layout, minibatch, remember
from synthenv.rollout import Steps
from synthenv.tree import length, unravel
from tests.probes import CARTPOLES, called, experience, pairs, quick

POPULATION = 3
EVERY = ("observation", "following", "action", "reward", "terminated")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def split(steps: Steps, length: int) -> list[Steps]:
    """The same steps, `length` at a time."""
    return [Steps(*leaves) for leaves in zip(*(leaf.split(length, 1) for leaf in steps), strict=True)]


@pytest.mark.parametrize("world", CARTPOLES, ids=called)
def test_the_newest_are_kept(world):
    """A ring of 10 rows, 6 steps at a time: after every time it holds the last 10, whatever their order."""
    steps, seen = experience(POPULATION, 15, 2, world=world), 0
    assert steps.terminated.any()
    assert steps.truncated.any()
    like = layout(4, 2 if steps.action.dim() == 4 else None)
    assert tuple(like) == EVERY
    replay = torch.zeros(POPULATION, 10, length(like))
    for k, new in enumerate(split(steps, 3), 1):
        seen = remember(replay, like, new, seen)
        assert seen == 6 * k
        kept = min(seen, 10)
        held = unravel(replay[:, torch.arange(seen - kept, seen) % 10], like)
        for name in EVERY:
            lived = getattr(steps, name)[:, : 3 * k].flatten(1, 2)[:, -kept:]  # [P, kept, ...]
            assert torch.equal(held[name], lived.float()), name


@pytest.mark.parametrize("seen", [1, 7, 20, 33])
def test_minibatches_are_drawn_from_what_was_written(seen):
    """Rows that know their number: all of them are drawn, as often, by all members alike, and whole."""
    rows, batch = 20, 8000
    like = layout(2, None)
    number = torch.arange(rows, dtype=torch.float32)
    row = torch.stack((number, -number, -number, number, number, number, number % 2), 1)
    drawn = minibatch(row.expand(POPULATION, -1, -1), like, seen, batch, seeded())
    assert drawn["reward"].shape == (POPULATION, batch)
    assert drawn["action"].dtype == torch.long
    assert torch.equal(drawn["action"], drawn["reward"].long())
    assert drawn["terminated"].dtype == torch.bool
    assert torch.equal(drawn["terminated"], drawn["reward"] % 2 == 1)
    assert torch.equal(drawn["following"], -drawn["observation"])
    assert torch.equal(drawn["reward"][0], drawn["reward"][1])
    assert torch.equal(drawn["observation"], drawn["reward"][..., None] * torch.tensor([1.0, -1.0]))
    written = min(seen, rows)
    often = drawn["reward"][0].long().bincount(minlength=rows) / batch
    torch.testing.assert_close(often[:written] * written, torch.ones(written), rtol=0, atol=0.25)
    assert not often[written:].any()


KNOWN = catalogue.names("synthenv.learners")
REPLAYING = [pair for pair in pairs(CARTPOLES) if issubclass(KNOWN[pair.values[0]], Replaying)]


@pytest.mark.parametrize(("name", "switches", "world"), REPLAYING)
def test_learns_as_often_as_asked_and_not_before_warming_up(name, switches, world, monkeypatch):
    learner = quick(name, world.spaces, **{**switches, "length": 3, "envs": 2, "updates": 4, "batch": 5, "warmup": 12})
    agent = learner.init(learners.fill(learner, POPULATION, {}), 100, seeded())
    calls = []
    monkeypatch.setattr(type(learner), "descend", lambda self, agent, batch, generator: calls.append(batch) or agent)
    for k, steps in enumerate(split(experience(POPULATION, 15, 2, world=world), 3), 1):
        agent = learner.update(agent, steps, seeded(k))
        assert agent["seen"].tolist() == [6 * k] * POPULATION
        assert len(calls) == 4 * max(0, k - 2)
    assert all(leaf.shape[:2] == (POPULATION, 5) for batch in calls for leaf in batch.values())
    assert not torch.equal(calls[0]["observation"], calls[1]["observation"])


@pytest.mark.parametrize(("name", "switches", "world"), REPLAYING)
@pytest.mark.parametrize(("budget", "capacity", "rows"), [(96, 1_000_000, 96), (97, 1_000_000, 104), (96, 50, 50)])
def test_no_more_is_reserved_than_the_budget_fills(name, switches, world, budget, capacity, rows):
    learner = quick(name, world.spaces, **{**switches, "length": 4, "envs": 2, "capacity": capacity})
    agent = learner.init(learners.fill(learner, POPULATION, {}), budget, seeded())
    observed, action = learner.sizes
    acted = 1 if learner.row["action"] == () else action
    assert agent["replay"].shape == (POPULATION, rows, 2 * observed + acted + 2)
