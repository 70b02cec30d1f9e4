"""Batches of synthetic tasks: draw worlds, live in them, decide what paid and where it ended, keep the good ones.

Letters: B tasks, N lanes, T steps of a lane, R = N * T rows, S state, O observation slots, A action slots, F features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from synthenv import catalogue
from synthenv.incontext.prior import behaviour, endings, nuisance, rewards, screen
from synthenv.incontext.prior.base import LIMIT, Actions
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.settings import PriorSettings, weights
from synthenv.incontext.prior.simulate import Group, Lived, simulate
from synthenv.incontext.rows import OBSERVATIONS, Rows, Shape

DEFAULTS = PriorSettings()
FEWEST = 5
"""Tasks of a family that come together at least, for a group costs the same however small."""
PLACES = 4
"""Coordinates that a task's rewards and endings may be about."""


class Batch(NamedTuple):
    """Tasks and what kind each is, by its place in the lists of names.

    rows: leaves [B, R, ...]. family: [B] in `families()`. behaviour, reward, ending: [B] in the rooms' KINDS.
    """

    rows: Rows
    shape: Shape
    family: Tensor
    behaviour: Tensor
    reward: Tensor
    ending: Tensor


def sample(generator: torch.Generator, tasks: int, rows: int, settings: PriorSettings = DEFAULTS) -> tuple[Rows, Shape]:
    """`rows` transitions of each of `tasks` fresh tasks, [B, R, ...], on the generator's device.

    Rows come in the order that things happened, episode after episode. Many tasks at once are cheaper than few.
    """
    batch = sample_labelled(generator, tasks, rows, settings)
    return batch.rows, batch.shape


def families() -> list[str]:
    """Names of the families of worlds."""
    return sorted(catalogue.names(__package__))


@torch.no_grad()
def sample_labelled(generator: torch.Generator, tasks: int, rows: int, settings: PriorSettings = DEFAULTS) -> Batch:
    """The same as `sample`, with what kind each task is."""
    if tasks < 1 or rows < 1:
        raise ValueError(f"a batch has at least one task of one row, got {tasks} tasks of {rows} rows")
    dice = Dice(generator)
    with exact_products():
        groups, family = _worlds(dice, tasks + math.ceil(settings.spare * tasks), settings)
        steps, lanes = _lanes(dice, rows, settings)
        actions = Actions(*(torch.cat(leaves) for leaves in zip(*(g.drawn.actions for g in groups), strict=True)))
        reach, steer, own = (torch.cat([getattr(g.drawn, name) for g in groups]) for name in ("reach", "steer", "own"))
        smooth = torch.cat([torch.full_like(g.drawn.own, g.family.name != "grids") for g in groups])
        acts = behaviour.draw(dice, actions, reach, steer, steps, lanes, settings)
        disturbance = nuisance.draw_disturbance(dice, reach, smooth, steps, lanes, settings)
        ending = endings.draw(dice, smooth, settings.endings)
        limit = _limits(dice, ending > 0, settings)
        lived = simulate(groups, acts, disturbance, limit, dice)
        seen = _look(dice, groups, lived, own, settings)
        action = lived.action.flatten(2)
        found = endings.find(dice, seen.after, seen.valid, seen.origin, lived.start, ending, rows)
        paid = rewards.pay(dice, seen.before, seen.after, action, seen.valid, seen.origin, found, settings.rewards)
        terminated = lived.ended.flatten(1, 2) | found.reached
        every = Rows(
            seen.observation, action.mT, paid.value, seen.following, terminated, lived.start.flatten(1, 2)
        )  # fmt: skip
        chosen = _good(dice, every, seen.largest, tasks, settings)
        index = _surviving(found.kept[chosen].unflatten(1, (steps, lanes)), rows)  # [B, rows]
        flat = (index + (chosen * (steps * lanes))[:, None]).flatten()
        kept = Rows(*(leaf.flatten(0, 1).index_select(0, flat).unflatten(0, (tasks, rows)) for leaf in every))
        shape = Shape(seen.observed[chosen], actions.acting[chosen], actions.discrete[chosen])
        return Batch(kept, shape, *(label[chosen] for label in (family, acts.kind, paid.kind, found.kind)))


