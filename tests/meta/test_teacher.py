"""An actor of the real task as a reward network: the same choices, at a price that is told."""

from dataclasses import replace

import pytest
import torch

from synthenv import artifact, learners
from synthenv.gym import synthetic
from synthenv.meta import evolve
from synthenv.meta.teacher import trained
from synthenv.recipe import EnvRecipe, Exam, GreedyStage, Inner, InnerStage, dump, load
from synthenv.seeding import generator
from synthenv.tree import part
from tests.meta import toys

LOOP = Inner("a2c", 200, {"envs": 8, "length": 4})
GREEDY = GreedyStage(learner=LOOP, agents=3, trials=4)
RECIPE = toys.recipe(greedy=GREEDY, layers=(16, 12), inner=InnerStage(False), exam=Exam(agents=0))
WORLD = toys.world(layers=(16, 12))


def made(recipe, folder, **options):
    return evolve(recipe, folder / "env", run_folder=folder / "run", workers=1, progress=False, **options)


@pytest.fixture
def kept(monkeypatch):
    """The learner and its agents whenever some are scored."""
    found = []
    score = learners.score

    def watched(learner, agents, *rest):
        found.append((learner, agents))
        return score(learner, agents, *rest)

    monkeypatch.setattr(learners, "score", watched)
    return found


def test_the_reward_network_chooses_what_the_best_agent_does(kept):
    """The agents differ; the actor taken is that of the highest return, in the coordinates of the synthetic world."""
    reward, facts, _ = trained(RECIPE, toys.CARTPOLE, WORLD, LOOP, generator(1))
    ((learner, agents),) = kept
    assert [reward[name].shape[-1] for name in ("w0", "w1", "w2")] == [16, 12, 2]
    best = max(range(3), key=lambda which: facts["returns"][which])
    seen = WORLD.centre + WORLD.reach * (4 * torch.rand(1, 500, 4) - 2)
    own = WORLD.best_action({f"reward.{name}": leaf for name, leaf in reward.items()}, seen)[0]
    choices = learner.best(agents, seen.expand(3, -1, -1))
    agree = [(own == each).float().mean().item() for each in choices]
    assert agree[best] > 0.99
    assert all(share < 0.99 for which, share in enumerate(agree) if which != best)


@pytest.mark.parametrize("algorithm", ["sac", "td3", "ddpg"])
def test_it_steers_as_the_best_agent_does(kept, algorithm):
    """The vertex is the unit action before it is squashed, cut off at the bounds."""
    loop = Inner(algorithm, 200, {"batch": 16}, {"rate": (1e-3,)})
    recipe = toys.recipe(target="Pendulum-v1", greedy=GreedyStage(learner=loop, agents=2, trials=1), layers=(16, 12))
    world = toys.world(target="Pendulum-v1", layers=(16, 12))
    reward, facts, spent = trained(recipe, toys.PENDULUM, world, loop, generator(1))
    ((learner, agents),) = kept
    assert spent == 2 * (200 + 200), "steps and one trial of each agent"
    seen = world.centre + world.reach * (2 * torch.rand(1, 500, 3, generator=generator(2)) - 1)
    own = world.best_action({f"reward.{name}": leaf for name, leaf in reward.items()}, seen)[0]
    best = max(range(2), key=lambda which: facts["returns"][which])
    squashed = learner.best(agents, seen.expand(2, -1, -1))[best] / 2
    assert squashed.std() > 0.01
    torch.testing.assert_close(own, 2 * squashed.double().atanh().clamp(-1, 1).float(), atol=1e-3, rtol=0)


def spoilt(monkeypatch, leaf, which):
    """From here on these agents have NaN for weights, and the best returns, or NaN for returns."""
    train, score = learners.train, learners.score

    def badly(*args):
        agents = train(*args)
        flat = agents["flat"].index_fill(0, torch.tensor(which), torch.nan)
        return {**agents, "flat": flat} if leaf == "flat" else agents

    def told(*args):
        returns, steps = score(*args)
        return returns.index_fill(0, torch.tensor(which), 500 if leaf == "flat" else torch.nan), steps

    monkeypatch.setattr(learners, "train", badly)
    monkeypatch.setattr(learners, "score", told)


