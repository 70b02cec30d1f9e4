"""Time limits, restarts and scores on a world that can be followed by hand."""

import pytest
import torch
from gymnasium import spaces

from synthenv import rollout, worlds
from synthenv.worlds import Outcome, Spaces
from synthenv.worlds.payoff import payoff_of


class Ladder:
    """Climbs one rung a step, or two with action 1, and ends at the member's height; pays the rung reached.

    What is shown is the rung and the serial number of the episode, so that a restart cannot go unseen.
    After the end it pays nan, which no score may contain.
    """

    spaces = Spaces(spaces.Box(0, 1e9, (2,)), spaces.Discrete(2))

    def __init__(self):
        self.resets = 0

    def init(self, generator, population):
        return {"height": torch.tensor([3.0, 5.0])[:population]}

    def reset(self, params, generator, n):
        self.resets += 1
        shape = (len(params["height"]), n)
        return {"rung": torch.zeros(shape), "serial": torch.full(shape, float(self.resets))}

    def observe(self, params, state):
        return torch.stack((state["rung"], state["serial"]), -1)

    def step(self, params, state, action, generator=None):
        height = params["height"][:, None]
        over = state["rung"] >= height
        state = {**state, "rung": state["rung"] + 1 + action}
        reward = torch.where(over, torch.nan, state["rung"])
        return state, Outcome(self.observe(params, state), reward, (state["rung"] >= height) & ~over)


class OneWay(Ladder):
    """A ladder that begins single episodes again by itself."""

    def restart(self, params, state, ended, generator):
        self.ended = ended
        return {"rung": torch.where(ended, 0, state["rung"]), "serial": state["serial"] + ended}


@pytest.fixture
def ladder():
    return Ladder()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def walk(observation, generator):
    return torch.zeros(observation.shape[:2], dtype=torch.long)


def collected(ladder, length, horizon, act=walk, n=1):
    params = ladder.init(seeded(), 2)
    return rollout.collect(ladder, params, act, rollout.begin(ladder, params, seeded(), n), length, seeded(), horizon)


