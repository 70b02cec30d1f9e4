"""The catalogue finds what is in a folder, and nothing else."""

import sys

import pytest

from synthenv import catalogue

ROOM = {
    "__init__.py": "",
    "apple.py": "class Apple:\n    name = 'apple'\n",
    "pear.py": "from room_of_fruit.apple import Apple\n\nclass Pear(Apple):\n    name = 'pear'\n",
    "peel.py": "from room_of_fruit.pear import Pear\n\nclass Peel(Pear):\n    pass\n\nname = 'peel'\n",
}


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A package of two named classes; a third only inherits its name."""
    folder = tmp_path / "room_of_fruit"
    folder.mkdir()
    for file, text in ROOM.items():
        (folder / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder.name
    catalogue.names.cache_clear()
    for module in [module for module in sys.modules if module.startswith(folder.name)]:
        del sys.modules[module]


def test_finds_each_class_with_a_name_of_its_own_once(room):
    found = catalogue.names(room)
    assert {name: kind.__name__ for name, kind in found.items()} == {"apple": "Apple", "pear": "Pear"}


def test_a_wrong_name_gets_the_nearest_right_one(room):
    assert catalogue.named(room, "pear", "fruit").__name__ == "Pear"
    with pytest.raises(ValueError, match=r"no fruit is called 'peer'; did you mean 'pear'\? \(known: apple, pear\)"):
        catalogue.named(room, "peer", "fruit")


def test_no_hint_where_nothing_is_near():
    assert catalogue.unknown("fruit", "xyz", ["pear"]) == "no fruit is called 'xyz' (known: pear)"
    assert catalogue.unknown("fruit", "xyz", []) == "no fruit is called 'xyz' (known: none)"


def test_the_package_has_what_its_documentation_names():
    assert {"CartPole-v1", "bandit", "mdp"} <= catalogue.names("synthenv.worlds").keys()
    assert {"snes", "open_es", "pgpe", "nes", "cma_es"} <= catalogue.names("synthenv.strategies").keys()
    assert {"ppo", "a2c", "dqn"} <= catalogue.names("synthenv.learners").keys()
