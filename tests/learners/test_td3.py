"""TD3: updates against Stable-Baselines3, the delay member by member, and the noise on targets by its formula."""

import torch
from stable_baselines3 import TD3

from synthenv import learners
from tests.learners import guided, sb3_twin
from tests.learners.guided import BOX, POPULATION, made, seeded


def test_defaults_are_theirs():
    learner = learners.named("td3", BOX.spaces)
    structure = ("batch", "capacity", "warmup", "updates")
    sb3_twin.check_defaults(learner, TD3, "train_freq", structure, only_ours={"noise": 0.0})
    policy = sb3_twin.twin(TD3, 1, {}, BOX.spaces, buffer_size=1).policy
    assert learner.hidden == tuple(policy.net_arch)
    assert len(policy.critic.q_networks) == learner.judges == 2


def test_updates_are_sb3s():
    """With delays of their own; what they draw for the noise on targets nobody else can."""
    given = {"rate": torch.tensor([1e-2, 1e-3, 1e-4]), "gamma": torch.tensor([0.99, 0.5, 1.0]),
             "tau": torch.tensor([0.005, 0.3, 1.0]), "target_noise": torch.zeros(3)}  # fmt: skip
    delay = torch.tensor([2.0, 1.0, 3.0])
    learner, agent = made("td3", given={**given, "delay": delay})
    models = []
    for p in range(POPULATION):
        hyper = {name: value[p].item() for name, value in given.items()}
        model = sb3_twin.twin(
            TD3, 1, hyper, BOX.spaces, buffer_size=1, policy_delay=int(delay[p]), policy_kwargs={"net_arch": [16, 16]}
        )
        guided.lend_critics(learner, agent, model.policy, p)
        for name, actor in (("flat", model.actor), ("target_actor", model.actor_target)):
            sb3_twin.lend(guided.actor(learner, agent[name]), sb3_twin.linear(actor.mu), p)
        models.append(model)
    for seed, batch in enumerate(guided.minibatches(learner)):
        before, agent = agent, learner.descend(agent, batch, seeded(seed))
        for p, model in enumerate(models):
            moved = [not torch.equal(agent[name][p], before[name][p]) for name in ("flat", "target", "target_actor")]
            assert all(moved) if (seed + 1) % delay[p] == 0 else not any(moved)
            guided.sampled(model, batch, p)
            model.train(gradient_steps=1)
            guided.check_critics(agent, model.policy, p)
            guided.check(agent["flat"][p], sb3_twin.linear(model.actor.mu))
            guided.check(agent["target_actor"][p], sb3_twin.linear(model.actor_target.mu))


def test_smooths_targets_with_clipped_noise():
    noise, clip = torch.tensor([0.2, 0.0, 0.5]), torch.tensor([0.5, 0.5, 0.1])
    learner, agent = made("td3", given={"target_noise": noise, "target_clip": clip})
    following = torch.randn((POPULATION, 4, 1), generator=seeded(1)).expand(-1, -1, 20_000)
    batch = {"following": following, "noise": torch.randn((2, 20_000), generator=seeded())}
    plain = super(type(learner), learner).foreseen(agent, batch)
    foreseen = learner.foreseen(agent, batch)
    assert plain.shape == foreseen.shape == (POPULATION, 2, 20_000)
    assert foreseen.abs().max() <= 1
    added = foreseen - plain
    torch.testing.assert_close(added[1], torch.zeros_like(added[1]))
    torch.testing.assert_close(added[0].std(-1), noise[[0, 0]], rtol=0.05, atol=0)  # clipped at 2.5 deviations
    assert (added[2].abs() <= 0.1 + 1e-6).all()
    assert (added[2].abs() > 0.1 - 1e-6).float().mean() > 0.7


def test_the_less_convinced_critic_tells_what_follows():
    """Critics that answer a constant: the target is the reward and the discounted least of them, unless it ended."""
    learner, agent = made("td3", given={"gamma": 0.5}, hidden=())
    agent["target"] = torch.zeros_like(agent["target"])
    last = agent["target"].unflatten(1, (2, -1))[..., -1]  # [P, K], biases
    last.copy_(torch.tensor([[3.0, 5.0], [4.0, 2.0], [-1.0, 1.0]]))
    agent["critics"] = torch.zeros_like(agent["critics"])
    batch = next(guided.minibatches(learner))
    error = -(batch["reward"] + 0.5 * torch.tensor([3.0, 2.0, -1.0])[:, None] * ~batch["terminated"])
    after = learner.descend(agent, batch, seeded())
    slope = 10 * after["adam.critics.first"].unflatten(1, (2, -1))[..., -1]  # Adam keeps a tenth of a first gradient
    torch.testing.assert_close(slope, 2 * error.mean(1, keepdim=True).expand(-1, 2))
