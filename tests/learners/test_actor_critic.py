"""Advantages, policies and first weights of policy-gradient learners, against slow or independent witnesses."""

import math

import pytest
import torch
from gymnasium.spaces import Discrete
from torch.distributions import Categorical

from synthenv import learners, worlds
from synthenv.learners.actor_critic import ActorCritic, advantages
from synthenv.rollout import Steps
from synthenv.tree import unravel
from tests.probes import experience

SPACES = worlds.real("CartPole-v1").spaces
POPULATION, LENGTH, N = 3, 12, 4
GAMMA, LAM = torch.tensor([0.99, 0.5, 1.0]), torch.tensor([0.95, 1.0, 0.3])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_steps(terminations: float, truncations: float) -> tuple[Steps, torch.Tensor, torch.Tensor]:
    """Rewards and ends drawn at random, and values of what was seen before and after each step."""
    reward, now, then = torch.randn((3, POPULATION, LENGTH, N), generator=seeded())
    chance = torch.rand((POPULATION, LENGTH, N), generator=seeded(1))
    terminated, truncated = chance < terminations, chance > 1 - truncations
    nothing = torch.zeros(POPULATION, LENGTH, N, 4)
    return Steps(nothing, nothing[..., 0].long(), reward, terminated, truncated, nothing), now, then


def slow_advantage(steps, now, then, p, t, n):
    """Equation 16 of the paper, term by term, until the episode or the data end."""
    total, weight = 0.0, 1.0
    for k in range(t, LENGTH):
        beyond = 0.0 if steps.terminated[p, k, n] else GAMMA[p] * then[p, k, n]
        total += weight * (steps.reward[p, k, n] + beyond - now[p, k, n])
        if steps.terminated[p, k, n] or steps.truncated[p, k, n]:
            break
        weight *= GAMMA[p] * LAM[p]
    return float(total)


@pytest.mark.parametrize(("terminations", "truncations"), [(0, 0), (0.2, 0), (0, 0.2), (0.2, 0.2), (1, 0), (0, 1)])
def test_advantages_are_the_papers(terminations, truncations):
    steps, now, then = random_steps(terminations, truncations)
    found = advantages(steps, now, then, GAMMA, LAM)
    for p in range(POPULATION):
        for t in range(LENGTH):
            for n in range(N):
                expected = slow_advantage(steps, now, then, p, t, n)
                assert found[p, t, n].item() == pytest.approx(expected, rel=1e-4, abs=1e-5), (p, t, n)


@pytest.fixture
def learner():
    return ActorCritic(SPACES)


@pytest.fixture
def agent(learner):
    """Agents whose policies prefer something, unlike fresh ones."""
    agent = learner.init(learners.fill(learners.named("a2c", SPACES), POPULATION, {}), 100, seeded())
    networks = unravel(agent["flat"], learner.shapes)
    networks["actor.w2"] *= 200
    return agent


def test_fresh_agents_hardly_prefer_anything(learner):
    """Gains of Stable-Baselines3: sqrt 2, then 0.01 for the actor and 1 for the critic; members differ."""
    hyper = learners.fill(learners.named("a2c", SPACES), POPULATION, {})
    networks = unravel(learner.init(hyper, 100, seeded())["flat"], learner.shapes)
    gains = {"actor": (math.sqrt(2), math.sqrt(2), 0.01), "critic": (math.sqrt(2), math.sqrt(2), 1.0)}
    for body, expected in gains.items():
        for layer, gain in enumerate(expected):
            weight = networks[f"{body}.w{layer}"]
            norms = torch.linalg.matrix_norm(weight, 2)
            torch.testing.assert_close(norms, torch.full((POPULATION,), gain))
            assert not networks[f"{body}.b{layer}"].any()
            assert not torch.equal(weight[0], weight[1])
    shown = experience(POPULATION, 1, 50).observation[:, 0]
    log, _ = learner.log_probability(networks, shown, torch.zeros(POPULATION, 50, dtype=torch.long))
    torch.testing.assert_close(log, torch.full_like(log, -math.log(2)), rtol=0, atol=1e-2)


def test_actor_and_critic_share_nothing(learner, agent):
    networks = unravel(agent["flat"], learner.shapes)
    shown = experience(POPULATION, 1, 5).observation[:, 0]
    worth, logits = learner.worth(networks, shown), learner.logits(networks, shown)
    assert torch.equal(worth, learner.value(agent, shown))
    silent = {name: leaf * (not name.startswith("critic")) for name, leaf in networks.items()}
    assert torch.equal(learner.logits(silent, shown), logits)
    assert worth.all()
    assert not learner.worth(silent, shown).any()
    deaf = {name: leaf * (not name.startswith("actor")) for name, leaf in networks.items()}
    assert torch.equal(learner.worth(deaf, shown), worth)
    assert not learner.logits(deaf, shown).any()


def test_probabilities_and_entropy_are_torchs(learner, agent):
    networks = unravel(agent["flat"], learner.shapes)
    steps = experience(POPULATION, 20, 3)
    shown, action = steps.observation.flatten(1, 2), steps.action.flatten(1)
    witness = Categorical(logits=learner.logits(networks, shown))
    log, entropy = learner.log_probability(networks, shown, action)
    torch.testing.assert_close(log, witness.log_prob(action))
    torch.testing.assert_close(entropy, witness.entropy())
    assert entropy.min() < 0.6 < log.exp().max(), "a policy without preferences shows little"


def test_acts_as_often_as_it_says():
    """Of three actions: with two, noise of the wrong sign would go unseen."""
    learner = ActorCritic(SPACES._replace(action=Discrete(3)))
    agent = learner.init(learners.fill(learners.named("a2c", SPACES), POPULATION, {}), 100, seeded())
    networks, often = unravel(agent["flat"], learner.shapes), 20_000
    networks["actor.w2"] *= 200
    shown = torch.randn((POPULATION, 1, 4), generator=seeded(1))
    chance = learner.logits(networks, shown).softmax(-1)[:, 0]  # [P, A]
    action = learner.act(agent, shown.expand(-1, often, -1), seeded())
    frequency = torch.stack([(action == choice).float().mean(1) for choice in range(3)], -1)
    torch.testing.assert_close(frequency, chance, rtol=0, atol=0.015)
    assert chance.std() > 0.1, "a policy without preferences shows little"
    assert torch.equal(learner.best(agent, shown)[:, 0], chance.argmax(-1))


def test_targets_are_advantages_above_the_critic(learner, agent):
    steps = experience(POPULATION, LENGTH, N)
    gain, target = learner.targets(agent, steps)
    now = learner.value(agent, steps.observation.flatten(1, 2))
    then = learner.value(agent, steps.following.flatten(1, 2)).reshape(steps.reward.shape)
    expected = advantages(steps, now.reshape(steps.reward.shape), then, agent["hyper.gamma"], agent["hyper.lam"])
    torch.testing.assert_close(gain, expected.flatten(1))
    torch.testing.assert_close(target, gain + now)
