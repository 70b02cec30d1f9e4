"""Hyperparameters: the gradient they are found by, the likeliest, and draws of the plausible."""

import math

import pytest
import torch

from synthenv.incontext.hyperparameters import SHORTEST, density, likeliest, likelihood, plausible, usual
from synthenv.incontext.kernel import JITTER, Kernel

DOUBLE = torch.float64


def rows(count, size, seed=0, tasks=2):
    return torch.randn((tasks, count, size), generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def law(x):
    return torch.sin(2 * x[..., :1]) + x[..., 1:2].square()


@pytest.mark.parametrize("trend", [True, False])
def test_gradient_is_that_of_the_likelihood(trend):
    x, y = rows(20, 3), law(rows(20, 3))
    at = usual(torch.tensor([3, 3]), torch.ones(2, 3, dtype=DOUBLE), trend).mean.flat().requires_grad_()

    def by_the_book(at):
        kernel = Kernel(*at.split([3, 1, 1, 1], 1), float(trend))
        apart = ((x[:, :, None] - x[:, None]) / kernel.lengths.exp()[:, None, None]).square().sum(-1)
        smooth, linear, noise = (part.exp()[..., None] for part in kernel[1:4])
        total = trend + linear * (x @ x.mT) + smooth * (-0.5 * apart).exp()
        assert torch.allclose(total, kernel.beside(x)(x))
        total = (
            total
            + noise * torch.eye(20)
            + torch.diag_embed(JITTER * kernel.variance(x).detach().mean(1, keepdim=True).expand(-1, 20))
        )
        root = torch.linalg.cholesky(total)
        return -0.5 * (y * torch.cholesky_solve(y, root)).sum() - root.diagonal(dim1=1, dim2=2).log().sum()

    (expected,) = torch.autograd.grad(by_the_book(at), at)
    level, found = likelihood(Kernel(*at.detach().split([3, 1, 1, 1], 1), float(trend)), x, y)
    assert torch.allclose(level.sum(), by_the_book(at), rtol=1e-9)
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_the_shortest_scale_follows_the_context():
    prior = usual(torch.tensor([2, 2]), torch.tensor([[1.0, 0.1], [0.01, 1.0]], dtype=DOUBLE)).pick(torch.tensor([1]))
    low, high = prior.bounds()
    assert torch.allclose(low[:, :2].exp(), math.exp(SHORTEST) * torch.tensor([[0.01, 1.0]], dtype=DOUBLE))
    assert (low < high).all()


def test_search_climbs():
    x = rows(40, 2)
    y = law(x) - law(x).mean(1, keepdim=True)
    prior = usual(torch.tensor([2, 2]), torch.ones(2, 2, dtype=DOUBLE))
    before = likelihood(likeliest(x, y, prior, prior.mean, 1), x, y)[1].norm()
    assert likelihood(likeliest(x, y, prior, prior.mean, 60), x, y)[1].norm() < 0.2 * before


def test_draws_are_from_the_posterior():
    """Under a density p, E[(z - E z) dlog p / dz] is -1 (Stein); of its mode alone it is 0."""
    x = rows(12, 2, tasks=1)
    y = law(x) + 0.3 * rows(12, 1, seed=3, tasks=1)
    prior = usual(torch.tensor([2]), torch.ones(1, 2, dtype=DOUBLE))
    narrow = Kernel(*(torch.full_like(leaf, 0.7) for leaf in prior.spread[:4]))  # far from all bounds
    prior = prior._replace(spread=narrow)
    mode = likeliest(x, y, prior, prior.mean, 80)
    drawn, of = plausible(x, y, prior, mode, 3_000, torch.Generator().manual_seed(0))
    at = drawn.flat()
    slope = density(at, x[of], y[of], prior.pick(of))[1]
    found = ((at - at.mean(0)) * slope).mean(0)
    assert torch.allclose(found, -torch.ones_like(found), atol=0.12)
    assert slope.mean(0).abs().max() < 0.12


def test_each_process_has_draws_of_its_own():
    x = rows(12, 2)
    y = torch.stack((law(x)[0], 0.01 * law(x)[1]))
    prior = usual(torch.tensor([2, 2]), torch.ones(2, 2, dtype=DOUBLE))
    drawn, of = plausible(x, y, prior, likeliest(x, y, prior, prior.mean, 40), 5, torch.Generator().manual_seed(0))
    assert of.tolist() == [0] * 5 + [1] * 5
    assert drawn.lengths.shape == (10, 2)
    assert len(drawn.noise.unique()) == 10
    assert drawn.smooth[:5].mean() > drawn.smooth[5:].mean() + 2  # of outputs a hundredth as large
