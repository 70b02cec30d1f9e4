"""What README.md says is what happens: its Python and its commands run (on tiny budgets), its tables are current."""

import dataclasses
import re
import shlex
import shutil
import sys
from pathlib import Path

import gymnasium
import pytest

from benchmarks import tables
from synthenv import cli, imagine, meta, recipe
from synthenv.recipe import EnvRecipe, Exam, InnerStage, Search, load
from tests.own_task import Swing

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^synthenv [^#\n]+", README, re.MULTILINE)
TINY = {
    "train": ["--steps", "8", "--episodes", "1"],
    "train ppo": ["--hyperparameters", "tiny.yml"],
    "evaluate": ["--episodes", "1"],
    "evolve": ["--workers", "1"],
    "imagine": ["--transitions", "60", "--steps", "32", "--n-envs", "2", "--episodes", "1"],
    "rank evaluate": ["--ranker", "average_rank"],
}
"""What is added to a command to make it quick."""
MODULE = f"""
import gymnasium
from {Swing.__module__} import {Swing.__name__} as MyTask

gymnasium.register("MyTask-v0", MyTask, max_episode_steps=20, kwargs={{"pause": 0.0}})
"""
"""The task of one's own that README.md speaks of."""


RUNS = "task,pipeline,budget,score,seconds\n" + "".join(
    f"{task},{pipeline},{budget},{(1 - 1 / budget) * quality + 0.1 * (task == pipeline)},{2 * budget}\n"
    for task in ("birds", "cars", "flowers")
    for pipeline, quality in (("birds", 0.5), ("small", 0.6), ("large", 0.8), ("cars", 0.7))
    for budget in (10, 50)
)
"""A table of runs as README.md speaks of."""


def tiny(whole: EnvRecipe) -> EnvRecipe:
    """The same recipe with next to no budget."""
    return dataclasses.replace(
        whole,
        greedy=dataclasses.replace(whole.greedy, search=Search(population=4, generations=1), episodes=1),
        states=dataclasses.replace(whole.states, episodes=2, updates=2),
        dynamics=dataclasses.replace(whole.dynamics, updates=2),
        inner=InnerStage(enabled=False),
        exam=Exam(agents=0),
    )


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like the checkout, with tiny budgets in its recipes, and a module with a task."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_package.py").write_text(MODULE)
    whole = meta.default_recipe
    monkeypatch.setattr(meta, "default_recipe", lambda target, form: tiny(whole(target, form)))
    monkeypatch.setattr(imagine, "thrifty", lambda target, form: tiny(whole(target, form)))
    (tmp_path / "runs.csv").write_text(RUNS)
    (tmp_path / "partial.csv").write_text("task,pipeline,budget,score,seconds\nmine,small,10,0.4,30\n")
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    for path in tmp_path.glob("envs/*/recipe.yaml"):
        path.write_text(recipe.dump(tiny(load(EnvRecipe, path))))
    (tmp_path / "tiny.yml").write_text("Synth-CartPole-v0: {n_steps: 8, batch_size: 4}\n")
    registered = set(gymnasium.registry)
    yield tmp_path
    sys.modules.pop("my_package", None)
    for name in set(gymnasium.registry) - registered:
        del gymnasium.registry[name]


def test_the_commands_run_as_printed(checkout, capsys):
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        _, name, *arguments = shlex.split(command)
        quick = [*TINY.get(name, ()), *TINY.get(" ".join([name, *arguments[:1]]), ())]
        assert cli.main([name, *arguments, *quick]) == 0, (command, capsys.readouterr().err)
    assert "return in my_package:MyTask-v0 over 1 episodes: mean -20.0" in capsys.readouterr().out
    for path in ("runs/SynthBandit-MyTask-v0/artifact/README.md", "portrait.png"):
        assert (checkout / path).is_file()


def test_the_demo_compares_both_and_draws(tmp_path, capsys):
    assert cli.main(["demo", "--steps", "64", "--episodes", "2", "--out", str(tmp_path / "demo.png")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"Synth-CartPole-v0 +2,048 +[\d.]+ +mean [\d.]+, worst \d+", out)
    assert re.search(r"\nCartPole-v1 +2,048 +[\d.]+ +mean [\d.]+, worst \d+", out)
    assert (tmp_path / "demo.png").stat().st_size > 10_000


@pytest.mark.parametrize("block", PYTHON)
def test_the_python_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs.csv").write_text(RUNS)
    quick = re.sub(r"agent\.learn\([\d_]+\)", "agent.learn(8)", block)
    exec(re.sub(r'(PPO\(.*device="cpu")', r"\1, n_steps=8, batch_size=4", quick), {})


def examples(more=""):
    """The tests that README.md writes as an example; `more` are further arguments of its learner."""
    (block,) = (block for block in PYTHON if "assert_learns" in block)
    names = {}
    exec(block.replace("seed=seed", f"seed=seed{more}"), names)
    return [thing for name, thing in names.items() if name.startswith("test_")]


def test_the_example_of_a_test_passes_a_sound_learner():
    plain, late = examples()
    plain()
    late()


def test_the_example_of_a_test_catches_one_that_ignores_the_future():
    _, late = examples(", gamma=0.0")
    with pytest.raises(AssertionError, match="look at what concerns the future"):
        late()


def test_the_tables_show_what_the_results_hold():
    assert tables.main(["--check"]) == 0
