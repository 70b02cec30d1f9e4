"""Which of the tasks that were drawn are worth learning from: neither dull nor hopeless.

A linear regression and a smooth one (a Gaussian process with fixed length-scales) are fitted to a few rows of every
task at once and measured on others. Where nothing moves there is nothing to learn; where a line says it all there is
little; where a smooth fit says nothing the task is noise.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from synthenv.incontext.prior.dice import Dice

ROWS = 48
"""Rows to fit, and as many to measure on."""
RIDGE = (1e-6, 1e-3)
"""Penalties of the linear and of the smooth regression."""


class Verdict(NamedTuple):
    """Share of the change that is left [B], by a line and by a smooth fit; moves [B] bool, anything changes at all."""

    line: Tensor
    smooth: Tensor
    moves: Tensor


def judge(x: Tensor, change: Tensor) -> Verdict:
    """For inputs x [B, 2 * M, D] and changes [B, 2 * M, Y]: fit on the first half, measure on the second."""
    x = _standardised(x)
    size = change.square().mean(1, keepdim=True).sqrt()
    varies = size[:, 0] > 1e-7  # [B, Y]
    change = change / size.clamp(min=1e-7)
    half = x.shape[1] // 2
    live = (x.abs().amax(1) > 0).sum(-1).clamp(min=1)[:, None, None]
    inner = torch.bmm(x, x[:, :half].mT)  # [B, 2 M, M]
    square = x.square().sum(-1) / 2
    near = (inner - square[:, :, None]).sub_(square[:, None, :half]).div_(live)  # half the squared distance, negative
    smooth = near.clamp_(min=-20).exp_().addcdiv_(inner.add_(1), live)  # smaller ones would be denormal, and slow
    largest = 2 * square[:, :half].amax(1)[:, None, None] + 1  # of the line as a kernel, 1 + inner
    line, seen, rest = functional.pad(x, (0, 1), value=1.0), change[:, :half], change[:, half:]
    fit = line[:, :half]
    by_line = _solved(torch.bmm(fit.mT, fit), torch.bmm(fit.mT, seen), RIDGE[0] * largest)
    by_kernel = _solved(smooth[:, :half], seen, RIDGE[1] * (largest / live + 1))
    return Verdict(
        _left(torch.bmm(line[:, half:], by_line), rest, varies),
        _left(torch.bmm(smooth[:, half:], by_kernel), rest, varies),
        varies.any(-1),
    )


def choose(
    dice: Dice, verdict: Verdict, wanted: int, sound: Tensor, easy: float, easy_kept: float, unpredictable: float
) -> Tensor:
    """`wanted` of the tasks in random order, [wanted]: sound [B] and predictable ones first, easy ones now and then."""
    tasks = len(sound)
    hopeless = verdict.smooth > unpredictable
    dull = (verdict.line < easy) & ~dice.chance(easy_kept, tasks)
    worth = 8.0 * (~sound | ~verdict.moves) + 4.0 * hopeless + 2.0 * dull + dice.uniform(0, 1, tasks)
    chosen = worth.argsort()[:wanted]
    return chosen[dice.uniform(0, 1, wanted).argsort()]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [B, 1, D] of x [B, R, D], as products: torch's reductions take ten times as long."""
    share = torch.full((len(x), 1, x.shape[1]), 1 / x.shape[1], device=x.device)
    centre = torch.bmm(share, x)
    return centre, torch.bmm(share, (x - centre).square_()).sqrt_()


def _standardised(x: Tensor) -> Tensor:
    centre, spread = moments(x)
    return torch.where(spread > 1e-6 * (centre.abs() + 1e-6), (x - centre) / spread, torch.zeros_like(x))


def _solved(gram: Tensor, told: Tensor, penalty: Tensor) -> Tensor:
    """Weights of a ridge regression [B, K, Y], of its equations gram [B, K, K], told [B, K, Y], penalty [B, 1, 1]."""
    factor, _ = torch.linalg.cholesky_ex(gram + penalty * torch.eye(gram.shape[1], device=gram.device))
    return torch.cholesky_solve(told, factor)


def _left(guess: Tensor, rest: Tensor, varies: Tensor) -> Tensor:
    """Mean over outputs of the squared error of a guess at the rest [B, M, Y], as a share of its square: [B]."""
    share = (rest - guess).square().mean(1) / rest.square().mean(1).clamp(min=1e-12)
    share = share.nan_to_num(1.0, 1.0, 1.0).clamp(max=1.0)
    return (share * varies).sum(-1) / varies.sum(-1).clamp(min=1)
