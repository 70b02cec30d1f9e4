"""Who scores a candidate, with how many others, and who finishes first changes nothing."""

import os

import pytest
import torch

from synthenv.meta.task import executor
from tests.meta.toys import Bowl, Busy, Fragile, Late, Whereabouts


@pytest.fixture(scope="module")
def pool():
    """Started where torch would like two threads."""
    with pytest.MonkeyPatch.context() as patch, executor(2) as processes:
        patch.setenv("OMP_NUM_THREADS", "2")
        yield processes


@pytest.fixture(params=["here", "processes"])
def where(request, pool):
    if request.param == "processes":
        return pool
    with executor(1) as here:
        return here


def candidates(population: int = 9) -> torch.Tensor:
    """[P, 2], counted from 0."""
    return torch.arange(2.0 * population).reshape(population, 2) / 2


@pytest.mark.parametrize("chunk", [1, 2, 4, 9, 50])
def test_chunks_change_no_result_and_keep_the_order(where, chunk):
    expected, real_steps = Bowl().fitness(candidates(), generation=3)
    score = where.score(Bowl(chunk), candidates(), 3)
    assert torch.equal(score.fitness, expected)
    assert score.real_steps == real_steps == 90
    assert not torch.equal(where.score(Bowl(chunk), candidates(), 4).fitness, expected)


def test_processes_work_elsewhere_on_one_thread_each(pool):
    score = pool.score(Whereabouts(chunk=2), candidates(), 0)
    assert os.getpid() not in score.fitness
    assert 1 <= len(score.fitness.unique()) <= 2
    assert score.real_steps == 5, "chunks times threads"


def test_one_chunk_is_not_sent_away(pool):
    assert set(pool.score(Whereabouts(chunk=9), candidates(), 0).fitness.tolist()) == {os.getpid()}


def test_the_slowest_chunk_keeps_its_place(pool):
    """It comes first, so the others overtake it in the second process."""
    assert torch.equal(pool.score(Late(), candidates(), 0).fitness, candidates()[:, 0])


def test_time_is_counted_wherever_it_is_spent(where):
    score = where.score(Busy(chunk=3), candidates(), 0)
    assert 0.3 <= score.cpu_seconds < 2


def test_a_failure_is_passed_on_and_breaks_nothing(where):
    with pytest.raises(RuntimeError, match="candidate 3 fell over"):
        where.score(Fragile(), candidates(), 0)
    assert where.score(Fragile(), candidates(3), 0).fitness.tolist() == [0, 1, 2]
