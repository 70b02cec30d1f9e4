"""Cards say what the files beside them say."""

import json
from dataclasses import replace

import pytest

from synthenv import cards, shelf
from synthenv.artifact import load
from synthenv.recipe import DynamicsStage, GreedyStage, Inner
from synthenv.scores import Trial, statistics
from tests.conftest import TARGETS, random_artifact


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
    assert "| action | 2 choices |" in text
    assert "max_b r(s, b)" in text
    assert facts["sha256"] in text
    assert "Not measured yet." in text
    assert ("one step" in text) == (facts["form"] == "bandit")
    assert ("dynamics" in text.split("##")[1]) == (facts["form"] == "mdp")
    assert ("delay=" in text) == (facts["form"] == "mdp")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ("at most 7 steps", "learned dynamics.", "mostly at a cost")),
        (
            {"horizon": 1, "dynamics": DynamicsStage(stride=10, cost=0.0)},
            ("at most 1 step |", "learned dynamics, a step for 10 of the task's.", "which costs nothing"),
        ),
    ],
)
def test_an_mdp_says_how_it_goes_on_and_ends(tmp_path, settings, said):
    folder = random_artifact(tmp_path / "A-v0", "mdp")
    add_facts(folder, real_steps=1, seconds=1, cpu_seconds=1)
    made = load(folder)
    text = cards.card_text(replace(made, recipe=replace(made.recipe, **settings)))
    assert all(words in text for words in said)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("shift", "earned"), [(0.0, "0"), (1.5, "1.5")])
def test_a_card_says_what_the_best_action_earns(tmp_path, target, shift, earned):
    folder = random_artifact(tmp_path / "A-v0", "bandit", target=target, shift=shift)
    add_facts(folder, real_steps=1, seconds=1, cpu_seconds=1)
    assert f"best action earns {earned} on average in every" in cards.card_text(load(folder))


@pytest.mark.parametrize(
    ("greedy", "said"),
    [
        (GreedyStage(), "stages greedy, states, inner from"),
        (GreedyStage(learner=Inner("ppo")), "stages greedy (ppo trained in CartPole-v1 is the teacher), states, inner"),
        (GreedyStage(enabled=False, learner=Inner("ppo")), "stages states, inner"),
    ],
)
def test_a_card_says_who_the_teacher_was(tmp_path, greedy, said):
    folder = random_artifact(tmp_path / "A-v0", "bandit")
    add_facts(folder, real_steps=1, seconds=1, cpu_seconds=1)
    made = load(folder)
    assert said in cards.card_text(replace(made, recipe=replace(made.recipe, greedy=greedy)))


@pytest.mark.parametrize(
    ("target", "words"),
    [("Pendulum-v1", "1 number in [-2, 2]"), ("Lopsided-v0", "2 numbers in [-1, 1] x [0, 3]")],
)
def test_continuous_actions_are_told_in_words(tmp_path, target, words):
    folder = random_artifact(tmp_path / "Box-v0", "bandit", target=target)
    add_facts(folder, real_steps=1, seconds=1, cpu_seconds=1)
    text = cards.card_text(load(folder))
    assert f"| action | {words} |" in text
    assert "by its distance from the best one" in text
    assert "max_b" not in text


def test_tuned_agents_are_said_to_be(folder):
    add_facts(folder, scores=cards.scores(trials("A-v0")))
    assert "default hyperparameters, the final" in cards.card_text(load(folder))
    add_facts(folder, scores=cards.scores([Trial("A-v0", "PPO, rl_zoo3", 1, seed, 50, 1.0, 1.0) for seed in (1, 2)]))
    assert "default hyperparameters or those of rl_zoo3 for the task, the final" in cards.card_text(load(folder))


def test_an_agent_says_how_to_show_it_observations():
    card = {"id": "a", "algorithm": "PPO", "steps": 1, "env_id": "E", "target": "T", "seed": 0}
    card["scores"] = statistics([1.0, 2.0])
    assert "normaliser" not in cards.agent_text(card)
    assert "normaliser(agent)(observation)" in cards.agent_text({**card, "normalize": True})


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
    for form, target in (("mdp", "Pendulum-v1"), ("mdp", "CartPole-v1"), ("bandit", "CartPole-v1")):
        folder = random_artifact(envs / f"{form}-{target}", form, target=target)
        add_facts(folder, real_steps=10, seconds=1, cpu_seconds=2)
    add_facts(folder, scores=cards.scores(trials("A-v0")))
    assert len(cards.refresh(envs)) == 4
    rows = [line for line in (envs / "README.md").read_text().splitlines() if line.startswith("| [")]
    assert rows == [
        "| [bandit-CartPole-v1](bandit-CartPole-v1) | CartPole-v1 | bandit | 2 choices | 10 | 2 | PPO 401.5 |",
        "| [mdp-CartPole-v1](mdp-CartPole-v1) | CartPole-v1 | mdp | 2 choices | 10 | 2 |  |",
        "| [mdp-Pendulum-v1](mdp-Pendulum-v1) | Pendulum-v1 | mdp | 1 number in [-2, 2] | 10 | 2 |  |",
    ]


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected an environment, an agent, or a shelf"):
        cards.refresh(tmp_path)
