"""What the nearest rows did, however many rows are compared at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from synthenv.incontext import neighbours as room
from synthenv.incontext.neighbours import neighbours

B, C, Q = 2, 50, 30


def rows(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs [B, C, 3], some of them alike, and outputs [B, C, 2]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((B, count, 3), generator=generator)
    x[:, ::3] = x[:, ::3].round()
    return x, torch.stack((x.sum(-1), x[..., 0]), -1)


def test_says_what_was_seen_where_it_was_seen() -> None:
    x, y = rows(C)
    mean, _ = neighbours(x[:, 1::3], y[:, 1::3]).predict(x[:, 1::3])
    torch.testing.assert_close(mean.float(), y[:, 1::3], rtol=0, atol=1e-3)


def test_rows_are_compared_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which changes nothing but the memory it takes."""
    (x, y), (asked, _) = rows(C), rows(Q, 1)
    whole = neighbours(x, y)
    said = whole.predict(asked)
    monkeypatch.setattr(room, "AT_ONCE", 7)
    sizes, squares = [], room._squares

    def counted(x: Tensor, z: Tensor, lengths: Tensor) -> Tensor:
        sizes.append(x.shape[1])
        return squares(x, z, lengths)

    monkeypatch.setattr(room, "_squares", counted)
    parts = neighbours(x, y)
    for one, other in zip((parts.residual, parts.apart, *parts.predict(asked)),
                          (whole.residual, whole.apart, *said), strict=True):  # fmt: skip
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert max(sizes) == 7
    assert sum(sizes) == C + Q
