"""What every learner in the catalogue promises, with each of its switches."""

import random
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synthenv import learners, rollout, worlds
from synthenv.rollout import Steps
from synthenv.tree import take
from tests.probes import IDS, QUICK, VARIANTS, experience, quick

CARTPOLE = worlds.real("CartPole-v1")
POPULATION, UPDATES = 3, 6
AN_UPDATE = QUICK["length"] * QUICK["envs"]
BUDGET = UPDATES * AN_UPDATE
FAR = 12 * BUDGET
"""A budget whose first part `batches` are: what changes along it is still under way at their end."""
SHOWN = torch.randn((POPULATION, 500, 4), generator=torch.Generator().manual_seed(7))

pytestmark = pytest.mark.parametrize(("name", "switches"), VARIANTS, ids=IDS)


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def made(name, switches, given=(), seed=0):
    """A learner and its untrained agents."""
    learner = quick(name, CARTPOLE.spaces, **switches)
    return learner, learner.init(learners.fill(learner, POPULATION, dict(given)), FAR, seeded(seed))


def batches() -> list[Steps]:
    """Experience that does not depend on who learns from it, with rewards small enough that no loss is cut straight."""
    lived = (experience(POPULATION, QUICK["length"], QUICK["envs"], seed) for seed in range(UPDATES))
    return [steps._replace(reward=0.1 * steps.reward) for steps in lived]


def changed(p: int) -> list[Steps]:
    """The same, but for what member p sees."""
    found = batches()
    for steps in found:
        for seen in (steps.observation, steps.following):
            seen[p] += 0.5
    return found


def live(learner, agent, experienced, seed=1):
    """What agents are and show after learning: leaves [P, ...]."""
    agent = {leaf: value.clone() for leaf, value in agent.items()}  # replay memory may be written in place
    generator = seeded(seed)
    for steps in experienced:
        agent = learner.update(agent, steps, generator)
    shown = SHOWN[: len(agent["flat"])]
    with torch.no_grad():
        shows = {name: getattr(learner, name)(agent, shown) for name in ("value", "best")}
        return {**agent, **shows, "act": learner.act(agent, shown, generator)}


def same(one, other, members=slice(None)) -> bool:
    return all(torch.equal(leaf[members], other[name][members]) for name, leaf in one.items())


def test_an_agent_is_a_tree_of_members(name, switches):
    learner, agent = made(name, switches)
    after = live(learner, agent, batches())
    assert agent.keys() <= after.keys()
    for leaf, value in after.items():
        assert len(value) == POPULATION, leaf
        if leaf in agent:
            assert (value.shape, value.dtype) == (agent[leaf].shape, agent[leaf].dtype), leaf
    assert not torch.equal(after["flat"], agent["flat"])
    assert not torch.equal(agent["flat"][0], agent["flat"][1]), "members begin alike"


def test_members_learn_only_from_their_own(name, switches):
    learner, agent = made(name, switches)
    together = live(learner, agent, batches())
    for p in range(POPULATION):
        others = [q for q in range(POPULATION) if q != p]
        disturbed = live(learner, agent, changed(p))
        assert same(disturbed, together, others)
        assert not torch.equal(disturbed["flat"][p], together["flat"][p])
        begun = {**agent, "flat": agent["flat"] + 0.1 * (torch.arange(POPULATION) == p)[:, None]}
        elsewhere = live(learner, begun, batches())
        assert same(elsewhere, together, others)
        assert not torch.equal(elsewhere["value"][p], together["value"][p])


def test_members_learn_alone_what_they_learn_together(name, switches):
    learner, agent = made(name, switches, {"rate": torch.tensor([1e-2, 1e-3, 1e-4])})
    together = live(learner, agent, batches())
    for p in range(POPULATION):
        own = [Steps(*(leaf[p : p + 1] for leaf in steps)) for steps in batches()]
        alone = live(learner, take(agent, p), own)
        torch.testing.assert_close(alone["flat"][0], together["flat"][p], rtol=0, atol=1e-4)


