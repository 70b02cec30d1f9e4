"""A state of tensors must take every step that the object of the `cma` package takes."""

import cma
import numpy as np
import pytest
import torch
from cma.sigma_adaptation import CMAAdaptSigmaCSA

from synthenv.strategies import named


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("size", "population", "full_until"), [(6, 9, 300), (6, 9, 5)])
def test_steps_as_cma_does(size, population, full_until):
    """On a valley so steep that `cma` changes its coordinates on the way."""
    strategy, generator = named("cma_es", sigma=0.3, full_until=full_until), seeded()
    state = strategy.init(torch.zeros(size, dtype=torch.float64))
    options = {
        "verbose": -9, "seed": float("nan"), "popsize": population, "CMA_diagonal": size > full_until,
        "AdaptSigma": CMAAdaptSigmaCSA, "updatecovwait": 0,
        "randn": lambda *shape: torch.randn(shape, generator=seeded(1), dtype=torch.float64).numpy(),
    }  # fmt: skip
    witness = cma.CMAEvolutionStrategy(np.zeros(size), 0.3, options)
    target, scale = torch.linspace(-1, 1, size), torch.logspace(0, 9, size)
    for _ in range(250):
        candidates = strategy.ask(state, generator, population)
        fitness = -((candidates - target).square() * scale).sum(1)
        witness.ask()
        witness.tell(list(candidates.numpy()), (-fitness).tolist(), check_points=False)
        state = strategy.tell(state, candidates, fitness)
        np.testing.assert_allclose(state["mean"], witness.mean, rtol=1e-6, atol=1e-9)
        assert state["sigma"].item() == pytest.approx(witness.sigma, rel=1e-6)
    assert state["generation"].item() == 250
    spread = state["sigma"] * state["scale"] * (state["covariance"].diag().sqrt() if "covariance" in state else 1)
    np.testing.assert_allclose(spread, witness.stds, rtol=1e-6)
    assert spread.max() / spread.min() > 1e3
    assert (state["scale"] != 1).any(), "else the change of coordinates was not tried"
    assert ("covariance" in state) == (size <= full_until)


def test_asks_from_the_gaussian_it_learned():
    strategy = named("cma_es", sigma=0.3)
    state = strategy.init(torch.zeros(3, dtype=torch.float64))
    for seed in range(20):
        candidates = strategy.ask(state, seeded(seed), 12)
        first, second, third = candidates.T
        state = strategy.tell(state, candidates, -((first + second) ** 2 + 100 * (first - second) ** 2 + 9 * third**2))
    draw = strategy.ask(state, seeded(), 200_000)
    covariance = state["sigma"].square() * torch.outer(state["scale"], state["scale"]) * state["covariance"]
    torch.testing.assert_close(draw.mean(0), state["mean"], rtol=0, atol=0.01 * covariance.diag().max().sqrt().item())
    torch.testing.assert_close(draw.T.cov(), covariance, rtol=0, atol=0.02 * covariance.max().item())
    assert covariance[0, 1] / covariance[0, 0] > 0.5, "the valley is diagonal"


@pytest.mark.parametrize(("size", "full_until"), [(100, 300), (310, 300), (310, 400)])
def test_takes_many_parameters_and_few_candidates(size, full_until):
    strategy = named("cma_es", full_until=full_until)
    start = state = strategy.init(torch.zeros(size))
    for seed in range(5):
        candidates = strategy.ask(state, seeded(seed), 6)
        state = strategy.tell(state, candidates, candidates.sum(1))
    assert state["mean"].sum() > 0
    assert not torch.equal(state["sigma"], start["sigma"])
    if "covariance" in state:
        rebuilt = state["axes"] * state["lengths"].square() @ state["axes"].T
        torch.testing.assert_close(rebuilt, state["covariance"], rtol=0, atol=1e-12)
    else:
        assert state["scale"].std() > 0


def test_keeps_what_it_learned_of_the_steepest_valleys():
    strategy = named("cma_es", sigma=0.5)
    state = strategy.init(torch.ones(3, dtype=torch.float64))

    def valley(candidates):
        first, second, third = candidates.T
        return -((first + second) ** 2 + 1e15 * (first - second) ** 2 + third**2)

    for seed in range(400):
        candidates = strategy.ask(state, seeded(seed), 10)
        state = strategy.tell(state, candidates, valley(candidates))
    assert state["lengths"].max() / state["lengths"].min() > 1e6, "where `cma` itself would change coordinates again"
    assert valley(state["mean"][None]) > -1e-6


def test_keeps_quiet(capfd, recwarn):
    strategy = named("cma_es")
    state = strategy.init(torch.zeros(4))
    for seed in range(3):
        candidates = strategy.ask(state, seeded(seed), 50)
        state = strategy.tell(state, candidates, candidates[:, 0])
    assert capfd.readouterr() == ("", "")
    assert not list(recwarn)


def test_says_what_is_too_small():
    strategy = named("cma_es")
    with pytest.raises(ValueError, match="at least 2 parameters, got 1"):
        strategy.init(torch.zeros(1))
    state = strategy.init(torch.zeros(3))
    candidates = strategy.ask(state, seeded(), 3)
    with pytest.raises(ValueError, match="at least 4, got 3"):
        strategy.tell(state, candidates, candidates[:, 0])
