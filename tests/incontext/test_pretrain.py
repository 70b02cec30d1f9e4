"""Pretraining of the world model: what is asked for, that it learns, that a folder comes out."""

import json

import pytest
import torch

from synthenv import cli, recipe, seeding
from synthenv.incontext.model import LEVELS, Architecture, Guess
from synthenv.incontext.pretrain import Contexts, WorldModelRecipe, build, lesson, losses, pretrain_world_model
from synthenv.incontext.rows import Rows
from synthenv.incontext.weights import load
from synthenv.pretraining import Schedule
from tests.incontext.test_model import task

TINY = WorldModelRecipe(
    "tiny", 0, Architecture(16, 1, 2), Contexts(tasks=3, longest=12, begin=8, queries=6, search=2),
    schedule=Schedule(steps=3),
)  # fmt: skip


@pytest.fixture
def known():
    rows, shape = task(30)
    network = build(TINY)
    return network.condition(rows, shape), rows, shape


def guess(known, rows, mean=None, width=0.1):
    """A guess with this mean and intervals of this width."""
    units = known.solution.units
    truth = torch.cat((rows.following - rows.observation, rows.reward[..., None]), -1)
    truth = ((truth - units.middle) / units.size).float()
    mean = truth if mean is None else truth + mean
    fan = torch.linspace(-width, width, len(LEVELS))
    ends = torch.where(rows.terminated, 8.0, -8.0)
    trust = torch.zeros(*mean.shape, 7)
    return Guess(mean, mean[..., None] + fan, torch.full_like(mean, 0.1), ends, trust, truth + 0.1)


def test_better_guesses_lose_less(known):
    known, rows, shape = known
    perfect, off, wide = (losses(known, guess(known, rows, *how), rows, shape) for how in ((), (0.5,), (None, 2.0)))
    assert perfect["mean"] < off["mean"]
    assert perfect["pinball"] < min(off["pinball"], wide["pinball"])
    assert perfect["inside"] == wide["inside"] == 1 > off["inside"]
    assert perfect["gain"] < 0 < off["gain"]
    assert perfect["end"] < 0.01


def test_slots_out_of_use_do_not_count(known):
    known, rows, shape = known
    mean = torch.zeros(17)
    mean[5] = 100.0
    told = losses(known, guess(known, rows, mean), rows, shape)
    assert torch.equal(told["mean"], losses(known, guess(known, rows), rows, shape)["mean"])


def test_a_lesson_is_its_generator(known):
    network = build(TINY)
    one, two, other = (lesson(TINY, network, seeding.generator(seed), 0.5)["loss"] for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    one.backward()
    assert torch.isfinite(network.head.weight.grad).all()
    assert network.head.weight.grad.abs().max() > 0


def test_a_folder_comes_out_and_loads(tmp_path):
    card = pretrain_world_model(TINY, tmp_path / "out", tmp_path / "run")
    assert card["cost"]["steps"] == 3
    network = load(tmp_path / "out")
    rows, shape = task(10)
    belief = network.believe(network.condition(rows, shape), rows.observation, rows.action)
    assert all(torch.isfinite(leaf).all() for leaf in belief)
    assert isinstance(rows, Rows)
    assert "3 steps on synthetic tasks alone" in (tmp_path / "out" / "README.md").read_text()


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


def test_the_command_refuses_other_recipes(tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text("id: x\n")
    assert cli.main(["pretrain", str(path)]) == 2
    assert "is no recipe of a pretrained model" in capsys.readouterr().err
