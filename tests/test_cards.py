"""Cards say what the files beside them say."""

import json

import pytest

from synthenv import cards, shelf
from synthenv.artifact import load
from synthenv.scores import Trial, statistics
from tests.conftest import random_artifact


def trials(environment):
    return [
        Trial(environment, "PPO", steps, seed, 50, level + seed, 4.0)
        for steps, level in ((1_000, 100.0), (10_000, 400.0))
        for seed in range(4)
    ]


def add_facts(folder, **facts):
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


@pytest.fixture
def folder(artifact_folder):
    add_facts(artifact_folder, real_steps=12_345, seconds=61.4, cpu_seconds=99.6)
    return artifact_folder


def test_an_environment_says_what_it_is_and_what_it_cost(folder):
    text = cards.card_text(load(folder))
    facts = shelf.card(folder)
    assert text.startswith(f"# {facts['id']}\n")
    assert "12,345 steps of CartPole-v1, 61 s on the clock, 100 CPU seconds" in text
    assert facts["sha256"] in text
    assert "Not measured yet." in text
    assert ("one step" in text) == (facts["form"] == "bandit")
    assert ("dynamics" in text.split("##")[1]) == (facts["form"] == "mdp")


def test_an_exam_is_shown_beside_the_scores(folder):
    add_facts(folder, exam={"ppo-10000": statistics([400.0, 500.0])})
    assert "| ppo | 10,000 | 2 | 450 |" in cards.card_text(load(folder))


def test_refresh_takes_scores_and_curves_from_trials(folder):
    name = shelf.card(folder)["id"]
    written = cards.refresh(folder, [*trials(name), *trials("CartPole-v1"), *trials("Another-v0")])
    assert [path.name for path in written] == ["card.json", cards.PLOT, "README.md"]
    (score,) = shelf.card(folder)["scores"]
    assert (score["algorithm"], score["steps"], score["n"], score["worst"]) == ("PPO", 10_000, 4, 400)
    text = (folder / "README.md").read_text()
    assert "| PPO | 10,000 | 4 | 401.5 |" in text
    assert f"({cards.PLOT})" in text
    load(folder)


def test_refresh_without_trials_changes_no_facts(folder):
    before = (folder / "card.json").read_bytes()
    assert cards.refresh(folder) == [folder / "README.md"]
    assert (folder / "card.json").read_bytes() == before
    assert not list(folder.glob("*.partial"))


def test_refresh_of_a_shelf_writes_every_card_and_the_table(tmp_path):
    envs = tmp_path / "envs"
    for form in ("bandit", "mdp"):
        folder = random_artifact(envs / f"Synth{form}Test-v0", form)
        add_facts(folder, real_steps=10, seconds=1, cpu_seconds=2)
    assert len(cards.refresh(envs)) == 3
    text = (envs / "README.md").read_text()
    assert "| [SynthmdpTest-v0](SynthmdpTest-v0) | CartPole-v1 | mdp | 10 | 2 |" in text


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected an environment, an agent, or a shelf"):
        cards.refresh(tmp_path)
