"""DQN and its variants: replay, exploration, target network and updates, against Stable-Baselines3 and plain torch."""

import pytest
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import LinearSchedule

from synthenv import learners, worlds
from synthenv.rollout import Steps
from synthenv.tree import unravel
from tests.learners import sb3_twin
from tests.probes import experience

SPACES = worlds.real("CartPole-v1").spaces
POPULATION = 3
NEVER = 10**9
SWITCHES = [
    pytest.param({"double": double, "dueling": dueling}, id=f"{double=}-{dueling=}")
    for double in (False, True) for dueling in (False, True)
] + [pytest.param({"double": True, "dueling": True, "shared": 2}, id="all shared")]  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(budget: int = 1000, given=(), **settings):
    """A learner and its untrained agents."""
    learner = learners.named("dqn", SPACES, **settings)
    hyper = learners.fill(learner, POPULATION, dict(given))
    return learner, learner.init(hyper, budget, seeded())


def split(steps: Steps, length: int) -> list[Steps]:
    """The same steps, `length` at a time."""
    return [Steps(*leaves) for leaves in zip(*(leaf.split(length, 1) for leaf in steps), strict=True)]


class QNetwork(torch.nn.Module):
    """Q of every action as the papers write it."""

    def __init__(self, dueling: bool, shared: int) -> None:
        super().__init__()
        relu, layer = torch.nn.ReLU(), torch.nn.Linear
        self.dueling = dueling
        if dueling and shared == 2:
            self.trunk = torch.nn.Sequential(layer(4, 64), relu, layer(64, 64), relu)
            self.state, self.advantage = layer(64, 1), layer(64, 2)
        elif dueling:
            self.trunk = torch.nn.Sequential(layer(4, 64), relu)
            self.state = torch.nn.Sequential(layer(64, 64), relu, layer(64, 1))
            self.advantage = torch.nn.Sequential(layer(64, 64), relu, layer(64, 2))
        else:
            self.trunk = torch.nn.Sequential(layer(4, 64), relu, layer(64, 64), relu, layer(64, 2))

    def forward(self, x):
        if not self.dueling:
            return self.trunk(x)
        features = self.trunk(x)
        advantage = self.advantage(features)
        return self.state(features) + advantage - advantage.mean(1, keepdim=True)

    def layers(self):
        return sb3_twin.linear(self.modules())


def borrowed(learner, flat, p):
    """A witness with member p's weights."""
    network = QNetwork(learner.dueling, learner.shared)
    sb3_twin.lend(unravel(flat, learner.shapes), network.layers(), p)
    return network


def test_defaults_are_theirs():
    structure = ("batch", "capacity", "warmup", "updates", "target_every")
    sb3_twin.check_defaults(learners.named("dqn", SPACES), DQN, "train_freq", structure)


@pytest.mark.parametrize("switches", SWITCHES)
def test_values_are_the_papers(switches):
    learner, agent = made(**switches)
    shown = torch.randn((POPULATION, 50, 4), generator=seeded(1))
    for p in range(POPULATION):
        expected = borrowed(learner, agent["flat"], p)(shown[p]).detach()
        torch.testing.assert_close(learner.values(agent["flat"], shown)[p], expected)
        torch.testing.assert_close(learner.value(agent, shown)[p], expected.amax(1))
        assert torch.equal(learner.best(agent, shown)[p], expected.argmax(1))
    assert 0 < learner.best(agent, shown).float().mean() < 1


