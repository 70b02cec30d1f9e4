"""Cholesky factors of matrices that rounding may have made indefinite.

Letters: G matrices of size M.
"""

from __future__ import annotations

import torch
from torch import Tensor


def root(matrix: Tensor, added: float = 0.0) -> Tensor:
    """Lower Cholesky factor [G, M, M], of the matrix with this share of its mean diagonal added.

    Rounding can make small eigenvalues negative; where it did, more is added, ten times as much at every try.
    """
    level = matrix.diagonal(dim1=-2, dim2=-1).mean(-1).abs() + 1e-9
    extra = added * level
    while True:
        found: Tensor
        found, failed = torch.linalg.cholesky_ex(matrix + torch.diag_embed(extra[..., None].expand(matrix.shape[:-1])))
        if not failed.any() or not torch.isfinite(level).all():
            return found
        extra = torch.where(failed > 0, (10 * extra).maximum(1e-9 * level), extra)


def inverse_root(matrix: Tensor) -> Tensor:
    """Inverse of the lower Cholesky factor, [G, M, M]."""
    found = root(matrix)
    eye = torch.eye(found.shape[-1], dtype=found.dtype, device=found.device)
    inverse: Tensor = torch.linalg.solve_triangular(found, eye.expand_as(found), upper=False)
    return inverse
