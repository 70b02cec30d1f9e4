"""Gymnasium's environments as a world: the same steps as by hand, none wasted, and clear refusals."""

import pickle

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import TransformAction, TransformObservation

from synthenv import learners, rollout, worlds
from synthenv.worlds import foreign
from synthenv.worlds.foreign import Foreign
from tests.own_task import Swing

SWING = "tests.own_task:Swing-v0"
POPULATION, N = 2, 3


class Show(gymnasium.Env):
    """Shows samples of its observation space and keeps what is done to it; ends after four steps, or truncates.

    Staggered ones end a step later, the later they were made.
    """

    made: "list[Show]" = []  # noqa: RUF012 - emptied by each test

    def __init__(self, observation_space, action_space=None, truncates=False, pays=1.0, shows=None, staggered=False):
        self.observation_space, self.action_space = observation_space, action_space or spaces.Discrete(2)
        self.truncates, self.pays, self.shows = truncates, pays, shows
        self.actions, self.seeds, self.shown = [], [], []
        self.end = 4 + len(self.made) * staggered
        self.made.append(self)

    def show(self):
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.shown.append(self.observation_space.sample() if self.shows is None or not self.actions else self.shows)
        return self.shown[-1]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.actions.clear()
        return self.show(), {}

    def step(self, action):
        self.actions.append(action)
        ended = len(self.actions) == self.end
        return self.show(), self.pays, ended and not self.truncates, ended and self.truncates, {}


BOX = spaces.Box(-np.inf, np.inf, (2,))


@pytest.fixture
def register():
    """Registers a `Show` with these settings and returns its id."""
    Show.made.clear()

    def add(observation_space=BOX, action_space=None, max_episode_steps=9, **settings):
        settings |= {"observation_space": observation_space, "action_space": action_space}
        gymnasium.register("Show-v0", Show, max_episode_steps=max_episode_steps, kwargs=settings)
        return "Show-v0"

    yield add
    gymnasium.registry.pop("Show-v0", None)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begun(target, population=POPULATION, n=N):
    world = worlds.real(target)
    params = world.init(seeded(), population)
    return world, params, world.reset(params, seeded(1), n)


def test_is_a_real_task_of_any_module():
    world = worlds.real(SWING)
    assert isinstance(world, worlds.World)
    assert isinstance(world, rollout.Restarting)
    assert (world.name, world.horizon) == (SWING, 100)
    assert world.spaces.action == spaces.Discrete(2)
    assert world.spaces.observation.dtype == np.float32
    assert world.spaces.observation.high.tolist() == [np.float32(np.pi), np.inf]


def test_our_own_world_comes_first():
    assert not isinstance(worlds.real("CartPole-v1"), Foreign)
    assert isinstance(worlds.real("CartPole-v0"), Foreign)


def test_steps_are_gymnasiums():
    world, params, state = begun(SWING)
    seeds = torch.randint(2**31, (N,), generator=seeded(1))  # members begin alike
    actions = torch.randint(2, (30, POPULATION, N), generator=seeded(2))
    first, outcomes = world.observe(params, state), []
    for action in actions:
        state, outcome = world.step(params, state, action)
        assert torch.equal(world.observe(params, state), outcome.observation)
        outcomes.append(outcome)
    for p in range(POPULATION):
        for n in range(N):
            witness = gymnasium.make(SWING, pause=0)
            expected, _ = witness.reset(seed=int(seeds[n]))
            assert first[p, n].tolist() == expected.astype(np.float32).tolist()
            for action, outcome in zip(actions[:, p, n].tolist(), outcomes, strict=True):
                expected, reward, terminated, _, _ = witness.step(action)
                assert outcome.observation[p, n].tolist() == expected.astype(np.float32).tolist()
                assert (outcome.reward[p, n], outcome.terminated[p, n]) == (reward, terminated)


def test_random_numbers_decide_everything():
    def walked(seed):
        world = worlds.real(SWING)
        params, generator = world.init(seeded(), POPULATION), seeded(seed)
        episodes = rollout.begin(world, params, generator, N)

        def act(observation, generator):
            return torch.randint(2, observation.shape[:2], generator=generator)

        return rollout.collect(world, params, act, episodes, 12, generator, 5)[0]

    one, again, other = walked(0), walked(0), walked(1)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert len(one.observation[:, 0].flatten(0, 1).unique(dim=0)) == N, "members begin alike"
    assert not torch.equal(one.observation, other.observation)