def test_episodes_restart_when_the_world_ends_them(ladder):
    steps, episodes = collected(ladder, 7, None)
    assert steps.observation[0, :, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert steps.observation[1, :, 0, 0].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert steps.terminated[0, :, 0].nonzero().flatten().tolist() == [2, 5]
    assert steps.terminated[1, :, 0].nonzero().flatten().tolist() == [4]
    assert not steps.truncated.any()
    assert episodes.elapsed.tolist() == [[1], [2]]
    assert episodes.state["rung"].tolist() == [[1], [2]]
    assert torch.equal(episodes.observation, ladder.observe({}, episodes.state))


def test_following_is_what_came_before_the_restart(ladder):
    steps, _ = collected(ladder, 7, None)
    assert torch.equal(steps.following[..., 0], steps.observation[..., 0] + 1)
    assert torch.equal(steps.following[..., 1], steps.observation[..., 1]), "still the old episode"
    assert torch.equal(steps.reward, steps.following[..., 0])
    going_on = ~(steps.terminated | steps.truncated)[:, :-1]
    assert torch.equal(steps.following[:, :-1][going_on], steps.observation[:, 1:][going_on])


def test_a_time_limit_truncates_and_never_hides_an_end(ladder):
    steps, episodes = collected(ladder, 9, 3)
    assert steps.terminated[0, :, 0].nonzero().flatten().tolist() == [2, 5, 8]
    assert not steps.truncated[0].any(), "the limit falls on the end itself"
    assert not steps.terminated[1].any()
    assert steps.truncated[1, :, 0].nonzero().flatten().tolist() == [2, 5, 8]
    assert steps.observation[1, :, 0, 0].tolist() == [0, 1, 2] * 3
    assert episodes.elapsed.tolist() == [[0], [0]]


def test_only_the_episodes_that_ended_restart(ladder):
    def second_episode_runs(observation, generator):
        return torch.tensor([[0, 1], [0, 1]])

    steps, episodes = collected(ladder, 4, None, second_episode_runs, n=2)
    assert steps.observation[0, :, :, 0].T.tolist() == [[0, 1, 2, 0], [0, 2, 0, 2]]
    assert steps.observation[1, :, :, 0].T.tolist() == [[0, 1, 2, 3], [0, 2, 4, 0]]
    assert steps.observation[1, :, 0, 1].tolist() == [1, 1, 1, 1], "the slow one is still the first"
    assert steps.observation[1, 3, 1, 1] > 1
    assert episodes.elapsed.tolist() == [[1, 0], [4, 1]]


def test_a_world_may_restart_what_ended_by_itself():
    one_way = OneWay()
    steps, episodes = collected(one_way, 7, 4)
    assert one_way.resets == 1
    assert one_way.ended.tolist() == [[True], [False]]
    assert steps.observation[0, :, 0].tolist() == [[0, 1], [1, 1], [2, 1], [0, 2], [1, 2], [2, 2], [0, 3]]
    assert steps.observation[1, :, 0].tolist() == [[0, 1], [1, 1], [2, 1], [3, 1], [0, 2], [1, 2], [2, 2]]
    assert torch.equal(steps.following[..., 1], steps.observation[..., 1]), "still the old episode"
    assert steps.truncated[1, :, 0].nonzero().flatten().tolist() == [3]
    assert episodes.elapsed.tolist() == [[1], [3]]


def test_collecting_goes_on_where_it_stopped(ladder):
    whole, _ = collected(ladder, 7, 4)
    again = Ladder()
    first, episodes = collected(again, 3, 4)
    second, _ = rollout.collect(again, again.init(seeded(), 2), walk, episodes, 4, seeded(), 4)
    for name, leaf in whole._asdict().items():
        parts = torch.cat((getattr(first, name), getattr(second, name)), 1)
        if name in ("observation", "following"):  # serial numbers count calls, which differ
            leaf, parts = leaf[..., 0], parts[..., 0]
        assert torch.equal(leaf, parts), name


def test_the_policy_sees_the_restarted_observation(ladder):
    seen = []

    def look(observation, generator):
        seen.append(observation)
        return walk(observation, generator)

    steps, _ = collected(ladder, 7, None, look)
    assert torch.equal(torch.stack(seen, 1), steps.observation)


@pytest.mark.parametrize("horizon", [2, 3, 4, 5, 50])
def test_a_score_is_one_episode_no_more(ladder, horizon):
    returns, lengths = rollout.evaluate(ladder, ladder.init(seeded(), 2), walk, seeded(), 3, horizon)
    expected = [min(height, horizon) for height in (3, 5)]
    assert lengths.tolist() == [[steps] * 3 for steps in expected]
    assert returns.tolist() == [[sum(range(1, steps + 1))] * 3 for steps in expected]
    assert lengths.dtype == torch.int64
    assert ladder.resets == 1


def test_scoring_stops_when_all_are_done(ladder):
    calls = []

    def count(observation, generator):
        calls.append(observation)
        return walk(observation, generator)

    rollout.evaluate(ladder, ladder.init(seeded(), 2), count, seeded(), 3, 50)
    assert len(calls) == 5


def test_scores_of_cartpole_are_lengths():
    world = worlds.named("CartPole-v1")()

    def half_random(observation, generator):
        lean = (observation @ torch.tensor([0.1, 0.5, 5.0, 1.0]) > 0).long()
        lean[1] = torch.randint(0, 2, lean[1].shape, generator=generator)
        return lean

    returns, lengths = rollout.evaluate(world, world.init(seeded(), 2), half_random, seeded(), 20, world.horizon)
    assert torch.equal(returns, lengths.float())
    assert (lengths[0] == 500).all()
    assert 8 <= lengths[1].min() <= lengths[1].max() < 200
    assert 15 < lengths[1].float().mean() < 30, "a random policy lasts about 22 steps"


@pytest.mark.parametrize("paired", [False, True])
def test_paired_members_begin_alike(paired):
    world, firsts = worlds.named("CartPole-v1")(), []

    def look(observation, generator):
        firsts.append(observation)
        return walk(observation, generator)

    _, lengths = rollout.evaluate(world, world.init(seeded(), 3), look, seeded(), 20, world.horizon, paired)
    alike = [torch.equal(firsts[0][0], member) for member in firsts[0][1:]]
    assert alike == [paired, paired]
    assert len(firsts[0][0].unique(dim=0)) == 20
    assert torch.equal(lengths[0], lengths[1]) == paired


@pytest.mark.parametrize("space", [spaces.Discrete(2), spaces.Discrete(3), spaces.Box(-2, 2, (2,))], ids=repr)
def test_slipping_replaces_a_share_of_each_episodes_actions(space):
    share, often = torch.tensor([0.0, 0.25, 1.0]), 6000
    payoff, shown, seen = payoff_of(space), torch.zeros(often, 3, 4), []
    own = torch.ones_like(payoff.random((often, 3), seeded()))  # of a box, a draw is never just that

    def always_one(observation, generator):
        seen.append(observation)
        return own

    action = rollout.slipping(always_one, payoff, share)(shown, seeded())
    assert seen == [shown]
    assert (action.dtype, action.shape) == (own.dtype, own.shape)
    chance = share * (space.n - 1) / space.n if isinstance(space, spaces.Discrete) else share
    slipped = (action != own).reshape(often, 3, -1)
    assert torch.equal(slipped.any(-1), slipped.all(-1)), "an action is replaced as a whole"
    torch.testing.assert_close(slipped[..., 0].float().mean(0), chance, rtol=0, atol=0.02)
    kinds = action[:, 2].unique().numel()
    assert kinds == space.n if isinstance(space, spaces.Discrete) else kinds > 0.99 * 2 * often
    alike = rollout.slipping(always_one, payoff, 0.25)(shown, seeded()) != own
    torch.testing.assert_close(alike.float().mean(0).reshape(3, -1)[:, 0], chance[1].expand(3), rtol=0, atol=0.02)
