"""Imports go down, never up or sideways; big packages of others are imported only where they are used.

A room is a file or folder in `synthenv/`. It may import rooms on lower floors, and itself. So playing (gym) cannot
import learning, and strategies cannot see worlds: they live on the same floor.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import synthenv

PACKAGE = Path(synthenv.__file__).parent

FLOORS = (
    {"catalogue", "checkpoint", "recipe", "scores", "seeding", "threads", "tree"},
    {"compiled"},
    {"attention", "nets", "presets", "pretraining", "shelf"},
    {"__init__", "artifact", "strategies", "worlds"},
    {"players", "pretrained", "render", "rollout"},
    {"playing"},
    {"expected", "gym", "learners", "ranking"},
    {"agents", "meta", "report", "testing"},
    {"incontext"},
    {"sb3"},
    {"cards", "demo", "imagine"},
    {"portrait"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

RIM = {
    "cma": set(), "moviepy": set(), "mujoco": set(), "optuna": set(), "pygame": set(), "ray": set(), "timm": set(),
    "transformers": set(), "matplotlib": {"report"}, "sb3_contrib": {"agents", "demo", "sb3"},
    "stable_baselines3": {"agents", "demo", "sb3"},
}  # fmt: skip
"""Big packages, and the rooms that may import them outside a function."""


def imports(tree: ast.AST, lazily: bool = False):
    """Every import as (line, full name, whether it waits for a call or a type checker)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, lazily) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full, from synthenv.room import thing"
            yield from ((node.lineno, f"{node.module}.{alias.name}", lazily) for alias in node.names)
        else:
            waits = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            checks = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            yield from imports(node, lazily or waits or checks)


def offences(file: str, source: str) -> list[str]:
    """Lines of `file`, a path inside the package, that import what their room may not."""
    own = Path(file).parts[0].removesuffix(".py")
    if own not in FLOOR:
        return [f"{file}:1 is a room without a floor: give it one in tests/test_rooms.py"]
    found = []
    for line, name, lazy in imports(ast.parse(source)):
        top, *rest = name.split(".")
        if top == "synthenv" and rest and not rest[0].startswith("__"):
            room = rest[0]
            if room not in FLOOR:
                found.append(f"{file}:{line} imports {name}, and '{room}' is no room")
            elif room != own and FLOOR[room] >= FLOOR[own]:
                way = "up" if FLOOR[room] > FLOOR[own] else "sideways"
                found.append(f"{file}:{line} imports {name}, which is {way}")
        elif top in ("tests", "benchmarks"):
            found.append(f"{file}:{line} imports {name}, which imports the package")
        elif top in RIM and not lazy and own not in RIM[top]:
            found.append(f"{file}:{line} imports {name} before it is used: move it into the function")
    return found


@pytest.mark.parametrize("file", sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")))
def test_imports_go_down(file):
    found = offences(file, (PACKAGE / file).read_text())
    assert not found, "\n".join(found)


def test_no_floor_without_its_room():
    rooms = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(FLOOR) == rooms


@pytest.mark.parametrize(
    ("file", "source", "said"),
    [
        ("worlds/x.py", "import torch\nfrom synthenv.rollout import advance", "synthenv.rollout.advance, which is up"),
        ("strategies/x.py", "from synthenv import tree, worlds", "imports synthenv.worlds, which is sideways"),
        ("strategies/x.py", "def f():\n    from synthenv.worlds.base import World", "x.py:2 imports synthenv.worlds"),
        ("gym.py", "import synthenv.learners.ppo", "gym.py:1 imports synthenv.learners.ppo, which is sideways"),
        ("gym.py", "if TYPE_CHECKING:\n    from synthenv.learners import ppo", "gym.py:2 imports synthenv.learners"),
        ("cli.py", "from synthenv import nonsense", "'nonsense' is no room"),
        ("meta/x.py", "from tests.conftest import thing", "imports tests.conftest.thing, which imports the package"),
        ("meta/x.py", "try:\n    import ray\nexcept ImportError:\n    pass", "x.py:2 imports ray before it is used"),
        ("gym.py", "class A:\n    import stable_baselines3.common", "gym.py:2 imports stable_baselines3.common before"),
        ("attic.py", "", "attic.py:1 is a room without a floor"),
    ],
)  # fmt: skip
def test_finds_what_may_not_be(file, source, said):
    (found,) = offences(file, source)
    assert said in found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("worlds/x.py", "from synthenv import nets\nfrom synthenv.worlds.base import World\nimport torch"),
        ("strategies/x.py", "if TYPE_CHECKING:\n    from cma import CMAEvolutionStrategy"),
        ("strategies/x.py", "class A:\n    def f(self):\n        import cma"),
        ("report.py", "from matplotlib.figure import Figure"),
        ("artifact.py", "from synthenv import __version__"),
        ("cli.py", "def f():\n    from synthenv import meta, sb3"),
    ],
)
def test_leaves_alone_what_may_be(file, source):
    assert offences(file, source) == []


def test_naming_environments_loads_no_torch():
    check = "import sys, synthenv; print(sorted({'matplotlib', 'stable_baselines3', 'torch'} & set(sys.modules)))"
    command = [sys.executable, "-c", check]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert printed.stdout.strip() == "[]"
