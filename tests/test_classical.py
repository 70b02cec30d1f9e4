"""Classical fits recover what they should, and know how wrong they are."""

import numpy as np
import pytest
from gymnasium import spaces

from synthenv.incontext.transitions import Transitions

pytest.importorskip("sklearn", reason="classical fits need scikit-learn")

from benchmarks import classical, gaussian
from benchmarks.classical import METHODS, Ridge


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Networks are trained for long enough to tell whether they learn."""
    monkeypatch.setattr(classical, "STEPS", 400)


def log(rows, seed=0, step=None, ends=None, discrete=False):
    """Transitions of s' = step(s, a): [N, 2], [N, 1] -> [N, 2], a system that is linear unless given."""
    random = np.random.default_rng(seed)
    s = random.normal(size=(rows, 2))
    a = random.integers(3, size=rows) if discrete else random.uniform(-1, 1, (rows, 1)).astype(np.float32)
    push = (a[:, None] - 1.0) if discrete else a
    s = s.astype(np.float32)
    linear = s @ np.array([[0.9, -0.1], [0.2, 0.95]]) + push * (0.0, 0.5) + (0.1, 0.0)
    following = (linear if step is None else step(s, push)).astype(np.float32)
    over = np.zeros(rows, bool) if ends is None else ends(s)
    return Transitions.from_arrays(
        s, a, s[:, 0] * 2 + 1, following, over, start=np.ones(rows, bool),
        action_space=spaces.Discrete(3) if discrete else spaces.Box(-1, 1, (1,)),
    )  # fmt: skip


def error(model, test):
    """Squared error of the change over the squared change."""
    truth = test.following.astype(np.float64) - test.observation
    return np.square(model.change(test.observation, test.action) - truth).sum() / np.square(truth).sum()


def bend(s, a):
    """Smooth, and no polynomial."""
    return s + np.sin(2 * s[:, ::-1]) * (1 + a)


@pytest.mark.parametrize("method", ["linear", "quadratic", "gp"])
@pytest.mark.parametrize("discrete", [False, True])
def test_a_linear_system_is_solved(method, discrete):
    model = METHODS[method](log(60, discrete=discrete))
    test = log(50, 1, discrete=discrete)
    assert error(model, test) < 1e-6
    guess = model.guess(test.observation, test.action)
    np.testing.assert_allclose(guess.reward, test.reward, atol=1e-2)
    np.testing.assert_allclose(guess.change, model.change(test.observation, test.action), atol=1e-9)


def test_products_are_for_the_quadratic_fit():
    def product(s, a):
        return s + s[:, :1] * s[:, 1:] * (1.0, 0.0) + a * s

    assert error(METHODS["quadratic"](log(100, step=product)), log(50, 1, step=product)) < 1e-6
    assert error(METHODS["linear"](log(100, step=product)), log(50, 1, step=product)) > 0.3


def test_curves_are_for_those_that_bend():
    test = log(200, 1, bend)
    errors = {name: error(fit(log(300, step=bend)), test) for name, fit in METHODS.items()}
    assert errors["persistence"] == pytest.approx(1.0)
    assert errors["gp"] < 0.02 < errors["quadratic"]
    assert errors["ensemble"] < 0.05
    assert errors["neighbours"] < errors["persistence"]


def test_ridge_leaves_one_out_exactly():
    """The chosen lambda's error is that of refitting without each row in turn."""
    data = log(12, step=lambda s, a: bend(s, a) + np.random.default_rng(5).normal(size=s.shape))
    model = Ridge(data, quadratic=False)
    x, y = model.columns.scale(model.x), model.y

    def refitted(penalty, column):
        missed = []
        for out in range(12):
            rows = np.arange(12) != out
            middle = x[rows].mean(0)
            centred = x[rows] - middle
            weights = np.linalg.solve(
                centred.T @ centred + 12 * penalty * np.eye(3), centred.T @ (y[rows, column] - y[rows, column].mean())
            )
            missed.append(y[out, column] - y[rows, column].mean() - (x[out] - middle) @ weights)
        return np.square(missed).mean()

    for column in range(2):
        errors = [refitted(penalty, column) for penalty in Ridge.LAMBDAS]
        s = np.linalg.svd(x, compute_uv=False)
        chosen = (1 / model.inverse[column] - s**2).mean() / 12
        assert chosen == pytest.approx(Ridge.LAMBDAS[int(np.argmin(errors))], rel=1e-3, abs=1e-8)


def test_evidence_and_its_slope():
    """The slope is that of differences; the evidence that of scikit-learn."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 3)), random.normal(size=30)
    theta = np.array([0.3, -2.0, 0.5, -0.2, 1.0])
    value, slope = gaussian.lost_evidence(theta, x, y)
    steps = 1e-5 * np.eye(5)
    differences = [
        (gaussian.lost_evidence(theta + step, x, y)[0] - gaussian.lost_evidence(theta - step, x, y)[0]) / 2e-5
        for step in steps
    ]
    np.testing.assert_allclose(slope, differences, rtol=1e-5)
    kernel = ConstantKernel(np.exp(0.3)) * RBF(np.exp(theta[2:])) + WhiteKernel(np.exp(-2.0))
    witness = GaussianProcessRegressor(kernel, alpha=gaussian.JITTER * np.exp(0.3), optimizer=None).fit(x, y)
    assert -value == pytest.approx(witness.log_marginal_likelihood_value_)
    mean, spread = gaussian.Process.condition(theta, x, y).moments(x[:5] + 0.1)
    expected = witness.predict(x[:5] + 0.1, return_std=True)
    np.testing.assert_allclose((mean, spread), expected, rtol=1e-6)


def test_the_process_ignores_inputs_that_tell_nothing():
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 2))
    process = gaussian.fitted(x, np.sin(3 * x[:, 0]) + 0.05 * random.normal(size=80))
    assert process.lengths[1] > 10 * process.lengths[0]
    assert process.noise**0.5 == pytest.approx(0.05, rel=0.3)
    assert gaussian.fitted(x, np.ones(80)) is None


@pytest.mark.parametrize("method", ["linear", "quadratic", "neighbours", "gp", "ensemble"])
def test_intervals_hold_about_nine_in_ten(method):
    noise = np.random.default_rng(7)

    def noisy(s, a):
        return s + 0.3 * s[:, ::-1] + 0.5 * noise.normal(size=s.shape)

    test = log(400, 1, noisy)
    guess = METHODS[method](log(200, step=noisy)).guess(test.observation, test.action)
    truth = test.following - test.observation
    assert 0.8 < np.mean((guess.low <= truth) & (truth <= guess.high)) < 0.97


@pytest.mark.parametrize("method", METHODS)
def test_ends_are_told_where_some_were_seen(method):
    def outside(s):
        return (np.abs(s) > 1.2).any(1)

    test = log(300, 1, ends=outside)
    odds = METHODS[method](log(300, ends=outside)).guess(test.observation, test.action).end
    right = np.mean((odds > 0) == test.terminated)
    never = METHODS[method](log(50)).guess(test.observation, test.action).end
    always = METHODS[method](log(50, ends=lambda s: np.ones(len(s), bool))).guess(test.observation, test.action).end
    assert never.max() < -5
    assert always.min() > 5
    if method in ("quadratic", "neighbours", "gp", "ensemble"):
        assert right > 0.87


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [2, 6])
def test_few_rows_are_enough_to_say_something(method, rows):
    test = log(20, 1)
    guess = METHODS[method](log(rows)).guess(test.observation, test.action)
    assert all(np.isfinite(side).all() for side in guess)
    assert (guess.low <= guess.high).all()
