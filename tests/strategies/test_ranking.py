"""Fitness shaping against hand-worked values and against the reference's own loops."""

import numpy as np
import pytest
import torch

from synthenv.strategies import ranking

FITNESS = torch.tensor([3.0, -1.0, 10.0, 2.0, 7.0])
UNPERTURBED = torch.tensor(2.5)


def test_centred_ranks():
    torch.testing.assert_close(ranking.centred_ranks(FITNESS), torch.tensor([0, -0.5, 0.5, -0.25, 0.25]).double())


def test_log_ranks_are_the_published_utilities():
    raw = np.maximum(0, np.log(5 / 2 + 1) - np.log([1, 2, 3, 4, 5]))
    best_first = raw / raw.sum()
    expected = torch.tensor(best_first[[2, 4, 0, 3, 1]])  # places of FITNESS, the best 0
    torch.testing.assert_close(ranking.log_ranks(FITNESS), expected)
    torch.testing.assert_close(ranking.centred_log_ranks(FITNESS), expected - 1 / 5)


@pytest.mark.parametrize("shape", [ranking.centred_ranks, ranking.log_ranks, ranking.centred_log_ranks])
def test_equals_share_the_places_they_span(shape):
    apart = shape(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    tied = shape(torch.tensor([4.0, 1.0, 4.0, 2.0, 5.0]))
    torch.testing.assert_close(tied, torch.stack((apart[2:4].mean(), apart[0], apart[2:4].mean(), apart[1], apart[4])))


@pytest.mark.parametrize("shape", [ranking.centred_ranks, ranking.centred_log_ranks])
def test_no_difference_no_weight(shape):
    assert shape(torch.full((7,), 500.0)).abs().max() < 1e-15
    assert shape(torch.tensor([3.0])).item() == 0


def test_what_is_not_finite_counts_as_the_worst_that_is():
    broken = torch.tensor([1.0, torch.nan, -4.0, torch.inf, -torch.inf])
    assert ranking.finite(broken).tolist() == [1, -4, -4, -4, -4]


def test_nothing_finite_is_an_error():
    with pytest.raises(ValueError, match="none among 3"):
        ranking.finite(torch.full((3,), torch.nan))


def reference(number: int, scores: np.ndarray, unperturbed: float) -> np.ndarray:
    """Score transforms 0 to 7 as their authors' loops have them, for scores without ties."""
    size, order = len(scores), np.argsort(scores)
    if number == 0:
        return (scores - scores.min()) / (scores.max() - scores.min() + 1e-9)
    out = np.zeros(size)
    if number == 1:
        for place, index in enumerate(order):
            out[index] = place / (size - 1)
        return out
    if number in (2, 3):
        for place, index in enumerate(order[::-1], 1):
            out[index] = max(0, np.log(size / 2 + 1) - np.log(place))
        out /= out.sum()
        out -= 1 / size if number == 2 else 0
        return out / out.max()
    better = scores > unperturbed
    if number in (4, 5):
        if number == 4 or better.any():
            out[order[-1]] = 1
        return out
    if not better.any():
        return out
    out = better * (scores - unperturbed) / (scores.max() - unperturbed)
    return out / (out.max() if number == 6 else out.sum())


@pytest.mark.parametrize("unperturbed", [-5.0, 2.5, 100.0])
@pytest.mark.parametrize(("number", "name"), list(enumerate(ranking.TRANSFORMS)))
def test_named_transforms_are_the_numbered_ones(number, name, unperturbed):
    found = ranking.TRANSFORMS[name](FITNESS.double(), torch.tensor(unperturbed))
    np.testing.assert_allclose(found, reference(number, FITNESS.double().numpy(), unperturbed), atol=1e-7)


def test_names_in_the_order_of_the_numbers():
    assert list(ranking.TRANSFORMS) == [
        "min_max", "linear_rank", "log_rank_centred", "log_rank",
        "best_only", "best_if_better", "better_scaled_by_max", "better_scaled_by_sum",
    ]  # fmt: skip


@pytest.mark.parametrize("fitness", [[1.0], [2.0, 2.0, 2.0]])
@pytest.mark.parametrize("name", ranking.TRANSFORMS)
def test_named_transforms_stay_in_range_without_differences(name, fitness):
    found = ranking.TRANSFORMS[name](torch.tensor(fitness).double(), torch.tensor(2.0))
    assert found.isfinite().all()
    assert found.abs().max() <= 1
