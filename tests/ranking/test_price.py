import torch

from synthenv.ranking.price import price, quote
from synthenv.ranking.related import LANDMARKS


def logs(tasks=4, pipelines=12, budgets=5):
    """Costs that are a level of the task, a size of the pipeline, and a law of the budget."""
    g = torch.Generator().manual_seed(0)
    when = torch.linspace(-2, 0, budgets).double()
    level, size = torch.randn(tasks, 1, 1, generator=g).double(), torch.randn(1, pipelines, 1, generator=g).double()
    return (3 + level + size + 0.9 * when)[None], when[None], size[0, :, 0]


def asked(told, observed, at, own, m=12, k=4):
    everyone = torch.arange(m)[None]
    return quote(told, everyone, torch.full_like(everyone, k), torch.tensor([observed]), torch.tensor([at]), own)


def test_sizes_are_found_and_one_run_tells_the_level():
    cost, when, size = logs()
    told = price(cost[:, 1:], when, torch.zeros(1, 12, LANDMARKS).double())
    torch.testing.assert_close(told.size[0] - told.size[0].mean(), size - size.mean(), atol=1e-6, rtol=0)
    before = asked(told, [0], [4], torch.tensor([[torch.nan]]).double())
    after = asked(told, [3], [1], cost[:, 0, 3, 1][None])
    truth = cost[0, 0, :, -1]
    assert (after.mean[0] - truth).abs().max() < 0.1 < (before.mean[0] - truth).abs().max()
    assert (after.sd < before.sd).all()


def test_unknown_costs_are_unknown():
    cost, when, _ = logs()
    told = price(torch.full_like(cost, torch.nan), when, torch.zeros(1, 12, LANDMARKS).double())
    assert not told.known.any()
    assert asked(told, [0], [4], torch.tensor([[torch.nan]]).double()).mean.isfinite().all()


def test_gaps_do_not_harm():
    cost, when, size = logs()
    cost = cost.clone()
    cost[0, 1, 5:, 2:] = torch.nan
    cost[0, 2, :4] = torch.nan
    told = price(cost, when, torch.zeros(1, 12, LANDMARKS).double())
    torch.testing.assert_close(told.size[0] - told.size[0].mean(), size - size.mean(), atol=0.2, rtol=0)
