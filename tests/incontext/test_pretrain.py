"""Pretraining of the world model: what is asked for, that it learns, that a folder comes out."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from synthenv import cli, recipe, seeding
from synthenv.incontext.gaussian_process import Search
from synthenv.incontext.model import LEVELS, Architecture, Guess
from synthenv.incontext.pretrain import Contexts, WorldModelRecipe, build, lesson, losses, pretrain_world_model
from synthenv.incontext.prior import sample
from synthenv.incontext.rows import Rows
from synthenv.incontext.weights import load
from synthenv.pretraining import Schedule
from tests.incontext.test_model import task, tensors

TINY = WorldModelRecipe(
    "tiny", 0, Architecture(16, 1, 2),
    Contexts(tasks=3, longest=12, begin=8, queries=6, search=Search(rows=12, steps=2)), schedule=Schedule(steps=3),
)  # fmt: skip

TASKS = partial(sample, settings=TINY.prior)


@pytest.fixture
def known():
    rows, shape = task(30)
    network = build(TINY)
    return network.condition(rows, shape), rows, shape


def guess(known, rows, mean=None, width=0.1):
    """A guess with this mean and intervals of this width."""
    truth = known.solution.scaled(rows).float()
    mean = truth if mean is None else truth + mean
    fan = torch.linspace(-width, width, len(LEVELS))
    ends = torch.where(rows.terminated, 8.0, -8.0)
    trust = torch.zeros(*mean.shape, 7)
    return Guess(mean, mean[..., None] + fan, torch.full_like(mean, 0.1), ends, trust, truth + 0.1)


def test_better_guesses_lose_less(known):
    known, rows, shape = known
    perfect, off, wide = (losses(known, guess(known, rows, *how), rows) for how in ((), (0.5,), (None, 2.0)))
    assert perfect["mean"] < off["mean"]
    assert perfect["pinball"] < min(off["pinball"], wide["pinball"])
    assert perfect["inside"] == wide["inside"] == 1 > off["inside"]
    assert perfect["gain"] < 0 < off["gain"]
    assert perfect["end"] < 0.01


def test_slots_out_of_use_do_not_count():
    """Two tasks of different size in one batch."""
    rows, shape = task(30, 3)
    shape = shape._replace(observed=torch.arange(16) < torch.tensor([[2], [3]]))
    for leaf in (rows.observation, rows.following):
        leaf[0, :, 2] = 0.0
    known = build(TINY).condition(rows, shape)
    mean = torch.zeros(2, 1, 4)
    mean[0, :, 2] = 100.0
    told = losses(known, guess(known, rows, mean), rows)
    assert torch.equal(told["mean"], losses(known, guess(known, rows), rows)["mean"])


def test_a_lesson_is_its_generator(known):
    network = build(TINY)
    one, two, other = (lesson(TINY, TASKS, network, seeding.generator(seed), 0.5)["loss"] for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    one.backward()
    assert torch.isfinite(network.judge.weight.grad).all()
    assert network.judge.weight.grad.abs().max() > 0


def test_a_folder_comes_out_and_loads(tmp_path):
    card = pretrain_world_model(TINY, tmp_path / "out", tmp_path / "run")
    assert card["cost"]["steps"] == 3
    network = load(tmp_path / "out")
    rows, shape = task(10)
    belief = network.believe(network.condition(rows, shape), rows.observation, rows.action)
    assert all(torch.isfinite(leaf).all() for leaf in tensors(belief))
    assert isinstance(rows, Rows)
    assert "3 steps on synthetic tasks alone" in (tmp_path / "out" / "README.md").read_text()


def test_tasks_come_from_where_one_says(tmp_path):
    asked = []

    def source(generator, tasks, rows):
        asked.append((tasks, rows > TINY.contexts.queries))
        return TASKS(generator, tasks, rows)

    pretrain_world_model(TINY, tmp_path / "out", tmp_path / "run", source=source)
    pretrain_world_model(TINY, tmp_path / "usual", tmp_path / "usual-run")
    assert asked == [(3, True)] * 3
    same, usual = (load(tmp_path / name).judge.weight for name in ("out", "usual"))
    assert torch.equal(same, usual)


def test_the_command_pretrains_and_resumes(tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.dump(TINY))
    folders = ["--out", str(tmp_path / "out"), "--log", str(tmp_path / "run")]
    assert cli.main(["pretrain", str(path), *folders]) == 0
    assert "tiny: 3 steps" in capsys.readouterr().out
    before = json.loads((tmp_path / "out" / "card.json").read_text())["sha256"]
    assert cli.main(["pretrain", str(path), *folders]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert cli.main(["pretrain", str(path), *folders, "--resume"]) == 0
    assert json.loads((tmp_path / "out" / "card.json").read_text())["sha256"] == before


def test_the_recipe_for_a_gpu_is_as_large_as_it_says():
    large = recipe.load(WorldModelRecipe, Path(__file__).parents[2] / "models" / "WorldModel-large.yaml")
    with torch.device("meta"):
        size = sum(weight.numel() for weight in build(large).parameters())
    assert 16e6 < size < 18e6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id: x\n", "is no recipe of a pretrained model"),
        ("", "is no recipe of a pretrained model"),
        ("- {a: 1}\n", "is no recipe of a pretrained model"),
        ("contexts\n", "is no recipe of a pretrained model"),
        ("a: [1,\n", "recipe.yaml is not valid YAML: while parsing"),
    ],
)
def test_the_command_refuses_other_recipes(text, said, tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert cli.main(["pretrain", str(path)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_the_command_refuses_devices_that_are_not_here(tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.dump(TINY))
    assert cli.main(["pretrain", str(path), "--device", "abacus", "--log", str(tmp_path / "run")]) == 2
    assert "synthenv: cannot train on 'abacus' here: " in capsys.readouterr().err
