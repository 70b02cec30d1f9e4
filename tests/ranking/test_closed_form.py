import pytest
import torch

from synthenv.ranking import closed_form
from synthenv.ranking.closed_form import KEPT, Seen
from synthenv.ranking.related import related, squash
from tests.ranking.test_related import made, table


def seen(score, pipelines):
    """Pipelines of a task with scores [M], run to the only budget."""
    at = torch.tensor([list(pipelines)])
    told = torch.zeros(1, len(pipelines), KEPT).double()
    told[0, :, 0] = score[at[0]]
    known = torch.zeros_like(told, dtype=torch.bool)
    known[..., 0] = True
    return Seen(at, torch.zeros_like(told).long(), told, known)


def believed(others, observed, m):
    everyone = torch.arange(m)[None]
    return closed_form.ask(closed_form.fit(others, observed), everyone, torch.zeros_like(everyone))


def correlation(a, b):
    return float(torch.corrcoef(torch.stack((a.double(), b.double())))[0, 1])


@pytest.fixture
def task():
    score, common = made(5, tasks=9, pipelines=60)
    return related(table(score[1:])), score[0, :, 0].double()


def test_what_is_seen_is_believed(task):
    others, score = task
    belief = believed(others, seen(score, [3, 17, 40]), 60)
    truth = squash((score - belief.top) / belief.width)
    torch.testing.assert_close(belief.mean[0, [3, 17, 40]], truth[[3, 17, 40]], atol=0.06, rtol=0)
    assert belief.sd[0, [17, 40]].max() < 0.5 * belief.sd[0].median()


def test_more_runs_tell_more(task):
    others, score = task
    rest = torch.arange(30, 60)
    found = [correlation(believed(others, seen(score, range(n)), 60).mean[0, rest], score[rest]) for n in (1, 30)]
    assert 0.5 < found[0] < found[1] + 0.05


def test_order_of_observations_does_not_matter(task):
    others, score = task
    one, other = (believed(others, seen(score, order), 60) for order in ([3, 17, 40, 9], [40, 9, 3, 17]))
    torch.testing.assert_close(one.mean, other.mean)
    torch.testing.assert_close(one.sd, other.sd)


def test_units_of_the_task_do_not_matter_when_others_have_as_wide_ones():
    score, _ = made(6, tasks=9, pipelines=60)
    near = score * 3 + 5
    one = believed(related(table(score[1:])), seen(score[0, :, 0].double(), range(8)), 60)
    other = believed(related(table(near[1:])), seen(near[0, :, 0].double(), range(8)), 60)
    torch.testing.assert_close(one.mean, other.mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(3 * one.width, other.width, atol=1e-3, rtol=1e-3)


def test_an_unrelated_task_is_noticed():
    score, _ = made(7, tasks=9, pipelines=60, agreed=0.9)
    g = torch.Generator().manual_seed(8)
    alien = torch.randn(60, generator=g).double()
    others = related(table(score[1:]))
    slope = [
        closed_form.odds(closed_form.fit(others, seen(s, range(25))))[0, 2] for s in (score[0, :, 0].double(), alien)
    ]
    assert slope[0] > 0.8
    assert slope[1] < 0.4


def test_failed_runs_are_bad_and_nothing_else(task):
    others, score = task
    score = score.clone()
    score[17] = -torch.inf
    belief = believed(others, seen(score, [3, 17, 40]), 60)
    assert belief.mean.isfinite().all()
    assert belief.mean[0, 17] < belief.mean[0, [3, 40]].min()


def test_nothing_seen_leaves_what_others_say(task):
    others, _ = task
    nothing = seen(torch.zeros(60).double(), [0])._replace(known=torch.zeros(1, 1, KEPT, dtype=torch.bool))
    belief = believed(others, nothing, 60)
    assert correlation(belief.mean[0], others.mean[0, :, 0]) > 0.999
