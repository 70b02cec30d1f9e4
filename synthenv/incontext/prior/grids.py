"""Grids and graphs: whole cells, moves between them, walls, edges that stop or wrap, pits, ice.

All rules of a world are one table, the cell that follows each move in each cell, worked out when it is drawn. A cell is
shown by its number or by its row and column.

State: cell, row, column, fell (the last move ended in a pit, which leads back to the start), end.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from synthenv.incontext.prior.base import STATE, Actions, Drawn
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.settings import PriorSettings
from synthenv.incontext.rows import ACTIONS
from synthenv.tree import Tree

MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 0), (1, 1), (-1, -1), (1, -1), (-1, 1), (0, 2), (0, -2))
"""Rows and columns by which a move changes the place. The first four come first; a corridor has the first two."""
HELD_OUT = ((8, 8), (4, 12))
"""Rows and columns of the grids that models are evaluated on, which are never drawn."""


class Grids:
    """Worlds of cells."""

    name: ClassVar[str] = "grids"

    def __init__(self, dice: Dice, settings: PriorSettings) -> None:
        """Nothing is common to all worlds."""
        self.settings = settings

    def draw(self, dice: Dice, tasks: int) -> Drawn:
        """Everything is a draw a world."""
        rows, columns = self._sizes(dice, tasks)
        corridor = rows == 1
        moves, choices = _moves(dice, corridor)
        cells, real = self._cells(rows, columns)
        start, pits, ends = _special(dice, cells, real, rows, columns)
        following = _table(dice, cells, rows, columns, moves)
        fell = pits.gather(1, following.flatten(1)).view_as(following)
        following = torch.where(fell, start[:, None, None], following)
        slips = dice.uniform(0.05, 0.5, tasks, 1) * dice.chance(self.settings.slippery, tasks, 1)
        params = {
            "table": _states(following.flatten(1), fell.flatten(1), cells, ends),
            "ends": ends,
            "columns": columns[:, None],
            "rows": rows[:, None],
            "start": start[:, None],
            "spread": dice.chance(0.5, tasks, 1),
            "real": (rows * columns)[:, None],
            "slips": slips,
            "other": choices[:, None] / slips.clamp(min=1e-6),
        }
        number = corridor | dice.chance(0.5, tasks)
        shown = torch.stack((number, ~number, ~number, *[torch.zeros_like(number)] * 3), -1)
        place = torch.tensor([0.3, 1, 1, 1, 1, 0.4], device=dice.device) * torch.stack(
            (number, ~corridor, ~corridor, pits.any(-1), ends.any(-1), ~corridor), -1
        )
        actions = Actions(torch.ones_like(number), dice.first(choices, ACTIONS))
        steer = torch.zeros((tasks, ACTIONS, STATE), device=dice.device)
        steer[..., 1:3] = moves * dice.normal(tasks, 1, 2)
        reach = torch.full((tasks, STATE), 2.0, device=dice.device)
        return Drawn(params, actions, shown, place, reach, steer, ~dice.chance(0.15, tasks))

    def begin(self, params: Tree, dice: Dice, n: int) -> Tensor:
        """Always the same cell, or any that ends nothing: [B, S, n]."""
        real = params["real"]
        anywhere = (dice.uniform(0, 1, len(real), n) * real).long()
        cell = torch.where(params["spread"] & ~params["ends"].gather(1, anywhere), anywhere, params["start"])
        number = torch.arange(params["ends"].shape[1], device=cell.device)
        cells = torch.stack((number // params["columns"], number % params["columns"]), -1)
        return _states(cell, torch.zeros_like(cell), cells, params["ends"]).mT.contiguous()

    def step(self, params: Tree, state: Tensor, action: Tensor, dice: Dice) -> Tensor:
        """Look the move up; on ice it may be another: [B, S, N] -> [B, S, N]."""
        luck = dice.uniform(0, 1, len(state), state.shape[2])
        move = torch.where(luck < params["slips"], (luck * params["other"]).long(), action.max(1).indices)
        table = params["table"]  # [B, C * A, S]
        first = torch.arange(len(table), device=table.device)[:, None] * table.shape[1]
        at = (state[:, 0].long() * ACTIONS).add_(move).add_(first)
        return torch.nn.functional.embedding(at, table.flatten(0, 1)).mT

    def ended(self, params: Tree, state: Tensor) -> Tensor | None:
        """In the cells that end episodes, [B, N] bool."""
        return state[:, 4] > 0

    def features(self, params: Tree, state: Tensor) -> Tensor:
        """Cell, row, column, fell, in an end, at the border: [B, 6, R]."""
        row, column = state[:, 1], state[:, 2]
        border = (row == 0) | (column == 0) | (row == params["rows"] - 1) | (column == params["columns"] - 1)
        return torch.cat((state[:, :5], border[:, None]), 1)

    def _sizes(self, dice: Dice, tasks: int) -> tuple[Tensor, Tensor]:
        """Rows and columns, [B] each; a quarter are corridors."""
        low, high = self.settings.cells
        cells = dice.log_uniform(low, high + 1, tasks)
        rows = torch.where(dice.chance(0.25, tasks), 1.0, cells.pow(dice.uniform(0.3, 0.7, tasks))).long().clamp(1, 12)
        columns = (cells / rows).long().clamp(2, 60)
        for taken in HELD_OUT:
            columns = columns - ((rows == taken[0]) & (columns == taken[1])).long()
        return rows, columns

    def _cells(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column of every number [B, C, 2], and which numbers are cells [B, C] bool."""
        number = torch.arange(self.settings.cells[1], device=rows.device)
        return torch.stack((number // columns[:, None], number % columns[:, None]), -1), number < (rows * columns)[
            :, None
        ]


def _states(cell: Tensor, fell: Tensor, cells: Tensor, ends: Tensor) -> Tensor:
    """States [B, K, S] in cells [B, K] with fell [B, K]; cells [B, C, 2] are their rows and columns, ends [B, C]."""
    place = cells.gather(1, cell[..., None].expand(-1, -1, 2))
    parts = (cell[..., None], place, fell[..., None], ends.gather(1, cell)[..., None])
    return torch.nn.functional.pad(torch.cat([part.float() for part in parts], -1), (0, STATE - 5))


def _moves(dice: Dice, corridor: Tensor) -> tuple[Tensor, Tensor]:
    """What each action does [B, 6, 2], in random order, and how many there are [B]."""
    tasks = len(corridor)
    base = torch.tensor(MOVES, device=dice.device)
    key = dice.uniform(0, 1, tasks, len(MOVES)) + (torch.arange(len(MOVES), device=dice.device) > 3)
    key[:, 2:4] += 2 * corridor[:, None]
    key[:, :2] -= corridor[:, None].float()
    extra = dice.pick((0.75, 0.15, 0.1), tasks)
    choices = torch.where(corridor, 2, 4) + extra
    order = key.argsort(-1)[:, :ACTIONS]
    shuffled = torch.where(
        dice.first(choices, ACTIONS), dice.uniform(0, 1, tasks, ACTIONS), 2.0
    ).argsort(-1)  # fmt: skip
    moves = base[order.gather(1, shuffled)]
    return torch.where(corridor[:, None, None], moves * torch.tensor([0, 1], device=dice.device), moves), choices


def _special(dice: Dice, cells: Tensor, real: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The start [B], pits and ends [B, C] bool: single cells, a row, a column or the border."""
    tasks, size = real.shape
    any_cell = dice.uniform(0, 1, tasks, 3, size).masked_fill_(~real[:, None], -1.0).argmax(-1)  # [B, 3]
    number = torch.arange(size, device=dice.device)
    place = cells[torch.arange(tasks, device=dice.device)[:, None], any_cell[:, 1:]]  # [B, 2, 2]
    row, column = cells.unbind(-1)
    border = (row == 0) | (column == 0) | (row == rows[:, None] - 1) | (column == columns[:, None] - 1)
    sets = []
    for k in range(2):
        same_row, same_column = row == place[:, k, :1], column == place[:, k, 1:]
        single, few = number == any_cell[:, k + 1 :][:, :1], dice.chance(0.1, tasks, size)
        corner = (column == 0) | (column == columns[:, None] - 1)
        stretch = same_row & ~(corner & dice.chance(0.7, tasks, 1))
        sets.append(torch.stack((torch.zeros_like(real), single, few, same_column, stretch, border & (row > 0))))
    pit_kind = dice.pick((0.6, 0.06, 0.14, 0.06, 0.14, 0.0), tasks)
    end_kind = dice.pick((0.3, 0.35, 0.08, 0.09, 0.06, 0.12), tasks)
    pits, ends = (
        group.gather(0, kind[:, None].expand(-1, size)[None])[0]
        for group, kind in zip(sets, (pit_kind, end_kind), strict=True)
    )
    start = any_cell[:, 0]
    elsewhere = real & (number != start[:, None])
    pits = pits & elsewhere
    return start, pits, ends & elsewhere & ~pits


def _table(dice: Dice, cells: Tensor, rows: Tensor, columns: Tensor, moves: Tensor) -> Tensor:
    """The cell that follows each action in each cell, [B, C, 6] int64: moves, walls, edges; any cells in graphs."""
    tasks, size = cells.shape[:2]
    limits = torch.stack((rows, columns), -1)[:, None, None]  # [B, 1, 1, 2]
    target = cells[:, :, None] + moves[:, None]  # [B, C, 6, 2]
    stopped = torch.minimum(target.clamp(min=0), limits - 1)
    target = torch.where(dice.chance(0.2, tasks, 1, 1, 1), target % limits, stopped)
    number = target[..., 0] * columns[:, None, None] + target[..., 1]
    here = torch.arange(size, device=dice.device)[None, :, None]
    walls = dice.chance(0.3, tasks, size) & dice.chance(0.35, tasks, 1)
    number = number.clamp(0, size - 1)
    number = torch.where(walls.gather(1, number.flatten(1)).view_as(number), here, number)
    anywhere = (dice.uniform(0, 1, tasks, size, ACTIONS) * (rows * columns)[:, None, None]).long()
    last = (rows * columns)[:, None, None] - 1
    near = torch.minimum((here + dice.whole(-3, 3, tasks, size, ACTIONS)).clamp(min=0), last)
    linked = torch.where(dice.chance(0.5, tasks, 1, 1), anywhere, near)
    return torch.where(dice.chance(0.15, tasks, 1, 1), linked, number)
