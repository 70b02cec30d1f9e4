"""OSWM's prior (automl/oswm: Ferreira et al. 2024), by its description and its code, as batches of transitions.

What it is made of: states of 3 to 11 numbers and random actions, choices or up to three numbers. Most numbers of a
state are small networks of all of it and of the action, whose output is the next state itself, not a change. Some pairs
are a position and its velocity, pushed by an action: angles, of which the sine, the cosine or the angle itself is seen,
and places between walls. Rewards are 1 or a network. Episodes last 51 steps, and nothing ends them.

Where the sources leave a choice open, ours: angles begin anywhere, choices push evenly within their range, and numbers
of a state stand in random order.

Letters: B tasks, N episodes of T steps, K inputs of a network, H hidden units, O observation slots.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.rows import ACTIONS, OBSERVATIONS, Rows, Shape

STEPS = 51
"""Of an episode."""
FEWEST, MOST = 3, 11
"""Numbers of a state."""
CHOICES, NUMBERS = (2, 4), (1, 3)
"""Of actions: choices, or numbers of a box."""
PUSH = 3.0
"""Choices push by up to this."""
HIDDEN = 16
SCALE, OFFSET = 18.15, 1.64
"""Networks' numbers begin at (U[0, 1) - offset) * scale, either drawn up to these."""
PAIRS = MOST // 2
KINDS = ("sine", "cosine", "angle", "across", "up")
"""What is seen of a pair's position; across and up are places between walls, the second with weight."""
PERIOD, FASTEST, START = 0.01, 7.0, 3.0
"""Seconds a step, the limit of velocities, and where they begin."""
GRAVITY, PULL = (5.0, 10.0), 5.0
"""Of half of the angles, the second times the first; of what goes up, the first alone."""
DAMPING, BOUNCE = 0.9, 0.3
"""Least share of its velocity that an angle keeps a step, and a place that hits a wall; across, half lose it all."""


class Networks(NamedTuple):
    """M networks a task, of one output each: into [B, M, K, H], middle [B, M, H, H], out [B, M, H]; sines [B, M, 2]
    bool, whether a layer bends by sine, else by tanh."""

    into: Tensor
    middle: Tensor
    out: Tensor
    sines: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """[B, N, K] -> [B, N, M]."""
        first = self._bent(torch.einsum("bnk,bmkh->bmnh", x, self.into), 0)
        second = self._bent(functional.layer_norm(first @ self.middle, (HIDDEN,)), 1)
        return torch.einsum("bmnh,bmh->bnm", first + second, self.out)

    def _bent(self, x: Tensor, layer: int) -> Tensor:
        return torch.where(self.sines[:, :, layer, None, None], x.sin(), x.tanh())


def networks(dice: Dice, count: int, used: Tensor) -> Networks:
    """`count` networks a task that look at the inputs used [B, K], drawn as PyTorch draws layers without biases."""
    tasks, inputs = used.shape
    fan = used.sum(1).clamp(min=1).rsqrt()[:, None, None, None]
    narrow = 1 / math.sqrt(HIDDEN)
    return Networks(
        dice.uniform(-1, 1, tasks, count, inputs, HIDDEN) * fan * used[:, None, :, None],
        dice.uniform(-narrow, narrow, tasks, count, HIDDEN, HIDDEN),
        dice.uniform(-narrow, narrow, tasks, count, HIDDEN),
        dice.chance(0.5, tasks, count, 2),
    )


class Pairs(NamedTuple):
    """Positions and velocities of a task, leaves [B, 1, P]; `pushed` [B, P] says by which number of an action."""

    turns: Tensor
    up: Tensor
    seen: Tensor
    """int64, by its place in KINDS."""
    pushed: Tensor
    gravity: Tensor
    damping: Tensor
    bounce: Tensor

    def step(self, place: Tensor, speed: Tensor, force: Tensor) -> tuple[Tensor, Tensor]:
        """Positions and velocities [B, N, P] after an action's numbers [B, N, 3]."""
        force = force.gather(-1, self.pushed[:, None].expand(-1, force.shape[1], -1))
        pull = torch.where(self.turns, PULL * place.cos(), torch.where(self.up, place, 0.0)) * self.gravity
        speed = ((speed + (force - pull) * PERIOD) * self.damping).clamp(-FASTEST, FASTEST)
        place = place + speed * PERIOD
        low = self.up.float() - 1  # 0 or -1
        hit = ~self.turns & ((place < low) | (place > 1))
        return torch.where(hit, place.clamp(min=low).clamp(max=1), place), torch.where(hit, -self.bounce * speed, speed)

    def look(self, place: Tensor) -> Tensor:
        """What is seen of positions [B, N, P]."""
        views = torch.stack((place.sin(), place.cos(), place, place, place), -1)
        return views.gather(-1, self.seen.expand_as(place)[..., None])[..., 0]