def test_every_hyperparameter_counts_and_for_its_member_alone(name, switches):
    learner, _ = made(name, switches)
    plain = live(*made(name, switches), batches())
    for hyper, default in learner.defaults.items():
        values = torch.full((POPULATION,), default)
        values[1] = 1e-3 * default or 0.01
        tuned = live(*made(name, switches, {hyper: values}), batches())
        assert same(plain, tuned, [0, 2]), hyper
        moved = [leaf for leaf in ("flat", "act") if not torch.equal(plain[leaf][1], tuned[leaf][1])]
        assert moved, f"{hyper} changes nothing"


def test_a_member_without_a_rate_stays_as_it_is(name, switches):
    learner, agent = made(name, switches, {"rate": torch.tensor([0.0, 1e-3, 0.0])})
    after = live(learner, agent, batches())
    assert torch.equal(after["flat"][[0, 2]], agent["flat"][[0, 2]])
    assert (after["flat"][1] != agent["flat"][1]).float().mean() > 0.3


def trained(learner, agent, seed=1):
    params = CARTPOLE.init(seeded(), POPULATION)
    return learners.train(learner, agent, CARTPOLE, params, BUDGET, seeded(seed), CARTPOLE.horizon)


def test_repeats_itself_under_a_generator(name, switches):
    first, again, other = (trained(*made(name, switches, seed=seed), seed + 1) for seed in (0, 0, 1))
    assert same(first, again)
    assert not torch.equal(first["flat"], other["flat"])
    learner, agent = made(name, switches)
    assert not torch.equal(trained(learner, agent)["flat"], trained(*made(name, switches), seed=5)["flat"])
    assert same(live(learner, agent, batches()), live(learner, agent, batches()))


def test_leaves_global_generators_alone(name, switches):
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    learner, agent = made(name, switches)
    learners.score(learner, trained(learner, agent), CARTPOLE, seeded(), 1, 10)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_leaves_the_agent_it_was_given_alone(name, switches):
    learner, agent = made(name, switches)
    for steps in batches():
        before = {leaf: value.clone() for leaf, value in agent.items() if not leaf.startswith("replay.")}
        after = learner.update(agent, steps, seeded())
        assert same(before, agent)
        assert not any(value.requires_grad for tree in (agent, after) for value in tree.values())
        agent = after


@pytest.mark.parametrize("reward", [0.0, 1e6, -1e6], ids=["nothing", "much", "punishment"])
@pytest.mark.parametrize("ended", [False, True])
def test_stays_finite_when_nothing_happens(name, switches, reward, ended):
    """One and the same step for ever: advantages without spread, errors without bounds."""
    learner, agent = made(name, switches)
    dull = [
        steps._replace(
            observation=torch.zeros_like(steps.observation),
            following=torch.zeros_like(steps.following),
            action=torch.zeros_like(steps.action),
            reward=torch.full_like(steps.reward, reward),
            terminated=torch.full_like(steps.terminated, ended),
            truncated=torch.zeros_like(steps.truncated),
        )
        for steps in batches()
    ]
    after = live(learner, agent, dull)
    assert all(leaf.isfinite().all() for leaf in after.values())


@pytest.mark.parametrize("choices", [2, 3, 7])
def test_tries_every_action_there_is(name, switches, choices):
    task = worlds.Spaces(spaces.Box(-1, 1, (2,)), spaces.Discrete(choices))
    learner = quick(name, task, **switches)
    agent = learner.init(learners.fill(learner, POPULATION, {}), BUDGET, seeded())
    action, best = (act(agent, SHOWN[..., :2], *more) for act, *more in ((learner.act, seeded()), (learner.best,)))
    assert action.shape == best.shape == SHOWN.shape[:2]
    assert action.dtype == best.dtype == torch.int64
    assert learner.value(agent, SHOWN[..., :2]).shape == SHOWN.shape[:2]
    for p in range(POPULATION):
        assert action[p].unique().tolist() == list(range(choices))
    assert 0 <= best.min() <= best.max() < choices


