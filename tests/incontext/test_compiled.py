"""Single queries are compiled and say what they said before; others go the plain way."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from synthenv.incontext import WorldModel
from synthenv.incontext.compiled import Compiled
from synthenv.incontext.model import Architecture, Network
from synthenv.incontext.world import Simulator
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


def said(sim: Simulator, rows: slice) -> list[Tensor]:
    data = context()
    found = sim.predict(data.observation[rows], data.action[rows])
    return [found.next_obs, found.reward, found.terminated, found.quantiles]


def assert_alike(ours: Simulator, plain: Simulator, rows: slice) -> None:
    for one, other in zip(said(ours, rows), said(plain, rows), strict=True):
        assert torch.equal(one, other)


def test_only_single_queries_are_compiled() -> None:
    backend = Counting()
    sim = Simulator(Compiled(Quadratic(), backend=backend), context())
    for rows in (slice(3), slice(1), slice(5, 6), slice(2)):
        assert_alike(sim, simulator(), rows)
    assert (backend.functions, backend.calls) == (1, 2)


def test_more_transitions_are_known() -> None:
    few, more = context().subset(slice(100)), context(seed=1)
    sim = Simulator(Compiled(Quadratic(), backend="eager"), few)
    before = said(sim, slice(1))
    sim.append(more)
    assert not torch.equal(before[0], said(sim, slice(1))[0])
    assert_alike(sim, Simulator(Quadratic(), few).append(more), slice(1))


def test_other_processes_compile_for_themselves() -> None:
    sim = Simulator(Compiled(Quadratic(), backend="eager"), context())
    sent = pickle.loads(pickle.dumps(sim))
    assert sent.engine.settings == {"backend": "eager"}
    assert_alike(sent, sim, slice(1))


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_networks_compile() -> None:
    """And one of the same shape is not taken for another."""
    data = context().subset(slice(60))
    for seed in range(2):
        torch.manual_seed(seed)
        network = Network(Architecture(16, 1, 2, 8)).eval().requires_grad_(False)
        torch.nn.init.normal_(network.judge.weight, std=0.1)
        plain, fast = WorldModel(network), WorldModel(network).compiled()
        answers = said(fast.condition(data), slice(1)), said(plain.condition(data), slice(1))
        for ours, theirs in zip(*answers, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
