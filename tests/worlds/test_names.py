"""Worlds by name: what exists, what a recipe asks for, and what a wrong name is told."""

import gymnasium
import pytest
import torch

from synthenv import worlds
from synthenv.recipe import EnvRecipe


def test_targets_are_real_tasks_that_gymnasium_knows():
    assert "CartPole-v1" in worlds.targets()
    for target in worlds.targets():
        spec = gymnasium.spec(target)
        assert worlds.real(target).horizon == spec.max_episode_steps


@pytest.mark.parametrize("find", [worlds.named, worlds.real])
def test_a_wrong_name_is_told_the_right_one(find):
    with pytest.raises(ValueError, match="is called 'CartPole-v0'; did you mean 'CartPole-v1'"):
        find("CartPole-v0")


def test_a_form_is_no_task():
    with pytest.raises(ValueError, match="no real task is called 'bandit'"):
        worlds.real("bandit")


@pytest.mark.parametrize("form", ["bandit", "mdp"])
def test_a_recipe_decides_form_width_and_box(form):
    recipe = EnvRecipe("X-v0", "CartPole-v1", form, hidden=5, latent=2, activation="relu")
    centre, reach = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 0.5, 4.0])
    world = worlds.synthetic(recipe, centre, reach)
    assert isinstance(world, worlds.named(form))
    assert world.spaces.observation.low.tolist() == [-1, 0, 1.5, -1]
    assert world.spaces.observation.high.tolist() == [1, 2, 2.5, 7]
    params = world.init(torch.Generator().manual_seed(0), 1)
    assert params["start.w0"].shape == (1, 2, 5)
    assert params["reward.w1"].shape == (1, 5, 2)
    u = torch.randn((1, 3, 4), generator=torch.Generator().manual_seed(1))
    hidden = (u @ params["reward.w0"] + params["reward.b0"]).relu()
    torch.testing.assert_close(world.preferences(params, u), hidden @ params["reward.w1"] + params["reward.b1"])