@pytest.mark.parametrize("steps", [1, AN_UPDATE, AN_UPDATE + 1, BUDGET])
def test_learning_stops_when_the_steps_are_spent(name, switches, steps):
    learner, agent = made(name, switches)
    params = CARTPOLE.init(seeded(), POPULATION)
    told = list(learners.learn(learner, agent, CARTPOLE, params, steps, seeded(1), CARTPOLE.horizon))
    updates = -(-steps // AN_UPDATE)
    assert [spent for spent, _ in told] == [AN_UPDATE * k for k in range(1, updates + 1)]
    if steps == BUDGET:
        assert same(told[-1][1], trained(*made(name, switches)))


def test_is_scored_without_exploration(name, switches):
    learner, agent = made(name, switches)
    returns, steps = learners.score(learner, agent, CARTPOLE, seeded(), 5, CARTPOLE.horizon)
    assert returns.shape == (POPULATION, 5)
    assert steps == returns.sum(), "CartPole pays one a step"

    def best(observation, generator):
        return learner.best(agent, observation)

    params, generator = CARTPOLE.init(seeded(), POPULATION), seeded()
    expected, _ = rollout.evaluate(CARTPOLE, params, best, generator, 5, CARTPOLE.horizon)
    assert torch.equal(returns, expected)


def test_names_what_it_does_not_know(name, switches):
    with pytest.raises(ValueError, match=f"no learner is called '{name}x'; did you mean '{name}'"):
        learners.named(name + "x", CARTPOLE.spaces)
    with pytest.raises(ValueError, match=f"{name} has no key 'lenght'; did you mean 'length'"):
        learners.named(name, CARTPOLE.spaces, lenght=3)
    with pytest.raises(ValueError, match="length must be int, got 'long'"):
        learners.named(name, CARTPOLE.spaces, length="long")
    learner = learners.named(name, CARTPOLE.spaces, **switches)
    with pytest.raises(ValueError, match=f"no hyperparameter of {name} is called 'ratte'; did you mean 'rate'"):
        learners.fill(learner, 2, {"ratte": 1e-3})
    with pytest.raises(FrozenInstanceError):
        learner.length = 3


def test_refuses_actions_it_has_no_policy_for(name, switches):
    torque = worlds.Spaces(CARTPOLE.spaces.observation, spaces.Box(-1, 1, (1,)))

    def begin():
        learner = learners.named(name, torque, **switches)
        return learner.init(learners.fill(learner, 2, {}), BUDGET, seeded())

    with pytest.raises(ValueError, match=r"expected a task with Discrete actions, got Box\(-1"):
        begin()


def test_hyperparameters_are_filled_in_for_every_member(name, switches):
    learner = learners.named(name, CARTPOLE.spaces, **switches)
    hyper = learners.fill(learner, 3, {"rate": torch.tensor([1.0, 2.0, 3.0]), "gamma": 0.5})
    assert hyper.keys() == learner.defaults.keys()
    expected = {**{key: [value] * 3 for key, value in learner.defaults.items()}, "rate": [1, 2, 3], "gamma": [0.5] * 3}
    for key, leaf in hyper.items():
        assert leaf.tolist() == pytest.approx(expected[key])
        assert leaf.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_learns_where_the_generator_is(name, switches):
    learner, generator = quick(name, CARTPOLE.spaces, **switches), seeded(0, "cuda")
    agent = learner.init(learners.fill(learner, POPULATION, {}, "cuda"), BUDGET, generator)
    params = CARTPOLE.init(generator, POPULATION)
    agent = learners.train(learner, agent, CARTPOLE, params, BUDGET, generator, CARTPOLE.horizon)
    returns, _ = learners.score(learner, agent, CARTPOLE, generator, 2, 20)
    assert {leaf.device.type for leaf in (*agent.values(), returns)} == {"cuda"}
