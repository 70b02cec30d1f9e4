"""Advantages, policies and first weights of policy-gradient learners, against slow or independent witnesses."""

import inspect
import math

import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.distributions import Categorical, Independent, Normal

from synthenv import learners
from synthenv.learners.actor_critic import advantages
from synthenv.rollout import Steps
from synthenv.tree import part, unravel
from tests.learners import sb3_twin
from tests.probes import CARTPOLES, called, experience

SPACES = CARTPOLES[0].spaces
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


def fresh(spaces, hyper=(), **settings):
    """A learner and its untrained agents."""
    learner = learners.named("a2c", spaces, **settings)
    return learner, learner.init(learners.fill(learner, POPULATION, dict(hyper)), 100, seeded())


def decided(spaces, hyper=()):
    """A learner, agents whose policies prefer something, unlike untrained ones, and their networks."""
    learner, agent = fresh(spaces, hyper)
    networks = unravel(agent["flat"], learner.shapes)  # views
    networks["actor.w2"] *= 200
    return learner, agent, networks


each_kind = pytest.mark.parametrize("world", CARTPOLES, ids=called)


@each_kind
def test_untrained_agents_hardly_prefer_anything(world):
    """Gains of Stable-Baselines3: sqrt 2, then 0.01 for the actor and 1 for the critic; members differ."""
    learner, agent = fresh(world.spaces)
    networks = unravel(agent["flat"], learner.shapes)
    gains = {"actor": (math.sqrt(2), math.sqrt(2), 0.01), "critic": (math.sqrt(2), math.sqrt(2), 1.0)}
    for body, expected in gains.items():
        for layer, gain in enumerate(expected):
            weight = networks[f"{body}.w{layer}"]
            norms = torch.linalg.matrix_norm(weight, 2)
            torch.testing.assert_close(norms, torch.full((POPULATION,), gain))
            assert not networks[f"{body}.b{layer}"].any()
            assert not torch.equal(weight[0], weight[1])
    shown = experience(POPULATION, 1, 50).observation[:, 0]
    torch.testing.assert_close(learner.head(networks, shown), torch.zeros(POPULATION, 50, 2), rtol=0, atol=2e-2)


@each_kind
def test_first_weights_may_be_torchs_own(world):
    """Uniform within 1 / sqrt(fan in), biases too, as Stable-Baselines3's without ortho_init."""
    learner, agent = fresh(world.spaces, initial="uniform")
    for name, leaf in unravel(agent["flat"], learner.shapes).items():
        if not name.startswith("policy."):
            bound = (4 if name.endswith("0") else 64) ** -0.5
            assert 0.2 * bound < leaf.abs().max() <= bound, name
            assert not torch.equal(leaf[0], leaf[1])


@each_kind
def test_actor_and_critic_share_nothing(world):
    learner, agent, networks = decided(world.spaces)
    shown = experience(POPULATION, 1, 5).observation[:, 0]
    worth, head = learner.worth(networks, shown), learner.head(networks, shown)
    assert torch.equal(worth, learner.value(agent, shown))
    silent = {name: leaf * (not name.startswith("critic")) for name, leaf in networks.items()}
    assert torch.equal(learner.head(silent, shown), head)
    assert worth.all()
    assert not learner.worth(silent, shown).any()
    deaf = {name: leaf * (not name.startswith("actor")) for name, leaf in networks.items()}
    assert torch.equal(learner.worth(deaf, shown), worth)
    assert not learner.head(deaf, shown).any()


WIDTHS = torch.tensor([0.0, -1.0, 0.5])


def test_probabilities_and_entropy_are_torchs():
    learner, _, networks = decided(SPACES)
    steps = experience(POPULATION, 20, 3)
    shown, action = steps.observation.flatten(1, 2), steps.action.flatten(1)
    witness = Categorical(logits=learner.head(networks, shown))
    log, entropy = learner.log_probability(networks, shown, action)
    torch.testing.assert_close(log, witness.log_prob(action))
    torch.testing.assert_close(entropy, witness.entropy())
    assert entropy.min() < 0.6 < log.exp().max(), "a policy without preferences shows little"


def test_densities_and_entropy_are_torchs():
    """With a width for every dimension, as there is after learning."""
    learner, _, networks = decided(CARTPOLES[1].spaces, {"log_std": WIDTHS})
    torch.testing.assert_close(networks["policy.log_std"], WIDTHS[:, None, None].expand(-1, 1, 2))
    networks["policy.log_std"] += torch.tensor([0.0, 0.7])
    steps = experience(POPULATION, 20, 3, world=CARTPOLES[1])
    shown, action = steps.observation.flatten(1, 2), steps.action.flatten(1, 2)
    width = (WIDTHS[:, None] + torch.tensor([0.0, 0.7])).exp()[:, None]
    witness = Independent(Normal(learner.head(networks, shown), width), 1)
    log, entropy = learner.log_probability(networks, shown, action)
    torch.testing.assert_close(log, witness.log_prob(action))
    torch.testing.assert_close(entropy, witness.entropy().expand_as(entropy))


