"""DDPG: updates and exploration against Stable-Baselines3."""

import torch
from stable_baselines3 import DDPG

from synthenv import learners
from synthenv.tree import unravel
from tests.learners import guided, sb3_twin
from tests.learners.guided import BOX, POPULATION, made, seeded
from tests.probes import experience


def test_defaults_are_theirs():
    learner = learners.named("ddpg", BOX.spaces)
    structure = ("batch", "capacity", "warmup", "updates")
    sb3_twin.check_defaults(learner, DDPG, "train_freq", structure, only_ours={"noise": 0.0})
    policy = sb3_twin.twin(DDPG, 1, {}, BOX.spaces, buffer_size=1).policy
    assert learner.hidden == tuple(policy.net_arch)
    assert len(policy.critic.q_networks) == learner.judges == 1


def test_updates_are_sb3s():
    given = {"rate": torch.tensor([1e-2, 1e-3, 1e-4]), "gamma": torch.tensor([0.99, 0.5, 1.0]),
             "tau": torch.tensor([0.005, 0.3, 1.0])}  # fmt: skip
    learner, agent = made("ddpg", given=given)
    models = []
    for p in range(POPULATION):
        hyper = {name: value[p].item() for name, value in given.items()}
        model = sb3_twin.twin(DDPG, 1, hyper, BOX.spaces, buffer_size=1, policy_kwargs={"net_arch": [16, 16]})
        guided.lend_critics(learner, agent, model.policy, p)
        for name, actor in (("flat", model.actor), ("target_actor", model.actor_target)):
            sb3_twin.lend(guided.actor(learner, agent[name]), sb3_twin.linear(actor.mu), p)
        models.append(model)
    for seed, batch in enumerate(guided.minibatches(learner)):
        agent = learner.descend(agent, batch, seeded(seed))
        for p, model in enumerate(models):
            guided.sampled(model, batch, p)
            model.train(gradient_steps=1)
            guided.check_critics(agent, model.policy, p)
            guided.check(agent["flat"][p], sb3_twin.linear(model.actor.mu))
            guided.check(agent["target_actor"][p], sb3_twin.linear(model.actor_target.mu))


def test_acts_as_theirs_does():
    learner, agent = made("ddpg")
    shown = 3 * torch.randn((POPULATION, 50, 4), generator=seeded(1))
    for p in range(POPULATION):
        model = sb3_twin.twin(DDPG, 1, {}, BOX.spaces, buffer_size=1, policy_kwargs={"net_arch": [16, 16]})
        guided.lend_critics(learner, agent, model.policy, p)
        sb3_twin.lend(guided.actor(learner, agent["flat"]), sb3_twin.linear(model.actor.mu), p)
        action, _ = model.predict(shown[p].numpy(), deterministic=True)
        torch.testing.assert_close(learner.best(agent, shown)[p], torch.tensor(action))
        with torch.no_grad():
            (value,) = model.critic(shown[p], model.actor(shown[p]))
        torch.testing.assert_close(learner.value(agent, shown)[p], value[:, 0])


def test_explores_with_noise_inside_the_box():
    """Uniform while the memory warms up; then the actor's actions, and Gaussian noise in units of half the box."""
    noise = torch.tensor([0.0, 0.1, 1.0])
    learner, agent = made("ddpg", given={"noise": noise}, warmup=50)
    shown = torch.randn((POPULATION, 1, 4), generator=seeded(1)).expand(-1, 20_000, -1)
    low, high = (torch.tensor(end) for end in (BOX.spaces.action.low, BOX.spaces.action.high))
    best = learner.unit(learner.best(agent, shown))
    for seen in (0, 49, 50):
        agent["seen"] = torch.full((POPULATION,), seen)
        action = learner.act(agent, shown, seeded(seen))
        assert (action >= low).all()
        assert (action <= high).all()
        unit = learner.unit(action)
        if seen < 50:
            torch.testing.assert_close(unit.mean(1), torch.zeros(POPULATION, 2), rtol=0, atol=0.02)
            torch.testing.assert_close(unit.std(1), torch.full((POPULATION, 2), 3**-0.5), rtol=0, atol=0.02)
        else:
            torch.testing.assert_close(unit[0], best[0])
            torch.testing.assert_close((unit - best)[1].std(0), noise[[1, 1]], rtol=0.03, atol=0)
            assert (unit[2].abs() > 1 - 1e-6).float().mean() > 0.2


def test_remembers_unit_actions():
    learner, agent = made("ddpg", length=5, envs=2, warmup=10**9)
    steps = experience(POPULATION, 5, 2, world=BOX)
    agent = learner.update(agent, steps, seeded())
    kept = unravel(agent["replay"], learner.row)["action"][:, :10]
    low, high = (torch.tensor(end) for end in (BOX.spaces.action.low, BOX.spaces.action.high))
    inside = steps.action.flatten(1, 2).clamp(low, high)
    torch.testing.assert_close(learner.scaled(kept), inside)
    assert kept.abs().max() == 1
