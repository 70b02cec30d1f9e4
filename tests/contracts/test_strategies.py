"""What every strategy in the catalogue promises, with the settings it comes with."""

import random
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from synthenv import catalogue, strategies

NAMES = sorted(catalogue.names("synthenv.strategies"))
SIZE, POPULATION = 20, 32

pytestmark = pytest.mark.parametrize("name", NAMES)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ellipsoid(condition: float, dtype=torch.float32):
    """Fitness with its best, 0, half a unit from the origin in every direction."""
    scale = torch.logspace(0, np.log10(condition), SIZE, dtype=dtype)
    target = torch.tensor([0.5, -0.5], dtype=dtype).repeat(SIZE // 2)
    return lambda candidates: -((candidates - target).square() * scale).sum(-1)


def run(strategy, state, generator, generations, fitness_of, population=POPULATION):
    for _ in range(generations):
        candidates = strategy.ask(state, generator, population)
        state = strategy.tell(state, candidates, fitness_of(candidates))
    return state


def underway(name, dtype=torch.float32):
    """A strategy, a state after three generations, and the next candidates with their fitness."""
    strategy, fitness_of = strategies.named(name), ellipsoid(10, dtype)
    state = run(strategy, strategy.init(torch.zeros(SIZE, dtype=dtype)), seeded(), 3, fitness_of)
    candidates = strategy.ask(state, seeded(1), POPULATION)
    return strategy, state, candidates, fitness_of(candidates)


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for leaf in one:
        assert one[leaf].dtype == other[leaf].dtype
        assert torch.equal(one[leaf], other[leaf]), leaf


def differs(one, other):
    return not torch.equal(one["mean"], other["mean"])


@pytest.mark.parametrize("condition", [1, 1e4], ids=["sphere", "ellipsoid"])
def test_climbs(name, condition):
    strategy, fitness_of = strategies.named(name, sigma=0.1), ellipsoid(condition)
    start = strategy.init(torch.zeros(SIZE))
    end = run(strategy, start, seeded(), 300, fitness_of)
    assert fitness_of(end["mean"]) > 0.01 * fitness_of(start["mean"])


def test_repeats_itself_under_a_generator(name):
    strategy, start = strategies.named(name), torch.ones(SIZE)
    first, again, other = (
        run(strategy, strategy.init(start), seeded(seed), 4, ellipsoid(10)) for seed in (0, 0, 1)
    )  # fmt: skip
    assert_equal(first, again)
    assert differs(first, other)


def test_leaves_global_generators_alone(name):
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    underway(name)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_resumes_bit_for_bit_from_a_file(name):
    strategy, generator = strategies.named(name), seeded()
    half = run(strategy, strategy.init(torch.zeros(SIZE)), generator, 5, ellipsoid(10))
    saved, remembered = save(half), generator.get_state()
    straight = run(strategy, half, generator, 5, ellipsoid(10))
    resumed = run(
        strategies.named(name), load(saved), torch.Generator().set_state(remembered), 5, ellipsoid(10)
    )  # fmt: skip
    assert_equal(straight, resumed)
    assert differs(straight, half)


def test_changes_nothing_in_place(name):
    strategy, state, candidates, fitness = underway(name)
    before = {leaf: value.clone() for leaf, value in state.items()}
    given, scores = candidates.clone(), fitness.clone()
    strategy.ask(state, seeded(), POPULATION)
    strategy.tell(state, candidates, fitness)
    assert_equal(state, before)
    assert torch.equal(candidates, given)
    assert torch.equal(fitness, scores)


def test_does_not_keep_the_callers_mean(name):
    mean = torch.zeros(SIZE)
    state = strategies.named(name).init(mean)
    mean += 1
    assert not state["mean"].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_shape_and_dtype(name, dtype):
    strategy, state, candidates, fitness = underway(name, dtype)
    after = strategy.tell(state, candidates, fitness)
    assert (candidates.shape, candidates.dtype) == ((POPULATION, SIZE), dtype)
    assert (after["mean"].shape, after["mean"].dtype) == ((SIZE,), dtype)
    assert after["sigma"].shape in ((), (SIZE,))
    assert (after["sigma"] > 0).all()
    for leaf in after:
        assert (after[leaf].shape, after[leaf].dtype) == (state[leaf].shape, state[leaf].dtype)
        assert after[leaf].isfinite().all(), leaf


def test_order_of_candidates_does_not_matter(name):
    strategy, state, candidates, fitness = underway(name, torch.float64)
    order = torch.randperm(POPULATION, generator=seeded(2))
    straight, shuffled = (strategy.tell(state, candidates[k], fitness[k]) for k in (slice(None), order))
    wrong = strategy.tell(state, candidates, fitness[order])
    for leaf in ("mean", "sigma"):
        torch.testing.assert_close(straight[leaf], shuffled[leaf])
    assert not torch.allclose(straight["mean"], wrong["mean"])


def test_only_the_order_of_fitness_matters(name):
    strategy, state, candidates, fitness = underway(name, torch.float64)
    plain, bent, reversed_ = (
        strategy.tell(state, candidates, shaped) for shaped in (fitness, (fitness / 10).exp() * 1e6 - 7, -fitness)
    )
    assert_equal(plain, bent)
    assert differs(plain, reversed_)


def test_does_not_care_where_the_origin_is(name):
    strategy, fitness_of = strategies.named(name), ellipsoid(10, torch.float64)
    near, far = (
        run(strategy, strategy.init(torch.full((SIZE,), float(away), dtype=torch.float64)), seeded(), 5,
            lambda candidates, away=away: fitness_of(candidates - away))["mean"] - away
        for away in (0, 8)
    )  # fmt: skip
    torch.testing.assert_close(near, far, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_a_failed_candidate_is_the_worst(name, broken):
    strategy, state, candidates, fitness = underway(name)
    fitness[5], fitness[9] = fitness.min() - 1, broken
    replaced = fitness.clone()
    replaced[9] = fitness[5]
    assert_equal(strategy.tell(state, candidates, fitness), strategy.tell(state, candidates, replaced))


def test_no_fitness_at_all_is_an_error(name):
    strategy, state, candidates, _ = underway(name)
    with pytest.raises(ValueError, match="finite fitness"):
        strategy.tell(state, candidates, torch.full((POPULATION,), torch.nan))


def test_equal_fitness_explodes_nothing(name):
    strategy = strategies.named(name)
    start = strategy.init(torch.zeros(SIZE))
    end = run(strategy, start, seeded(), 100, lambda candidates: torch.full((POPULATION,), 500.0))
    ratio = end["sigma"] / start["sigma"]
    assert 0.1 < ratio.min() <= ratio.max() < 10
    assert end["mean"].abs().max() < 20 * start["sigma"].max()


def test_takes_even_populations_and_takes_odd_ones_or_says_even(name):
    strategy = strategies.named(name)
    state = strategy.init(torch.zeros(SIZE))
    run(strategy, state, seeded(), 1, ellipsoid(10), population=8)
    try:
        run(strategy, state, seeded(), 1, ellipsoid(10), population=9)
    except ValueError as error:
        message = str(error)
    else:
        return
    assert "even population, got 9; try 10" in message


def test_settings_are_frozen_words_and_numbers(name):
    strategy = strategies.named(name)
    with pytest.raises(FrozenInstanceError):
        strategy.sigma = 1.0
    assert all(isinstance(getattr(strategy, f.name), float | int | bool | str | None) for f in fields(strategy))
    with pytest.raises(ValueError, match="did you mean 'sigma'"):
        strategies.named(name, sigmma=1.0)
    with pytest.raises(ValueError, match=f"did you mean '{name}'"):
        strategies.named(name + "x")
