"""Worlds by name: what exists, what a recipe asks for, and what a wrong name is told."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from synthenv import worlds
from synthenv.recipe import EnvRecipe


@pytest.mark.parametrize("target", worlds.targets())
def test_targets_are_real_tasks_that_gymnasium_knows(target):
    """With its spaces, flattened where they are not flat, and its time limit, where it has one."""
    env, world = gymnasium.make(target), worlds.real(target)
    assert world.name == target
    assert world.horizon == env.spec.max_episode_steps or env.spec.max_episode_steps is None
    seen = spaces.flatten_space(env.observation_space)
    assert world.spaces.observation == spaces.Box(seen.low, seen.high, dtype=np.float32)
    assert world.spaces.action == env.action_space


def test_targets_are_all_there():
    classic = {"Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"}
    assert classic | {"CliffWalking-v1", "GridWorld-v0"} <= set(worlds.targets())


@pytest.mark.parametrize("find", [worlds.named, worlds.real])
def test_a_wrong_name_is_told_the_right_one(find):
    with pytest.raises(ValueError, match="is called 'CartPoel-v1'; did you mean 'CartPole-v1'"):
        find("CartPoel-v1")


def test_a_form_is_no_task():
    with pytest.raises(ValueError, match="no real task is called 'bandit'"):
        worlds.real("bandit")


@pytest.mark.parametrize("form", ["bandit", "mdp"])
@pytest.mark.parametrize("action", [spaces.Discrete(3), spaces.Box(-2, 5, (2,), dtype=np.float32)], ids=str)
def test_a_recipe_decides_form_width_and_box(form, action):
    recipe = EnvRecipe("X-v0", "CartPole-v1", form, hidden=5, latent=2, activation="relu")
    centre, reach = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 0.5, 4.0])
    world = worlds.synthetic(recipe, action, centre, reach)
    assert isinstance(world, worlds.named(form))
    assert world.spaces.action == action
    assert world.spaces.observation.low.tolist() == [-1, 0, 1.5, -1]
    assert world.spaces.observation.high.tolist() == [1, 2, 2.5, 7]
    params = world.init(torch.Generator().manual_seed(0), 1)
    assert params["start.w0"].shape == (1, 2, 5)
    assert params["reward.w1"].shape == (1, 5, 3 if action.shape == () else 4)
    u = torch.randn((1, 3, 4), generator=torch.Generator().manual_seed(1))
    hidden = (u @ params["reward.w0"] + params["reward.b0"]).relu()
    torch.testing.assert_close(world.preferences(params, u), hidden @ params["reward.w1"] + params["reward.b1"])
