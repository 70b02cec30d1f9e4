"""The ICLR 2022 strategy against a slow retelling of its master process."""

import pytest
import torch

from synthenv.strategies import named
from synthenv.strategies.ranking import TRANSFORMS

SIZE = 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def score(candidates):
    return candidates[:, 0] - candidates[:, 1].square()


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_best_of_pair(transform, divided):
    strategy = named("nes", sigma=0.1, step=0.5, transform=transform, divided=divided)
    state = strategy.init(torch.linspace(-1, 1, SIZE, dtype=torch.float64))
    candidates = strategy.ask(state, seeded(), 9)
    after = strategy.tell(state, candidates, score(candidates))

    kept, scores = [], []  # one worker a pair keeps the better sign and its score
    for worker in range(4):
        plus, minus = candidates[worker], candidates[worker + 4]
        torch.testing.assert_close(plus - state["mean"], state["mean"] - minus)
        best = max((plus, minus), key=lambda candidate: score(candidate[None]).item())
        kept.append(best - state["mean"])
        scores.append(score(best[None]).item())
    assert torch.equal(candidates[8], state["mean"])
    weight = TRANSFORMS[transform](torch.tensor(scores).double(), score(state["mean"][None])[0])
    step = 0.5 / 4 if divided else 0.5
    moved = sum(step * weight[worker] * kept[worker] for worker in range(4))
    torch.testing.assert_close(after["mean"], state["mean"] + moved)
    assert weight.any(), "a step of zero would compare nothing"
    assert torch.equal(after["sigma"], state["sigma"])


@pytest.mark.parametrize(
    ("transform", "mirrored", "population", "means"),
    [
        ("log_rank", True, 8, 0),
        ("log_rank", True, 9, 1),
        ("log_rank", False, 9, 0),
        ("best_if_better", True, 8, 2),
        ("best_if_better", True, 9, 1),
        ("better_scaled_by_max", False, 8, 1),
    ],
)
def test_places_left_over_hold_the_mean(transform, mirrored, population, means):
    strategy = named("nes", transform=transform, mirrored=mirrored)
    state = strategy.init(torch.ones(SIZE))
    candidates = strategy.ask(state, seeded(), population)
    assert len(candidates) == population
    assert (candidates == state["mean"]).all(1).sum().item() == means
    assert len(candidates.unique(dim=0)) == population - max(means - 1, 0)


def test_without_mirroring_every_candidate_pulls():
    strategy = named("nes", sigma=0.1, step=0.5, transform="linear_rank", mirrored=False)
    state = strategy.init(torch.zeros(SIZE, dtype=torch.float64))
    candidates = strategy.ask(state, seeded(), 5)
    after = strategy.tell(state, candidates, torch.tensor([4.0, 0.0, 3.0, 1.0, 2.0]))
    rank = torch.tensor([1.0, 0.0, 0.75, 0.25, 0.5]).double()
    torch.testing.assert_close(after["mean"], 0.5 * rank @ candidates)


@pytest.mark.parametrize("transform", ["best_if_better", "better_scaled_by_max", "better_scaled_by_sum"])
def test_stays_when_nothing_beats_the_mean(transform):
    strategy = named("nes", transform=transform)
    state = strategy.init(torch.zeros(SIZE))
    candidates = strategy.ask(state, seeded(), 9)
    worse = strategy.tell(state, candidates, -candidates.square().sum(1))
    better = strategy.tell(state, candidates, candidates.square().sum(1) + candidates[:, 0])
    assert torch.equal(worse["mean"], state["mean"])
    assert not torch.equal(better["mean"], state["mean"])


def test_a_pair_that_ties_points_nowhere():
    strategy = named("nes", transform="best_only", step=1.0)
    state = strategy.init(torch.zeros(SIZE))
    candidates = strategy.ask(state, seeded(), 6)
    after = strategy.tell(state, candidates, torch.tensor([9.0, 1.0, 0.0, 9.0, 2.0, 0.0]))
    torch.testing.assert_close(after["mean"], candidates[4])
