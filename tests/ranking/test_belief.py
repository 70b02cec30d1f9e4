"""Conditioning agrees with the textbook's Gaussian process, and offset and spread are found."""

from dataclasses import replace

import numpy as np
import pytest

from synthenv.ranking.belief import NUGGET, Places, Prior, Sightings, condition, unseen

BUDGETS = np.array([1.0, 2.0, 4.0])


@pytest.fixture
def prior():
    generator = np.random.default_rng(0)
    root = generator.normal(size=(3, 3))
    return Prior(
        mean=generator.normal(size=(6, 3)) * 0.3, curves=generator.normal(size=(6, 3, 2)) * 0.4,
        still=generator.normal(size=(6, 2)) * 0.3, load=np.array([0.3, 0.7, 1.0]), common=np.zeros((3, 1)),
        residual=root @ root.T / 3 + 0.1 * np.eye(3), scale=generator.uniform(0.1, 0.3, 6), knee=np.full(3, -9.0),
    )  # fmt: skip


def covariance(prior, a, b):
    """Of cells a [n] and b [m], by hand."""
    (_, left), (_, right) = prior.at(a), prior.at(b)
    same = a.pipeline[:, None] == b.pipeline
    own = a.weights(3) @ prior.residual @ b.weights(3).T * prior.scale[a.pipeline][:, None]
    return left @ right.T + same * own


def test_is_the_textbook_process_for_each_offset_and_spread(prior):
    seen = Places.at([0, 0, 3, 5], [1.0, 3.0, 4.0, 2.0], BUDGETS)
    target = Places.at(np.arange(6), np.full(6, 4.0), BUDGETS)
    score = np.array([10.0, 12.0, 11.0, 9.0])
    belief = condition(prior, Sightings.of(seen, score, 3), target)
    inner = covariance(prior, seen, seen) + NUGGET * np.eye(4)
    cross = covariance(prior, target, seen)
    mean_seen, mean = prior.at(seen)[0], prior.at(target)[0]
    for g in (0, 5, 20):
        z = (score - belief.offset[g]) / belief.spread[g]
        np.testing.assert_allclose(belief.mean[g], mean + cross @ np.linalg.solve(inner, z - mean_seen), rtol=1e-8)
    left = np.diag(covariance(prior, target, target) - cross @ np.linalg.solve(inner, cross.T))
    np.testing.assert_allclose(belief.sd, np.sqrt(np.maximum(left, NUGGET)), rtol=1e-8)
    z = (score - belief.offset[:2, None]) / belief.spread[:2, None] - mean_seen
    logs = [-0.5 * row @ np.linalg.solve(inner, row) for row in z] - 3 * np.log(belief.spread[:2])
    assert np.log(belief.weight[1] / belief.weight[0]) == pytest.approx(logs[1] - logs[0])


def test_places_between_budgets_are_between_by_logarithm():
    places = Places.at([0, 0, 0, 0], [0.5, np.sqrt(2.0), 3.0, 9.0], BUDGETS)
    array = np.array([[0.0, 1.0, 2.0]])
    np.testing.assert_allclose(places.of(array), [0.0, 0.5, 1 + np.log(1.5) / np.log(2), 2.0])
    np.testing.assert_allclose(places.weights(3) @ array[0], places.of(array))


def test_offset_and_spread_are_found(prior):
    truth = prior.mean[:, 2]
    seen = Places.at(np.arange(6), np.full(6, 4.0), BUDGETS)
    belief = condition(prior, Sightings.of(seen, 50 + 20 * truth, 3), seen)
    assert 5 < belief.weight @ belief.spread < 80
    scores = belief.weight @ (belief.offset[:, None] + belief.spread[:, None] * belief.mean)
    np.testing.assert_allclose(scores, 50 + 20 * truth, atol=1.0)


def test_long_curves_are_thinned_to_their_end(prior):
    budgets = np.arange(1.0, 31.0)
    seen = Places.at(np.zeros(30, int), budgets, budgets)
    sightings = Sightings.of(seen, budgets.copy(), 30)
    assert sightings.real.all()
    kept = sightings.score[sightings.blocks[0]]
    assert kept.max() == 30
    assert kept.min() == 1
    assert len(set(kept)) == len(kept) == 4


def test_one_score_tells_no_spread_and_breaks_nothing(prior):
    target = Places.at(np.arange(6), np.full(6, 4.0), BUDGETS)
    for score in (0.0, 5.0, -1e12, 1e-9):
        belief = condition(prior, Sightings.of(target.take(np.array([2])), np.array([score]), 3), target)
        assert np.isfinite(belief.mean).all()
        assert (belief.spread > 0).all()


def test_before_anything_is_seen_the_prior_stands(prior):
    target = Places.at(np.arange(6), np.full(6, 4.0), BUDGETS)
    belief = unseen(prior, target)
    np.testing.assert_allclose(belief.mean[0], prior.mean[:, 2])
    np.testing.assert_allclose(belief.sd**2, np.diag(covariance(prior, target, target)))


def many(spread, own, count=300, seed=0):
    """A prior over settings alone with little of its own, scores [M] of all pipelines, and which were seen."""
    generator = np.random.default_rng(seed)
    still = generator.normal(size=(count, 3)) * 0.5
    truth = still @ generator.normal(size=3) + own * generator.normal(size=count)
    prior = Prior(
        mean=np.zeros((count, 1)), curves=np.zeros((count, 1, 0)), still=still, load=np.ones(1),
        common=np.zeros((1, 1)), residual=np.ones((1, 1)), scale=np.full(count, own**2), knee=np.full(1, -0.5),
    )  # fmt: skip
    return prior, 50 + spread * truth, np.arange(0, count, 2)


def test_many_runs_tell_offset_and_spread_finely():
    prior, score, ran = many(spread=3.0, own=0.02)
    cells = Places.at(np.arange(300), np.ones(300), np.ones(1))
    belief = condition(prior, Sightings.of(cells.take(ran), score[ran], 1), cells)
    told = belief.weight @ (belief.offset[:, None] + belief.spread[:, None] * belief.mean)
    above = np.setdiff1d(np.flatnonzero(belief.weight @ belief.mean > -0.4), ran)
    assert np.abs(told - score)[above].mean() < 0.08


def test_settings_tell_unseen_scores_beside_a_part_that_all_share():
    prior, score, ran = many(spread=20.0, own=0.05, seed=1)
    prior = replace(prior, still=np.concatenate((prior.still * [0.3, 0.1, 0.1], np.ones((300, 1))), 1))
    cells = Places.at(np.arange(300), np.ones(300), np.ones(1))
    belief = condition(prior, Sightings.of(cells.take(ran), score[ran], 1), cells)
    unseen_ones = np.setdiff1d(np.arange(300), ran)
    assert np.corrcoef((belief.weight @ belief.mean)[unseen_ones], score[unseen_ones])[0, 1] > 0.8
