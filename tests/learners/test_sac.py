"""SAC: updates against Stable-Baselines3 (Box) and the paper in plain torch (Discrete); the price of entropy."""

import math

import pytest
import torch
from stable_baselines3 import SAC
from torch.distributions import Categorical, Normal

from synthenv import learners
from synthenv.tree import take
from tests.learners import guided, sb3_twin
from tests.learners.guided import BOX, DISCRETE, POPULATION, made, seeded

GIVEN = {"rate": torch.tensor([3e-3, 1e-3, 1e-4]), "gamma": torch.tensor([0.99, 0.5, 1.0]),
         "tau": torch.tensor([0.005, 0.3, 1.0])}  # fmt: skip
ALPHA = torch.tensor([1.0, 0.1, 0.5])


def test_defaults_are_theirs():
    learner = learners.named("sac", BOX.spaces)
    structure = ("batch", "capacity", "warmup", "updates")
    sb3_twin.check_defaults(learner, SAC, "train_freq", structure, only_ours={"alpha": 1.0, "entropy_ratio": -1.0})
    model = sb3_twin.twin(SAC, 1, {}, BOX.spaces, buffer_size=1)
    assert learner.hidden == tuple(model.policy.net_arch)
    assert len(model.critic.q_networks) == learner.judges == 2
    assert model.log_ent_coef.exp() == 1
    assert model.target_entropy == -2
    assert learners.named("sac", DISCRETE.spaces).defaults == {**learner.defaults, "entropy_ratio": 0.98}


def head(model):
    """Layers of SB3's actor in the order of ours, the last one in two parts."""
    return [*sb3_twin.linear(model.actor.latent_pi), model.actor.mu, model.actor.log_std]


def halved(network):
    """Our actor's network with the last layer in two parts: means, and logarithms of deviations."""
    last = len(network) // 2 - 1
    (w, w2), (b, b2) = (network[f"{name}{last}"].chunk(2, -1) for name in "wb")
    return {**network, f"w{last}": w, f"b{last}": b, f"w{last + 1}": w2, f"b{last + 1}": b2}


def twin(learner, agent, p):
    hyper = {name: value[p].item() for name, value in GIVEN.items()}
    price, net = f"auto_{ALPHA[p].item()}", {"net_arch": [16, 16]}
    model = sb3_twin.twin(SAC, 1, hyper, BOX.spaces, buffer_size=1, ent_coef=price, policy_kwargs=net)
    guided.lend_critics(learner, agent, model.policy, p)
    sb3_twin.lend(halved(guided.actor(learner, agent["flat"])), head(model), p)
    return model


def test_updates_are_sb3s(monkeypatch):
    learner, agent = made("sac", given={**GIVEN, "alpha": ALPHA})
    models = [twin(learner, agent, p) for p in range(POPULATION)]
    for seed, batch in enumerate(guided.minibatches(learner)):
        agent = learner.descend(agent, batch, seeded(seed))
        generator, rows = seeded(seed), batch["reward"].shape[1]
        ahead, now = (torch.randn((2, rows), generator=generator).T for _ in range(2))  # in the order that we draw
        for p, model in enumerate(models):
            drawn = iter((now, ahead))  # in theirs
            monkeypatch.setattr(Normal, "rsample", lambda law, shape=(), drawn=drawn: law.loc + law.scale * next(drawn))
            guided.sampled(model, batch, p)
            model.train(gradient_steps=1)
            guided.check_critics(agent, model.policy, p)
            mine = torch.cat([leaf[p].flatten() for leaf in halved(guided.actor(learner, agent["flat"])).values()])
            guided.check(mine, head(model))
            torch.testing.assert_close(agent["log_alpha"][p], model.log_ent_coef.detach(), rtol=0, atol=1e-5)


def test_acts_as_theirs_does():
    learner, agent = made("sac", given=GIVEN)
    shown = 3 * torch.randn((POPULATION, 50, 4), generator=seeded(1))
    for p in range(POPULATION):
        model = twin(learner, agent, p)
        action, _ = model.predict(shown[p].numpy(), deterministic=True)
        torch.testing.assert_close(learner.best(agent, shown)[p], torch.tensor(action))
        with torch.no_grad():
            values = torch.cat(model.critic(shown[p], model.actor(shown[p], deterministic=True)), 1)
        torch.testing.assert_close(learner.value(agent, shown)[p], values.amin(1))


def test_explores_by_its_policy():
    """Unit actions are the tanh of normal ones, whose middle and deviations the actor tells."""
    learner, agent = made("sac", given=GIVEN, warmup=0)
    shown = torch.randn((POPULATION, 1, 4), generator=seeded(1)).expand(-1, 20_000, -1)
    drawn = learner.unit(learner.act(agent, shown, seeded())).clamp(-1 + 1e-6, 1 - 1e-6).atanh()
    mean, log_std = learner.head(agent, shown[:, :1]).chunk(2, -1)
    torch.testing.assert_close(drawn.mean(1), mean[:, 0], rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.std(1), log_std[:, 0].exp(), rtol=0.05, atol=0)


