"""CartPole against Gymnasium's, value by value."""

import gymnasium
import numpy as np
import pytest
import torch

from synthenv import worlds

CartPole = worlds.named("CartPole-v1")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gym_cartpole(**physics: float):
    """Gymnasium's own, with other constants where asked."""
    env = gymnasium.make("CartPole-v1").unwrapped
    for name, value in physics.items():
        setattr(env, name, value)
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length
    env.reset(seed=0)
    return env


def balance(state: np.ndarray) -> int:
    """A linear policy that stays up for 500 steps."""
    return int(state @ [0.1, 0.5, 5.0, 1.0] > 0)


def replay(env, start: np.ndarray, choose, limit: int = 500):
    """Gymnasium's states [T+1, 4], actions [T], rewards [T] and whether the last step ended the episode."""
    env.state, env.steps_beyond_terminated = tuple(start), None
    states, actions, rewards, ended = [start], [], [], False
    while not ended and len(actions) < limit:
        actions.append(choose(states[-1]))
        _, reward, ended, _, _ = env.step(actions[-1])
        states.append(np.array(env.state, dtype=np.float64))
        rewards.append(reward)
    return np.stack(states), actions, rewards, ended


def follow(world, params, start: np.ndarray, actions):
    """The same actions in our world: states [T+1, 4], rewards [T], terminated [T]."""
    state = {"x": torch.tensor(start, dtype=world.dtype)[None, None]}
    states, rewards, ended = [state["x"][0, 0]], [], []
    for action in actions:
        state, outcome = world.step(params, state, torch.tensor([[action]]))
        states.append(state["x"][0, 0])
        rewards.append(outcome.reward.item())
        ended.append(outcome.terminated.item())
        torch.testing.assert_close(outcome.observation[0, 0], states[-1].float())
        assert torch.equal(world.observe(params, state), outcome.observation)
    return torch.stack(states).numpy(), rewards, ended


@pytest.mark.parametrize("kind", ["random", "balanced"])
def test_whole_episodes_equal_gymnasiums(kind):
    env, world, draw = gym_cartpole(), CartPole(torch.float64), np.random.default_rng(0)
    params = world.init(seeded(), 1)
    lengths = []
    for _ in range(30 if kind == "random" else 2):
        choose = balance if kind == "balanced" else lambda _: int(draw.integers(2))
        expected, actions, rewards, over = replay(env, draw.uniform(-0.05, 0.05, 4), choose)
        states, found_rewards, ended = follow(world, params, expected[0], actions)
        np.testing.assert_allclose(states, expected, rtol=0, atol=1e-12)
        assert found_rewards == rewards
        assert ended == [False] * (len(actions) - 1) + [over]
        lengths.append(len(actions))
    assert (min(lengths) == 500) == (kind == "balanced")


def test_float32_steps_from_anywhere_equal_gymnasiums():
    env, world, draw = gym_cartpole(), CartPole(), np.random.default_rng(1)
    starts = draw.uniform(-1, 1, (300, 4)) * [2.5, 4.0, 0.25, 4.0]
    actions = draw.integers(2, size=300)
    expected = [replay(env, starts[k], lambda _, k=k: int(actions[k]), 1) for k in range(300)]
    state = {"x": torch.tensor(starts, dtype=torch.float32)[None]}
    _, outcome = world.step(world.init(seeded(), 1), state, torch.tensor(actions)[None])
    np.testing.assert_allclose(outcome.observation[0], [states[1] for states, *_ in expected], rtol=2e-6, atol=2e-6)
    ended = [over for *_, over in expected]
    assert outcome.terminated[0].tolist() == ended
    assert 0.2 < np.mean(ended) < 0.8


def test_each_member_has_physics_of_its_own():
    world = CartPole(torch.float64)
    names = {"gravity": "gravity", "cart_mass": "masscart", "pole_mass": "masspole", "half_length": "length"}
    params = world.init(seeded(), len(names))
    for p, name in enumerate(names):
        params[name][p] *= 1.7
    start = np.array([0.1, -0.4, 0.05, 0.7])
    state = {"x": torch.tensor(start).expand(len(names), 1, 4)}
    for _ in range(5):
        state, _ = world.step(params, state, torch.ones((len(names), 1), dtype=torch.long))
    assert len(state["x"].unique(dim=0)) == len(names)
    for p, name in enumerate(names):
        env = gym_cartpole(**{names[name]: 1.7 * world.CONSTANTS[name]})
        expected, *_ = replay(env, start, lambda _: 1, 5)
        np.testing.assert_allclose(state["x"][p, 0], expected[-1], rtol=0, atol=1e-12)


def test_begins_as_gymnasium_does():
    world = CartPole()
    x = world.reset(world.init(seeded(), 2), seeded(), 5000)["x"]
    assert x.shape == (2, 5000, 4)
    assert x.min() >= -0.05
    assert x.max() <= 0.05
    np.testing.assert_allclose(x.mean((0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(x.std((0, 1)), 0.1 / np.sqrt(12), rtol=0.02)


def test_declares_what_gymnasium_declares():
    env, world = gymnasium.make("CartPole-v1"), CartPole()
    assert world.spaces.observation == env.observation_space
    assert world.spaces.action == env.action_space
    assert world.horizon == env.spec.max_episode_steps
