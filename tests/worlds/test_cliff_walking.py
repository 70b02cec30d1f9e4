"""CliffWalking against Gymnasium's, move by move, seen through its FlattenObservation."""

import gymnasium
import numpy as np
import torch

from synthenv import worlds
from tests.worlds.witness import seeded


def gym_cliff():
    """Gymnasium's own, one-hot."""
    env = gymnasium.wrappers.FlattenObservation(gymnasium.make("CliffWalking-v1"))
    return env, env.reset(seed=0)[0]


def test_a_long_walk_equals_gymnasiums():
    """Random moves, down less often than the others: now and then one falls, now and then one arrives."""
    (env, expected), world = gym_cliff(), worlds.real("CliffWalking-v1")
    params, draw = world.init(seeded(), 1), np.random.default_rng(0)
    state, rewards, arrived = world.reset(params, seeded(), 1), [], 0
    for _ in range(20_000):
        np.testing.assert_array_equal(world.observe(params, state)[0, 0], expected)
        move = int(draw.choice(4, p=(0.3, 0.35, 0.1, 0.25)))
        expected, reward, over, _, _ = env.step(move)
        state, outcome = world.step(params, state, torch.tensor([[move]]))
        np.testing.assert_array_equal(outcome.observation[0, 0], expected)
        assert (outcome.reward.item(), outcome.terminated.item()) == (reward, over)
        rewards.append(reward)
        if over:
            (expected, _), state, arrived = env.reset(), world.reset(params, seeded(), 1), arrived + 1
    assert arrived > 20
    assert rewards.count(-100) > 20


def test_every_move_from_every_cell_equals_gymnasiums():
    (env, _), world = gym_cliff(), worlds.real("CliffWalking-v1")
    cell = torch.arange(48).repeat_interleave(4)[None]
    action = torch.arange(4).repeat(48)[None]
    after, outcome = world.step(world.init(seeded(), 1), {"cell": cell}, action)
    told = [env.unwrapped.P[int(c)][int(a)][0] for c, a in zip(cell[0], action[0], strict=True)]
    found = zip(after["cell"][0].tolist(), outcome.reward[0].tolist(), outcome.terminated[0].tolist(), strict=True)
    assert list(found) == [(cell, reward, over) for _, cell, reward, over in told]


def test_each_member_pays_its_own():
    world = worlds.real("CliffWalking-v1")
    params = world.init(seeded(), 2)
    params["fall"][1] = -7
    state = world.reset(params, seeded(), 2)
    _, outcome = world.step(params, state, torch.tensor([[0, 1], [0, 1]]))
    assert outcome.reward.tolist() == [[-1, -100], [-1, -7]]