class Discretely:
    """One agent after Christodoulou (2019); its actor climbs the critics as they were before the step."""

    def __init__(self, learner, agent, p):
        self.actor = network(learner.actor_sizes)
        sb3_twin.lend(guided.actor(learner, agent["flat"]), sb3_twin.linear(self.actor), p)
        self.critics, self.targets = ([network(learner.critic_sizes) for _ in range(2)] for _ in range(2))
        for name, mine in (("critics", self.critics), ("target", self.targets)):
            for theirs, module in zip(guided.judges(learner, agent[name]), mine, strict=True):
                sb3_twin.lend(theirs, sb3_twin.linear(module), p)
        self.log_alpha = agent["log_alpha"][p].clone().requires_grad_()
        self.hyper = {name: value.item() for name, value in take(agent, p).items() if name.startswith("hyper.")}
        parameters = (self.actor.parameters(), [q for c in self.critics for q in c.parameters()], [self.log_alpha])
        self.optimizers = [torch.optim.Adam(leaves, self.hyper["hyper.rate"]) for leaves in parameters]

    def train(self, batch, p):
        batch, alpha = {name: leaf[p] for name, leaf in batch.items()}, self.log_alpha.exp().detach()
        with torch.no_grad():
            policy = Categorical(logits=self.actor(batch["following"]))
            least = torch.minimum(*(target(batch["following"]) for target in self.targets))
            soft = (policy.probs * (least - alpha * policy.logits)).sum(1)
            goal = batch["reward"] + self.hyper["hyper.gamma"] * ~batch["terminated"] * soft
        judged = [critic(batch["observation"]) for critic in self.critics]
        values = [every.gather(1, batch["action"][:, None])[:, 0] for every in judged]
        self.step(1, 0.5 * sum((value - goal).square().mean() for value in values))
        policy, least = Categorical(logits=self.actor(batch["observation"])), torch.minimum(*judged).detach()
        self.step(0, (policy.probs * (alpha * policy.logits - least)).sum(1).mean())
        wanted = self.hyper["hyper.entropy_ratio"] * math.log(2)
        self.step(2, self.log_alpha * (policy.entropy().mean().detach() - wanted))
        with torch.no_grad():
            for critic, target in zip(self.critics, self.targets, strict=True):
                for mine, theirs in zip(target.parameters(), critic.parameters(), strict=True):
                    mine.lerp_(theirs, self.hyper["hyper.tau"])

    def step(self, which, loss):
        self.optimizers[which].zero_grad()
        loss.backward()
        self.optimizers[which].step()


def network(sizes):
    one, two, three, four = sizes
    relu, layer = torch.nn.ReLU(), torch.nn.Linear
    return torch.nn.Sequential(layer(one, two), relu, layer(two, three), relu, layer(three, four))


def test_discrete_updates_are_the_papers():
    given = {**GIVEN, "alpha": ALPHA, "entropy_ratio": torch.tensor([0.98, 0.5, 0.1])}
    learner, agent = made("sac", DISCRETE, given)
    witnesses = [Discretely(learner, agent, p) for p in range(POPULATION)]
    for seed, batch in enumerate(guided.minibatches(learner, DISCRETE)):
        agent = learner.descend(agent, batch, seeded(seed))
        for p, witness in enumerate(witnesses):
            witness.train(batch, p)
            guided.check(agent["flat"][p], sb3_twin.linear(witness.actor))
            guided.check(agent["critics"][p], sb3_twin.linear(*witness.critics))
            guided.check(agent["target"][p], sb3_twin.linear(*witness.targets))
            torch.testing.assert_close(agent["log_alpha"][p], witness.log_alpha.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("world", "ratio"), [(BOX, [-1.0, -0.4, 0.2]), (DISCRETE, [0.2, 0.6, 0.9])], ids=["box", "discrete"]
)
def test_alpha_brings_about_the_entropy_aimed_at(world, ratio):
    """Actions far from 0 are dear, so entropy has a price: alpha moves until the policy buys what is aimed at."""
    ratio = torch.tensor(ratio)
    given = {"rate": 3e-3, "gamma": 0.0, "tau": 1.0, "entropy_ratio": ratio, "alpha": 0.1 if world is BOX else 1.0}
    learner, agent = made("sac", world, given)
    (batch,) = guided.minibatches(learner, world, count=1)
    batch["reward"] = -batch["action"].float().reshape(*batch["reward"].shape, -1).square().sum(-1)
    generator = seeded(1)
    for _ in range(1200):
        agent = learner.descend(agent, batch, generator)
    with torch.no_grad():
        often = batch["observation"].mT.repeat(1, 1, 100)
        noise = None if world is DISCRETE else torch.randn((2, often.shape[2]), generator=generator)
        _, entropy = learner.prospect(agent["flat"], agent["critics"], often, noise)
    wanted = ratio * (2 if world is BOX else math.log(2))
    torch.testing.assert_close(entropy.mean(1), wanted, rtol=0, atol=0.3 if world is BOX else 0.03)
    price = agent["log_alpha"][:, 0]
    assert price[0] < price[1] < price[2], "more entropy takes a higher price"
