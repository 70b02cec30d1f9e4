"""Single episodes are played by a compiled function, which says what the plain one says."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synthenv.incontext import Simulator, WorldModel, imagined
from synthenv.incontext.imagined import Move, move
from synthenv.incontext.model import Architecture, Network
from synthenv.incontext.world import Conduct
from tests.incontext.standin import Quadratic, context, simulator


class Counting:
    """A backend of torch.compile that compiles nothing: how many functions it was given, and how often they ran."""

    def __init__(self) -> None:
        self.functions = self.calls = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        self.functions += 1

        def run(*args: Any) -> Any:
            self.calls += 1
            return graph.forward(*args)

        return run


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """In the compiler's place."""
    counting = Counting()

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, backend=counting, dynamic=False, fullgraph=True)

    monkeypatch.setattr(imagined, "compiled", compiled)
    return counting


def shown(compiles: bool = True) -> Simulator:
    return Simulator(Quadratic(), context().subset(slice(100)), compiles)


def moved(sim: Simulator, rows: slice, **conduct: Any) -> Move:
    data, chances = context(), torch.Generator().manual_seed(3)
    observation, action = (torch.tensor(leaf[rows]) for leaf in (data.observation, data.action))
    return move(sim, Conduct(**conduct), observation, action, chances)


def assert_alike(ours: Simulator, plain: Simulator, rows: slice, **conduct: Any) -> None:
    for one, other in zip(moved(ours, rows, **conduct), moved(plain, rows, **conduct), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_only_single_episodes_are_compiled(backend: Counting) -> None:
    for rows in (slice(3), slice(1), slice(5, 6), slice(2)):
        assert_alike(shown(), shown(compiles=False), rows)
    assert (backend.functions, backend.calls) == (1, 2)


@pytest.mark.parametrize("conduct", [{"penalty": 2.0}, {"sampled": False, "threshold": 0.3}, {"max_std": 0.01}])
def test_every_way_of_playing(backend: Counting, conduct: dict[str, Any]) -> None:
    for rows in (slice(1), slice(50, 51)):
        assert_alike(shown(), shown(compiles=False), rows, **conduct)
    assert backend.calls == 2


def test_more_transitions_are_known(backend: Counting) -> None:
    sim, plain, more = shown(), shown(compiles=False), context(seed=1)
    before = moved(sim, slice(1))
    assert not torch.equal(before.observation, moved(sim.append(more), slice(1)).observation)
    assert_alike(sim, plain.append(more), slice(1))


def test_other_processes_compile_too(backend: Counting) -> None:
    assert_alike(pickle.loads(pickle.dumps(shown())), shown(compiles=False), slice(1))
    assert backend.calls == 1


def test_environments_play_what_is_compiled(backend: Counting) -> None:
    """Once for all of a simulator."""
    sim = Simulator(Quadratic(), context(), compiles=True)
    plain, fast, other = simulator().make_env(), sim.make_env(), sim.make_env()
    for env in (plain, fast, other):
        env.reset(seed=5)
    for action in (0, 1, 1):
        seen = plain.step(action)[0]
        for env in (fast, other):
            np.testing.assert_allclose(env.step(action)[0], seen, rtol=1e-5, atol=1e-6)
    assert (backend.functions, backend.calls) == (1, 6)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_networks_compile() -> None:
    """And one of the same shape is not taken for another."""
    data = context().subset(slice(60))
    for seed in range(2):
        torch.manual_seed(seed)
        network = Network(Architecture(16, 1, 2, 8)).eval().requires_grad_(False)
        torch.nn.init.normal_(network.judge.weight, std=0.1)
        model = WorldModel(network)
        assert_alike(model.compiled().condition(data), model.condition(data), slice(1))
