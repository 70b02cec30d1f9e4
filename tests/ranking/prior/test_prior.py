import dataclasses

import pytest
import torch

from synthenv.ranking.prior import PriorSettings, draw
from synthenv.ranking.prior.curves import CurveSettings, draw_budgets, draw_curves
from synthenv.ranking.prior.tasks import TaskSettings, draw_pipelines, draw_qualities, functions


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(8))
def test_tables_are_finite_where_told(seed):
    made = draw(4, PriorSettings(), generator(seed))
    b, t, m, k = made.table.score.shape
    assert made.score.shape == made.seconds.shape == (b, m, k)
    assert made.score.isfinite().all()
    told = made.table.score[~made.table.score.isnan()]
    assert told.isfinite().all()
    assert (made.table.when[:, -1] == 0).all()
    assert (made.table.when.diff() > 0).all()
    assert not (made.table.values[~made.table.active] != 0).any()
    assert (~made.table.score.isnan()).flatten(2).any(-1).any(-1).all()


def test_equal_generators_make_equal_tables():
    one, other = (draw(3, PriorSettings(), generator(5)) for _ in range(2))
    torch.testing.assert_close(one, other, equal_nan=True)


def test_best_checkpoints_never_fall():
    pipelines = draw_pipelines(6, 20, 4, generator())
    when = draw_budgets(6, 7, CurveSettings(), generator(1))
    end = torch.randn(6, 3, 20, generator=generator(2))
    curves = draw_curves(end, when, pipelines, TaskSettings(), CurveSettings(), generator(3))
    assert (curves.diff(dim=-1) >= 0).all()
    last = torch.stack((curves[..., -1].flatten(), end.flatten()))
    assert torch.corrcoef(last)[0, 1] > 0.6


def agreement(settings, seed=0):
    """Mean correlation of the target with the average of the other tasks."""
    g = generator(seed)
    found = []
    for _ in range(20):
        pipelines = draw_pipelines(8, 60, 5, g)
        quality = draw_qualities(pipelines, 9, settings, g)
        for target, others in zip(quality[:, 0], quality[:, 1:].mean(1), strict=True):
            found.append(torch.corrcoef(torch.stack((target, others)))[0, 1])
    return torch.stack(found).mean()


def test_tasks_are_related_unless_they_are_not():
    related = dataclasses.replace(TaskSettings(), unrelated=0.0, apart=0.0, rivals=0.0)
    assert agreement(related) > 0.6
    assert agreement(dataclasses.replace(related, unrelated=1.0)).abs() < 0.1
    assert agreement(dataclasses.replace(related, apart=1.0)).abs() < 0.25
    assert agreement(dataclasses.replace(related, rivals=1.0)) < -0.1


def test_functions_follow_features():
    pipelines = draw_pipelines(2, 50, 3, generator())
    twice = pipelines._replace(values=pipelines.values[:, :1].expand(-1, 50, -1).contiguous())
    settings = dataclasses.replace(TaskSettings(), own=0.0)
    drawn = functions(twice, 4, settings, generator(1))
    assert drawn.std(-1).max() < 1e-3  # equal pipelines, equal values
    assert functions(pipelines, 4, settings, generator(1)).std() > 0.9
