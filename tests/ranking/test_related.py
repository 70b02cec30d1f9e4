import torch

from synthenv.ranking.related import LOW, LOWEST, Table, related, squash, units, unsquash


def table(score, values=None):
    """A table of scores [T, M, K]."""
    score = score.double()[None]
    m, k = score.shape[2:]
    values = torch.zeros(1, m, 0).double() if values is None else values.double()[None]
    when = torch.linspace(-2, 0, k).double()[None] if k > 1 else torch.zeros(1, 1).double()
    return Table(score, torch.full_like(score, torch.nan), when, values, torch.ones_like(values, dtype=torch.bool))


def made(seed=0, tasks=6, pipelines=40, agreed=0.8):
    """Tasks that agree on part of the quality of pipelines, and that part."""
    g = torch.Generator().manual_seed(seed)
    common = torch.randn(pipelines, generator=g)
    own = torch.randn(tasks, pipelines, generator=g)
    return (agreed**0.5 * common + (1 - agreed) ** 0.5 * own)[..., None], common


def test_squash_keeps_order_and_has_an_inverse():
    z = torch.linspace(-1.7, 2, 200)
    assert (squash(z).diff() > 0).all()
    torch.testing.assert_close(unsquash(squash(z)), z, atol=1e-4, rtol=1e-4)
    assert squash(torch.tensor(-torch.inf)) == LOWEST < LOW


def test_units_are_best_and_distance_from_the_median():
    score = torch.tensor([[1.0, 3.0, 7.0], [torch.nan, 2.0, 2.5]])[None, ..., None]
    found = units(score)
    torch.testing.assert_close(found.best, torch.tensor([[7.0, 2.5]]))
    torch.testing.assert_close(found.spread[0, 0], torch.tensor(4.0))
    assert found.known.all()
    assert not units(torch.full((1, 2, 3, 1), torch.nan)).known.any()


def test_average_finds_what_tasks_agree_on():
    score, common = made()
    told = related(table(score))
    assert torch.corrcoef(torch.stack((told.mean[0, :, 0].float(), common)))[0, 1] > 0.9
    assert told.agreement > 0.7
    unrelated, _ = made(1, agreed=0.0)
    assert related(table(unrelated)).agreement < 0.4


def test_scale_and_offset_of_tasks_do_not_matter():
    score, _ = made(2)
    score = score.double()
    moved = score * torch.linspace(0.1, 5, 6)[:, None, None] + torch.linspace(-9, 9, 6)[:, None, None]
    one, other = related(table(score)), related(table(moved))
    for name in ("mean", "variance", "rank", "peak", "along", "agreement"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-6, rtol=1e-6)


def test_directions_are_the_covariance_of_few_tasks():
    score, _ = made(3, tasks=5)
    told = related(table(score))
    directions = told.directions[0, :, 0]
    unit = (score - score.amax(1, keepdim=True)) / (score.amax(1, keepdim=True) - score.median(1, keepdim=True).values)
    apart = squash(unit.double())[..., 0]
    apart = (apart - apart.mean(0)) * (5 / 4) ** 0.5
    # the median of an even number is the mean of the middle two or the lower one; the units differ a little
    both = torch.stack(((directions @ directions.T).flatten(), (apart.T @ apart).flatten()))
    assert torch.corrcoef(both)[0, 1] > 0.99


def test_a_pipeline_nobody_ran_is_told_by_its_features():
    g = torch.Generator().manual_seed(4)
    values = torch.rand(60, 3, generator=g) * 3.4 - 1.7
    score = (-(values[:, 0] ** 2) + 0.1 * torch.randn(5, 60, generator=g))[..., None]
    hidden = score.clone()
    hidden[:, 45:] = torch.nan
    told = related(table(hidden, values))
    new = told.mean[0, 45:, 0].float()
    assert torch.corrcoef(torch.stack((new, score[:, 45:, 0].mean(0))))[0, 1] > 0.7
    assert (told.doubt[0, 45:] > told.doubt[0, :45].max()).all()
    assert told.foretold > 0.5


def test_missing_ends_go_on_as_curves_do():
    steps = torch.tensor([0.2, 0.6, 0.8, 1.0])
    score = torch.linspace(0.5, 1.5, 10)[None, :, None] * steps * torch.ones(3, 1, 1)
    cut = score.clone()
    cut[0, 2, 2:] = torch.nan
    whole, guessed = related(table(score)), related(table(cut))
    assert guessed.mean.isfinite().all()
    assert (whole.mean - guessed.mean).abs().max() < 0.15
