"""The maze against its drawing in the book."""

import torch

from synthenv import worlds
from tests.worlds.witness import seeded

GridWorld = worlds.named("GridWorld-v0")
ROWS, COLUMNS = 6, 9
WALLS = {(1, 2), (2, 2), (3, 2), (4, 5), (0, 7), (1, 7), (2, 7)}
START, GOAL = (2, 0), (0, 8)
UP, RIGHT, DOWN, LEFT = range(4)


def walk(world, params, moves):
    """Places (row, column) after each move, rewards and ends of one episode from the start."""
    state, told = world.reset(params, seeded(), 1), []
    for move in moves:
        state, outcome = world.step(params, state, torch.tensor([[move]]))
        place = divmod(int(outcome.observation.argmax()), COLUMNS)
        told.append((place, outcome.reward.item(), outcome.terminated.item()))
    return told


def test_every_move_from_every_free_cell():
    world = GridWorld()
    free = [(r, c) for r in range(ROWS) for c in range(COLUMNS) if (r, c) not in WALLS]
    assert len(free) == 47, "the book counts 47 states"
    cell = torch.tensor([[COLUMNS * r + c for r, c in free]])
    for move, (down, right) in {UP: (-1, 0), RIGHT: (0, 1), DOWN: (1, 0), LEFT: (0, -1)}.items():
        after, outcome = world.step(world.init(seeded(), 1), {"cell": cell}, torch.full_like(cell, move))
        for n, (row, column) in enumerate(free):
            wanted = (row + down, column + right)
            open_ = wanted not in WALLS and 0 <= wanted[0] < ROWS and 0 <= wanted[1] < COLUMNS
            place = wanted if open_ else (row, column)
            assert divmod(int(after["cell"][0, n]), COLUMNS) == place
            assert outcome.terminated[0, n].item() == (place == GOAL)
            assert outcome.reward[0, n].item() == (0 if place == GOAL else -1)


def test_begins_at_the_start_and_shows_where_it_is():
    world = GridWorld()
    params = world.init(seeded(), 2)
    state = world.reset(params, seeded(), 3)
    assert state["cell"].tolist() == [[COLUMNS * START[0] + START[1]] * 3] * 2
    shown = world.observe(params, state)
    assert shown.shape == (2, 3, ROWS * COLUMNS)
    assert (shown.sum(-1) == 1).all()
    assert (shown.argmax(-1) == state["cell"]).all()


def test_the_shortest_walk_takes_14_steps():
    """Breadth first, through the world itself."""
    world, steps, arrived = GridWorld(), 0, False
    params = world.init(seeded(), 1)
    cell = world.reset(params, seeded(), 1)["cell"]
    while not arrived:
        every = cell.repeat_interleave(4, 1)
        after, outcome = world.step(params, {"cell": every}, torch.arange(4).repeat(cell.shape[1])[None])
        cell, steps, arrived = after["cell"].unique()[None], steps + 1, bool(outcome.terminated.any())
    assert steps == 14


def test_pays_as_the_book_where_asked():
    world = GridWorld()
    params = world.init(seeded(), 1)
    params["step"], params["arrival"] = torch.zeros(1), torch.ones(1)
    told = walk(world, params, [DOWN] * 3 + [RIGHT] * 8 + [UP] * 5)
    assert [reward for _, reward, _ in told] == [0] * 15 + [1]
    assert told[-1] == (GOAL, 1, True)