@pytest.mark.parametrize("switches", SWITCHES)
def test_updates_are_plain_torchs(switches):
    """Memories of one row leave nothing to chance; rates and limits of the gradient differ between members."""
    given = {"rate": torch.tensor([2e-3, 5e-4, 1e-4]), "gamma": torch.tensor([0.99, 0.5, 1.0]),
             "max_norm": torch.tensor([0.1, 1.0, 1e3]), "tau": torch.tensor([1.0, 0.3, 0.0])}  # fmt: skip
    learner, agent = made(1000, given, length=1, capacity=1, warmup=0, target_every=4, updates=2, batch=5, **switches)
    agent["target"] = learner.init(learners.fill(learner, POPULATION, given), 1000, seeded(1))["flat"]
    online, target = ([borrowed(learner, agent[part], p) for p in range(POPULATION)] for part in ("flat", "target"))
    optimizers = [torch.optim.Adam(q.parameters(), rate.item()) for q, rate in zip(online, given["rate"], strict=True)]
    differs = 0
    lived = experience(POPULATION, 40, 1)
    assert lived.terminated.any()
    assert lived.truncated.any()
    for t, steps in enumerate(split(lived, 1), 1):
        agent = learner.update(agent, steps, seeded(t))
        for p, (q, old, optimizer) in enumerate(zip(online, target, optimizers, strict=True)):
            if t % 4 == 0:
                for mine, theirs in zip(old.parameters(), q.parameters(), strict=True):
                    mine.data += given["tau"][p] * (theirs.data - mine.data)
            for _ in range(2):
                with torch.no_grad():
                    future, own = old(steps.following[p, 0]), q(steps.following[p, 0])
                    chosen = (own if learner.double else future).argmax(1, keepdim=True)
                    differs += int(own.argmax() != future.argmax())
                    beyond = 0.0 if steps.terminated[p, 0] else given["gamma"][p] * future.gather(1, chosen)[:, 0]
                    goal = steps.reward[p, 0] + beyond
                error = (q(steps.observation[p, 0]).gather(1, steps.action[p, 0, :, None])[:, 0] - goal).abs()
                huber = torch.where(error < 1, 0.5 * error**2, error - 0.5).mean()
                optimizer.zero_grad()
                huber.backward()
                torch.nn.utils.clip_grad_norm_(q.parameters(), given["max_norm"][p].item())
                optimizer.step()
            torch.testing.assert_close(agent["flat"][p], sb3_twin.flattened(q.layers()), rtol=0, atol=2e-5)
            torch.testing.assert_close(agent["target"][p], sb3_twin.flattened(old.layers()), rtol=0, atol=2e-5)
    assert differs > 10, "double and plain hardly ever disagreed"


def test_updates_are_sb3s(monkeypatch):
    """The same memories of one row, in Stable-Baselines3's own training step."""
    learner, agent = made(1000, {"rate": 3e-3}, length=1, capacity=1, warmup=0, target_every=NEVER)
    models = [sb3_twin.twin(DQN, 1, {"rate": 3e-3}, buffer_size=10) for _ in range(POPULATION)]
    for p, model in enumerate(models):
        for network in (model.q_net, model.q_net_target):
            sb3_twin.lend(unravel(agent["flat"], learner.shapes), sb3_twin.linear(network.q_net), p)
    for t, steps in enumerate(split(experience(POPULATION, 40, 1), 1)):
        agent = learner.update(agent, steps, seeded(t))
        for p, model in enumerate(models):
            replayed = ReplayBufferSamples(
                steps.observation[p, 0], steps.action[p, 0, :, None], steps.following[p, 0],
                steps.terminated[p, 0, :, None].float(), steps.reward[p, 0, :, None],
            )  # fmt: skip
            monkeypatch.setattr(model.replay_buffer, "sample", lambda size, env=None, rows=replayed: rows)
            model.train(gradient_steps=1, batch_size=1)
            theirs = sb3_twin.flattened(sb3_twin.linear(model.q_net.q_net))
            torch.testing.assert_close(agent["flat"][p], theirs, rtol=0, atol=2e-5)


def test_the_memory_keeps_the_newest():
    """A ring of 10 rows, 6 steps at a time: after every update it holds the last 10, whatever their order."""
    learner, agent = made(1000, length=3, envs=2, capacity=10, warmup=NEVER)
    steps = experience(POPULATION, 15, 2)
    for k, new in enumerate(split(steps, 3), 1):
        agent = learner.update(agent, new, seeded())
        kept = min(6 * k, 10)
        for name in ("observation", "following", "action", "reward", "terminated"):
            lived = getattr(steps, name)[:, : 3 * k].flatten(1, 2)[:, -kept:]  # [P, kept, ...]
            held = unravel(agent["replay"], learner.row)[name]
            order = torch.arange(6 * k - kept, 6 * k) % 10
            assert torch.equal(held[:, order], lived.float()), name
        assert agent["seen"].tolist() == [6 * k] * POPULATION
    assert steps.terminated.any()
    assert steps.truncated.any()


