"""A simulator is a world: rollouts, learners and meta-learning work in it, and get what the real task would give."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synthenv import learners, rollout, worlds
from synthenv.incontext import Prediction, Simulator, Transitions, WorldModel
from synthenv.incontext.belief import Engine
from synthenv.incontext.imagined import cut
from synthenv.worlds.payoff import payoff_of
from tests.incontext.standin import Quadratic, context, simulator

P, N = 3, 5


class Weighted(Quadratic, torch.nn.Module):
    """A stand-in with weights that it makes no use of."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def upright(observation: Tensor, _: torch.Generator) -> Tensor:
    """Balances the pole: push where it falls."""
    return (observation @ torch.tensor([0.1, 0.5, 5.0, 1.0]) > 0).long()


@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1"])
def test_is_a_world_with_the_tasks_name_and_horizon(task: str) -> None:
    world = simulator(task).world()
    assert isinstance(world, worlds.World)
    assert (world.name, world.horizon) == (task, worlds.real(task).horizon)
    assert world.spaces == worlds.real(task).spaces
    state = world.reset(world.init(seeded(), P), seeded(), N)
    action = payoff_of(world.spaces.action).random((P, N), seeded())
    following, outcome = world.step({}, state, action, seeded())
    size = world.spaces.observation.shape[0]
    assert outcome.observation.shape == following["observation"].shape == (P, N, size)
    assert outcome.reward.shape == outcome.terminated.shape == (P, N)
    assert torch.equal(world.observe({}, following), outcome.observation)


def test_is_known_by_what_it_was_shown_by_whom_and_how_it_is_played() -> None:
    def known(data: Transitions, engine: Engine, **conduct: Any) -> str:
        return WorldModel(engine).condition(data).world(**conduct).fingerprint

    own, other = (Weighted(torch.full((2,), value)) for value in (0.0, 1.0))
    data = context()
    again = dataclasses.replace(data, reward=data.reward.copy())
    assert known(data, own) == known(again, own, threshold=0.3), "a threshold is computed, to other last bits elsewhere"
    again.reward[7] += 1
    prints = [known(data, own), known(again, own), known(data, other), known(data, Quadratic())]
    prints += [known(data, own, penalty=1.0), WorldModel(own).condition(data).world(9).fingerprint]
    assert len(set(prints)) == len(prints)


def test_without_a_generator_the_likeliest_step_follows() -> None:
    world = simulator("Pendulum-v1").world()
    state = world.reset(world.init(seeded(), P), seeded(), N)
    action = payoff_of(world.spaces.action).random((P, N), seeded())
    _, one = world.step({}, state, action)
    _, other = world.step({}, state, action)
    _, lucky = world.step({}, state, action, seeded(1))
    assert torch.equal(one.observation, other.observation)
    assert not torch.equal(one.observation, lucky.observation)
    found = simulator("Pendulum-v1").predict(state["observation"].flatten(0, 1), action.flatten(0, 1))
    assert torch.equal(one.observation.flatten(0, 1), found.next_obs)


def test_members_and_episodes_do_not_interact() -> None:
    world = simulator().world()
    state = world.reset(world.init(seeded(), P), seeded(), N)
    action = payoff_of(world.spaces.action).random((P, N), seeded())
    _, together = world.step({}, state, action)
    for p in range(P):
        _, alone = world.step({}, {name: leaf[p : p + 1] for name, leaf in state.items()}, action[p : p + 1])
        for mine, shared in zip(alone, together, strict=True):
            torch.testing.assert_close(mine[0], shared[p])


def test_a_good_policy_is_good_in_imagination_and_a_random_one_is_not() -> None:
    world = simulator().world()
    params = world.init(seeded(), 1)
    good, _ = rollout.evaluate(world, params, upright, seeded(), 10, 100)
    random = rollout.uniform(payoff_of(world.spaces.action))
    poor, _ = rollout.evaluate(world, params, random, seeded(), 10, 100)
    assert good.mean() > 90
    assert 10 < poor.mean() < 40  # 22 in the real task


def test_a_learner_of_ours_learns_in_it() -> None:
    world = simulator().world()
    learner = learners.named("a2c", world.spaces, envs=16)
    agent = learner.init(learners.fill(learner, 1, {"rate": 3e-3}), 8000, seeded())
    trained = learners.train(learner, agent, world, world.init(seeded(), 1), 8000, seeded(), 100)
    real = worlds.real("CartPole-v1")
    before, after = (learners.score(learner, which, real, seeded(), 10, 100)[0].mean() for which in (agent, trained))
    assert after > before + 10


def test_one_who_leaves_the_data_stands_still_and_is_paid_the_worst() -> None:
    """Where rewards are costs, an end would be welcome."""
    world = simulator("Pendulum-v1").world(margin=0.02)
    inside = torch.tensor(context("Pendulum-v1").observation[0])
    outside = torch.tensor([inside[0], inside[1], 8.0])
    state = {"observation": torch.stack((inside, outside))[None], "still": torch.zeros((1, 2), dtype=torch.bool)}
    following, outcome = world.step({}, state, torch.zeros((1, 2, 1)), seeded())
    assert following["still"].tolist() == [[False, True]]
    assert torch.equal(outcome.observation[0, 1], outside)
    assert outcome.reward[0, 1] == context("Pendulum-v1").reward.min() < outcome.reward[0, 0]
    again, later = world.step({}, following, torch.zeros((1, 2, 1)), seeded())
    assert again["still"][0, 1]
    assert later.reward[0, 1] == outcome.reward[0, 1]
    assert not later.terminated.any()