def test_only_episodes_that_ended_restart(register):
    world, params, state = begun(register())
    late = torch.tensor([[True, False, False], [False, False, True]])
    before = world.observe(params, state).clone()
    state = world.restart(params, state, late, seeded(2))
    assert (world.observe(params, state) != before).any(-1).equal(late)
    assert [len(env.seeds) for env in Show.made] == [2, 1, 1, 1, 1, 2]
    action = torch.zeros((POPULATION, N), dtype=torch.long)
    for _ in range(4):
        state, outcome = world.step(params, state, action)
    assert outcome.terminated.all()
    state = world.restart(params, state, late, seeded(3))
    assert state["over"].equal(~late)


@pytest.mark.parametrize("name", ["ddpg", "ppo", "sac"])
def test_learners_let_the_others_go_on(register, name):
    """Where actions are a Box too: members whose episodes end at different times restart each when its own does."""
    world = worlds.real(register(action_space=spaces.Box(-1, 1, (1,)), staggered=True))
    settings = {"hidden": [8], **({"length": 12} if name == "ppo" else {"length": 4, "batch": 8, "warmup": 4})}
    learner, generator = learners.named(name, world.spaces, **settings), seeded()
    agent = learner.init(learners.fill(learner, 2, {}), 12, generator)
    learners.train(learner, agent, world, world.init(generator, 2), 12, generator, None)
    assert [len(env.seeds) for env in Show.made] == [1 + 3, 1 + 2], "every 4 steps, and every 5"


def test_draws_do_not_depend_on_who_ended(register):
    world, params, state = begun(register())
    generator, other = seeded(), seeded()
    state = world.restart(params, state, torch.ones((POPULATION, N), dtype=torch.bool), generator)
    world.restart(params, state, torch.zeros((POPULATION, N), dtype=torch.bool), other)
    assert torch.equal(torch.rand(1, generator=generator), torch.rand(1, generator=other))


def test_episodes_that_are_over_are_not_stepped(register):
    world, params, state = begun(register())
    action = torch.ones((POPULATION, N), dtype=torch.long)
    outcomes = []
    for _ in range(6):
        state, outcome = world.step(params, state, action)
        outcomes.append(outcome)
    assert [len(env.actions) for env in Show.made] == [4] * (POPULATION * N)
    assert [outcome.terminated.all().item() for outcome in outcomes] == [False] * 3 + [True] * 3
    assert [outcome.reward.sum().item() for outcome in outcomes] == [6] * 4 + [0] * 2
    assert torch.equal(outcomes[3].observation, outcomes[5].observation)


def test_a_score_counts_the_steps_that_were_taken(register):
    world = worlds.real(register())

    def act(observation, _):
        return torch.zeros(observation.shape[:2], dtype=torch.long)

    returns, lengths = rollout.evaluate(world, world.init(seeded(), POPULATION), act, seeded(), N, 9)
    assert lengths.tolist() == [[4] * N] * POPULATION
    assert returns.tolist() == [[4.0] * N] * POPULATION
    assert sum(len(env.actions) for env in Show.made) == lengths.sum()


def test_environments_are_made_once(register):
    world, params, state = begun(register())
    for population, n in ((1, 2), (3, 2), (2, 1)):
        params = world.init(seeded(), population)
        assert world.observe(params, world.reset(params, seeded(), n)).shape == (population, n, 2)
    assert len(Show.made) == POPULATION * N


def test_a_truncation_of_the_tasks_own_ends_and_the_time_limit_is_left_to_rollouts(register):
    world, params, state = begun(register(truncates=True, max_episode_steps=2))
    assert world.horizon == 2
    for step in range(4):
        state, outcome = world.step(params, state, torch.zeros((POPULATION, N), dtype=torch.long))
        assert outcome.terminated.all().item() == (step == 3)


def test_there_is_no_way_back(register):
    world, params, state = begun(register())
    action = torch.zeros((POPULATION, N), dtype=torch.long)
    world.step(params, state, action)
    with pytest.raises(RuntimeError, match=r"Show-v0 is stepped in Python and cannot go back.*another worlds\.real"):
        world.step(params, state, action)
    with pytest.raises(RuntimeError, match="cannot go back"):
        world.restart(params, state, torch.ones((POPULATION, N), dtype=torch.bool), seeded())


