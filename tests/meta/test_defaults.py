"""Recipes for targets that have none."""

import pytest

from synthenv import worlds
from synthenv.meta.defaults import default_recipe
from synthenv.meta.evolve import check
from synthenv.recipe import EnvRecipe, dump, load


@pytest.mark.parametrize("form", ["bandit", "mdp"])
@pytest.mark.parametrize("target", worlds.targets())
def test_can_be_carried_out_and_written_down(tmp_path, target, form):
    recipe = default_recipe(target, form)
    check(recipe)
    assert (recipe.target, recipe.form) == (target, form)
    assert (recipe.time_limit is None) == (form == "bandit")
    (tmp_path / "recipe.yaml").write_text(dump(recipe))
    assert load(EnvRecipe, tmp_path / "recipe.yaml") == recipe


def test_ids_tell_form_and_task():
    assert default_recipe("CartPole-v1", "bandit").id == "SynthBandit-CartPole-v0"
    assert default_recipe("CartPole-v1", "mdp").id == "Synth-CartPole-v0"


@pytest.mark.parametrize("form", ["bandit", "mdp"])
def test_somebody_elses_task_has_one_too(form):
    """The module it comes from is no part of the name."""
    target = "tests.own_task:Swing-v0"
    recipe = default_recipe(target, form)
    check(recipe)
    assert (recipe.target, recipe.form) == (target, form)
    assert recipe.id == {"bandit": "SynthBandit-Swing-v0", "mdp": "Synth-Swing-v0"}[form]


def test_a_task_in_python_is_searched_in_fewer_steps_and_none_is_searched_for_ever():
    ours, theirs = (default_recipe(target, "bandit").greedy for target in ("CartPole-v1", "tests.own_task:Swing-v0"))
    steps = [greedy.search.population * greedy.episodes * greedy.stretch for greedy in (ours, theirs)]
    assert steps[0] > 8 * steps[1]
    assert ours.search.patience == theirs.search.patience > 0


@pytest.mark.parametrize(
    ("target", "name"),
    [("ALE/Pong-v5", "Pong"), ("mine:lab/Reach", "Reach"), ("Two-v-Two-v1", "Two-v-Two"), ("a.b:c/D-v12", "D")],
)
def test_ids_have_neither_module_nor_namespace_nor_the_tasks_version(monkeypatch, target, name):
    monkeypatch.setattr(worlds, "real", lambda _: worlds.named("CartPole-v1")())
    assert default_recipe(target, "mdp").id == f"Synth-{name}-v0"


def test_what_cannot_be_a_target_has_none():
    with pytest.raises(ValueError, match="Blackjack-v1 has no time limit"):
        default_recipe("Blackjack-v1", "bandit")


def test_names_the_nearest_target():
    with pytest.raises(ValueError, match="no real task is called 'CartPoll-v1'; did you mean 'CartPole-v1'"):
        default_recipe("CartPoll-v1", "mdp")
