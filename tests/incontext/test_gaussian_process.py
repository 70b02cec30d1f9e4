"""Gaussian processes: exact where they should be, honest about the rest, and the gradient they are fitted by."""

import math

import pytest
import torch

from synthenv.incontext import gaussian_process as module
from synthenv.incontext.gaussian_process import DRAWS, SCARCE, STRAIN, fit, gaussian_process, spread_over, whole
from synthenv.incontext.hyperparameters import Search
from synthenv.incontext.kernel import JITTER, Kernel

DOUBLE = torch.float64
LIKELIEST = Search(refined=False)
"""One kernel a process, whatever the number of rows."""


def rows(count, size, seed=0, tasks=2):
    return torch.randn((tasks, count, size), generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def law(x):
    return torch.stack((x[..., 0] - 0.5 * x[..., 1], torch.sin(2 * x[..., 0]) + x[..., 1].square()), -1)


def test_finds_smooth_laws():
    x, new = rows(120, 2), 0.7 * rows(50, 2, seed=1)
    error = (gaussian_process(x, law(x)).predict(new)[0] - law(new)).square().mean(1)  # [B, Y]
    assert (error[:, 0] < 1e-8).all()
    assert (error[:, 1] < 1e-3).all()


def test_slopes_are_given_to_inputs_that_have_shown_how_far_they_vary():
    """Both inputs rise with every row; the first is at 5, where it hardly varied, the second around 0."""
    along = torch.linspace(-1, 1, 10, dtype=DOUBLE)
    x = torch.stack((5 + 0.01 * along, along), -1)[None]
    new = torch.tensor([[[4.0, 0.5], [6.0, -0.5]]], dtype=DOUBLE)
    alike, apart = (gaussian_process(x, x[..., 1:], aside=aside).predict(new)[0][..., 0] for aside in (0.0, 0.3))
    assert torch.allclose(apart, new[..., 1], atol=0.1)
    assert (alike - new[..., 1]).abs().min() > 10  # half the slope each, and 1 is 100 times as far as the first varied


def test_wiggles_far_from_0_are_found():
    x = 1000 + rows(60, 1)
    y = torch.sin(3 * x)
    assert (
        gaussian_process(x, y, aside=0.3).predict(x[:, ::7] + 0.01)[0] - torch.sin(3 * (x[:, ::7] + 0.01))
    ).abs().max() < 0.02


def exact(fitted, x, y, keep):
    """Posterior mean at all rows from the rows kept, by the textbook: K (K + noise)^-1 y."""
    (part,) = fitted.parts
    rows = fitted.inputs(x)[fitted.task]
    targets = (y - fitted.offset).mT[fitted.task, fitted.slot][..., None]
    own = part.kernel.beside(rows[:, keep])(rows[:, keep])
    own.diagonal(dim1=1, dim2=2).add_(part.kernel.noise.exp() + JITTER)
    return part.kernel.beside(rows[:, keep])(rows) @ torch.linalg.solve(own, targets[:, keep]), targets


def test_residuals_are_those_of_leaving_rows_out():
    x = rows(25, 2)
    y = law(x) + 0.1 * rows(25, 2, seed=3)
    fitted = gaussian_process(x, y, search=LIKELIEST)
    for row in (0, 11):
        mean, targets = exact(fitted, x, y, [i for i in range(25) if i != row])
        left = (targets - mean)[:, row, 0].view(2, 2)
        assert torch.allclose(fitted.residual[:, row], left, rtol=1e-3, atol=1e-5)


def test_stretches_are_left_out_whole():
    x = rows(25, 2)
    y = law(x) + 0.1 * rows(25, 2, seed=3)
    fitted = gaussian_process(x, y, search=LIKELIEST)
    mean, targets = exact(fitted, x, y, [i for i in range(25) if not 8 <= i < 12])  # the third of stretches of 4
    assert torch.allclose(fitted.apart[:, 8:12], (targets - mean)[:, 8:12, 0].view(2, 2, 4).mT, rtol=1e-3, atol=1e-5)


def test_a_second_look_is_taken_where_it_pays():
    x, new = rows(200, 2), 0.7 * rows(80, 2, seed=1)
    y = torch.cat((law(x)[..., :1], torch.sin(4 * x[..., :1]) * x[..., 1:], x[..., :1].sign()), -1)
    truth = torch.sin(4 * new[..., 0]) * new[..., 1]
    once, twice = (gaussian_process(x, y, search=Search(40, 10, refined), most=100) for refined in (False, True))
    first, second = twice.parts
    assert set((second.of % 3).tolist()) == {1}  # a line is known already, and a switch is not smooth
    assert (first.told.shape[1], second.told.shape[1]) == (100, 200)
    assert sorted(torch.cat((first.of, second.of)).tolist()) == list(range(6))
    before, after = ((fitted.predict(new)[0][..., 1] - truth).square().mean() for fitted in (once, twice))
    assert after < 0.8 * before
    for output in (0, 2):
        assert torch.allclose(once.predict(new)[0][..., output], twice.predict(new)[0][..., output])


def test_all_rows_count_where_the_projection_loses_what_they_say(monkeypatch):
    x, new = rows(300, 2), 0.7 * rows(80, 2, seed=1)
    y, truth = (torch.sin(3 * at[..., :1]) * at[..., 1:] for at in (x, new))
    every = gaussian_process(x, y, search=Search(40), most=40)
    monkeypatch.setattr(module, "WHOLE", 299)
    projected = gaussian_process(x, y, search=Search(40), most=40)
    assert [part.of.tolist() for part in (*every.parts, *projected.parts)] == [[0, 1], [0, 1]]
    assert every.parts[0].rest is not None
    assert projected.parts[0].rest is None
    (mean, sd), (before, _) = every.predict(new), projected.predict(new)
    assert (mean - truth).square().mean() < 0.3 * (before - truth).square().mean()
    assert ((mean - truth).abs() < 1.645 * sd).double().mean() > 0.8


def test_the_mean_of_all_rows_is_the_textbook_s():
    flat = torch.zeros(2, 1, dtype=DOUBLE)
    kernel = Kernel(flat.expand(-1, 2), flat, flat - 20, flat - 5)
    x, new = rows(120, 2), rows(30, 2, seed=1)
    own = kernel.beside(x)(x) + (math.exp(-5) + JITTER * 2) * torch.eye(120, dtype=DOUBLE)
    y = torch.linalg.cholesky(own) @ rows(120, 1, seed=2)  # what such a process says
    part = fit(torch.arange(2), x, y, kernel, 30, noisier=False)
    found, strain = whole(part, x, y, kernel)
    assert torch.allclose(found.predict(new)[0], (kernel.beside(x)(new) @ torch.linalg.solve(own, y))[..., 0])
    kept = [row for row in range(120) if row != 7]
    said = own[:, 7, kept][:, None] @ torch.linalg.solve(own[:, kept][:, :, kept], y[:, kept])
    assert torch.allclose(found.residual[:, 7], (y[:, 7] - said[:, 0])[:, 0])
    assert ((strain > 0.7) & (strain < 1.4)).all()
    assert (whole(part, x, 10 * y.sign(), kernel)[1] > STRAIN).all()
    assert torch.allclose(found.predict(new)[1], part.predict(new)[1] * found.rest.scale)
    assert found.pick(torch.tensor([False, True])).predict(new[1:])[0].shape == (1, 30)


def test_a_number_that_never_varied_says_whether_it_is_as_it_was():
    x, new = rows(60, 3), rows(20, 3, seed=1)
    x[..., 2] = 5.0
    fitted = gaussian_process(x, law(x))
    near, far, same = (new.clone() for _ in range(3))
    near[..., 2], far[..., 2], same[..., 2] = 6.0, 500.0, 5.0
    for one, other in zip(fitted.predict(near), fitted.predict(far), strict=True):
        assert torch.equal(one, other)
    assert (fitted.predict(near)[1] > fitted.predict(same)[1]).all()


def test_noise_that_few_rows_do_not_show_is_found_on_all():
    """A switch between two of the rows that hyperparameters are found on."""
    x = rows(200, 1)
    y = x.clone()
    y[:, 1::7] += 1.0
    fitted = gaussian_process(x, y, search=Search(rows=12))
    assert (fitted.predict(x)[0] - y).square().mean() < 0.3
    assert fitted.parts[0].kernel.noise.min() > -4


def test_many_rows_are_projected_and_few_are_not():
    x, new = rows(90, 2), 0.5 * rows(30, 2, seed=2)
    y = law(x) + 0.05 * rows(90, 2, seed=3)
    whole, part = (gaussian_process(x, y, search=Search(60, refined=False), most=most) for most in (90, 60))
    assert (whole.parts[0].told.shape[1], part.parts[0].told.shape[1]) == (90, 60)
    assert (whole.predict(new)[0] - part.predict(new)[0]).square().mean().sqrt() < 0.03


def test_few_rows_are_explained_in_several_ways():
    """Whoever knows only the likeliest of them is too sure."""
    x, new = rows(14, 2, tasks=24), rows(40, 2, seed=1, tasks=24)
    inside, error = {}, {}
    for name, search in (("drawn", None), ("likeliest", LIKELIEST)):
        fitted = gaussian_process(x, law(x)[..., 1:], search=search)
        mean, sd = fitted.predict(new)
        missed = (mean - law(new)[..., 1:]).abs()
        inside[name], error[name] = float((missed < 1.645 * sd).double().mean()), float(missed.square().mean())
        assert fitted.draws == (DRAWS if name == "drawn" else 1)
    assert inside["likeliest"] + 0.05 < inside["drawn"]
    assert 0.8 < inside["drawn"] < 0.97
    assert error["drawn"] < error["likeliest"]


def test_draws_are_averaged():
    x, new = rows(12, 2), rows(5, 2, seed=1)
    fitted = gaussian_process(x, law(x))
    (part,) = fitted.parts
    assert part.of.tolist() == [process for process in range(4) for _ in range(DRAWS)]
    means, spreads = part.predict(fitted.inputs(new)[fitted.task][part.of])
    mean, sd = fitted.predict(new)
    means, spreads = means.view(2, 2, DRAWS, 5), spreads.view(2, 2, DRAWS, 5)
    assert torch.allclose(mean, (means.mean(2) + fitted.offset.mT).mT)
    variance = spreads.square().mean(2) + means.var(2, correction=0)
    assert torch.allclose(sd, variance.sqrt().mT)
    assert torch.allclose(fitted.residual, part.residual.view(2, 2, DRAWS, 12).mean(2).mT)


def test_the_same_rows_make_the_same_process():
    x, new = rows(12, 2), rows(5, 2, seed=1)
    once, again = (gaussian_process(x, law(x)).predict(new)[0] for _ in range(2))
    assert torch.equal(once, again)


def test_many_rows_are_explained_by_the_likeliest():
    assert gaussian_process(rows(SCARCE + 1, 2), law(rows(SCARCE + 1, 2))).draws == 1


def test_nothing_varies():
    x = rows(20, 2)
    mean, sd = gaussian_process(x, torch.ones(2, 20, 2)).predict(x)
    assert torch.equal(mean, torch.ones(2, 20, 2, dtype=DOUBLE))
    assert not sd.any()


def test_without_a_trend_it_returns_to_nothing():
    x = rows(40, 2)
    far = torch.full((2, 1, 2), 3e5, dtype=DOUBLE)
    y = torch.cat((law(x)[..., :1] + 1, torch.full_like(x[..., :1], 2)), -1)
    plain, line = (gaussian_process(x, y, trend=trend).predict(far)[0] for trend in (False, True))
    assert (line[..., 0] - 1.5e5).abs().max() < 1e3
    assert plain[..., 0].abs().max() < 1e-3
    assert (plain[..., 1] == 2).all()  # what never varied stays
    assert (gaussian_process(x, y, trend=False).predict(x)[0] - y).square().mean() < 1e-3


def test_an_input_that_does_not_matter_gets_a_long_scale():
    x = rows(80, 3)
    fitted = gaussian_process(x, torch.sin(2 * x[..., :1]))
    lengths = fitted.parts[0].kernel.lengths
    assert (lengths[:, 0] + 1 < lengths[:, 1:].min(1).values).all()


def test_noise_is_found_and_covered():
    x, new = rows(150, 2), rows(400, 2, seed=5)
    fitted = gaussian_process(x, law(x)[..., :1] + 0.2 * rows(150, 1, seed=6))
    mean, sd = fitted.predict(new)
    inside = ((law(new)[..., :1] + 0.2 * rows(400, 1, seed=7) - mean).abs() < 1.645 * sd).double().mean()
    assert 0.82 < float(inside) < 0.97


def test_far_away_it_is_unsure():
    x = rows(30, 2)
    fitted = gaussian_process(x, law(x))
    near, far = (fitted.predict(torch.full((2, 1, 2), value, dtype=DOUBLE))[1] for value in (0.0, 40.0))
    assert (far > 10 * near).all()


def test_outputs_and_inputs_out_of_use_change_nothing():
    x, new = rows(20, 2), rows(5, 2, seed=1)
    alone = gaussian_process(x, law(x), search=LIKELIEST)
    padded = gaussian_process(
        torch.cat((x, torch.zeros_like(x)), -1), torch.cat((law(x), torch.zeros(2, 20, 1)), -1),
        torch.tensor([[True, True, False, False]] * 2), torch.tensor([[True, True, False]] * 2), LIKELIEST,
    )  # fmt: skip
    mean, sd = padded.predict(torch.cat((new, torch.zeros_like(new)), -1))
    assert torch.allclose(mean[..., :2], alone.predict(new)[0], atol=1e-7)
    assert not mean[..., 2].any()
    assert not sd[..., 2].any()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_hardly_any_rows(count):
    x = rows(count, 2)
    mean, sd = gaussian_process(x, law(x)).predict(rows(4, 2, seed=1))
    assert torch.isfinite(mean).all()
    assert (sd.mean(1) > 0.05).all()


def test_constant_outputs_and_repeated_rows():
    x = rows(1, 2).expand(2, 9, 2)
    mean, sd = gaussian_process(x, torch.full((2, 9, 1), 3.0)).predict(x[:, :1])
    assert torch.allclose(mean, torch.full_like(mean, 3.0))
    assert torch.isfinite(sd).all()


def test_spread_over():
    assert spread_over(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread_over(101, 3).tolist() == [0, 50, 100]
