"""Which settings matter is learned; what is masked counts as said."""

import numpy as np

from synthenv.ranking.kernel import Kernel, learn
from synthenv.ranking.space import Encoded


def encoded(values, active=None):
    values = np.asarray(values, float)
    active = np.ones(values.shape, bool) if active is None else np.asarray(active)
    return Encoded(np.where(active, values, 0.0), active, tuple(f"x{f}" for f in range(values.shape[1])))


def test_similarity_by_hand():
    one = encoded([[1.0, 2.0], [0.0, 5.0], [3.0, 0.0]], [[True, True], [True, True], [True, False]])
    alike = Kernel(np.array([1.0, 0.5]), 0.1)(one, one)
    np.testing.assert_allclose(-2 * np.log(alike[0, 1]), 1 + 0.5 * 9)
    np.testing.assert_allclose(-2 * np.log(alike[0, 2]), 4 + 0.5 * (4 + 1))  # one lacks the second column
    np.testing.assert_allclose(alike, alike.T)
    np.testing.assert_allclose(np.diag(alike), 1)


def test_the_column_that_matters_weighs_most():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 4))
    values = np.stack([np.sin(2 * x[:, 1]) * sign + 0.05 * generator.normal(size=80) for sign in (1, -1, 2)])
    found = learn(encoded(x), values)
    assert found is not None
    assert found.weights.argmax() == 1
    assert found.weights[1] > 5 * np.delete(found.weights, 1).max()
    assert found.noise < 0.3


def test_regression_tells_what_is_like_what_is_known():
    x = np.linspace(-2, 2, 21)[:, None]
    told = Kernel(np.array([2.0]), 0.01).regression(encoded(x), encoded([[0.1], [9.0]]))
    np.testing.assert_allclose(told(np.sin(x)), [[np.sin(0.1)], [0.0]], atol=0.02)
    np.testing.assert_allclose(told(np.stack([x, -x])), np.stack([told(x), -told(x)]))
    assert told.left[0] < 0.05
    assert told.left[1] > 0.99


def test_nothing_is_learned_without_columns():
    assert learn(encoded(np.zeros((5, 0))), np.zeros((2, 5))) is None
