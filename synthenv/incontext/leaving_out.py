"""What a linear smoother would have said of rows had it not seen them, and the stretch of rows around them.

Rows that were logged one after the other are alike, so that leaving out one alone tells little of how well an episode
not seen yet will be foretold; leaving out a stretch does. Neither needs a second fit: with the smoother's hat matrix H,
errors e of the fit become `(I - H_bb)^-1 e_b` for rows b left out together (for one row: Allen's PRESS, 1974). For a
Gaussian process with covariance K they are `(K^-1)_bb^-1 (K^-1 y)_b` (Rasmussen, Williams 2006, section 5.4.2).

Letters: G smoothers, C context rows, Y outputs, M directions, S stretches of R rows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from synthenv.incontext.cholesky import root

STRETCHES = 8
"""So many stretches are left out in turn,"""
LONGEST = 64
"""or more, so that none is longer than this."""
SURE = 1e-9
"""Taken from the hat matrix, so that a smoother that repeats every row can be solved for."""


def stretch(count: int) -> int:
    """Rows of a stretch, if there are `count` in all."""
    return min(-(-count // STRETCHES), LONGEST)


def left_out(error: Tensor, half: Tensor) -> Tensor:
    """Errors [G, C, Y] with the stretch around each row left out, from those of the fit, `error` [G, C, Y].

    half: [G, M, C], the root of the hat matrix, `half.mT @ half`.
    """
    count, rows = error.shape[1], stretch(error.shape[1])
    rest = -count % rows
    part = functional.pad(half, (0, rest)).unflatten(-1, (-1, rows)).movedim(2, 1)  # [G, S, M, R]
    kept = (1 + SURE) * torch.eye(rows, dtype=half.dtype, device=half.device) - part.mT @ part  # [G, S, R, R]
    apart = functional.pad(error, (0, 0, 0, rest)).unflatten(1, (-1, rows))  # [G, S, R, Y]
    return torch.cholesky_solve(apart, root(kept)).flatten(1, 2)[:, :count]


def left_out_of(inverse: Tensor, weights: Tensor) -> Tensor:
    """The same errors of a Gaussian process, from the inverse covariance of its rows [G, C, C] and that times Y.

    weights: [G, C, Y].
    """
    count, rows = inverse.shape[1], stretch(inverse.shape[1])
    rest = -count % rows
    square = functional.pad(inverse, (0, rest, 0, rest)).unflatten(1, (-1, rows)).unflatten(3, (-1, rows))
    kept = square.diagonal(dim1=1, dim2=3).movedim(-1, 1).clone()  # [G, S, R, R]
    if rest:
        kept[:, -1].diagonal(dim1=1, dim2=2)[:, -rest:] = 1.0
    apart = functional.pad(weights, (0, 0, 0, rest)).unflatten(1, (-1, rows))  # [G, S, R, Y]
    return torch.cholesky_solve(apart, root(kept)).flatten(1, 2)[:, :count]
