"""Pipelines run along a list, to their ends or halted on the way: what rankers are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from synthenv.ranking.checks import Floats
from synthenv.ranking.evaluate import Case
from synthenv.ranking.past import checkpoints, failures


def reading(steps: Sequence[tuple[float, float]]) -> Callable[[float], float]:
    """The regret at a budget, of steps (spent, regret)."""
    spent, regret = (np.array(column) for column in zip(*steps, strict=True))
    return lambda budget: float(regret[max(int(np.searchsorted(spent, budget + 1e-9)) - 1, 0)])


def averaged(curves: Sequence[Callable[[float], float]]) -> Callable[[float], float]:
    """The mean of several."""
    return lambda budget: float(np.mean([curve(budget) for curve in curves]))


def halving(
    case: Case,
    order: Sequence[int],
    total: float,
    width: int = 9,
    factor: int = 3,
    rungs: int = 3,
    cost: Floats | None = None,
) -> list[tuple[float, float]]:
    """Successive halving in brackets of `width` pipelines along an order; one rung runs each to its end.

    cost: [M, K] of getting to a budget from the one before, by default 1.
    """
    grid = case.own.grid()
    best, _ = checkpoints(grid.score, failures(case.own))
    cost = np.ones_like(best[0]) if cost is None else cost
    curve, last = best[0], len(grid.budgets)
    spent, found, steps, begun = 0.0, -math.inf, [], 0
    while spent < total and begun < len(order):
        alive, at = list(order[begun : begun + (width if rungs > 1 else 1)]), 0
        begun += len(alive)
        for rung in range(rungs):
            upto = max(round(last / factor ** (rungs - 1 - rung)), 1)
            for m in alive:
                for k in range(at, upto):
                    spent += float(cost[m, k])
                    found = np.fmax(found, curve[m, k])
                    steps.append((spent, float(case.regret(found))))
            at = upto
            alive = sorted(alive, key=lambda m: -np.nan_to_num(curve[m, at - 1], nan=-1e300))[
                : max(len(alive) // factor, 1)
            ]
    return steps


def hyperband(case: Case, order: Sequence[int], total: float, cost: Floats | None = None) -> list[tuple[float, float]]:
    """Hyperband (Li et al. 2018), factor 3: brackets of 27, 9, 3 and 1 pipelines one after the other."""
    steps: list[tuple[float, float]] = []
    begun = 0
    while begun < len(order) and (steps[-1][0] if steps else 0.0) < total:
        for rungs, width in ((4, 27), (3, 9), (2, 3), (1, 1)):
            part = halving(case, order[begun : begun + width], math.inf, width, rungs=rungs, cost=cost)
            before, low = steps[-1] if steps else (0.0, math.inf)
            steps += [(before + at, min(low, regret)) for at, regret in part]
            begun += width
    return steps
