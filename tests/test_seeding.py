"""Generators by place: equal places draw alike, for ever; different ones do not."""

import hashlib
import itertools
import random

import numpy as np
import pytest
import torch

from synthenv import seeding

PLACES = [(), ("ask",), ("greedy", 0), ("greedy", 1), ("greedy", "1"), ("greedy01",), ("greedy0", 1), (0, "greedy"),
          (1,), ("1",), (1, 2), (12,), ("greedy", 0, "ask"), ("inner", 0)]  # fmt: skip


def draws(generator: torch.Generator) -> list[float]:
    return torch.rand(4, generator=generator).tolist()


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_equal_places_draw_alike(place):
    assert draws(seeding.generator(3, *place)) == draws(seeding.generator(3, *place))


def test_no_two_places_or_seeds_draw_alike():
    found = [tuple(draws(seeding.generator(seed, *place))) for seed in (0, 1, -1) for place in PLACES]
    assert len(set(found)) == len(found)
    assert not set(itertools.chain(*found)) & set(draws(torch.Generator().manual_seed(0)))


def test_a_place_stays_what_it_was():
    """A checkpoint is resumed by later versions and on other machines: the seed is a digest of the place's text."""
    digest = hashlib.sha256(b"(7, 'greedy', 12, 'ask')").digest()
    seed = int.from_bytes(digest[:8], "big") // 2
    assert seeding.generator(7, "greedy", 12, "ask").initial_seed() == seed == 4154275608294711605


def test_global_generators_are_left_alone():
    def global_draws():
        torch.manual_seed(3), np.random.seed(3), random.seed(3)
        yield
        yield torch.rand(1).item(), np.random.rand(), random.random()

    untouched, touched = global_draws(), global_draws()
    next(untouched)
    expected = next(untouched)
    next(touched)
    draws(seeding.generator(0, "greedy", 1))
    assert next(touched) == expected
    assert seeding.generator(0) is not torch.default_generator