def test_chooses_as_often_as_it_says():
    """Of three actions: with two, noise of the wrong sign would go unseen."""
    learner, agent, networks = decided(SPACES._replace(action=Discrete(3)))
    often = 20_000
    shown = torch.randn((POPULATION, 1, 4), generator=seeded(1))
    chance = learner.head(networks, shown).softmax(-1)[:, 0]  # [P, A]
    action = learner.act(agent, shown.expand(-1, often, -1), seeded())
    frequency = torch.stack([(action == choice).float().mean(1) for choice in range(3)], -1)
    torch.testing.assert_close(frequency, chance, rtol=0, atol=0.015)
    assert chance.std() > 0.1, "a policy without preferences shows little"
    assert torch.equal(learner.best(agent, shown)[:, 0], chance.argmax(-1))


def test_aims_as_widely_as_it_says():
    """Beyond the box, too: what falls outside is the world's affair."""
    learner, agent, networks = decided(CARTPOLES[1].spaces, {"log_std": WIDTHS})
    networks["policy.log_std"] += torch.tensor([0.0, 0.7])
    shown = torch.randn((POPULATION, 1, 4), generator=seeded(1))
    middle, width = learner.head(networks, shown)[:, 0], networks["policy.log_std"][:, 0].exp()
    action = learner.act(agent, shown.expand(-1, 20_000, -1), seeded())
    missed = (action - middle[:, None]) / width[:, None]
    torch.testing.assert_close(missed.mean(1), torch.zeros(POPULATION, 2), rtol=0, atol=0.03)
    torch.testing.assert_close(missed.std(1), torch.ones(POPULATION, 2), rtol=0, atol=0.03)
    assert (missed[..., 0] * missed[..., 1]).mean(1).abs().max() < 0.03, "dimensions are drawn apart"


@each_kind
def test_uses_what_theirs_predicts(world):
    """The likeliest choice; the middle, clipped to the box."""
    learner, agent, networks = decided(world.spaces)
    shown = 10 * torch.randn((POPULATION, 50, 4), generator=seeded(1))
    for p in range(POPULATION):
        model = sb3_twin.twin(PPO, 1, {}, world.spaces, n_steps=2, batch_size=2)
        sb3_twin.lend_policy(networks, model.policy, p)
        expected, _ = model.predict(shown[p].numpy(), deterministic=True)
        torch.testing.assert_close(learner.best(agent, shown)[p], torch.as_tensor(expected))
    if isinstance(world.spaces.action, Box):
        outside = learner.best(agent, shown) != learner.head(networks, shown)
        assert 0.1 < outside.float().mean() < 0.9


def test_the_policys_own_default_is_theirs():
    learner = learners.named("a2c", CARTPOLES[1].spaces)
    theirs = inspect.signature(ActorCriticPolicy).parameters["log_std_init"].default
    assert learner.defaults == {**learners.named("a2c", SPACES).defaults, "log_std": theirs}


@pytest.mark.parametrize("name", ["a2c", "ppo"])
def test_learns_how_widely_to_aim(name):
    """Rewards for going far from the middle widen the policy, rewards for staying near narrow it."""
    learner = learners.named(name, CARTPOLES[1].spaces, envs=4, length=16)
    agent = learner.init(learners.fill(learner, POPULATION, {"rate": 1e-2}), 100, seeded())
    before, steps = agent["flat"], experience(POPULATION, 16, 4, world=CARTPOLES[1])
    sign = torch.tensor([1.0, -1.0, 1.0])[:, None, None]
    for seed in range(5):
        drawn = learner.act(agent, steps.observation.flatten(1, 2), seeded(seed)).unflatten(1, (16, 4))
        paid = sign * drawn.square().sum(-1)
        lived = steps._replace(action=drawn, reward=paid, terminated=torch.ones_like(steps.terminated))
        agent = learner.update(agent, lived, seeded(seed))
    was, now = (part(unravel(flat, learner.shapes), "policy")["log_std"] for flat in (before, agent["flat"]))
    assert torch.equal((now - was).sign(), sign.expand_as(now))


def test_targets_are_advantages_above_the_critic():
    learner, agent, _ = decided(SPACES)
    steps = experience(POPULATION, LENGTH, N)
    gain, target = learner.targets(agent, steps)
    now = learner.value(agent, steps.observation.flatten(1, 2))
    then = learner.value(agent, steps.following.flatten(1, 2)).reshape(steps.reward.shape)
    expected = advantages(steps, now.reshape(steps.reward.shape), then, agent["hyper.gamma"], agent["hyper.lam"])
    torch.testing.assert_close(gain, expected.flatten(1))
    torch.testing.assert_close(target, gain + now)
