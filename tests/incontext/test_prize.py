"""What an end pays is kept apart from the rewards of other steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthenv.incontext import Simulator, Transitions, WorldModel
from synthenv.incontext.world import Conduct


def walk(goal: float = 1.0, worth: float = 100.0, count: int = 400, seed: int = 0) -> Transitions:
    """Steps of +-.1 from where a walker happens to be; who gets beyond the goal is paid, and each step costs."""
    chance = np.random.default_rng(seed)
    place, action = chance.uniform(-1, 1, (count, 1)), chance.integers(2, size=count)
    following = place + 0.1 * (2 * action - 1)[:, None]
    arrived = following[:, 0] > goal
    return Transitions.from_arrays(
        place, action, -0.1 + worth * arrived, following, arrived, start=np.ones(count, bool)
    )


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return WorldModel.load().condition(walk())


@pytest.mark.parametrize("worth", [100.0, -3.0])
def test_is_what_ends_alone_are_paid(worth: float) -> None:
    assert walk(worth=worth).prize == pytest.approx(worth, rel=1e-5)


def test_is_nothing_where_ends_are_paid_like_other_steps() -> None:
    assert walk(worth=0.0).prize == walk(goal=9.0).prize == 0
    assert walk().subset(walk().terminated).prize == 0  # nothing but ends
    data = walk()
    paid = data.reward + np.where(np.arange(len(data)) == np.flatnonzero(~data.terminated)[0], 200, 0)
    mixed = Transitions.from_arrays(data.observation, data.action, paid, data.following, data.terminated)
    assert mixed.prize == 0


@pytest.mark.parametrize("power", [1, 3])
def test_is_nothing_where_rewards_rise_until_the_end(power: int) -> None:
    """An end at the far side of a slope is paid like what is beside it."""
    data = walk()
    slope = data.following[:, 0] ** power
    task = Transitions.from_arrays(data.observation, data.action, slope, data.following, data.terminated)
    assert task.reward[task.terminated].min() > task.reward[~task.terminated].max()
    assert task.prize == 0


def test_is_not_paid_to_those_who_get_lost() -> None:
    """Beyond the data nothing is believed, no prize either."""
    env = WorldModel.load().condition(walk()).make_env(50, margin=0.0, sampled=False, threshold=0.5)
    env.reset(seed=0)
    for _ in range(40):
        _, reward, terminated, truncated, _ = env.step(1)
        assert terminated == (reward > 50)
        if terminated or truncated:
            env.reset()


def test_nobody_is_promised_a_share_of_it_elsewhere(simulator: Simulator) -> None:
    """Twenty goals of 100 among 400 rows are no hill of rewards."""
    near = simulator.predict(np.float32([[0.0], [0.3], [0.6]]), np.int64([1, 1, 1]))
    torch.testing.assert_close(near.reward, torch.full((3,), -0.1), atol=0.2, rtol=0)
    there = simulator.predict(np.float32([[0.99]]), np.int64([1]))
    assert there.terminated.item() > 0.7
    assert there.reward.item() == pytest.approx(100 * there.terminated.item() - 0.1, abs=1)


def test_is_paid_to_those_who_end(simulator: Simulator) -> None:
    seen = simulator.predict(np.full((2000, 1), 0.9, np.float32), np.ones(2000, np.int64))
    draw = seen.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(draw.reward, torch.where(draw.terminated, 99.9, -0.1), atol=0.5, rtol=0)
    chance = seen.terminated[0].item()
    assert seen.reward_std[0].item() == pytest.approx(100 * (chance * (1 - chance)) ** 0.5, abs=0.5)
    torch.testing.assert_close(seen.reward_where(seen.terminated), seen.reward)


def test_imagined_episodes_are_paid_it_whole_or_not_at_all(simulator: Simulator) -> None:
    world = simulator.world(horizon=5, sampled=False, threshold=0.5)
    params = world.init(torch.Generator(), 1)
    state = {"observation": torch.tensor([[[0.99], [0.5]]]), "still": torch.zeros((1, 2), dtype=torch.bool)}
    _, outcome = world.step(params, state, torch.tensor([[1, 1]]))
    assert outcome.terminated.tolist() == [[True, False]]
    torch.testing.assert_close(outcome.reward, torch.tensor([[99.9, -0.1]]), atol=0.5, rtol=0)


def test_is_no_reason_for_doubt(simulator: Simulator) -> None:
    """Whether an episode ends is luck, not ignorance."""
    on_edge = simulator.predict(np.float32([[0.9]]), np.int64([1]))
    assert on_edge.reward_std.item() > 1
    assert simulator.doubt(on_edge).item() < 0.3


def test_makes_planners_go_there(simulator: Simulator) -> None:
    from synthenv.incontext.plan import CEM, Planner

    planner = Planner(simulator, CEM(horizon=12), penalty=0.0)
    assert planner.conduct == Conduct(penalty=0.0)
    state = torch.tensor([[0.6]])
    for _ in range(4):
        action, _ = planner.predict(state.numpy())
        state = simulator.predict(state, action).next_obs
    assert state.item() > 0.95
