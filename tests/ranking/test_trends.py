"""Lines, means of curves with holes, jumps, and the Gaussian process over curves of many tasks."""

import numpy as np
import pytest
import torch

from synthenv.ranking import trends
from synthenv.ranking.trends import Cells, covariance, local_line, mean_curve, without_jumps

DOUBLINGS = np.arange(9.0)


def lines(count=24, seed=0):
    """Slopes [M] and lines [M, 9], a little noisy."""
    generator = np.random.default_rng(seed)
    level, slope = generator.normal(0, 0.2, (count, 1)), -0.2 + 0.05 * generator.normal(size=(count, 1))
    return slope[:, 0], level + slope * DOUBLINGS + 0.002 * generator.normal(size=(count, 9))


def test_a_line_goes_through_the_last_points_of_each():
    _, curves = lines()
    curves[:, 6:] = np.nan
    curves[0, 4:], curves[1, 1:] = np.nan, np.nan
    told = local_line(curves, DOUBLINGS, 8)
    for m, last in ((0, 3), (5, 5)):
        slope, level = np.polyfit(DOUBLINGS[last - 2 : last + 1], curves[m, last - 2 : last + 1], 1)
        assert told[m] == pytest.approx(level + 8 * slope)
    assert np.isnan(told[1])


def test_curves_that_end_early_do_not_bend_the_mean():
    curves = np.array([[10.0, 9.0, 8.0], [2.0, 1.0, np.nan]])
    np.testing.assert_allclose(mean_curve(curves), [6.0, 5.0, 4.0])
    assert np.isnan(mean_curve(np.full((2, 3), np.nan))).all()


def test_jumps_become_levels_and_ends_stay():
    _, curves = lines()
    clean = curves.copy()
    curves[3, 4:] -= 2.0
    calm = without_jumps(curves)
    np.testing.assert_allclose(calm[:, -1], curves[:, -1])
    assert np.abs(np.diff(calm[3])).max() < 0.5
    np.testing.assert_allclose(np.delete(calm, 3, 0), np.delete(clean, 3, 0), atol=0.05)
    np.testing.assert_array_equal(without_jumps(curves[:5]), curves[:5])  # too few to say what is usual


def test_covariance_is_one():
    theta = torch.tensor(trends.START, dtype=torch.float64)
    cells = Cells(torch.tensor(DOUBLINGS).repeat(3), torch.arange(3).repeat_interleave(9))
    whole = covariance(theta, cells, cells)
    torch.testing.assert_close(whole, whole.mT)
    assert torch.linalg.eigvalsh(whole).min() > -1e-9


def test_lines_are_carried_on_with_a_doubt_that_grows():
    _, curves = lines()
    near, far = curves.copy(), curves.copy()
    near[:, 7:], far[:, 4:] = np.nan, np.nan
    told, doubt = trends.extrapolate([near], DOUBLINGS, 8, np.arange(24))
    _, more = trends.extrapolate([far], DOUBLINGS, 8, np.arange(24))
    assert np.abs(told - curves[:, 8]).mean() < 0.02
    assert doubt.mean() < more.mean()


def test_slopes_of_other_tasks_help_where_few_points_were_seen():
    slope, curves = lines()
    generator = np.random.default_rng(1)
    other = 1 + slope[:, None] * DOUBLINGS + 0.02 * generator.normal(size=curves.shape)
    seen = curves + 0.02 * generator.normal(size=curves.shape)
    seen[:, 2:] = np.nan
    alone, _ = trends.extrapolate([seen], DOUBLINGS, 8, np.arange(24))
    told, _ = trends.extrapolate([seen, other], DOUBLINGS, 8, np.arange(24))
    assert np.abs(told - curves[:, 8]).mean() < np.abs(alone - curves[:, 8]).mean()


def test_what_was_not_seen_is_told_by_other_tasks():
    _, curves = lines()
    seen = curves.copy()
    seen[:, 6:], seen[::4] = np.nan, np.nan
    told, doubt = trends.extrapolate([seen, curves + 0.3], DOUBLINGS, 8, np.arange(24))
    assert np.corrcoef(told[::4], curves[::4, 8])[0, 1] > 0.8
    assert doubt[::4].mean() > np.delete(doubt, np.arange(0, 24, 4)).mean()
