"""Recipes survive the trip through YAML and refuse what they do not understand, saying where and what instead."""

from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any, Literal

import pytest

from synthenv import recipe
from synthenv.recipe import EnvRecipe, GreedyStage, Inner, InnerStage, Search, StatesStage


@dataclass(frozen=True)
class Leaf:
    size: int
    rate: float = 0.5
    flag: bool = False
    word: Literal["tanh", "relu"] = "tanh"
    limit: float | None = None


@dataclass(frozen=True)
class Trunk:
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    draws: dict[str, tuple[float, ...]] = field(default_factory=dict)


def test_reads_every_kind_of_value():
    raw = {
        "leaf": {"size": 3, "rate": 1, "limit": 2},
        "leaves": [{"size": 1}, {"size": 2, "flag": True, "word": "relu", "limit": None}],
        "options": {"sigma": 0.1, "name": "x"},
        "draws": {"rate": [0.1, 1]},
    }
    found = recipe.build(Trunk, raw)
    assert found.leaf == Leaf(3, 1.0, limit=2.0)
    assert isinstance(found.leaf.rate, float)
    assert isinstance(found.leaf.limit, float)
    assert found.leaves == (Leaf(1), Leaf(2, flag=True, word="relu"))
    assert found.options == {"sigma": 0.1, "name": "x"}
    assert found.draws == {"rate": (0.1, 1.0)}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"leaf": {"size": 1, "raet": 1.0}}, r"^leaf has no key 'raet'; did you mean 'rate'\?$"),
        ({"leaf": {"size": 1, "zzz": 1.0}}, r"^leaf has no key 'zzz' \(it has: size, rate, flag, word, limit\)$"),
        ({"leaf": {"size": 1}, "leafs": []}, r"^recipe has no key 'leafs'; did you mean 'leaves'|'leaf'"),
        ({"leaf": {}}, r"^leaf lacks size$"),
        ({}, r"^recipe lacks leaf$"),
        ({"leaf": 3}, r"^leaf must be a mapping of keys to values, got int$"),
        (None, r"^recipe must be a mapping of keys to values, got NoneType$"),
        ({"leaf": {"size": 1.5}}, r"^leaf\.size must be int, got 1\.5$"),
        ({"leaf": {"size": True}}, r"^leaf\.size must be int, got True$"),
        ({"leaf": {"size": 1, "rate": False}}, r"^leaf\.rate must be float, got False$"),
        ({"leaf": {"size": 1, "rate": "1e-3"}}, r"^leaf\.rate must be float, got '1e-3'$"),
        ({"leaf": {"size": 1, "flag": 1}}, r"^leaf\.flag must be bool, got 1$"),
        ({"leaf": {"size": 1, "word": "tahn"}}, r"^leaf\.word must be one of tanh, relu, got 'tahn'; did you"),
        ({"leaf": {"size": 1, "word": 7}}, r"^leaf\.word must be one of tanh, relu, got 7; choose one of them$"),
        ({"leaf": {"size": 1, "limit": "x"}}, r"^leaf\.limit must be float, got 'x'$"),
        ({"leaf": {"size": 1}, "leaves": [{"size": 1}, {"sise": 2}]}, r"^leaves\[1\] has no key 'sise'; did you mean"),
        ({"leaf": {"size": 1}, "leaves": 4}, r"^leaves must be tuple, got 4$"),
        ({"leaf": {"size": 1}, "options": [1]}, r"^options must be dict, got \[1\]$"),
        ({"leaf": {"size": 1}, "draws": {"rate": 0.1}}, r"^draws\.rate must be tuple, got 0\.1$"),
        ({"leaf": {"size": 1}, "draws": {"rate": [0.1, "1e-3"]}}, r"^draws\.rate\[1\] must be float, got '1e-3'$"),
    ],
)  # fmt: skip
def test_refuses_with_place_and_hint(raw, said):
    with pytest.raises(ValueError, match=said):
        recipe.build(Trunk, raw)


