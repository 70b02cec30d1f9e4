"""Where tasks end, from examples."""

import torch

from synthenv.incontext.logistic import BEYOND, logistic


def states(count, seed=0, tasks=2):
    return torch.randn((tasks, count, 3), generator=torch.Generator().manual_seed(seed))


def outside(x):
    """Beyond a limit on either side of one dimension."""
    return x[..., 1].abs() > 1.7


def test_finds_limits_on_both_sides():
    x, new = states(400), states(2000, seed=1)
    logit = logistic(x, outside(x)).predict(new)
    assert ((logit > 0) == outside(new)).float().mean() > 0.98


def test_reaches_into_the_corners_of_a_box():
    grid = torch.cartesian_prod(*[torch.arange(8.0)] * 2)[None]
    inside = ((grid >= 1) & (grid <= 6)).all(-1)
    often = logistic(grid.repeat(1, 10, 1), ~inside.repeat(1, 10))
    assert torch.equal(often.predict(grid) > 0, ~inside)


def test_tilts_where_the_evidence_is_clear():
    """The height of an arm's tip, of whose two joints sines and cosines are seen: products alone tell it."""
    turned = 6.3 * torch.rand((1, 3000, 2), generator=torch.Generator().manual_seed(0))
    x = torch.cat((turned.sin(), turned.cos()), -1)
    up = turned[..., 0].cos() + turned.sum(-1).cos() > 1

    def right(rows):
        return ((logistic(x[:, :rows], up[:, :rows]).predict(x[:, 1000:]) > 0) == up[:, 1000:]).float().mean()

    assert right(1000) > 0.98
    assert not logistic(x[:, :20], up[:, :20]).weights[0, 3 * 4 : -1].any()


def test_large_states_do_without_products():
    ended, x = torch.arange(30)[None] > 20, states(30).repeat(1, 1, 3)[:1]
    assert [logistic(x[..., :size], ended).weights.shape[1] for size in (8, 9)] == [3 * 8 + 28 + 1, 3 * 9 + 1]


def test_a_number_that_was_never_large_says_no_more_where_it_is():
    x = states(100)
    x[..., 0] *= 0.1  # what it seems to say is chance
    logit = logistic(x, outside(x)).predict
    far = states(2000, seed=1)
    near = far.clone()
    far[..., 0] *= 50
    low, high = x[0, :, 0].min(), x[0, :, 0].max()
    rim = 1.001 * BEYOND * (high - low)
    near[..., 0] = far[..., 0].clamp(low - rim, high + rim)
    assert torch.equal(logit(far)[0], logit(near)[0])
    assert ((logit(far) > 0) == outside(far)).float().mean() > 0.9


def test_nothing_ended():
    x = states(50)
    logit = logistic(x, torch.zeros(2, 50, dtype=torch.bool)).predict(x)
    assert torch.isfinite(logit).all()
    assert (logit < -4).all()


def test_everything_ended():
    x = states(50)
    logit = logistic(x, torch.ones(2, 50, dtype=torch.bool)).predict(x)
    assert (logit > 2).all()


def test_constant_states_and_one_row():
    x = torch.ones(2, 1, 3)
    assert torch.isfinite(logistic(x, torch.tensor([[True], [False]])).predict(x)).all()


def test_own_logits_are_those_of_the_context():
    x = states(30)
    fitted = logistic(x, outside(x))
    assert torch.allclose(fitted.own, fitted.predict(x))