def test_only_the_id_travels_and_a_process_keeps_its_environments(register):
    world, params, state = begun(register())
    sent = pickle.dumps(world)
    assert len(sent) < 200
    there, again = pickle.loads(sent), pickle.loads(sent)
    assert there is again
    assert there is not world
    assert (there.name, there.horizon, there.spaces) == (world.name, world.horizon, world.spaces)
    assert torch.equal(there.reset(params, seeded(1), N)["observation"], state["observation"])


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.Box(0, 1, ()),
        spaces.MultiBinary(2),
        spaces.Tuple((spaces.Box(0, 1, ()), spaces.MultiDiscrete([2, 3]))),
        spaces.Dict({"near": BOX, "far": spaces.Dict({"left": spaces.Discrete(2, start=5), "right": BOX})}),
        spaces.Box(-5, 5, (3,), np.int64),
    ],
    ids=str,
)
def test_observations_are_flattened(register, space):
    world, params, state = begun(register(space), 1, 2)
    assert world.spaces.observation.shape == (spaces.flatdim(space),)
    assert world.spaces.observation.dtype == np.float32
    state, outcome = world.step(params, state, torch.zeros((1, 2), dtype=torch.long))
    for env, row in zip(Show.made, outcome.observation[0], strict=True):
        expected = spaces.flatten(space, env.shown[-1]).astype(np.float32)
        assert row.tolist() == expected.tolist()
    agents_see = foreign.flat(gymnasium.make("Show-v0"))
    assert agents_see.observation_space == spaces.flatten_space(space)
    assert agents_see.reset(seed=0)[0].shape == world.spaces.observation.shape


def test_bounds_may_be_anything():
    far = np.finfo(np.float64).max
    space = foreign.observation_space(
        "Far-v0", spaces.Box(np.array([-far, -np.inf]), np.array([far, 1]), dtype=np.float64)
    )
    assert space == spaces.Box(np.float32([-np.inf, -np.inf]), np.float32([np.inf, 1]))


def test_what_is_flat_already_is_left_alone():
    env = gymnasium.make("CartPole-v1")
    assert foreign.flat(env) is env


def test_actions_arrive_as_gymnasium_would_send_them(register):
    world, params, state = begun(register(), 1, 2)
    world.step(params, state, torch.tensor([[0, 1]]))
    for env, expected in zip(Show.made, (0, 1), strict=True):
        assert env.action_space.contains(env.actions[0])
        assert env.actions == [expected]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_actions_outside_a_box_are_clipped_to_it(register, dtype):
    box = spaces.Box(np.array([-0.1, 0.0], dtype), np.array([0.1, 2.0], dtype), dtype=dtype)
    world, params, state = begun(register(action_space=box), 1, 2)
    assert world.spaces.action == spaces.Box(np.float32(box.low), np.float32(box.high))
    state, _ = world.step(params, state, torch.tensor([[[-9.0, 9.0], [0.05, 1.5]]]))
    world.step(params, state, torch.tensor([[[0.1, 0.0], [-0.1, 1.0]]]))
    assert all(box.contains(action) for env in Show.made for action in env.actions)
    np.testing.assert_allclose([env.actions[0] for env in Show.made], [[-0.1, 2.0], [0.05, 1.5]], rtol=1e-3)


REFUSED = {
    "image": ({"observation_space": spaces.Box(0, 255, (8, 8, 3), np.uint8)}, "an image or a table.*positions, speeds"),
    "bytes": ({"observation_space": spaces.Box(0, 255, (128,), np.uint8)}, "an image or a table"),
    "table": ({"observation_space": spaces.Box(-1, 1, (2, 3))}, r"FlattenObservation for a small table"),
    "image inside": (
        {"observation_space": spaces.Dict({"eye": spaces.Tuple((BOX, spaces.Box(0, 255, (8, 8), np.uint8)))})},
        "an image or a table",
    ),
    "text": ({"observation_space": spaces.Text(9)}, r"shows Text.*TransformObservation"),
    "sequence": ({"observation_space": spaces.Dict({"all": spaces.Sequence(BOX)})}, "no list of numbers of fixed"),
    "multi-discrete": ({"action_space": spaces.MultiDiscrete([2, 3])}, "MultiDiscrete.*stand for the combinations"),
    "multi-binary": ({"action_space": spaces.MultiBinary(3)}, r"takes MultiBinary\(3\).*stand for the combinations"),
    "offset": ({"action_space": spaces.Discrete(3, start=-1)}, "Discrete actions from 0.*from Discrete"),
    "unbounded": ({"action_space": spaces.Box(-np.inf, 1, (2,))}, "bounded Box.*as wide as the actions that matter"),
    "table of actions": ({"action_space": spaces.Box(-1, 1, (2, 2))}, "from a Box of floats with one dimension"),
    "whole numbers": ({"action_space": spaces.Box(-1, 1, (2,), np.int64)}, "from a Box of floats"),
    "endless": ({"max_episode_steps": None}, r"has no time limit.*max_episode_steps=200"),
}


