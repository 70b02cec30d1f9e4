"""Rectified power laws: their grid, and that curves drawn from them are carried on."""

import numpy as np
import pytest

from synthenv.ranking import laws

DOUBLINGS = np.arange(12.0)


def drawn(count=20, seed=0):
    """Curves [M, 12] of rectified laws that begin to fall at about the fifth doubling, without noise."""
    generator = np.random.default_rng(seed)
    begin, steep = generator.normal(5, 1.5, (count, 1)), np.exp(generator.normal(-0.7, 0.3, (count, 1)))
    level = generator.normal(1.0, 0.2, (count, 1))
    return level - np.log1p(2 ** (steep * (DOUBLINGS - begin)))


def test_shapes_fall_from_none_to_their_rest():
    grid = laws.shapes(DOUBLINGS)
    assert grid.of.shape == (len(grid.units), 12)
    assert (np.diff(grid.of, axis=1) < 0).all()
    assert grid.of.max() <= 0
    rest = (grid.units[:, 2] * laws.UNIT[2]) ** 2
    assert (np.exp(grid.of) >= rest[:, None] - 1e-12).all()


def test_falls_that_have_hardly_begun_are_foretold():
    whole = drawn()
    seen, other = whole.copy(), drawn()
    seen[:, 7:] = np.nan
    told = laws.extrapolate([seen, other], DOUBLINGS, 11, np.arange(20))
    line = whole[:, 6] + 5 * (whole[:, 6] - whole[:, 5])
    assert np.abs(told - whole[:, 11]).mean() < 0.9 * np.abs(line - whole[:, 11]).mean()


def test_what_was_unusual_elsewhere_is_expected_again():
    whole = drawn()
    seen = np.full_like(whole, np.nan)
    seen[:, :2] = whole[:, :2]
    told = laws.extrapolate([seen, whole], DOUBLINGS, 11, np.arange(20))
    alone = laws.extrapolate([seen], DOUBLINGS, 11, np.arange(20))
    assert np.corrcoef(told, whole[:, 11])[0, 1] > np.corrcoef(alone, whole[:, 11])[0, 1] + 0.1


def test_curves_beside_the_few_are_told_as_well():
    whole = drawn(30)
    seen = whole.copy()
    seen[:, 8:] = np.nan
    every = laws.extrapolate([seen, whole], DOUBLINGS, 11, np.arange(30))
    some = laws.extrapolate([seen, whole], DOUBLINGS, 11, np.arange(0, 30, 2))
    np.testing.assert_allclose(some, every, atol=0.15)


def test_curves_that_nobody_saw_are_as_usual():
    whole = drawn()
    seen = whole.copy()
    seen[:, 8:], seen[3] = np.nan, np.nan
    told = laws.extrapolate([seen], DOUBLINGS, 11, np.arange(20))
    assert told[3] == pytest.approx(np.delete(told, 3).mean(), abs=0.5)
