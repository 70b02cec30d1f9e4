"""What every learner in the catalogue promises, with each of its switches and each kind of actions it accepts."""

import random
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synthenv import learners, rollout
from synthenv.rollout import Steps
from synthenv.tree import take
from synthenv.worlds import Spaces
from tests.probes import CARTPOLES, QUICK, experience, pairs, quick

POPULATION, UPDATES = 3, 6
AN_UPDATE = QUICK["length"] * QUICK["envs"]
BUDGET = UPDATES * AN_UPDATE
FAR = 12 * BUDGET
"""A budget whose first part `batches` are: what changes along it is still under way at their end."""
SHOWN = torch.randn((POPULATION, 500, 4), generator=torch.Generator().manual_seed(7))

pytestmark = pytest.mark.parametrize(("name", "switches", "world"), pairs(CARTPOLES))


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def made(name, switches, world, given=(), seed=0):
    """A learner and its untrained agents."""
    learner = quick(name, world.spaces, **switches)
    return learner, learner.init(learners.fill(learner, POPULATION, dict(given)), FAR, seeded(seed))


def batches(world) -> list[Steps]:
    """Experience that does not depend on who learns from it, with rewards small enough that no loss is cut straight."""
    lived = (experience(POPULATION, QUICK["length"], QUICK["envs"], seed, world) for seed in range(UPDATES))
    return [steps._replace(reward=0.1 * steps.reward) for steps in lived]


def changed(world, p: int) -> list[Steps]:
    """The same, but for what member p sees."""
    found = batches(world)
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


def test_an_agent_is_a_tree_of_members(name, switches, world):
    learner, agent = made(name, switches, world)
    after = live(learner, agent, batches(world))
    assert agent.keys() <= after.keys()
    for leaf, value in after.items():
        assert len(value) == POPULATION, leaf
        if leaf in agent:
            assert (value.shape, value.dtype) == (agent[leaf].shape, agent[leaf].dtype), leaf
    assert not torch.equal(after["flat"], agent["flat"])
    assert not torch.equal(agent["flat"][0], agent["flat"][1]), "members begin alike"


def test_members_learn_only_from_their_own(name, switches, world):
    learner, agent = made(name, switches, world)
    together = live(learner, agent, batches(world))
    for p in range(POPULATION):
        others = [q for q in range(POPULATION) if q != p]
        disturbed = live(learner, agent, changed(world, p))
        assert same(disturbed, together, others)
        assert not torch.equal(disturbed["flat"][p], together["flat"][p])
        begun = {**agent, "flat": agent["flat"] + 0.1 * (torch.arange(POPULATION) == p)[:, None]}
        elsewhere = live(learner, begun, batches(world))
        assert same(elsewhere, together, others)
        assert not torch.equal(elsewhere["value"][p], together["value"][p])


def test_members_learn_alone_what_they_learn_together(name, switches, world):
    learner, agent = made(name, switches, world, {"rate": torch.tensor([1e-2, 1e-3, 1e-4])})
    together = live(learner, agent, batches(world))
    for p in range(POPULATION):
        own = [Steps(*(leaf[p : p + 1] for leaf in steps)) for steps in batches(world)]
        alone = live(learner, take(agent, p), own)
        torch.testing.assert_close(alone["flat"][0], together["flat"][p], rtol=0, atol=1e-4)


def test_every_hyperparameter_counts_and_for_its_member_alone(name, switches, world):
    learner, _ = made(name, switches, world)
    plain = live(*made(name, switches, world), batches(world))
    for hyper, default in learner.defaults.items():
        values = torch.full((POPULATION,), default)
        values[1] = 1e-3 * default or 0.01
        tuned = live(*made(name, switches, world, {hyper: values}), batches(world))
        assert same(plain, tuned, [0, 2]), hyper
        moved = [leaf for leaf in ("flat", "act") if not torch.equal(plain[leaf][1], tuned[leaf][1])]
        assert moved, f"{hyper} changes nothing"


def test_a_member_without_a_rate_stays_as_it_is(name, switches, world):
    learner, agent = made(name, switches, world, {"rate": torch.tensor([0.0, 1e-3, 0.0])})
    after = live(learner, agent, batches(world))
    assert torch.equal(after["flat"][[0, 2]], agent["flat"][[0, 2]])
    assert (after["flat"][1] != agent["flat"][1]).float().mean() > 0.3