def test_counts_begin_at_one_unless_it_is_said():
    @dataclass(frozen=True)
    class Stage:
        enabled: bool = True
        size: int = 1
        extra: int = field(default=0, metadata={"least": 0})
        widths: tuple[int, ...] = (1, 2)

    @dataclass(frozen=True)
    class Whole:
        first: Stage = Stage()
        more: tuple[Stage, ...] = (Stage(), Stage())
        rate: float = 0.0
        wise: bool = False

    recipe.check_counts(Whole())
    recipe.check_counts(Whole(first=Stage(False, 0, -1)))
    for wrong, said in (
        (Whole(first=Stage(size=0)), r"^first\.size must be at least 1, got 0$"),
        (Whole(more=(Stage(), Stage(extra=-1))), r"^more\[1\]\.extra must be at least 0, got -1$"),
        (Whole(more=(Stage(widths=(3, -2)),)), r"^more\[0\]\.widths\[1\] must be at least 1, got -2$"),
    ):
        with pytest.raises(ValueError, match=said):
            recipe.check_counts(wrong)


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("id: A\ntarget: B\nhiden: 3\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: recipe has no key 'hiden'; did you mean 'hidden'"):
        recipe.load(EnvRecipe, path)
    path.write_text("id: [unclosed\n")
    with pytest.raises(ValueError, match=r"mine\.yaml is not valid YAML"):
        recipe.load(EnvRecipe, path)
    with pytest.raises(FileNotFoundError, match=r"other\.yaml"):
        recipe.load(EnvRecipe, tmp_path / "other.yaml")


@pytest.fixture
def unusual() -> EnvRecipe:
    """A recipe with few values left at their default."""
    loops = (Inner("dqn", 5000, {"hidden": [8, 8]}, {"rate": (1e-5, 0.1)}), Inner("ppo"))
    inner = InnerStage(search=Search("nes", {"sigma": 1e-4, "mirrored": False}, 8, 2), loops=loops, tail=0.25)
    stages = {"greedy": GreedyStage(stretch=3.0), "states": StatesStage(floor=0.5, graded=True), "inner": inner}
    return EnvRecipe("Synth-X-v0", "CartPole-v1", "mdp", seed=7, activation="relu", horizon=50, paired=True, **stages)


def test_survives_yaml(unusual, tmp_path):
    for original in (unusual, EnvRecipe("a", "b")):
        path = tmp_path / "recipe.yaml"
        path.write_text(recipe.dump(original))
        assert recipe.load(EnvRecipe, path) == original
        assert recipe.load(EnvRecipe, str(path)) == original


def test_is_written_in_the_order_it_is_declared(unusual):
    keys = [line.split(":")[0] for line in recipe.dump(unusual).splitlines() if line[0] not in " -"]
    assert keys == [f.name for f in fields(EnvRecipe)]


def test_what_a_recipe_does_not_say_is_as_it_always_was():
    """A recipe of before these words were known means what it meant."""
    old = recipe.build(EnvRecipe, {"id": "a", "target": "b", "greedy": {"slips": 0.2}, "states": {"widen": 3.0}})
    assert (old.paired, old.greedy.stretch, old.states.floor, old.states.graded) == (False, 1.0, 0.0, False)
    assert old == EnvRecipe("a", "b", greedy=GreedyStage(slips=0.2), states=StatesStage(widen=3.0))


def test_digest_follows_content(unusual):
    assert recipe.digest(unusual) == recipe.digest(replace(unusual))
    assert recipe.digest(unusual) != recipe.digest(replace(unusual, seed=8))
    deep = replace(unusual, inner=replace(unusual.inner, tail=0.26))
    assert recipe.digest(unusual) != recipe.digest(deep)
    assert len(recipe.digest(unusual)) == 64


def test_cannot_be_changed(unusual):
    with pytest.raises(FrozenInstanceError):
        unusual.seed = 1


def test_every_strategy_a_default_names_can_be_built():
    from synthenv import strategies

    for stage in (recipe.GreedyStage(), InnerStage()):
        strategies.named(stage.search.strategy, **stage.search.options)
