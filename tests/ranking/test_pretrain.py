import json

import pytest
import torch

from synthenv import recipe as recipes
from synthenv import shelf
from synthenv.pretraining import Schedule
from synthenv.ranking.lesson import LessonSettings
from synthenv.ranking.network import Architecture
from synthenv.ranking.pretrain import RankerRecipe, load, pretrain_ranker
from synthenv.ranking.prior import PriorSettings
from synthenv.ranking.rankers.in_context import MODEL
from synthenv.recipe import dump


def tiny(steps=3):
    lesson = LessonSettings(tables=2, questions=4, curves=3, prior=PriorSettings(pipelines=(6, 10), tasks=(1, 3)))
    return RankerRecipe("tiny", 0, Architecture(16, 1, 2), lesson, Schedule(steps=steps))


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr("synthenv.ranking.pretrain.EXAM", 3)


@pytest.fixture
def folder(tmp_path):
    pretrain_ranker(tiny(), tmp_path / "tiny", tmp_path / "run", progress=False)
    return tmp_path / "tiny"


def test_a_folder_is_whole_and_reads_back(folder, tmp_path):
    assert {path.name for path in folder.iterdir()} == {"recipe.yaml", "model.safetensors", "card.json", "README.md"}
    assert recipes.load(RankerRecipe, folder / "recipe.yaml") == tiny()
    card = json.loads((folder / "card.json").read_text())
    assert card["cost"]["steps"] == 3
    assert set(card["exam"]) >= {"pinball", "closed_form"}
    network = load(folder)
    assert sum(leaf.numel() for leaf in network.state_dict().values()) == card["parameters"]
    assert all(leaf.isfinite().all() for leaf in network.state_dict().values())


def test_a_finished_run_resumes_to_the_same_weights(folder, tmp_path):
    pretrain_ranker(tiny(), tmp_path / "again", tmp_path / "run", resume=True, progress=False)
    torch.testing.assert_close(load(tmp_path / "again").state_dict(), load(folder).state_dict(), rtol=0, atol=0)


def test_another_recipe_does_not_resume(folder, tmp_path):
    with pytest.raises(ValueError, match="another recipe"):
        pretrain_ranker(tiny(4), tmp_path / "other", tmp_path / "run", resume=True, progress=False)


def test_changed_files_are_refused(folder):
    (folder / "recipe.yaml").write_text(dump(tiny(4)))
    with pytest.raises(ValueError, match=r"recipe.yaml: model.safetensors says"):
        load(folder)


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"it has no model.safetensors"):
        load(folder)


def test_the_shipped_ranker_loads():
    folder = shelf.find(MODEL, "models")
    assert recipes.load(RankerRecipe, folder / "recipe.yaml").id == MODEL
    assert sum(leaf.numel() for leaf in load(folder).state_dict().values()) > 0