def trained(learner, agent, world, seed=1):
    params = world.init(seeded(), POPULATION)
    return learners.train(learner, agent, world, params, BUDGET, seeded(seed), world.horizon)


def test_repeats_itself_under_a_generator(name, switches, world):
    first, again, other = (trained(*made(name, switches, world, seed=seed), world, seed + 1) for seed in (0, 0, 1))
    assert same(first, again)
    assert not torch.equal(first["flat"], other["flat"])
    learner, agent = made(name, switches, world)
    elsewhere = trained(*made(name, switches, world), world, seed=5)
    assert not torch.equal(trained(learner, agent, world)["flat"], elsewhere["flat"])
    assert same(live(learner, agent, batches(world)), live(learner, agent, batches(world)))


def test_leaves_global_generators_alone(name, switches, world):
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    learner, agent = made(name, switches, world)
    learners.score(learner, trained(learner, agent, world), world, seeded(), 1, 10)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_leaves_the_agent_it_was_given_alone(name, switches, world):
    learner, agent = made(name, switches, world)
    for steps in batches(world):
        before = {leaf: value.clone() for leaf, value in agent.items() if leaf != "replay"}
        after = learner.update(agent, steps, seeded())
        assert same(before, agent)
        assert not any(value.requires_grad for tree in (agent, after) for value in tree.values())
        agent = after


@pytest.mark.parametrize("reward", [0.0, 1e6, -1e6], ids=["nothing", "much", "punishment"])
@pytest.mark.parametrize("ended", [False, True])
def test_stays_finite_when_nothing_happens(name, switches, world, reward, ended):
    """One and the same step for ever: advantages without spread, errors without bounds."""
    learner, agent = made(name, switches, world)
    dull = [
        steps._replace(
            observation=torch.zeros_like(steps.observation),
            following=torch.zeros_like(steps.following),
            action=torch.zeros_like(steps.action),
            reward=torch.full_like(steps.reward, reward),
            terminated=torch.full_like(steps.terminated, ended),
            truncated=torch.zeros_like(steps.truncated),
        )
        for steps in batches(world)
    ]
    after = live(learner, agent, dull)
    assert all(leaf.isfinite().all() for leaf in after.values())


def resized(world, size: int) -> Spaces:
    """A task with that many choices, or dimensions no two of which are alike."""
    if isinstance(world.spaces.action, spaces.Discrete):
        return Spaces(spaces.Box(-1, 1, (2,)), spaces.Discrete(size))
    far = np.arange(1, size + 1, dtype=np.float32)
    return Spaces(spaces.Box(-1, 1, (2,)), spaces.Box(-far / 2, far))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_tries_every_action_there_is(name, switches, world, size):
    task = resized(world, size)
    learner, box = quick(name, task, **switches), isinstance(task.action, spaces.Box)
    agent = learner.init(learners.fill(learner, POPULATION, {}), BUDGET, seeded())
    action = learner.act(agent, SHOWN[..., :2], seeded())
    assert action.shape == (POPULATION, SHOWN.shape[1], *task.action.shape)
    assert action.dtype == (torch.float32 if box else torch.int64)
    assert learner.value(agent, SHOWN[..., :2]).shape == SHOWN.shape[:2]
    middle = torch.as_tensor((task.action.low + task.action.high) / 2) if box else None
    for p in range(POPULATION):
        if box:
            assert ((action[p] < middle).any(0) & (action[p] > middle).any(0)).all()
        else:
            assert action[p].unique().tolist() == list(range(size))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_uses_only_actions_there_are(name, switches, world, size):
    """Also with weights so large that a policy would like to go beyond."""
    task = resized(world, size)
    learner = quick(name, task, **switches)
    agent = learner.init(learners.fill(learner, POPULATION, {}), BUDGET, seeded())
    best = learner.best({**agent, "flat": 30 * agent["flat"]}, SHOWN[..., :2])
    assert best.shape == (POPULATION, SHOWN.shape[1], *task.action.shape)
    assert all(task.action.contains(action) for action in best.flatten(0, 1).numpy())


