"""What real tasks share: constants that are one number in Gymnasium and one a member here, and angles."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from synthenv.worlds.base import Params


class Physics:
    """The part of a real task that turns its constants into parameters.

    CONSTANTS holds Gymnasium's values; float64 states follow Gymnasium to rounding, float32, the default, is for speed.
    """

    CONSTANTS: ClassVar[dict[str, float]]

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype

    def init(self, generator: torch.Generator, population: int) -> Params:
        """Gymnasium's constants for every member, leaves [P]."""
        return {
            name: torch.full((population,), value, dtype=self.dtype, device=generator.device)
            for name, value in self.CONSTANTS.items()
        }


def wrapped(angle: Tensor) -> Tensor:
    """The same angles in -pi to pi rad, [...] -> [...]."""
    return torch.sub(angle, (angle / (2 * math.pi)).round(), alpha=2 * math.pi)
