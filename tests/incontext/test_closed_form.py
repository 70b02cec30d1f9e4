"""Ridge regression in closed form: what it finds, what it says of its own errors, how sure it is."""

import torch

from synthenv.incontext.closed_form import polynomial, ridge, scaling


def rows(count, size, seed=0, tasks=3):
    return torch.randn((tasks, count, size), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def law(x):
    """Two outputs [B, N, 2], the second with a product and a square in it."""
    linear = 2 * x[..., 0] - x[..., 1] + 0.5
    return torch.stack((linear, linear + x[..., 0] * x[..., 2] - x[..., 1].square()), -1)


def test_polynomial_has_every_product_once():
    x = rows(5, 3)
    features = polynomial(x, 2)
    assert features.shape == (3, 5, 9)
    products = torch.stack([x[..., i] * x[..., j] for i in range(3) for j in range(i, 3)], -1)
    assert torch.equal(features, torch.cat((x, products), -1))
    assert torch.equal(polynomial(x, 1), x)


def test_a_constant_column_is_left_alone():
    x = rows(6, 2)
    x[..., 1] = 7.0
    scaled = scaling(x)(x)
    assert torch.equal(scaled[..., 1], torch.zeros_like(scaled[..., 1]))
    assert torch.allclose(scaled[..., 0].std(1, correction=0), torch.ones(3, dtype=torch.float64))


def test_what_hardly_varied_is_measured_in_its_distance_from_0():
    x = torch.tensor([[4.9, 0.0, 7.0], [5.1, 2.0, 7.0]], dtype=torch.float64)[None]
    wide = scaling(x).widened(0.3)
    assert torch.allclose(wide.spread, torch.tensor([1.503330, 1.044031, 1.0], dtype=torch.float64))
    assert torch.equal(wide.varies, scaling(x).varies)


def test_degree_two_finds_a_quadratic_law():
    x, new = rows(60, 3), rows(20, 3, seed=1)
    assert (ridge(x, law(x), 2).predict(new)[0] - law(new)).square().mean() < 1e-6
    assert (ridge(x, law(x), 1).predict(new)[0][..., 1] - law(new)[..., 1]).square().mean() > 0.1


def test_fewer_rows_than_features():
    x, new = rows(8, 3), rows(20, 3, seed=1)
    mean, sd = ridge(x, law(x), 2).predict(new)
    assert torch.isfinite(mean).all()
    assert (ridge(x, law(x), 2).predict(x)[0] - law(x)).square().mean() < 0.1 * law(x).square().mean()
    assert (sd > 0).all()


def test_residuals_are_those_of_leaving_rows_out():
    x = rows(14, 3)
    y = law(x) + 0.3 * rows(14, 2, seed=2)
    fitted = ridge(x, y, 1)
    chosen = fitted.penalty[:, 0]
    for row in (0, 5):
        kept = [i for i in range(14) if i != row]
        phi = fitted.features(polynomial(fitted.inputs(x), 1))  # scaled once, by all rows
        phi = torch.cat((phi, torch.ones_like(phi[..., :1])), -1)
        for output in range(2):
            rest = torch.diag_embed(torch.cat((chosen[:, output : output + 1].expand(-1, 3), torch.zeros(3, 1)), 1))
            left = phi[:, kept]
            weights = torch.linalg.solve(left.mT @ left + rest, left.mT @ y[:, kept, output, None])
            expected = y[:, row, output] - (phi[:, row, None] @ weights)[:, 0, 0]
            assert torch.allclose(fitted.residual[:, row, output], expected, atol=1e-8)


def test_noise_and_distance_widen_the_answer():
    x = rows(200, 2)
    noisy = law(torch.cat((x, x[..., :1]), -1))[..., :1] + 0.2 * rows(200, 1, seed=3)
    fitted = ridge(x, noisy, 1)
    near, far = fitted.predict(torch.zeros(3, 1, 2))[1], fitted.predict(torch.full((3, 1, 2), 60.0))[1]
    assert torch.allclose(near, torch.full_like(near, 0.2), rtol=0.2)
    assert (far > 2 * near).all()


def test_directions_never_shown_are_uncertain():
    x = rows(3, 6)
    sd = ridge(x, law(x)[..., :1], 1).predict(torch.cat((x[:, :1], rows(1, 6, seed=5)), 1))[1]
    assert (sd[:, 1] > 3 * sd[:, 0]).all()


def test_tasks_do_not_interact():
    x, new = rows(12, 3), rows(4, 3, seed=1)
    together, alone = ridge(x, law(x), 2), ridge(x[1:2], law(x[1:2]), 2)
    assert torch.allclose(together.predict(new)[0][1:2], alone.predict(new[1:2])[0], atol=1e-9)