@contextmanager
def exact_products() -> Iterator[None]:
    """Matrix products in full float32, whatever the training around asked for: small steps need the digits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _worlds(dice: Dice, tasks: int, settings: PriorSettings) -> tuple[list[Group], Tensor]:
    """Worlds of every family, as many as its share, and the family of each task [B]."""
    known = families()
    shares = torch.tensor(weights(settings.families, known, "family of worlds"), dtype=torch.float64).cumsum(0)
    parts = max(1, tasks // FEWEST)
    points = (torch.arange(parts) + float(dice.uniform(0, 1, 1))) / parts * shares[-1]
    points = points[torch.arange(tasks) % parts]
    counts = torch.bucketize(points, shares[:-1], right=True).bincount(minlength=len(known)).tolist()
    groups, first = [], 0
    for name, count in zip(known, counts, strict=True):
        if count:
            world = catalogue.named(__package__, name, "family of worlds")(dice, settings)
            groups.append(Group(world, world.draw(dice, count), slice(first, first + count)))
            first += count
    label = torch.arange(len(known)).repeat_interleave(torch.tensor(counts))
    return groups, label.to(dice.device)


def _lanes(dice: Dice, rows: int, settings: PriorSettings) -> tuple[int, int]:
    """Steps and lanes, enough for `rows` and what endings cut. Long lanes are rare: they are what takes time."""
    shortest = max(12.0, 0.6 * math.sqrt(rows))
    steps = min(rows, round(shortest / float(dice.uniform(1e-6, 1, 1)) ** (1 / 1.5)))
    return steps, math.ceil(rows / settings.kept / steps)


def _limits(dice: Dice, ends: Tensor, settings: PriorSettings) -> Tensor:
    """Time limits [B]: over the whole range, but short ones less often than log-uniform. Most tasks that end somewhere,
    ends [B] bool, have a shorter one: what is cut then reaches the place often."""
    low, high = settings.lengths
    limit = low * (high / low) ** dice.uniform(0, 1, len(ends)).pow_(0.6)
    brief = dice.log_uniform(*settings.brief, len(ends))
    return torch.where(ends & dice.chance(0.75, len(ends)), brief, limit).long()


class Seen(NamedTuple):
    """What can be seen of what was lived.

    observation, following: [B, R, O]. observed: [B, O] bool, slots in use. before, after: [B, 4, R] coordinates for
    rewards and endings, standardised; valid: [B, 4] bool; origin: [B, 4] their natural zero. largest: [B], of a state.
    """

    observation: Tensor
    following: Tensor
    observed: Tensor
    before: Tensor
    after: Tensor
    valid: Tensor
    origin: Tensor
    largest: Tensor


def _look(dice: Dice, groups: list[Group], lived: Lived, own: Tensor, settings: PriorSettings) -> Seen:
    """Choose features for slots and for places, in random order, and put observations into units of their own."""
    tasks, lanes = len(own), lived.start.shape[2]
    natural = own | dice.chance(settings.natural, tasks)
    unit = dice.log_uniform(*settings.scales, tasks, OBSERVATIONS).masked_fill_(natural[:, None], 1.0)
    offset = unit * 2 * dice.normal(tasks, OBSERVATIONS) * (dice.chance(0.3, tasks, OBSERVATIONS) & ~natural[:, None])
    crowd = dice.chance(0.5, tasks, nuisance.DISTRACTORS) & dice.chance(settings.distractors, tasks, 1)
    shape = (tasks, lived.start[0].numel(), OBSERVATIONS)
    observation, following = (torch.empty(shape, device=dice.device) for _ in range(2))
    parts = []
    for group in groups:
        params, drawn, at = group.drawn.params, group.drawn, group.place
        states = [s[:, at].permute(1, 2, 0, 3).flatten(2) for s in (lived.state, lived.following)]
        views = [group.family.features(params, state) for state in states]
        largest = torch.maximum(states[1].amax((1, 2)), -states[1].amin((1, 2)))
        column, valid = _order(dice, torch.cat((drawn.shown, crowd[at]), -1), OBSERVATIONS)
        picked = torch.nn.functional.one_hot(column, drawn.shown.shape[1] + nuisance.DISTRACTORS).float()
        picked = (picked * (valid * unit[at])[..., None]).mT  # [B, F + 3, O]
        shift = (offset[at] * valid).repeat(1, lanes)[:, None]  # long enough for a quick copy
        for view, whole in zip(views, (observation, following), strict=True):
            whole[at].view(len(shift), -1, shift.shape[2]).copy_(shift)
            whole[at].baddbmm_(view.mT, picked[:, : -nuisance.DISTRACTORS])
        some, there = _race(dice, drawn.place)
        rule = torch.nn.functional.one_hot(some, drawn.place.shape[1]).float()  # [B, 4, F]
        places, extra = [torch.bmm(rule, view) for view in views], picked[:, -nuisance.DISTRACTORS :]
        parts.append((valid, *places, there, extra, largest))
    observed, before, after, valid, extra, largest = (torch.cat(leaves) for leaves in zip(*parts, strict=True))
    _distract(dice, lived, crowd.any(-1), extra, observation, following)
    _blur(dice, lived, settings, observation, following)
    centre = after.mean(-1, keepdim=True)  # [B, 4, 1]
    spread = after.sub_(centre).square().mean(-1, keepdim=True).sqrt()
    unit = valid[..., None] / torch.where(spread > 1e-6, spread, torch.ones_like(spread))
    before, after = before.sub_(centre).mul_(unit), after.mul_(unit)
    return Seen(observation, following, observed, before, after, valid, (-centre * unit)[..., 0], largest)


def _order(dice: Dice, used: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """Columns [B, slots] that fill the slots from the front in random order, and which slots are filled."""
    key = dice.uniform(0, 1, *used.shape).add_(2.0 * ~used)
    column = key.argsort(-1)[:, :slots]
    if (short := slots - column.shape[1]) > 0:
        column = torch.nn.functional.pad(column, (0, short))
    return column, dice.first(used.sum(-1), slots)


def _race(dice: Dice, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Up to 4 columns of weight [B, F], the likelier the heavier: columns and whether they are real, [B, 4] each."""
    time = -dice.uniform(1e-6, 1, *weight.shape).log() / weight
    first = time.topk(PLACES, -1, largest=False)
    return first.indices, first.values.isfinite()


