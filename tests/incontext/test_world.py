"""A simulator predicts what happens, says what it does not know, and takes no input that cannot be meant."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from synthenv.incontext import Transitions, WorldModel
from synthenv.incontext.world import Conduct
from tests.incontext.standin import Quadratic, context, simulator


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def holdout(task: str = "CartPole-v1") -> Transitions:
    return context(task, 300, 7)


@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1"])
def test_foretells_real_steps(task: str) -> None:
    """Quadratic ridge misses less than 1 % of the change in either."""
    data = holdout(task)
    found = simulator(task).predict(data.observation, data.action)
    missed = np.square(found.next_obs.numpy() - data.following).mean(0)
    assert (missed / np.square(data.following - data.observation).mean(0)).max() < 0.02
    assert found.next_obs_std.shape == data.observation.shape
    assert found.reward.shape == found.reward_std.shape == found.terminated.shape == data.reward.shape


def test_foretells_ends() -> None:
    data = holdout()
    likely = simulator().predict(data.observation, data.action).terminated.numpy()
    assert likely[data.terminated].min() > likely[~data.terminated].mean()
    assert likely[data.terminated].mean() > 0.5


def test_tensors_are_as_good_as_arrays() -> None:
    data = holdout()
    one = simulator().predict(data.observation, data.action)
    other = simulator().predict(torch.tensor(data.observation), torch.tensor(data.action))
    assert torch.equal(one.next_obs, other.next_obs)


def test_results_can_be_learned_from() -> None:
    """Autograd takes no tensor that was made in inference mode."""
    found = simulator().predict(holdout().observation, holdout().action)
    weight = torch.ones(4, requires_grad=True)
    (found.next_obs @ weight * found.reward * found.terminated + found.next_obs_std @ weight).sum().backward()
    assert weight.grad is not None


def test_samples_scatter_as_predicted() -> None:
    data = context("Pendulum-v1")
    found = simulator("Pendulum-v1").predict(data.observation[:1].repeat(20_000, 0), data.action[:1].repeat(20_000, 0))
    draw = found.sample(seeded())
    assert draw.next_obs.shape == (20_000, 3)
    assert draw.terminated.dtype is torch.bool
    inside = found.next_obs[0].abs() < 0.9  # of the bounds, that clip
    torch.testing.assert_close(draw.next_obs.std(0)[inside], found.next_obs_std[0][inside], rtol=0.1, atol=0)
    torch.testing.assert_close(draw.reward.std(), found.reward_std[0], rtol=0.1, atol=0)
    again = found.sample(seeded())
    assert all(map(torch.equal, draw, again))


def test_keeps_to_finite_bounds() -> None:
    sim = simulator("Pendulum-v1")
    fast = np.float32([[1.0, 0.0, 8.0]])
    found = sim.predict(fast, np.float32([[2.0]]))
    low, high = (torch.from_numpy(side) for side in (sim.spaces.observation.low, sim.spaces.observation.high))
    for following in (found.next_obs, found.sample_next_obs(seeded())):
        assert ((following >= low) & (following <= high)).all()


def test_bounds_that_the_data_contradict_do_not_bind() -> None:
    from gymnasium import spaces

    line = np.arange(6.0)[:, None]
    data = Transitions.from_arrays(line, [0.5, 1, 1, 1, 1, 1.5], np.ones(6), line + 1, np.zeros(6),
                                   observation_space=spaces.Box(0, 3, (1,)))  # fmt: skip
    sim = WorldModel(Quadratic()).condition(data)
    assert sim.predict([[4.0]], [[1.0]]).next_obs.item() == pytest.approx(5, abs=0.2)


def test_more_transitions_make_it_better() -> None:
    sim = WorldModel(Quadratic()).condition(context("Pendulum-v1").subset(slice(20)))
    data = holdout("Pendulum-v1")

    def error() -> float:
        found = sim.predict(data.observation, data.action)
        return float(np.square(found.next_obs.numpy() - data.following).mean())

    before = error()
    assert sim.append(context("Pendulum-v1").subset(slice(20, 400))) is sim
    assert len(sim.data) == 400
    assert error() < before / 4


def test_doubt_grows_beyond_the_data() -> None:
    sim, data = simulator(), holdout()
    near = sim.doubt(sim.predict(data.observation, data.action))
    far = sim.doubt(sim.predict(data.observation + np.float32([50, 0, 0, 0]), data.action))
    assert far.min() > 10 * near.max()
    assert not sim.beyond(torch.tensor(context().observation)).any()


def test_rewards_that_nobody_knows_are_doubted() -> None:
    sim, data = simulator("Pendulum-v1"), context("Pendulum-v1")
    found = sim.predict(data.observation[:5], data.action[:5])
    wide = replace(found, reward_quantiles=3 * found.reward_quantiles)
    more = 2 * found.reward_std / np.sqrt(np.square(data.reward).mean())
    torch.testing.assert_close(sim.doubt(wide) - sim.doubt(found), more, rtol=1e-3, atol=1e-6)


def test_first_states_are_those_of_the_data_with_a_little_jitter() -> None:
    sim, begun = simulator(), context().observation[context().start]
    exact = sim.first(seeded(), 200, Conduct(jitter=0.0)).numpy()
    assert {row.tobytes() for row in exact} == {row.tobytes() for row in begun}
    moved = sim.first(seeded(), 20_000, Conduct(jitter=0.5)).numpy()
    np.testing.assert_allclose(moved.std(0), begun.std(0) * np.sqrt(1.25), rtol=0.05)


def test_some_may_begin_anywhere() -> None:
    sim, known = simulator(), {row.tobytes() for row in context().observation}
    begun = {row.tobytes() for row in context().observation[context().start]}
    firsts = [row.tobytes() for row in sim.first(seeded(), 2000, Conduct(jitter=0.0, anywhere=0.5)).numpy()]
    assert set(firsts) <= known
    assert 0.4 < np.mean([first in begun for first in firsts]) < 0.65


def test_whole_numbers_do_not_jitter() -> None:
    data = Transitions.collect("CliffWalking-v1", 200, seed=0)
    sim = WorldModel(Quadratic()).condition(data)
    assert sim.first(seeded(), 50, Conduct(jitter=0.5)).tolist() == [[36.0]] * 50


def test_without_a_start_any_state_may_be_one() -> None:
    data = context().subset(~context().start)
    assert not data.start.any()
    sim = WorldModel(Quadratic()).condition(data)
    assert len(sim.first(seeded(), 1000, Conduct(jitter=0.0)).unique(dim=0)) > 200


@pytest.mark.parametrize(
    ("obs", "action", "said"),
    [
        (np.zeros((2, 3)), [0, 0], r"observations \[Q, 4\], got shape \(2, 3\)"),
        (np.zeros(4), [0], r"observations \[Q, 4\]"),
        ([[np.nan, 0, 0, 0]], [0], "expected finite observations"),
        (np.zeros((2, 4)), [0], r"2 actions of Discrete\(2\), shape \(2,\)"),
        (np.zeros((1, 4)), [2], "1 actions of Discrete"),
        (np.zeros((1, 4)), [-1], "1 actions of Discrete"),
        (np.zeros((1, 4)), [0.0], "got torch.float"),
        (np.zeros((1, 4)), [True], "got torch.bool"),
    ],
)
def test_says_what_is_wrong_with_a_query(obs: Any, action: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        simulator().predict(obs, action)


def test_a_box_takes_no_nan_and_clips_the_rest() -> None:
    sim, state = simulator("Pendulum-v1"), np.float32([[1, 0, 0]])
    with pytest.raises(ValueError, match="1 actions of Box"):
        sim.predict(state, [[np.nan]])
    assert torch.equal(sim.predict(state, [[99.0]]).next_obs, sim.predict(state, [[2.0]]).next_obs)


def test_an_action_never_seen_is_answered() -> None:
    data = context().subset(context().action == 0)
    sim = WorldModel(Quadratic()).condition(data)
    assert sim.predict(np.zeros((3, 4)), [1, 1, 0]).next_obs.isfinite().all()


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_a_few_rows_will_do(rows: int) -> None:
    sim = WorldModel(Quadratic()).condition(context().subset(slice(rows)))
    found = sim.predict(holdout().observation[:9], holdout().action[:9])
    assert found.next_obs.isfinite().all()
    assert found.terminated.isfinite().all()


def test_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    found = simulator().predict(holdout().observation, holdout().action)
    found.sample(seeded())
    simulator().first(seeded(), 3, Conduct())
    assert torch.equal(before, torch.get_rng_state())


def test_travels_to_other_processes() -> None:
    again = pickle.loads(pickle.dumps(simulator()))
    data = holdout()
    one, other = (sim.predict(data.observation, data.action) for sim in (simulator(), again))
    assert torch.equal(one.next_obs, other.next_obs)


@pytest.mark.parametrize(
    ("conduct", "said"),
    [
        ({"margin": -1.0}, "margin to be no less than 0, got -1.0"),
        ({"max_std": -0.1}, "max_std to be no less than 0"),
        ({"jitter": -0.1}, "jitter to be no less than 0"),
        ({"anywhere": 1.5}, "anywhere as a share from 0 to 1"),
        ({"threshold": 1.0}, "threshold as a probability between 0 and 1"),
    ],
)
def test_says_what_is_wrong_with_a_conduct(conduct: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Conduct(**conduct)  # type: ignore[arg-type]