@pytest.mark.parametrize("leaf", ["flat", "returns"])
def test_an_agent_without_numbers_is_the_worst(kept, monkeypatch, leaf):
    """Also where it has a return: what NaN prefers is the first choice, which may be a good one."""
    spoilt(monkeypatch, leaf, [0, 2])
    reward, facts, _ = trained(RECIPE, toys.CARTPOLE, WORLD, LOOP, generator(1))
    ((learner, agents),) = kept
    best = learner.actor({**agents, "flat": agents["flat"][1:2]})
    torch.testing.assert_close(reward["b2"], WORLD.payoff.adopt(best)["b2"])
    assert facts["returns"][::2] == [500, 500] if leaf == "flat" else [None, None]


@pytest.mark.parametrize("leaf", ["flat", "returns"])
def test_without_any_agent_there_is_no_teacher(monkeypatch, leaf):
    spoilt(monkeypatch, leaf, [0, 1, 2])
    with pytest.raises(ValueError, match="got none of 3; try lower rates"):
        trained(RECIPE, toys.CARTPOLE, WORLD, LOOP, generator(1))


def test_the_price_is_every_agents_steps_and_trials():
    _, facts, spent = trained(RECIPE, toys.CARTPOLE, WORLD, LOOP, generator(1))
    steps = 3 * 224  # 7 updates of 8 * 4 steps are the first to reach 200
    assert spent == steps + round(sum(4 * mean for mean in facts["returns"])), "CartPole pays one a step"


def test_it_stands_where_the_greedy_stage_does(tmp_path):
    """In the card, in a file that can be read again, on resumption, and in what is played."""
    found = made(RECIPE, tmp_path)
    assert list(found.card["stages"]) == ["look", "greedy", "seen", "states"]
    assert len(found.card["stages"]["greedy"]["returns"]) == 3
    (tmp_path / "recipe.yaml").write_text(dump(RECIPE))
    assert load(EnvRecipe, tmp_path / "recipe.yaml") == found.recipe
    world, params = synthetic(artifact.load(tmp_path / "env"))
    assert len(part(params, "reward")) == 6, "three layers"
    again = evolve(RECIPE, tmp_path / "again", run_folder=tmp_path / "run", resume=True, workers=1, progress=False)
    assert all(torch.equal(again.weights[name], leaf) for name, leaf in found.weights.items())
    assert again.card["real_steps"] == found.card["real_steps"]
    assert world.best_action(params, torch.zeros(1, 5, 4)).shape == (1, 5)


def test_switched_off_there_is_no_teacher(tmp_path):
    off = replace(RECIPE, greedy=replace(RECIPE.greedy, enabled=False))
    assert "greedy" not in made(off, tmp_path).card["stages"]


@pytest.mark.parametrize(
    ("target", "loop", "said"),
    [
        (
            "CartPole-v1",
            Inner("dqn"),
            "expected greedy.learner to be ppo, a2c or sac where actions are Discrete.*got dqn",
        ),
        ("Pendulum-v1", Inner("ppo"), "got ppo in Pendulum-v1; leave it out"),
        ("CartPole-v1", Inner("ppo", settings={"activation": "relu"}), "expected no activation.*layers and activation"),
        ("CartPole-v1", Inner("ppo", draws={"ratte": (1.0,)}), "did you mean 'rate'"),
    ],
)
def test_a_learner_that_cannot_teach_is_refused(tmp_path, target, loop, said):
    recipe = replace(RECIPE, target=target, greedy=replace(RECIPE.greedy, learner=loop))
    with pytest.raises(ValueError, match=said):
        made(recipe, tmp_path)
    assert not list(tmp_path.iterdir())


def test_its_hyperparameters_are_those_drawn():
    still = replace(LOOP, draws={"rate": (0.0,)})
    for loop, learned in ((LOOP, True), (still, False)):
        reward, _, _ = trained(RECIPE, toys.CARTPOLE, WORLD, loop, generator(1))
        assert bool(reward["b2"].any()) == learned, "biases begin at 0"
