"""From somebody's own task to an environment for it, by the command."""

import gymnasium
import pytest
import torch

import synthenv
from benchmarks import own_task
from benchmarks.tables import rows_of
from synthenv import artifact, cli, recipe, rollout, worlds
from synthenv.gym import synthetic
from synthenv.meta.greedy import own_policy
from synthenv.recipe import EnvRecipe, Exam, GreedyStage, Inner, InnerStage, Search, StatesStage
from tests.own_task import Swing

QUICK = "tests.own_task:QuickSwing-v0"
SEARCH = Search("snes", {"sigma": 0.3, "mirrored": True}, 32, 6)
NONE = InnerStage(enabled=False)


@pytest.fixture
def written(tmp_path):
    """Writes a recipe for the swing and returns its path."""

    def write(**stages):
        path = tmp_path / "recipe.yaml"
        path.write_text(recipe.dump(EnvRecipe("SynthBandit-Swing-v0", QUICK, "bandit", **stages)))
        return path

    return write


def evolved(path, out, workers=1):
    """The artifact of `synthenv evolve`."""
    folders = ["--out", str(out), "--log", str(out.with_name(f"{out.name}-log"))]
    assert cli.main(["evolve", str(path), *folders, "--workers", str(workers)]) == 0
    return artifact.load(out)


def test_an_environment_for_it_knows_what_to_do(written, tmp_path):
    """Its own policy rings the bell, which 100 steps of any other kind do not."""
    stages = {"greedy": GreedyStage(search=SEARCH, episodes=2), "states": StatesStage(episodes=8, updates=20)}
    made = evolved(written(**stages, inner=NONE, exam=Exam(agents=0)), tmp_path / "made")
    assert made.card["target"] == QUICK
    real, (world, params) = worlds.real(QUICK), synthetic(made)
    generator = torch.Generator().manual_seed(1)
    returns, _ = rollout.evaluate(real, real.init(generator, 1), own_policy(world, params), generator, 10, real.horizon)
    assert returns.mean() > -85
    name = synthenv.register(made.folder)
    env = gymnasium.make(name)
    assert env.action_space == Swing().action_space
    assert env.observation_space.contains(env.reset(seed=0)[0])
    del gymnasium.registry[name]


def test_processes_change_nothing(written, tmp_path):
    """The task is stepped in the workers, which have it from its id alone."""
    small = Search("snes", {"sigma": 0.3}, 8, 2)
    loops = (Inner("a2c", 40, {"envs": 4}),)
    path = written(
        greedy=GreedyStage(search=small, episodes=1), states=StatesStage(episodes=2, updates=2),
        inner=InnerStage(search=small, loops=loops, agents=1, episodes=1, chunk=4), exam=Exam(loops, 2, 1),
    )  # fmt: skip
    here, there = (evolved(path, tmp_path / str(workers), workers) for workers in (1, 2))
    assert here.card["sha256"] == there.card["sha256"]
    assert here.card["real_steps"] == there.card["real_steps"]
    assert here.card["exam"] == there.card["exam"]


def test_the_benchmark_compares_both_places(written, tmp_path):
    small = Search("snes", {"sigma": 0.3}, 4, 1)
    path = written(
        greedy=GreedyStage(search=small, episodes=1), states=StatesStage(episodes=2, updates=2), inner=NONE,
        exam=Exam(agents=0),
    )  # fmt: skip
    quick = ("--seeds", 2, "--steps", 150, "--episodes", 2, "--workers", 1, "--results", tmp_path)
    own_task.main(["--recipe", str(path), *map(str, quick)])
    inside, outside = rows_of(tmp_path / "own_task.csv")
    assert (inside["trained in"], outside["trained in"]) == ("SynthBandit-Swing-v0", QUICK)
    assert int(inside["real steps to make"]) > int(outside["real steps to make"]) == 0
    for row in (inside, outside):
        returns = [float(text) for text in row["returns"].split()]
        assert len(returns) == 2
        assert float(row["low"]) <= sum(returns) / 2 == float(row["mean return"]) <= float(row["high"])


def test_what_cannot_be_a_target_is_one_line(capsys):
    assert cli.main(["evolve", "--target", "tests.own_task:Swim-v0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("synthenv: no real task is called 'tests.own_task:Swim-v0'")
    assert said.count("\n") == 1
