"""A maze of cells in torch, and the tables that any such grid is played from."""

from __future__ import annotations

from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.worlds.base import Outcome, Params, Spaces, State
from synthenv.worlds.physics import Physics


class GridWorld(Physics):
    """A walk of 14 steps or more through the Dyna maze.

    Layout of Sutton and Barto (2018), figure 8.2; every step costs 1 until the one that arrives, so that the return
    tells the length of the walk. The book pays 1 for arriving and nothing else: that is `step` 0 and `arrival` 1.
    Moves: 0 up, 1 right, 2 down, 3 left; those into a wall or over the edge stay where they are.
    State cell [P, N] int64, counted row by row.
    """

    name: ClassVar[str] = "GridWorld-v0"
    horizon: ClassVar[int] = 200
    LAYOUT: ClassVar[tuple[str, ...]] = (
        ".......#G",
        "..#....#.",
        "S.#....#.",
        "..#......",
        ".....#...",
        ".........",
    )
    """S start, G goal, # wall, C cliff."""
    CONSTANTS: ClassVar[dict[str, float]] = {"step": -1.0, "arrival": 0.0}
    """What a step earns, by its kind: see `Tables`."""

    def __init__(self) -> None:
        super().__init__()
        self.start = "".join(self.LAYOUT).index("S")
        cells = len("".join(self.LAYOUT))
        self.spaces = Spaces(spaces.Box(0, 1, (cells,), dtype=np.float32), spaces.Discrete(len(MOVES)))

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """Every episode at the start, cell [P, N]."""
        return {"cell": torch.full((len(params["step"]), n), self.start, device=generator.device)}

    def observe(self, params: Params, state: State) -> Tensor:
        """One at the cell and zero elsewhere, [P, N, O]."""
        return tables(self.LAYOUT, state["cell"].device).one_hot[state["cell"]]

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One move; action [P, N] in {0, 1, 2, 3}."""
        table = tables(self.LAYOUT, action.device)
        move = len(MOVES) * state["cell"] + action
        cell, kind = table.following[move], table.kind[move]  # [P, N]
        wages = torch.stack([params[name] for name in self.CONSTANTS], -1)  # [P, kinds]
        return {"cell": cell}, Outcome(table.one_hot[cell], wages.gather(1, kind), kind == ARRIVAL)


MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Rows and columns by which a move changes the place: up, right, down, left."""
STEP, ARRIVAL, FALL = range(3)
"""Kinds of step, in the order of a grid's constants."""


class Tables(NamedTuple):
    """A grid, cell by cell.

    following: [cells * moves] int64, the cell after move m from cell c, at c * moves + m.
    kind:      [cells * moves] int64, of that step: STEP, ARRIVAL at the goal, or FALL off a cliff to the start.
    one_hot:   [cells, cells].
    """

    following: Tensor
    kind: Tensor
    one_hot: Tensor


@cache
def tables(layout: tuple[str, ...], device: torch.device) -> Tables:
    """The tables of a layout, on a device."""
    rows, columns, cells = len(layout), len(layout[0]), "".join(layout)
    following, kinds = [], []
    for place in range(len(cells)):
        for down, right in MOVES:
            row = min(max(place // columns + down, 0), rows - 1)
            column = min(max(place % columns + right, 0), columns - 1)
            ahead = row * columns + column
            reached = place if cells[ahead] == "#" else ahead
            following.append(cells.index("S") if cells[reached] == "C" else reached)
            kinds.append({"C": FALL, "G": ARRIVAL}.get(cells[reached], STEP))
    return Tables(
        torch.tensor(following, device=device),
        torch.tensor(kinds, device=device),
        torch.eye(len(cells), device=device),
    )
