"""Imagined environments keep Gymnasium's and SB3's contracts, as synthetic ones do."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from synthenv.incontext import WorldModel, weights
from synthenv.incontext.envs import InContextEnv, InContextVectorEnv, simulator_of
from synthenv.incontext.plan import CEM, Planner
from synthenv.sb3 import SynthVecEnv, train
from tests.incontext.standin import Quadratic, context, simulator

TASKS = pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1"])


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in, where the model that ships would be loaded."""
    monkeypatch.setattr(weights, "load", lambda name=None: Quadratic())


def play(env: Any, steps: int) -> list[Any]:
    """Everything that is returned under seeded random actions; single episodes restart at each end."""
    env.action_space.seed(0)
    seen: list[Any] = []
    for _ in range(steps):
        step = env.step(env.action_space.sample())
        seen.append(step)
        if np.ndim(step[2]) == 0 and (step[2] or step[3]):
            seen.append(env.reset())
    return seen


# One environment


@TASKS
def test_check_env_is_content(task: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="(?i).*we recommend .*symmetric and normalized")
        warnings.filterwarnings("ignore", message=".*-?infinity. This is probably too")  # as in the real task
        warnings.filterwarnings("ignore", module="pygame|pkg_resources")
        check_env(simulator(task).make_env(50), skip_render_check=True)
        check_env_of_sb3(simulator(task).make_env(50), skip_render_check=True)


@TASKS
def test_made_by_gymnasium(task: str, tmp_path: Path) -> None:
    data = context(task)
    env = gymnasium.make("synthenv:InContext-v0", context=data)
    assert isinstance(env.unwrapped, InContextEnv)
    assert (env.observation_space, env.action_space) == tuple(data.spaces)
    made = gymnasium.make("InContext-v0", context=data.save(tmp_path / "data"), max_episode_steps=9)
    ours = simulator(task).make_env(9)
    firsts = [env.reset(seed=4) for env in (made, ours)]
    assert data_equivalence(firsts[0], firsts[1], exact=True)
    assert data_equivalence(play(made, 30), play(ours, 30), exact=True)


def test_a_batch_made_by_gymnasium() -> None:
    batch = gymnasium.make_vec("synthenv:InContext-v0", 3, context=context(), max_episode_steps=7)
    assert isinstance(batch.unwrapped, InContextVectorEnv)
    batch.reset(seed=0)
    late = [batch.step(batch.action_space.sample())[3] for _ in range(7)]
    assert late[-1].any()


@TASKS
def test_same_seed_same_episodes(task: str) -> None:
    one, two, other = (simulator(task).make_env() for _ in range(3))
    two.reset(seed=9)
    firsts = [one.reset(seed=5), two.reset(seed=5), other.reset(seed=6)]
    seen = [play(env, 100) for env in (one, two, other)]
    assert data_equivalence(firsts[0], firsts[1], exact=True)
    assert data_equivalence(seen[0], seen[1], exact=True)
    assert not data_equivalence(firsts[0], firsts[2], exact=True)


def test_every_call_gives_fresh_arrays() -> None:
    env = simulator().make_env()
    first, _ = env.reset(seed=0)
    kept = first.copy()
    following, *_ = env.step(0)
    then = following.copy()
    env.step(1)
    first += 1
    np.testing.assert_array_equal(following, then)
    env.reset()
    assert (first == kept + 1).all()


def test_episodes_are_as_long_as_the_real_tasks_or_as_told() -> None:
    for limit, length in ((None, 200), (17, 17)):
        env = simulator("Pendulum-v1").make_env(limit)
        env.reset(seed=0)
        lengths = [step[3] for step in play(env, length)[:length]]
        assert lengths == [False] * (length - 1) + [True]
        assert simulator("Pendulum-v1").make_vec(2, limit).max_episode_steps == length


def test_who_leaves_the_data_is_truncated() -> None:
    env = simulator().make_env(margin=0.0)
    env.reset(seed=0)
    for _ in range(500):
        observation, _, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            break
    assert truncated
    assert not terminated
    low, high = simulator().seen
    assert (observation >= low.numpy() - 1e-4).all()
    assert (observation <= high.numpy() + 1e-4).all()
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_is_drawn_as_the_real_task_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = simulator().make_env(render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture.ndim == 3
    env.close()


@pytest.mark.parametrize("action", [2, -1, 0.5, None, np.array([0])])
def test_impossible_actions_are_refused(action: Any) -> None:
    env = simulator().make_env()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="expected an action of Discrete"):
        env.step(action)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="penalti"):
        simulator().make_env(penalti=1.0)


