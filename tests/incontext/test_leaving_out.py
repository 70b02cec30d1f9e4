"""Errors of rows left out, against second fits without them; factors of matrices that rounding has spoilt."""

import pytest
import torch

from synthenv.incontext.cholesky import inverse_root, root
from synthenv.incontext.leaving_out import LONGEST, STRETCHES, left_out, left_out_of, stretch

DOUBLE = torch.float64


def smoother(phi):
    """Root of the hat matrix of ridge regression on phi [G, C, F] with penalty 1: [G, F, C]."""
    gram = phi.mT @ phi + torch.eye(phi.shape[-1], dtype=DOUBLE)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(gram), phi.mT, upper=False)


@pytest.mark.parametrize("count", [5, 16, 43])
def test_errors_are_those_of_a_fit_without_the_stretch(count):
    generator = torch.Generator().manual_seed(count)
    phi, y = (torch.randn((2, count, size), generator=generator, dtype=DOUBLE) for size in (3, 2))
    half = smoother(phi)
    found = left_out(y - half.mT @ (half @ y), half)
    length = stretch(count)
    for begin in range(0, count, length):
        kept = torch.ones(count, dtype=torch.bool)
        kept[begin : begin + length] = False
        gram = phi[:, kept].mT @ phi[:, kept] + torch.eye(3, dtype=DOUBLE)
        weights = torch.linalg.solve(gram, phi[:, kept].mT @ y[:, kept])
        assert torch.allclose(found[:, ~kept], (y - phi @ weights)[:, ~kept], atol=1e-6)


@pytest.mark.parametrize("count", [5, 16, 43])
def test_errors_of_a_process_are_those_of_one_without_the_stretch(count):
    generator = torch.Generator().manual_seed(count)
    x, y = (torch.randn((2, count, size), generator=generator, dtype=DOUBLE) for size in (count, 2))
    covariance = x @ x.mT + torch.eye(count, dtype=DOUBLE)
    inverse = torch.linalg.inv(covariance)
    found = left_out_of(inverse, inverse @ y)
    for begin in range(0, count, stretch(count)):
        out = torch.zeros(count, dtype=torch.bool)
        out[begin : begin + stretch(count)] = True
        mean = covariance[:, out][:, :, ~out] @ torch.linalg.solve(covariance[:, ~out][:, :, ~out], y[:, ~out])
        assert torch.allclose(found[:, out], y[:, out] - mean, atol=1e-6)


def test_stretches():
    assert [stretch(count) for count in (1, STRETCHES, STRETCHES + 1, 100, 10**6)] == [1, 1, 2, 13, LONGEST]


def test_a_smoother_that_repeats_every_row_has_an_answer():
    half = torch.eye(9, dtype=DOUBLE)[None]
    assert torch.isfinite(left_out(torch.zeros(1, 9, 1, dtype=DOUBLE), half)).all()


def test_roots_of_what_rounding_spoilt():
    x = torch.randn((3, 6, 2), generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    spoilt = x @ x.mT - 1e-12 * torch.eye(6, dtype=DOUBLE)  # of rank 2
    assert torch.allclose(root(spoilt) @ root(spoilt).mT, spoilt, atol=1e-6)
    assert torch.isfinite(inverse_root(torch.zeros(1, 4, 4, dtype=DOUBLE))).all()
    sound = x @ x.mT + torch.eye(6, dtype=DOUBLE)
    assert torch.allclose(inverse_root(sound) @ sound @ inverse_root(sound).mT, torch.eye(6, dtype=DOUBLE), atol=1e-9)