def test_replays_all_it_has_seen_and_nothing_else():
    """Linear Q of one-hot observations: the first gradient, a tenth of which Adam remembers, tells who was replayed."""
    seen, rows, batch = 12, 20, 4000
    shown = torch.eye(rows)[:seen].expand(POPULATION, 1, -1, -1)  # [P, T, N, O]
    nothing = torch.zeros(POPULATION, 1, seen)
    ends = torch.ones_like(nothing, dtype=torch.bool)
    steps = Steps(shown, nothing.long(), nothing + 100, ends, ~ends, shown)
    box = type(SPACES.observation)(0, 1, (rows,))
    settings = {"length": 1, "envs": seen, "hidden": (), "warmup": 0, "batch": batch}
    learner = learners.named("dqn", SPACES._replace(observation=box), **settings)
    hyper = learners.fill(learner, POPULATION, {"max_norm": 1e9})
    agent = learner.update(learner.init(hyper, 2 * seen, seeded()), steps, seeded())
    slope = -10 * unravel(agent["adam.first"], learner.shapes)["w0"][..., 0]  # [P, O]; of Huber's straight part: 1
    torch.testing.assert_close(slope.sum(1), torch.ones(POPULATION))
    assert not slope[:, seen:].any(), "rows that nothing was written to"
    torch.testing.assert_close(slope[:, :seen] * seen, torch.ones(POPULATION, seen), rtol=0, atol=0.25)
    assert torch.equal(slope[0], slope[1])
    assert torch.equal(slope[0], slope[2])


def test_explores_as_theirs_does():
    """Epsilon falls from 1 to its end over a share of the budget, and is 1 while the memory warms up."""
    given = {"epsilon": torch.tensor([0.05, 0.2, 0.0]), "exploration": torch.tensor([0.1, 0.5, 1.0])}
    learner, agent = made(1000, given, warmup=20)
    often = 20_000
    shown = torch.randn((POPULATION, 1, 4), generator=seeded(1)).expand(-1, often, -1)
    best = learner.best(agent, shown)
    for seen in (0, 19, 20, 50, 100, 300, 500, 999, 1500):
        action = learner.act({**agent, "seen": torch.full((POPULATION,), seen)}, shown, seeded(seen))
        found = 2 * (action != best).float().mean(1)  # half of the random actions are the best one
        for p in range(POPULATION):
            schedule = LinearSchedule(1.0, given["epsilon"][p].item(), given["exploration"][p].item())
            expected = 1.0 if seen < 20 else schedule(1 - seen / 1000)
            assert found[p].item() == pytest.approx(expected, abs=0.03), (seen, p)
            assert found[p] == 0 or expected > 0


@pytest.mark.parametrize(("envs", "length"), [(1, 4), (2, 3)])
def test_the_target_moves_when_theirs_would(envs, length):
    """Every `target_every` steps, as long as no update takes more; towards the weights before that update."""
    learner, agent = made(1000, {"rate": 1e-2, "tau": 0.5}, envs=envs, length=length, target_every=30, warmup=1)
    moved, per_update = [], envs * length
    for k, steps in enumerate(split(experience(POPULATION, 40 * length, envs), length), 1):
        before, agent = agent, learner.update(agent, steps, seeded(k))
        if not torch.equal(agent["target"], before["target"]):
            moved.append(k)
            torch.testing.assert_close(agent["target"], 0.5 * (before["target"] + before["flat"]).detach())
        assert not torch.equal(agent["flat"], before["flat"])
    calls = range(1, 40 * length + 1)  # of every environment at once
    theirs = [-(-call // length) for call in calls if call % max(30 // envs, 1) == 0]
    assert moved == theirs
    assert len(moved) == 40 * per_update // 30


def test_learns_only_after_warming_up():
    learner, agent = made(1000, length=4, warmup=8)
    for k, steps in enumerate(split(experience(POPULATION, 16, 1), 4), 1):
        before, agent = agent["flat"].detach(), learner.update(agent, steps, seeded(k))
        assert torch.equal(agent["flat"], before) == (4 * k <= 8)