def pairs(dice: Dice, acting: Tensor) -> Pairs:
    """For tasks whose actions have so many numbers [B]."""
    tasks = len(acting)
    seen = dice.whole(0, len(KINDS) - 1, tasks, 1, PAIRS)
    turns, up = seen < KINDS.index("across"), seen == KINDS.index("up")
    heavy = up | (turns & dice.chance(0.5, tasks, 1, PAIRS))
    soft = ~up & dice.chance(0.5, tasks, 1, PAIRS)
    return Pairs(
        turns,
        up,
        seen,
        (dice.uniform(0, 1, tasks, PAIRS) * acting[:, None]).long(),
        dice.uniform(*GRAVITY, tasks, 1, PAIRS) * heavy,
        torch.where(turns, dice.uniform(DAMPING, 1, tasks, 1, PAIRS), 1.0),
        dice.uniform(BOUNCE, 1, tasks, 1, PAIRS).masked_fill(soft, 0.0),
    )


@torch.no_grad()
def sample(generator: torch.Generator, tasks: int, rows: int) -> tuple[Rows, Shape]:
    """`rows` transitions of each of `tasks` fresh tasks, [B, R, ...], episode after episode."""
    dice, lanes = Dice(generator), math.ceil(rows / STEPS)
    size = dice.whole(FEWEST, MOST, tasks)
    discrete = dice.chance(0.5, tasks)
    slots = torch.where(discrete, dice.whole(*CHOICES, tasks), dice.whole(*NUMBERS, tasks))
    numbers = torch.where(discrete, 1, slots)
    used, felt = dice.first(size, MOST), dice.first(numbers, NUMBERS[1])
    moving = dice.first(2 * (dice.uniform(0, 1, tasks) * (size // 2 + 1)).long(), MOST)  # in pairs
    choice = (dice.uniform(0, 1, tasks, lanes, STEPS) * slots[:, None, None]).long()
    push = dice.uniform(-PUSH, PUSH, tasks, CHOICES[1])
    box = dice.uniform(-1, 1, tasks, lanes, STEPS, NUMBERS[1])
    chosen = push[:, None, None].expand(-1, lanes, STEPS, -1).gather(-1, choice[..., None])
    force = torch.where(discrete[:, None, None, None], chosen, box) * felt[:, None, None]  # [B, N, T, 3]
    nets, paying = (networks(dice, count, torch.cat(seen, -1)) for count, seen in (
        (MOST, (used, felt)), (1, (used, used, felt))
    ))  # fmt: skip
    moves = pairs(dice, numbers)
    scale = dice.uniform(0, SCALE, tasks, 1, MOST)
    state = (dice.uniform(0, 1, tasks, lanes, MOST) - dice.uniform(-OFFSET, OFFSET, tasks, 1, MOST)) * scale
    low = torch.where(moves.turns, -math.pi, torch.where(moves.up, 0.0, -1.0))
    high = torch.where(moves.turns, math.pi, 1.0)
    place = low + (high - low) * dice.uniform(0, 1, tasks, lanes, PAIRS)
    speed = dice.uniform(-START, START, tasks, lanes, PAIRS)

    def seen(state: Tensor) -> Tensor:
        """The state [B, N, 11], with pairs in front."""
        both = torch.stack((moves.look(place), speed), -1).flatten(2)
        return torch.where(moving[:, None], functional.pad(both, (0, MOST - 2 * PAIRS)), state) * used[:, None]

    states = [seen(state)]
    for step in range(STEPS):
        state = nets(torch.cat((states[-1], force[:, :, step]), -1))
        place, speed = moves.step(place, speed, force[:, :, step])
        states.append(seen(state))
    path = torch.stack(states, 2)  # [B, N, T + 1, 11]
    before, after = (part.flatten(1, 2)[:, :rows] for part in (path[:, :, :-1], path[:, :, 1:]))
    force = force.flatten(1, 2)[:, :rows]
    reward = paying(torch.cat((before, after, force), -1))[..., 0]
    reward = torch.where(dice.chance(0.5, tasks, 1), 1.0, reward)
    order = (dice.uniform(0, 1, tasks, MOST) + 2.0 * ~used).argsort(-1)[:, None].expand_as(before)
    observation, following = (
        functional.pad(part.gather(-1, order), (0, OBSERVATIONS - MOST)) for part in (before, after)
    )
    one_hot = functional.one_hot(choice.flatten(1, 2)[:, :rows], ACTIONS).float()
    action = torch.where(discrete[:, None, None], one_hot, functional.pad(force, (0, ACTIONS - NUMBERS[1])))
    start = torch.arange(rows, device=dice.device) % STEPS == 0
    never = torch.zeros_like(reward, dtype=torch.bool)
    shape = Shape(dice.first(size, OBSERVATIONS), dice.first(slots, ACTIONS), discrete)
    return Rows(observation, action, reward, following, never, start.expand_as(never)), shape
