"""Worlds are worth what agents trained inside them earn outside."""

from dataclasses import replace

import pytest
import torch

from synthenv import learners
from synthenv.meta import inner
from synthenv.meta.inner import InnerTask, drawn, graduates, tiled
from synthenv.recipe import Inner, InnerStage
from synthenv.tree import ravel, shapes
from tests.meta import toys

LESSON = Inner(
    "ppo", 2048, {"envs": 16, "length": 16, "epochs": 8, "hidden": (16, 16)}, {"rate": (1e-2,), "gamma": (0.5,)}
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task(form: str = "bandit", real=toys.CARTPOLE, paired: bool = False, **stage) -> InnerTask:
    """A task in which everything evolves."""
    inner = InnerStage(**{"agents": 2, "episodes": 3, "loops": (LESSON,), **stage})
    recipe, world = toys.recipe(form, real.name, inner=inner, paired=paired), toys.world(form, real.name)
    return InnerTask(recipe, real, world, {}, shapes(toys.teaching(world)))


def candidates(form: str = "bandit", order=(True, False, True), real=toys.CARTPOLE) -> torch.Tensor:
    """Worlds that teach to balance, or to fall: [P, D]."""
    return torch.cat([ravel(toys.teaching(toys.world(form, real.name), right)) for right in order])


def test_good_worlds_are_worth_more_in_the_order_given():
    fitness, real_steps = task().fitness(candidates(), 0)
    assert (fitness[[0, 2]] > 50).all()
    assert fitness[1] < 15
    assert real_steps >= 2 * 3 * fitness.sum() - 1, "CartPole pays one a step, and the worst agent counts twice"


def test_the_multi_step_form_teaches_too():
    fitness, _ = task("mdp").fitness(candidates("mdp", (False, True)), 0)
    assert fitness[0] < 15
    assert fitness[1] > 250


def test_numbers_are_taught_as_choices_are():
    """To push on, or to brake, which pays nothing for the whole time limit."""
    lesson = replace(LESSON, steps=1024, draws={"rate": (1e-2,), "gamma": (0.5,)})
    fitness, real_steps = task(real=toys.CAR, loops=(lesson,), episodes=1).fitness(
        candidates(order=(False, True), real=toys.CAR), 0
    )
    assert fitness[0] < 0
    assert fitness[1] > 50
    assert 2 * 999 < real_steps < 4 * 999


@pytest.mark.parametrize("paired", [True, False])
def test_agents_may_be_scored_from_the_same_starts(monkeypatch, paired):
    """Agents that learn nothing, the same ones for both candidates."""
    monkeypatch.setattr(learners, "train", lambda learner, agent, *_: agent)
    params = {name: torch.cat((leaf, leaf)) for name, leaf in toys.teaching(toys.world()).items()}
    returns, _ = graduates(task(paired=paired), LESSON, params, 3, 20, seeded())
    assert torch.equal(returns[0], returns[1]) == paired
    assert (returns[0].float().std(-1) > 0).all(), "starts differ from episode to episode"


def test_luck_follows_from_seed_and_generation():
    short = (replace(LESSON, steps=256),)
    one = task(loops=short)
    first, again, other = (one.fitness(candidates(), generation) for generation in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    assert not torch.equal(first[0], other[0])
    reseeded = replace(one, recipe=replace(one.recipe, seed=1))
    assert not torch.equal(first[0], reseeded.fitness(candidates(), 5)[0])


def test_what_is_fixed_is_the_same_for_all():
    """Only the reward's last layer evolves; the rest is given to every candidate."""
    whole = task()
    params = toys.teaching(toys.world())
    last = {name: leaf for name, leaf in params.items() if name == "reward.w1"}
    fixed = {name: leaf for name, leaf in params.items() if name not in last}
    partial = replace(whole, fixed=fixed, like=shapes(last))
    flat = torch.cat((ravel(last), -ravel(last), ravel(last)))
    torch.testing.assert_close(partial.fitness(flat, 0)[0], whole.fitness(candidates(), 0)[0])


@pytest.mark.parametrize("tail", [0.0, 0.5, 1.0])
def test_fitness_minds_the_worst_agent(monkeypatch, tail):
    returns = torch.tensor([[[10.0, 30.0], [40.0, 80.0]], [[500.0, 500.0], [0.0, 0.0]]])  # [P, R, E]
    loops = (LESSON, replace(LESSON, steps=7), replace(LESSON, algorithm="a2c"))
    asked = []

    def known(task, loop, params, agents, episodes, generator):
        asked.append((loop, agents, episodes))
        return returns, 44

    monkeypatch.setattr(inner, "graduates", known)
    for generation in range(4):
        fitness, real_steps = task(tail=tail, loops=loops).fitness(candidates(order=(True, False)), generation)
        expected = [(1 - tail) * 40 + tail * 20, (1 - tail) * 250]
        assert fitness.tolist() == pytest.approx(expected)
        assert real_steps == 44
    assert asked == [(loops[k], 2, 3) for k in (0, 1, 2, 0)], "generation g uses loop g modulo their number"


@pytest.mark.parametrize(("form", "limit"), [("bandit", None), ("mdp", 20)])
def test_candidates_share_agents_and_luck_of_the_draw(monkeypatch, form, limit):
    """R agents with their own weights and hyperparameters, the same ones for every candidate."""
    given = []

    def watched(learner, agent, world, params, steps, generator, horizon):
        given.append((agent, params, steps, horizon))
        return agent

    monkeypatch.setattr(learners, "train", watched)
    loop = Inner("a2c", 300, {"envs": 4}, {"rate": (1e-2, 1e-3, 1e-4), "gamma": (0.9, 0.8)})
    params = {name: torch.cat((leaf, leaf + 1)) for name, leaf in toys.teaching(toys.world(form)).items()}
    returns, real_steps = graduates(task(form), loop, params, 3, 2, seeded(4))
    ((agent, worlds, steps, horizon),) = given
    assert returns.shape == (2, 3, 2)
    assert real_steps == returns.sum()
    assert (steps, horizon) == (300, limit)
    for leaf in agent.values():
        assert torch.equal(leaf[:3], leaf[3:])
    assert len(agent["flat"].unique(dim=0)) == 3
    assert agent["hyper.rate"].unique().numel() > 1
    for name, leaf in params.items():
        assert torch.equal(worlds[name], leaf[[0, 0, 0, 1, 1, 1]])


def test_hyperparameters_are_drawn_from_the_list_all_alike():
    learner = learners.named("ppo", toys.CARTPOLE.spaces)
    loop = Inner("ppo", draws={"rate": (1e-2, 1e-3, 1e-3), "clip": (0.1, 0.4)})
    hyper = drawn(learner, loop, 3000, seeded())
    rates, clips = hyper["rate"], hyper["clip"]
    assert (rates == 1e-2).float().mean().item() == pytest.approx(1 / 3, abs=0.04)
    assert (rates == 1e-3).float().mean().item() == pytest.approx(2 / 3, abs=0.04)
    assert set(clips.tolist()) == set(torch.tensor([0.1, 0.4]).tolist())
    both = ((rates == 1e-2) & (clips < 0.2)).float().mean().item()
    assert both == pytest.approx(1 / 6, abs=0.03), "each is drawn by itself"
    for name, default in learner.defaults.items():
        if name not in loop.draws:
            assert (hyper[name] == default).all()


def test_tiled_goes_candidate_by_candidate():
    agent = {"flat": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "seen": torch.tensor([5, 6])}
    assert {name: leaf.tolist() for name, leaf in tiled(agent, 2).items()} == {
        "flat": [[1, 2], [3, 4], [1, 2], [3, 4]],
        "seen": [5, 6, 5, 6],
    }