def test_where_every_step_is_worth_something_the_lost_get_nothing() -> None:
    world = simulator().world(margin=0.0)
    state = {"observation": torch.full((1, 1, 4), 9.0), "still": torch.zeros((1, 1), dtype=torch.bool)}
    _, outcome = world.step({}, state, torch.zeros((1, 1), dtype=torch.long), seeded())
    assert outcome.reward.item() == 0


def test_doubt_costs_or_pays() -> None:
    state = {"observation": torch.full((1, 1, 4), 5.0), "still": torch.zeros((1, 1), dtype=torch.bool)}
    action = torch.zeros((1, 1), dtype=torch.long)
    plain, dear, welcome = (
        simulator().world(penalty=penalty).step({}, state, action)[1].reward.item() for penalty in (0.0, 0.5, -0.5)
    )
    found = simulator().predict(state["observation"][0], action[0])
    doubt = float(simulator().doubt(found))
    assert plain - dear == pytest.approx(0.5 * doubt, rel=1e-4)  # the typical reward is 1
    assert welcome - plain == pytest.approx(0.5 * doubt, rel=1e-4)


def test_too_much_doubt_is_lost() -> None:
    state = {"observation": torch.full((1, 1, 4), 5.0), "still": torch.zeros((1, 1), dtype=torch.bool)}
    action = torch.zeros((1, 1), dtype=torch.long)
    for max_std, lost in ((0.1, True), (1e9, False)):
        following, outcome = simulator().world(max_std=max_std).step({}, state, action)
        assert following["still"].item()
        assert outcome.terminated.item() is not lost  # so far out it would have fallen


def test_ends_come_by_chance_or_where_they_are_likely() -> None:
    data = context("CartPole-v1", 300, 7)
    at = np.flatnonzero(data.terminated)
    lost = torch.zeros((1, len(at)), dtype=torch.bool)
    state = {"observation": torch.tensor(data.observation[at])[None], "still": lost}
    action = torch.tensor(data.action[at])[None]
    chance = simulator().predict(data.observation[at], data.action[at]).terminated
    for threshold in (0.3, 0.9):
        _, outcome = simulator().world(threshold=threshold).step({}, state, action, seeded())
        assert torch.equal(outcome.terminated[0], chance > threshold)
    generator, world = seeded(), simulator().world()
    ended = torch.stack([world.step({}, state, action, generator)[1].terminated[0] for _ in range(300)])
    np.testing.assert_allclose(ended.float().mean(0), chance, atol=0.12)


@pytest.mark.parametrize(("likely", "ended"), [(0.49, False), (0.51, True)])
def test_nothing_ends_by_chance_where_no_end_was_shown(
    likely: float, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Simulator.foresee

    def foresee(self: Simulator, observation: Tensor, action: Tensor) -> Prediction:
        found = whole(self, observation, action)
        return dataclasses.replace(found, terminated=torch.full_like(found.terminated, likely))

    monkeypatch.setattr(Simulator, "foresee", foresee)
    world = simulator("Pendulum-v1").world()
    state = world.reset(world.init(seeded(), 1), seeded(), 500)
    assert (world.step({}, state, torch.zeros((1, 500, 1)), seeded())[1].terminated == ended).all()


def test_what_runs_away_stays_a_number() -> None:
    """A quadratic fit, fed back to itself far outside, would overflow within a few steps."""
    walk = np.array([[0.5], [1.0], [2.0], [4.0], [8.0], [16.0], [30.0]], dtype=np.float32)
    data = Transitions.from_arrays(walk[:-1] ** 2, [0, 1] * 3, np.ones(6), walk[1:] ** 2, np.zeros(6), horizon=100)
    world = WorldModel(Quadratic()).condition(data).world()
    state = {"observation": torch.full((1, 1, 1), 1e6), "still": torch.zeros((1, 1), dtype=torch.bool)}
    for _ in range(100):
        state, outcome = world.step({}, state, torch.zeros((1, 1), dtype=torch.long), seeded())
        assert outcome.observation.isfinite().all()
        assert outcome.reward.isfinite().all()


def test_a_task_without_a_horizon_needs_one() -> None:
    data = Transitions.from_arrays(np.zeros((3, 1)), [0, 1, 0], np.ones(3), np.ones((3, 1)), np.zeros(3))
    sim = WorldModel(Quadratic()).condition(data)
    with pytest.raises(ValueError, match="give a horizon"):
        sim.world()
    assert sim.world(horizon=9).horizon == 9


def test_the_cut_calls_as_many_of_the_shown_ends_as_there_were() -> None:
    sim = simulator()
    chance = sim.predict(sim.data.observation, sim.data.action).terminated
    assert int((chance > cut(sim)).sum()) == int(sim.data.terminated.sum()) > 0
    none = dataclasses.replace(context(), terminated=np.zeros(400, np.bool_))
    assert cut(WorldModel(Quadratic()).condition(none)) == 0.5


def test_ended_episodes_stand_still_and_ask_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sim, asked = simulator(), list[int]()
    whole = Simulator.foresee

    def foresee(self: Simulator, observation: Tensor, action: Tensor) -> Prediction:
        asked.append(len(observation))
        return whole(self, observation, action)

    monkeypatch.setattr(Simulator, "foresee", foresee)
    world = sim.world(sampled=False)
    over = torch.tensor([0.0, 0.0, 0.5, 2.0])
    state = {"observation": torch.stack((over, 0 * over))[None], "still": torch.zeros((1, 2), dtype=torch.bool)}
    push = torch.zeros((1, 2), dtype=torch.long)
    state, outcome = world.step({}, state, push)
    assert outcome.terminated.tolist() == [[True, False]]
    again, later = world.step({}, state, push)
    assert asked == [2, 1]
    assert torch.equal(again["observation"][0, 0], state["observation"][0, 0])
    assert not later.terminated.any()
