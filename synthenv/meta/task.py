"""What "good" means to a search: a task scores candidates, an executor decides where.

Candidates are scored in chunks of a fixed size with the same random numbers in each, so neither the number of
processes nor who finishes first can change a result.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Score(NamedTuple):
    """What a generation of candidates was worth, and cost.

    fitness: [P], higher is better.
    real_steps: steps of the real task spent.
    cpu_seconds: of all processes that took part.
    """

    fitness: Tensor
    real_steps: int
    cpu_seconds: float


class Task(Protocol):
    """Fitness of candidates; everything it needs travels with it to another process."""

    @property
    def chunk(self) -> int:
        """Candidates scored together."""

    def fitness(self, candidates: Tensor, generation: int) -> tuple[Tensor, int]:
        """candidates [P, D] -> fitness [P] and real steps spent. All randomness follows from `generation`."""


class Executor(Protocol):
    """Somewhere to score candidates."""

    def score(self, task: Task, candidates: Tensor, generation: int) -> Score:
        """All candidates [P, D], in chunks of `task.chunk`, in order."""


class InProcess:
    """Chunks one after the other, here."""

    def score(self, task: Task, candidates: Tensor, generation: int) -> Score:
        """All candidates [P, D]."""
        return _join([_timed(task, rows, generation) for rows in candidates.split(task.chunk)])


class Processes:
    """Chunks over a pool of processes, one thread each: two threads of one small network spin against each other."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool

    def score(self, task: Task, candidates: Tensor, generation: int) -> Score:
        """All candidates [P, D]; one chunk alone is not worth sending away."""
        chunks = candidates.split(task.chunk)
        if len(chunks) == 1:
            return InProcess().score(task, candidates, generation)
        return _join(list(self.pool.map(_timed, *zip(*((task, rows, generation) for rows in chunks), strict=True))))


@contextmanager
def executor(workers: int) -> Iterator[Executor]:
    """An executor with that many processes beside this one; 1 means here."""
    if workers == 1:
        yield InProcess()
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_enlist) as pool:
        yield Processes(pool)


def _enlist() -> None:
    """One thread, and no life after the parent's: a killed run should leave no process behind."""
    torch.set_num_threads(1)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _timed(task: Task, candidates: Tensor, generation: int) -> Score:
    start = time.process_time()
    fitness, real_steps = task.fitness(candidates, generation)
    return Score(fitness, real_steps, time.process_time() - start)


def _join(scores: list[Score]) -> Score:
    fitness, real_steps, cpu_seconds = zip(*scores, strict=True)
    return Score(torch.cat(fitness), sum(real_steps), sum(cpu_seconds))