@pytest.mark.parametrize(("settings", "said"), REFUSED.values(), ids=REFUSED)
def test_refuses_with_a_way_out(register, settings, said):
    target = register(**settings)
    with pytest.raises(ValueError, match=said) as refusal:
        worlds.real(target)
    assert target in str(refusal.value)


def test_the_way_out_leads_out():
    def variant():
        seen, moves = spaces.Box(0, 255, (8, 8), np.uint8), spaces.MultiDiscrete([2, 2])
        env = TransformAction(Show(seen, moves), lambda a: np.array([a // 2, a % 2]), spaces.Discrete(4))
        return TransformObservation(env, lambda image: image.mean(1, dtype=np.float32), spaces.Box(0, 255, (8,)))

    gymnasium.register("Variant-v0", variant, max_episode_steps=5)
    world, params, state = begun("Variant-v0", 1, 2)
    _, outcome = world.step(params, state, torch.tensor([[2, 1]]))
    assert outcome.observation.shape == (1, 2, 8)
    del gymnasium.registry["Variant-v0"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pays": float("nan")}, "Show-v0 showed .* and paid nan: expected finite numbers"),
        ({"shows": np.float32([0, np.nan])}, r"Show-v0 showed \[ 0\. nan\] and paid 1"),
        (
            {"shows": np.float32([1])},
            r"Show-v0 showed an observation of shape \(1,\), but its observation space promises \(2,\)",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Gymnasium's own checks warn of the same
def test_broken_environments_are_named(register, settings, said):
    world, params, state = begun(register(**settings))
    with pytest.raises(ValueError, match=said):
        world.step(params, state, torch.ones((POPULATION, N), dtype=torch.long))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("Swinging-v0", "no real task is called 'Swinging-v0'; did you mean 'Swing-v0'"),
        ("CartPole-v7", r"did you mean 'CartPole-v1'\? \(known: .*CartPole-v1.*every id registered with Gymnasium"),
        ("zzz", r"called 'zzz' \(known.*'my_package:MyTask-v0'"),
        ("no_such_module:Swing-v0", "asks for the module no_such_module, but: No module named 'no_such_module'"),
        ("tests.own_task:Swim-v0", "no real task is called 'tests.own_task:Swim-v0'"),
    ],
)
def test_unknown_ids_are_told_the_nearest(target, said):
    with pytest.raises(ValueError, match=said):
        worlds.real(target)


def test_what_gymnasium_cannot_make_is_no_crash(register):
    def needy():
        raise gymnasium.error.DependencyNotInstalled("pip install a_simulator")

    gymnasium.register("Show-v0", needy, max_episode_steps=5)
    with pytest.raises(ValueError, match="cannot make Show-v0: pip install a_simulator"):
        worlds.real("Show-v0")


def test_a_mistake_of_the_task_itself_is_shown_as_it_is(register):
    def broken():
        raise ZeroDivisionError("in the user's own code")

    gymnasium.register("Show-v0", broken, max_episode_steps=5)
    with pytest.raises(ZeroDivisionError, match="own code"):
        worlds.real("Show-v0")


def test_the_swing_is_hard_to_find_and_easy_to_do():
    """Pushing with the movement rings the bell; pushing one way or at random never does."""
    world = Foreign(SWING)

    def score(act):
        return rollout.evaluate(world, world.init(seeded(), 1), act, seeded(), 5, world.horizon)[0]

    assert (score(lambda seen, _: (seen[..., 1] > 0).long()) > -70).all()
    assert (score(lambda seen, _: torch.ones(seen.shape[:2], dtype=torch.long)) == -100).all()
    assert (score(lambda seen, draw: torch.randint(2, seen.shape[:2], generator=draw)) == -100).all()
    assert Swing().observation_space.contains(np.zeros(2))
