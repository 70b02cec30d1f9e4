"""What README.md says is what happens: its Python and its commands run (on tiny budgets), its tables are current."""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from benchmarks import tables
from synthenv import catalogue, cli, meta, recipe
from synthenv.recipe import EnvRecipe, Exam, InnerStage, Search, load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^synthenv [^#\n]+", README, re.MULTILINE)
TINY = {
    "train": ["--steps", "8", "--episodes", "1", "--hyperparameters", "tiny.yml"],
    "evaluate": ["--episodes", "1"],
    "evolve": ["--workers", "1"],
}
"""What is added to a command to make it quick."""


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


def world_of_the_readme():
    """The task that README.md writes as an example, run from there."""
    names: dict[str, type] = {}
    exec(next(block for block in PYTHON if "class MountainCar" in block), names)
    return names["MountainCar"]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like the checkout, with tiny budgets in its recipes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(catalogue.names("synthenv.worlds"), "MountainCar-v0", world_of_the_readme())
    whole = meta.default_recipe
    monkeypatch.setattr(meta, "default_recipe", lambda target, form: tiny(whole(target, form)))
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    for path in tmp_path.glob("envs/*/recipe.yaml"):
        path.write_text(recipe.dump(tiny(load(EnvRecipe, path))))
    ids = [*(path.parent.name for path in tmp_path.glob("envs/*/recipe.yaml")), "SynthBandit-MountainCar-v0"]
    (tmp_path / "tiny.yml").write_text("".join(f"{name}: {{n_steps: 8, batch_size: 4}}\n" for name in ids))
    registered = set(gymnasium.registry)
    yield tmp_path
    for name in set(gymnasium.registry) - registered:
        del gymnasium.registry[name]


def test_the_commands_run_as_printed(checkout, capsys):
    assert len(COMMANDS) >= 7
    for command in COMMANDS:
        _, name, *arguments = shlex.split(command)
        assert cli.main([name, *arguments, *TINY.get(name, [])]) == 0, (command, capsys.readouterr().err)
    assert (checkout / "envs" / "SynthBandit-MountainCar-v0" / "README.md").is_file()


def test_the_demo_compares_both_and_draws(tmp_path, capsys):
    assert cli.main(["demo", "--steps", "64", "--episodes", "2", "--out", str(tmp_path / "demo.png")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"Synth-CartPole-v0 +2,048 +[\d.]+ +mean [\d.]+, worst \d+", out)
    assert re.search(r"\nCartPole-v1 +2,048 +[\d.]+ +mean [\d.]+, worst \d+", out)
    assert (tmp_path / "demo.png").stat().st_size > 10_000


@pytest.mark.parametrize("block", [block for block in PYTHON if "class MountainCar" not in block])
def test_the_python_runs(block):
    exec(block.replace("10_000", "8").replace('device="cpu"', 'device="cpu", n_steps=8, batch_size=4'), {})


def test_the_example_task_is_gymnasiums():
    witness, world = gymnasium.make("MountainCar-v0").unwrapped, world_of_the_readme()()
    params, random = world.init(torch.Generator(), 1), np.random.default_rng(0)
    for _ in range(10):
        witness.reset()
        witness.state = random.uniform((-1.2, -0.07), (0.45, 0.07))
        state = {"x": torch.tensor(witness.state, dtype=torch.float32)[None, None]}
        for action in random.integers(3, size=60):
            expected, _, terminated, _, _ = witness.step(int(action))
            state, outcome = world.step(params, state, torch.tensor([[action]]))
            torch.testing.assert_close(outcome.observation[0, 0], torch.tensor(expected), atol=1e-5, rtol=0)
            assert bool(outcome.terminated) == terminated
            if terminated:
                break


def test_the_tables_show_what_the_results_hold():
    assert tables.main(["--check"]) == 0
