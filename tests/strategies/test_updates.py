"""One update of each gradient-like strategy against the formula of its paper, written out slowly."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from synthenv.strategies import named
from synthenv.strategies.ranking import centred_log_ranks, centred_ranks

SIZE, POPULATION = 6, 10


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def asked(strategy, fitness_of=lambda candidates: candidates[:, 0] - candidates[:, 1].square()):
    """A search away from its start, with candidates and their fitness."""
    state = strategy.init(torch.linspace(-1, 1, SIZE, dtype=torch.float64))
    candidates = strategy.ask(state, seeded(), POPULATION)
    state = strategy.tell(state, candidates, fitness_of(candidates))
    candidates = strategy.ask(state, seeded(1), POPULATION)
    return state, candidates, fitness_of(candidates)


def is_mirrored(candidates: Tensor, mean: Tensor) -> bool:
    first, second = (candidates - mean).chunk(2)
    return bool(first.abs().min() > 0) and torch.allclose(first, -second, atol=1e-6)


@pytest.mark.parametrize("sigma_rate", [None, 0.3])
def test_snes_follows_algorithm_6(sigma_rate):
    strategy = named("snes", sigma=0.2, rate=0.7, sigma_rate=sigma_rate)
    state, candidates, fitness = asked(strategy)
    after = strategy.tell(state, candidates, fitness)
    rate = (3 + math.log(SIZE)) / (5 * math.sqrt(SIZE)) if sigma_rate is None else sigma_rate
    utility = centred_log_ranks(fitness)
    for d in range(SIZE):
        mean, sigma = state["mean"][d].item(), state["sigma"][d].item()
        noise = [(candidates[k, d].item() - mean) / sigma for k in range(POPULATION)]
        lift = sum(utility[k].item() * noise[k] for k in range(POPULATION))
        widen = sum(utility[k].item() * (noise[k] ** 2 - 1) for k in range(POPULATION))
        assert after["mean"][d].item() == pytest.approx(mean + 0.7 * sigma * lift, rel=1e-12)
        assert after["sigma"][d].item() == pytest.approx(sigma * math.exp(rate / 2 * widen), rel=1e-12)
    assert after["sigma"].unique().numel() == SIZE


def test_snes_mirrors_when_told_to():
    plain, pairs = named("snes", sigma=0.2), named("snes", sigma=0.2, mirrored=True)
    state = plain.init(torch.zeros(SIZE))
    assert not is_mirrored(plain.ask(state, seeded(), POPULATION), state["mean"])
    assert is_mirrored(pairs.ask(state, seeded(), POPULATION), state["mean"])
    with pytest.raises(ValueError, match="even population, got 7; try 8"):
        pairs.ask(state, seeded(), 7)


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_open_es_feeds_a_finite_difference_to_the_optimizer_of_torch(optimizer):
    strategy = named("open_es", sigma=0.1, rate=0.03, optimizer=optimizer)
    mean = torch.linspace(-1, 1, SIZE, dtype=torch.float64).requires_grad_()
    witness = torch.optim.Adam([mean], 0.03) if optimizer == "adam" else torch.optim.SGD([mean], 0.03, momentum=0.9)
    state = strategy.init(mean.detach())
    for seed in range(4):
        candidates = strategy.ask(state, seeded(seed), POPULATION)
        fitness = candidates[:, 0] - candidates[:, 1].square()
        weight, shift = centred_ranks(fitness), candidates - state["mean"]
        mean.grad = -sum(weight[k] * shift[k] for k in range(POPULATION)) / (POPULATION * 0.1**2)
        witness.step()
        state = strategy.tell(state, candidates, fitness)
        torch.testing.assert_close(state["mean"], mean.detach(), rtol=1e-5, atol=1e-6)


def test_open_es_narrows_to_a_floor():
    strategy = named("open_es", sigma=1.0, sigma_decay=0.5, sigma_floor=0.2)
    state = strategy.init(torch.zeros(SIZE))
    widths = []
    for seed in range(4):
        candidates = strategy.ask(state, seeded(seed), POPULATION)
        widths.append((candidates - state["mean"])[: POPULATION // 2].std().item() / state["sigma"].item())
        state = strategy.tell(state, candidates, candidates[:, 0])
    assert state["sigma"].item() == pytest.approx(0.2)
    assert np.mean(widths) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("name", ["open_es", "pgpe"])
def test_mirrored_strategies_ask_in_pairs(name):
    strategy = named(name)
    state = strategy.init(torch.ones(SIZE))
    assert is_mirrored(strategy.ask(state, seeded(), POPULATION), state["mean"])


def test_pgpe_uses_symmetric_differences():
    """Sehnke et al.: the mean by differences in a pair, sigma by its average."""
    strategy = named("pgpe", sigma=0.3, rate=0.01, optimizer="momentum")
    state = strategy.init(torch.linspace(-1, 1, SIZE, dtype=torch.float64))
    candidates = strategy.ask(state, seeded(), POPULATION)
    fitness = candidates[:, 0] - candidates[:, 1].square()
    after = strategy.tell(state, candidates, fitness)
    half = POPULATION // 2
    plus, minus = centred_ranks(fitness).split(half)
    noise = (candidates[:half] - state["mean"]) / 0.3
    lift = sum((plus[k] - minus[k]) / 2 * noise[k] for k in range(half)) / half
    widen = sum((plus[k] + minus[k]) / 2 * (noise[k] ** 2 - 1) for k in range(half)) / half
    torch.testing.assert_close(after["mean"], state["mean"] + 0.01 * lift)
    torch.testing.assert_close(after["sigma"], 0.3 * (1 + 0.1 * widen))


def test_pgpe_limits_the_change_of_sigma():
    strategy = named("pgpe", sigma_rate=50.0, sigma_change=0.2)
    state, candidates, _ = asked(strategy)
    distance = (candidates - state["mean"]).square()
    after = strategy.tell(state, candidates, distance[:, 0] - distance[:, 1])
    ratio = after["sigma"] / state["sigma"]
    assert ratio[:2].tolist() == pytest.approx([1.2, 0.8])


def test_clip_up_steps_by_its_rate_and_never_faster_than_two():
    """Toklu et al. (2020): the gradient's length is thrown away, the velocity's is limited."""
    strategy = named("pgpe", rate=0.05)
    lengths = {}
    for scale in (1.0, 1000.0):
        state = strategy.init(torch.zeros(SIZE, dtype=torch.float64))
        for seed in range(30):
            candidates = strategy.ask(state, seeded(seed), POPULATION)
            after = strategy.tell(state, candidates, scale * candidates.sum(1))
            lengths[scale, seed] = (after["mean"] - state["mean"]).norm().item()
            state = after
    assert lengths[1.0, 0] == pytest.approx(0.05)
    assert max(lengths.values()) == pytest.approx(0.1)
    assert lengths[1.0, 29] == lengths[1000.0, 29]
