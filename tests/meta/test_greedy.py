"""Rewards are worth what their own best actions earn on the real task."""

from dataclasses import replace

import pytest
import torch

from synthenv import rollout
from synthenv.meta.greedy import GreedyTask, own_policy, slipping
from synthenv.tree import part, ravel, shapes, stack, take
from tests.meta import toys

WORLD = toys.world()
RIGHT, WRONG = (ravel(part(toys.teaching(WORLD, right), "reward"))[0] for right in (True, False))
LIKE = shapes(part(WORLD.init(torch.Generator(), 1), "reward"))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task(slips: float = 0.0, episodes: int = 4, seed: int = 0) -> GreedyTask:
    recipe = toys.recipe(seed=seed)
    greedy = replace(recipe.greedy, slips=slips, episodes=episodes)
    return GreedyTask(replace(recipe, greedy=greedy), toys.CARTPOLE, WORLD, LIKE)


def test_fitness_is_the_real_return_in_the_order_given():
    fitness, real_steps = task().fitness(torch.stack((WRONG, RIGHT, WRONG)), 0)
    assert fitness[1] == 500
    assert (fitness[[0, 2]] < 15).all()
    assert real_steps == 4 * fitness.sum(), "CartPole pays one a step"


def test_slips_cost_return():
    clean, slippery, random = (task(slips, 32).fitness(WRONG[None], 0)[0] for slips in (0.0, 0.3, 1.0))
    assert clean < slippery < random, "chance is better than the worst policy"
    assert 15 < random < 30, "a random policy lasts about 22 steps"
    assert 200 < task(0.5, 32).fitness(RIGHT[None], 0)[0] < 500


def test_luck_follows_from_seed_and_generation():
    candidates = torch.stack((RIGHT, WRONG)).repeat(2, 1)
    first, again = (task(0.5).fitness(candidates, 3) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    assert not torch.equal(first[0], task(0.5).fitness(candidates, 4)[0])
    assert not torch.equal(first[0], task(0.5, seed=1).fitness(candidates, 3)[0])


def test_own_policy_does_what_the_reward_pays_most():
    params = stack([take(toys.teaching(WORLD, right), 0) for right in (True, False)])
    params = {name: leaf[:, 0] for name, leaf in params.items()}
    observation = torch.randn((2, 50, 4), generator=seeded())
    action = own_policy(WORLD, params)(observation, seeded())
    paid = WORLD.preferences(params, (observation - WORLD.centre) / WORLD.reach)
    assert torch.equal(action, paid.argmax(-1))
    assert 0 < action[0].float().mean() < 1
    push = (observation[0] @ torch.tensor([0.1, 0.5, 5.0, 1.0]) > 0).long()
    assert torch.equal(action[0], push)
    returns, _ = rollout.evaluate(
        toys.CARTPOLE, toys.CARTPOLE.init(seeded(), 2), own_policy(WORLD, params), seeded(), 5, 500
    )
    assert (returns[0] == 500).all()
    assert (returns[1] < 15).all()


@pytest.mark.parametrize("choices", [2, 3])
def test_slipping_replaces_a_share_of_each_episodes_actions(choices):
    share, often = torch.tensor([0.0, 0.25, 1.0]), 6000
    seen = []

    def always_one(observation, generator):
        seen.append(observation)
        return torch.ones(observation.shape[:2], dtype=torch.long)

    shown = torch.zeros(often, 3, 4)
    action = slipping(always_one, choices, share)(shown, seeded())
    assert seen == [shown]
    assert action.dtype == torch.int64
    others = share * (choices - 1) / choices
    torch.testing.assert_close((action != 1).float().mean(0), others, rtol=0, atol=0.02)
    assert sorted(action[:, 2].unique().tolist()) == list(range(choices))
    alike = slipping(always_one, choices, 0.25)(shown, seeded())
    torch.testing.assert_close((alike != 1).float().mean(0), others[1].expand(3), rtol=0, atol=0.02)
