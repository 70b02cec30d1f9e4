"""Gradient steps that are compiled teach what plain ones teach."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch

from synthenv import compiled, learners, seeding
from tests.probes import CARTPOLES

DISCRETE, BOX = CARTPOLES
POPULATION = 3
REPLAYING = {"warmup": 16, "batch": 8, "hidden": (16, 12)}
CASES = {
    "ppo": (DISCRETE, {"length": 20, "batch": 8, "epochs": 2}),  # the last minibatch is half as large
    "ppo in a box": (BOX, {"length": 20, "batch": 8, "epochs": 2}),
    "a2c": (BOX, {"envs": 2}),
    "dqn": (DISCRETE, {**REPLAYING, "double": True, "dueling": True, "target_every": 20}),
    "sac": (DISCRETE, {**REPLAYING, "activation": "tanh"}),
    "sac in a box": (BOX, {**REPLAYING, "updates": 2}),
    "td3": (BOX, REPLAYING),
    "ddpg": (BOX, REPLAYING),
}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """What has been compiled, nothing at first."""
    monkeypatch.setattr(compiled, "_MERGED", {})
    return compiled._MERGED


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written down runs as it is."""
    monkeypatch.setattr(compiled, "HOW", {"dynamic": False, "backend": "eager"})


def trained(case: str, fast: bool, steps: int = 60, seed: int = 0, **more: Any) -> dict[str, torch.Tensor]:
    world, settings = CASES[case]
    learner = learners.named(case.split()[0], world.spaces, **{**settings, **more}, compiled=fast)
    given = {"rate": torch.tensor([1e-3, 3e-3, 1e-2])}
    if "delay" in learner.defaults:
        given["delay"] = torch.tensor([1.0, 2.0, 3.0])
    generator = seeding.generator(seed)
    agent = learner.init(learners.fill(learner, POPULATION, given), steps, generator)
    return learners.train(learner, agent, world, world.init(generator, POPULATION), steps, generator, 30)


def assert_alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert list(one) == list(other)
    for name, leaf in one.items():
        torch.testing.assert_close(
            leaf, other[name], rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("case", CASES)
def test_learns_alike(known: dict[Any, Any], case: str) -> None:
    assert_alike(trained(case, fast=True), trained(case, fast=False))
    assert len(known) == {"ppo": 2, "ppo in a box": 2, "td3": 2, "ddpg": 2}.get(case, 1)


@pytest.mark.usefixtures("no_compiler")
def test_nothing_is_taken_for_something_else(known: dict[Any, Any]) -> None:
    """Another seed is the same function; other settings, which sizes do not tell, and precisions are others."""
    for seed in (0, 1):
        assert_alike(trained("dqn", fast=True, seed=seed), trained("dqn", fast=False, seed=seed))
    assert len(known) == 1
    assert_alike(trained("dqn", fast=True, double=False), trained("dqn", fast=False, double=False))
    assert len(known) == 2
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        trained("dqn", fast=True)
    finally:
        torch.set_float32_matmul_precision(before)
    assert len(known) == 3


@pytest.mark.usefixtures("known")
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("case", ["sac", "a2c"])
def test_compiles(case: str) -> None:
    assert_alike(trained(case, fast=True), trained(case, fast=False))
