"""What the nearest rows of the context did: the regressor for switches, grids and other things without slopes.

Letters: B tasks, C context rows, Q queries, D inputs, Y outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from synthenv.incontext.closed_form import Scaling, scaling
from synthenv.incontext.leaving_out import stretch

MOST = 4
"""Neighbours asked."""
AT_ONCE = 2048
"""Rows compared with the context at a time: what memory it takes grows with the context, not with its square."""


class Neighbours(NamedTuple):
    """Rows to compare with, of B tasks."""

    inputs: Scaling
    rows: Tensor
    """[B, D, C], standardised."""
    squares: Tensor
    """[B, 1, C], their squared lengths."""
    outputs: Tensor
    """[B, C, Y]"""
    noise: Tensor
    """[B, 1, Y] root mean square of the leave-one-out errors."""
    residual: Tensor
    """[B, C, Y]"""
    apart: Tensor
    """[B, C, Y]"""

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, Q, Y] at x [B, Q, D]."""
        parts = self.inputs(x.double()).split(AT_ONCE, 1)
        mean = torch.cat([_asked(_squares(part, self.rows, self.squares), self.outputs) for part in parts], 1)
        return mean, self.noise.expand_as(mean)


def neighbours(x: Tensor, y: Tensor) -> Neighbours:
    """Remember x [B, C, D] and y [B, C, Y]."""
    x, y = x.double(), y.double()
    inputs = scaling(x)
    rows = inputs(x).mT.contiguous()
    lengths = rows.square().sum(1, keepdim=True)
    place, size = torch.arange(x.shape[1], device=x.device), stretch(x.shape[1])
    alone, around = [], []
    for asking, some in zip(rows.mT.split(AT_ONCE, 1), place.split(AT_ONCE), strict=True):
        squares = _squares(asking, rows, lengths)
        alone.append(_asked(squares.masked_fill_(some[:, None] == place, torch.inf), y))
        around.append(_asked(squares.masked_fill_(some[:, None] // size == place // size, torch.inf), y))
    residual, apart = (y - torch.cat(said, 1) for said in (alone, around))
    return Neighbours(inputs, rows, lengths, y, residual.square().mean(1, keepdim=True).sqrt(), residual, apart)


def _squares(x: Tensor, z: Tensor, lengths: Tensor) -> Tensor:
    """Squared distances [B, N, M] of x [B, N, D] and z [B, D, M], whose squared lengths [B, 1, M] are known."""
    return torch.baddbmm(x.square().sum(-1, keepdim=True) + lengths, x, z, alpha=-2).clamp_(min=0)


def _asked(squares: Tensor, outputs: Tensor) -> Tensor:
    """Outputs [B, M, Y] of the nearest, weighted by their inverse squared distances [B, N, M]: [B, N, Y]."""
    near, index = squares.topk(min(MOST, squares.shape[-1]), -1, largest=False)  # [B, N, K]
    weight = 1 / (near + 1e-6)  # of rows that are not to be asked 0
    weight = weight / weight.sum(-1, keepdim=True).clamp(min=1e-300)
    said = outputs.gather(1, index.flatten(1)[..., None].expand(-1, -1, outputs.shape[-1]))  # [B, N*K, Y]
    mean: Tensor = (weight[..., None] * said.unflatten(1, index.shape[1:])).sum(2)
    return mean