def _distract(dice: Dice, lived: Lived, chosen: Tensor, picked: Tensor, observation: Tensor, following: Tensor) -> None:
    """Add distractors, in place, to the tasks chosen [B]; picked [B, 3, O] puts them into their slots and units."""
    index = chosen.nonzero()[:, 0]
    if len(index):
        _, steps, lanes = lived.start.shape
        for seen, path in zip((observation, following), nuisance.distract(dice, len(index), lanes, steps), strict=True):
            seen.index_add_(0, index, torch.bmm(path.mT, picked[index]))


def _blur(dice: Dice, lived: Lived, settings: PriorSettings, observation: Tensor, following: Tensor) -> None:
    """Make the observations of some tasks inexact, in place, by a share of their change."""
    index = dice.chance(settings.blur, len(observation)).nonzero()[:, 0]
    if len(index):
        before, after = observation[index], following[index]
        size = (after - before).square_().mean(1).sqrt() * dice.log_uniform(0.01, 1, len(index), 1)
        lanes = lived.start.shape[1:]
        blurred = nuisance.blur(dice, before.unflatten(1, lanes), after.unflatten(1, lanes), size)
        for seen, changed in zip((observation, following), blurred, strict=True):
            seen.index_copy_(0, index, changed.flatten(1, 2))


def _good(dice: Dice, every: Rows, largest: Tensor, tasks: int, settings: PriorSettings) -> Tensor:
    """The tasks [B] that are kept."""
    count = every.reward.shape[1]
    some = dice.whole(0, count - 1, 2 * screen.ROWS)
    observation, action, following = (leaf[:, some] for leaf in (every.observation, every.action, every.following))
    verdict = screen.judge(torch.cat((observation, action), -1), following - observation)
    sound = (largest < LIMIT) & every.reward.sum(-1).isfinite()
    return screen.choose(
        dice, verdict, tasks, sound, settings.easy, settings.easy_kept, settings.unpredictable
    )  # fmt: skip


def _surviving(kept: Tensor, rows: int) -> Tensor:
    """Places [B, rows], among T * N, of the first steps that are kept [B, T, N], lane after lane."""
    _, steps, lanes = kept.shape
    place = torch.arange(steps * lanes, device=kept.device).view(steps, lanes).T.flatten()
    kept = kept.mT.flatten(1)  # [B, N * T]
    order = kept.cumsum(-1) - 1
    order = torch.where(kept & (order < rows), order, rows)
    index = torch.zeros((len(kept), rows + 1), dtype=torch.long, device=kept.device)
    index.scatter_(1, order, place.expand_as(order))
    return index[:, :rows]
