"""Rewards are worth what their own best actions earn on the real task."""

from dataclasses import replace

import pytest
import torch

from synthenv import rollout, worlds
from synthenv.meta.greedy import CHUNK, GreedyTask, changes, misreading, own_policy, remembering
from synthenv.recipe import GreedyStage, Search
from synthenv.tree import part, ravel, shapes, stack, take
from tests.meta import toys

WORLD, CAR = toys.world(), toys.world(target=toys.CAR.name)


def flat(world, right: bool = True) -> torch.Tensor:
    """A reward network that knows what to do, or the contrary: [D]."""
    return ravel(part(toys.teaching(world, right), "reward"))[0]


RIGHT, WRONG = flat(WORLD), flat(WORLD, False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task(
    slips: float = 0.0, episodes: int = 4, world=WORLD, real=toys.CARTPOLE, stretch: float = 1.0, calm: float = 0.0,
    misread: float = 0.0, **changes,
):  # fmt: skip
    recipe = toys.recipe(target=real.name, **changes)
    greedy = replace(recipe.greedy, slips=slips, episodes=episodes, stretch=stretch, calm=calm, misread=misread)
    like = shapes(part(world.init(torch.Generator(), 1), "reward"))
    return GreedyTask(replace(recipe, greedy=greedy), real, world, like)


def test_fitness_is_the_real_return_in_the_order_given():
    fitness, real_steps = task().fitness(torch.stack((WRONG, RIGHT, WRONG)), 0)
    assert fitness[1] == 500
    assert (fitness[[0, 2]] < 15).all()
    assert real_steps == 4 * fitness.sum(), "CartPole pays one a step"


def test_numbers_are_tried_out_as_choices_are():
    """The car that pushes on gets up the hill; the one that brakes pays for the whole time limit."""
    candidates = torch.stack((flat(CAR, False), flat(CAR)))
    fitness, real_steps = task(0.1, 2, CAR, toys.CAR).fitness(candidates, 0)
    assert fitness[0] < 0
    assert fitness[1] > 85
    assert 2 * 999 < real_steps < 2 * (999 + 300)


def test_changes_are_counted_within_episodes_alone():
    """Choices from step to step, in episodes of three steps, of one, and of all four."""
    wishes = torch.tensor([[[0, 0, 1]], [[1, 0, 1]], [[0, 1, 1]], [[1, 1, 0]]])
    wish, wanted = iter(wishes), []
    policy = remembering(lambda observation, generator: next(wish), wanted)
    acted = torch.stack([policy(torch.zeros(1, 3, 4), seeded()) for _ in wishes])
    assert acted.equal(wishes)
    assert changes(WORLD.payoff, wanted, torch.tensor([[3, 1, 4]])).tolist() == [[2, 0, 1]]
    assert changes(WORLD.payoff, wanted[:1], torch.ones(1, 3)).tolist() == [[0, 0, 0]], "one step, no change"


def test_a_box_is_as_far_across_as_two_halves():
    """From one edge to the other, and from the middle to an edge; what lies outside counts as the edge."""
    there, here = torch.tensor([[[-9.0], [0.0]]]), torch.tensor([[[1.0], [1.0]]])
    assert CAR.payoff.apart(there, here).tolist() == [[4, 1]]


def test_a_change_of_action_has_its_price():
    """The one that balances pays for each switch, the one that falls over at once never switches. Nothing at first, and
    the whole price in the second half of the search."""
    candidates = torch.stack((WRONG, RIGHT))
    calm = task(calm=0.5, greedy=GreedyStage(search=Search(generations=8)))
    assert [calm.price(generation) for generation in range(8)] == [0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5]
    for generation in (0, 5):
        plain, steps = task().fitness(candidates, generation)
        priced, again = calm.fitness(candidates, generation)
        assert steps == again
        assert priced[0] == plain[0]
        assert (plain[1] - priced[1] > 1) == (generation == 5)
        assert plain[1] - priced[1] < 0.5 * 499


def test_an_error_stays_for_the_episode():
    """It is added to whatever is observed, each episode's own, the same for all members and all steps."""
    error, told = torch.tensor([[1.0, 0, 0, 0], [0, 0, -2.0, 0]]), []
    policy = misreading(lambda observation, generator: told.append(observation), error)
    seen = [torch.randn((3, 2, 4), generator=seeded(step)) for step in range(2)]
    for observation in seen:
        policy(observation, seeded())
    for observation, heard in zip(seen, told, strict=True):
        torch.testing.assert_close(heard - observation, error.expand(3, -1, -1))


def test_what_is_misread_costs_return():
    """A pole that is seen where it is not falls, and the sooner the farther off it is seen."""
    exact, little, much = (
        task(episodes=64, misread=deviation).fitness(RIGHT[None], 0)[0].item() for deviation in (0.0, 1.0, 10.0)
    )
    assert exact == 500
    assert much < little < 500


def test_time_is_stretched_at_first():
    """By steps of equal size, to the task's own limit at half of the search."""
    longer = task(stretch=3.0, greedy=GreedyStage(search=Search(generations=8)))
    assert [longer.horizon(generation) for generation in range(8)] == [1500, 1250, 1000, 750, 500, 500, 500, 500]
    assert [task().horizon(generation) for generation in range(4)] == [500] * 4
    for generation, limit in ((0, 1500), (2, 1000), (5, 500)):
        fitness, real_steps = longer.fitness(RIGHT[None], generation)
        assert fitness.tolist() == [limit]
        assert real_steps == 4 * limit


@pytest.mark.parametrize("paired", [True, False])
def test_candidates_may_begin_alike(paired):
    """The same candidate twice: without slips only its starts can make it differ from itself."""
    fitness, _ = task(episodes=8, paired=paired).fitness(WRONG.repeat(5, 1), 0)
    assert len(fitness.unique()) == 1 if paired else len(fitness.unique()) > 1


def test_a_task_says_how_many_candidates_at_a_time():
    assert task().chunk == CHUNK
    own = worlds.real("tests.own_task:QuickSwing-v0")
    assert replace(task(), real=own).chunk == own.chunk < CHUNK


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