def test_what_was_made_knows_what_was_known_then() -> None:
    sim = WorldModel(Quadratic()).condition(context("Pendulum-v1").subset(slice(20)))
    env, batch, world, planner = sim.make_env(), sim.make_vec(1), sim.world(), Planner(sim, CEM(horizon=3))
    state, push = {"observation": torch.tensor([[[1.0, 0, 0]]]), "still": torch.zeros((1, 1)) > 0}, torch.ones(1, 1, 1)
    tried = torch.ones(1, 2, 3, 1)

    def told() -> list[Any]:
        for one in (env, batch):
            one.reset(seed=0)
        steps = env.step(np.ones(1, np.float32))[0], batch.step(np.ones((1, 1), np.float32))[0]
        return [*steps, world.step({}, state, push)[1].observation, planner.imagine(state["observation"][0], tried)]

    before = told()
    sim.append(context("Pendulum-v1").subset(slice(20, 400)))
    for one, other in zip(before, told(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (sim.make_env().simulator.seen[1] != env.simulator.seen[1]).any()


def test_spaces_are_an_environments_own() -> None:
    """They hold the randomness of samples."""
    sim = simulator("Pendulum-v1")
    ones, batches = [sim.make_env() for _ in range(2)], [sim.make_vec(3) for _ in range(2)]
    own = [*(env.action_space for env in ones), *(env.single_action_space for env in batches), sim.spaces.action]
    for space in own:
        space.seed(0)
    assert len({space.sample().item() for space in own}) == 1


# A batch


@TASKS
def test_a_batch_of_one_plays_as_one(task: str) -> None:
    """Up to the blocks in which first states are drawn: so from the same state, without chance."""
    single, batch = simulator(task).make_env(jitter=0.0), simulator(task).make_vec(1, jitter=0.0)
    for env in (single, batch):
        env.reset(seed=3)
    start = torch.tensor(context(task).observation[:1])
    single._state, batch._state = ({"observation": start.clone()} for _ in range(2))
    single._draws.seed(np.random.default_rng(0), torch.device("cpu"))
    batch._draws.seed(np.random.default_rng(0), torch.device("cpu"))
    single.action_space.seed(0)
    for _ in range(5):
        action = single.action_space.sample()
        one, many = single.step(action), batch.step(np.array([action]))
        np.testing.assert_array_equal(one[0], many[0][0])
        assert one[1] == many[1][0]


@TASKS
def test_ends_restart_within_the_step(task: str) -> None:
    batch = simulator(task).make_vec(8, max_episode_steps=13)
    assert batch.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    batch.reset(seed=0)
    batch.action_space.seed(0)
    seen = 0
    for _ in range(60):
        observation, reward, terminated, truncated, infos = batch.step(batch.action_space.sample())
        assert observation.dtype == reward.dtype == np.float32
        assert not (terminated & truncated).any()
        ended = terminated | truncated
        if ended.any():
            seen += ended.sum()
            finals = np.stack(infos["final_obs"][ended])
            assert (finals != observation[ended]).any()
            np.testing.assert_array_equal(infos["_final_obs"], ended)
    assert seen >= 8 * 4


def test_tensors_out_can_be_learned_from() -> None:
    batch = simulator().make_vec(4, output="torch")
    observation, _ = batch.reset(seed=0)
    following, reward, *_ = batch.step(torch.tensor([0, 1, 0, 1]))
    weight = torch.ones(4, requires_grad=True)
    ((observation + following) @ weight * reward).sum().backward()
    assert weight.grad is not None


def test_stepping_changes_nothing_that_was_handed_out() -> None:
    """A restart writes into the state; what was shown of it must not move."""
    batch = simulator().make_vec(4, max_episode_steps=3, output="torch")
    batch.reset(seed=0)
    handed = [batch.advance(torch.tensor([0, 1, 0, 1])) for _ in range(1)]
    kept = [leaf.clone() for leaf in handed[0]]
    for _ in range(7):
        batch.advance(torch.tensor([0, 1, 0, 1]))
    assert all(map(torch.equal, handed[0], kept))


def test_other_ways_to_restart() -> None:
    batch = simulator().make_vec(3, max_episode_steps=2, autoreset_mode="NextStep", margin=0.5)
    batch.reset(seed=0)
    actions = np.zeros(3, dtype=int)
    batch.step(actions)
    assert batch.step(actions)[3].all()
    _, reward, terminated, truncated, _ = batch.step(actions)
    assert not reward.any()
    assert not (terminated | truncated).any()


# Stable-Baselines3


def test_an_sb3_agent_learns_inside() -> None:
    batch = simulator().make_vec(8)
    model = train("a2c", batch, 800, seed=0)
    assert model.num_timesteps >= 800
    assert isinstance(model.get_env(), SynthVecEnv)
    again = train("a2c", simulator().make_vec(8), 800, seed=0)
    state = np.zeros((1, 4), dtype=np.float32)
    tensors = [agent.policy.obs_to_tensor(state)[0] for agent in (model, again)]
    values = [agent.policy.predict_values(tensor) for agent, tensor in zip((model, again), tensors, strict=True)]
    assert torch.equal(*values)


def test_a_simulator_is_taken_as_it_is() -> None:
    assert simulator_of(simulator()).known is simulator().known
    sim = simulator_of(context())
    assert sim.data is context()
    assert isinstance(WorldModel.load().engine, Quadratic)