def test_worlds_are_given_the_nearest_action_they_have(name, switches, world, monkeypatch):
    """While the learner is told what it drew."""
    learner, agent = made(name, switches, world)
    given, told, step, update = [], [], world.step, type(learner).update

    def watched(params, state, action, generator=None):
        given.append(action)
        return step(params, state, action, generator)

    def watching(self, agent, steps, generator):
        told.append(steps.action)
        return update(self, agent, steps, generator)

    monkeypatch.setattr(world, "step", watched)
    monkeypatch.setattr(type(learner), "update", watching)
    trained(learner, agent, world)
    drawn, action = torch.cat(told, 1), world.spaces.action
    if isinstance(action, spaces.Box):
        drawn = drawn.clamp(torch.as_tensor(action.low), torch.as_tensor(action.high))
    assert torch.equal(torch.stack(given, 1), drawn)


@pytest.mark.parametrize("steps", [1, AN_UPDATE, AN_UPDATE + 1, BUDGET])
def test_learning_stops_when_the_steps_are_spent(name, switches, world, steps):
    learner, agent = made(name, switches, world)
    params = world.init(seeded(), POPULATION)
    told = list(learners.learn(learner, agent, world, params, steps, seeded(1), world.horizon))
    updates = -(-steps // AN_UPDATE)
    assert [spent for spent, _ in told] == [AN_UPDATE * k for k in range(1, updates + 1)]
    if steps == BUDGET:
        assert same(told[-1][1], trained(*made(name, switches, world), world))


def test_is_scored_without_exploration(name, switches, world):
    learner, agent = made(name, switches, world)
    returns, steps = learners.score(learner, agent, world, seeded(), 5, world.horizon)
    assert returns.shape == (POPULATION, 5)
    assert steps == returns.sum(), "CartPole pays one a step"

    def best(observation, generator):
        return learner.best(agent, observation)

    params, generator = world.init(seeded(), POPULATION), seeded()
    expected, _ = rollout.evaluate(world, params, best, generator, 5, world.horizon)
    assert torch.equal(returns, expected)


def test_names_what_it_does_not_know(name, switches, world):
    with pytest.raises(ValueError, match=f"no learner is called '{name}x'; did you mean '{name}'"):
        learners.named(name + "x", world.spaces)
    with pytest.raises(ValueError, match=f"{name} has no key 'lenght'; did you mean 'length'"):
        learners.named(name, world.spaces, lenght=3)
    with pytest.raises(ValueError, match="length must be int, got 'long'"):
        learners.named(name, world.spaces, length="long")
    learner = learners.named(name, world.spaces, **switches)
    with pytest.raises(ValueError, match=f"no hyperparameter of {name} is called 'ratte'; did you mean 'rate'"):
        learners.fill(learner, 2, {"ratte": 1e-3})
    with pytest.raises(FrozenInstanceError):
        learner.length = 3


def test_refuses_actions_it_has_no_policy_for(name, switches, world):
    """And names who has one, if anybody."""
    accepted = type(quick(name, world.spaces, **switches)).actions
    usual = [spaces.Discrete(2), spaces.Box(-1, 1, (1,))]
    odd = [spaces.Box(-1, 1, (2, 2)), spaces.Box(-np.inf, np.inf, (1,)), spaces.MultiBinary(3)]
    others = [action for action in usual if not isinstance(action, accepted)]
    for action, hint in [*((action, "try .*ppo") for action in others), *((action, "nor has any") for action in odd)]:
        said = rf"expected a task with .* actions, got {re.escape(str(action))}; {name} has no other policy, {hint}"
        with pytest.raises(ValueError, match=said):
            learners.named(name, world.spaces._replace(action=action), **switches)


def test_hyperparameters_are_filled_in_for_every_member(name, switches, world):
    learner = learners.named(name, world.spaces, **switches)
    hyper = learners.fill(learner, 3, {"rate": torch.tensor([1.0, 2.0, 3.0]), "gamma": 0.5})
    assert hyper.keys() == learner.defaults.keys()
    expected = {**{key: [value] * 3 for key, value in learner.defaults.items()}, "rate": [1, 2, 3], "gamma": [0.5] * 3}
    for key, leaf in hyper.items():
        assert leaf.tolist() == pytest.approx(expected[key])
        assert leaf.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_learns_where_the_generator_is(name, switches, world):
    learner, generator = quick(name, world.spaces, **switches), seeded(0, "cuda")
    agent = learner.init(learners.fill(learner, POPULATION, {}, "cuda"), BUDGET, generator)
    params = world.init(generator, POPULATION)
    agent = learners.train(learner, agent, world, params, BUDGET, generator, world.horizon)
    returns, _ = learners.score(learner, agent, world, generator, 2, 20)
    assert {leaf.device.type for leaf in (*agent.values(), returns)} == {"cuda"}
