"""Quantiles say what they should: of a Gaussian, and of themselves."""

import pytest
import torch

from synthenv.incontext.belief import GAUSSIAN, deviation, drawn, level
from synthenv.incontext.model import LEVELS


def test_a_gaussians_deviation_is_exact():
    mean, sd = torch.randn(5, 3), torch.rand(5, 3) + 0.1
    quantiles = mean[..., None] + sd[..., None] * torch.tensor(GAUSSIAN)
    torch.testing.assert_close(deviation(quantiles), sd, rtol=1e-4, atol=1e-6)


def test_what_is_certain_does_not_deviate():
    assert deviation(torch.full((2, 3, len(LEVELS)), 7.0)).tolist() == [[0.0] * 3] * 2


def test_drawn_at_a_level_is_the_quantile_there_and_between_lies_between():
    quantiles = torch.arange(float(len(LEVELS))).square().expand(1, 1, -1)
    for i, share in enumerate(LEVELS):
        torch.testing.assert_close(drawn(quantiles, torch.tensor([[share]])), quantiles[..., i])
    half = (LEVELS[3] + LEVELS[4]) / 2
    torch.testing.assert_close(drawn(quantiles, torch.tensor([[half]])), torch.tensor([[(9.0 + 16.0) / 2]]))


def test_beyond_the_outermost_levels_is_what_stands_there():
    quantiles = torch.arange(float(len(LEVELS))).expand(2, 1, -1)
    assert drawn(quantiles, torch.tensor([[0.0], [1.0]])).tolist() == [[0.0], [len(LEVELS) - 1.0]]


def test_draws_are_distributed_as_the_quantiles_say():
    shares = torch.rand((200_000,), generator=torch.Generator().manual_seed(0))
    draws = drawn((3 + 2 * torch.tensor(GAUSSIAN)).expand(len(shares), -1), shares)
    assert float(draws.mean()) == pytest.approx(3, abs=0.02)
    assert float(draws.quantile(0.05)) == pytest.approx(3 - 2 * 1.645, abs=0.03)


def test_a_level_that_is_none_is_refused():
    assert LEVELS[level(0.95)] == 0.95
    with pytest.raises(ValueError, match=r"expected one of the levels .*got 0\.33"):
        level(0.33)
