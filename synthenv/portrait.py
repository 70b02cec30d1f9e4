"""What an environment teaches, for one picture: where its states lie, what it prefers there, what came of it.

The expert is the environment's own optimal policy, `best_action`, in the real task. Two dimensions tell most: those
along which the preferred action changes most while the others stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv import rollout, worlds
from synthenv.artifact import Artifact
from synthenv.cards import PLOT
from synthenv.gym import synthetic
from synthenv.report import COLOURS, MORE_COLOURS
from synthenv.rollout import Act
from synthenv.tree import Tree
from synthenv.worlds import World
from synthenv.worlds.bandit import SyntheticBandit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EPISODES, POINTS = 64, 1500
"""Episodes played by each agent, and the most states of theirs that are kept."""
ACROSS, BASES = 33, 256
"""Places tried along each dimension, and states that they are tried in."""
GRID = 121
"""Places a side of the map."""
VISITORS, ACTIONS = ("#9a9a9a", *COLOURS[:2]), (COLOURS[4], COLOURS[3], *MORE_COLOURS)
"""Colours of those who visit, and of actions."""


class Portrait(NamedTuple):
    """What `picture` draws of an environment, all in the units of observations.

    visits:    label -> states [M, O]: inside it, of a random agent outside, and of its own best actions outside.
    box:       [2, O] lowest and highest observations.
    telling:   [O] how much the preferred action varies along a dimension; pair: the two that are drawn.
    preferred: [Y, X] the preferred action over the pair, the first of it from left to right, across the box.
    regret:    [Y, X] what a random action costs there.
    choices:   how many actions there are, or None where `preferred` is a number, that of dimension `action`.
    """

    title: str
    visits: Mapping[str, npt.NDArray[np.float32]]
    box: npt.NDArray[np.floating]
    telling: npt.NDArray[np.float32]
    pair: tuple[int, int]
    preferred: npt.NDArray[np.generic]
    regret: npt.NDArray[np.float32]
    choices: int | None
    action: int


def draw(artifact: Artifact, path: Path) -> None:
    """Draw the environment's portrait; learning curves are the picture beside its card, where there is one."""
    curves = artifact.folder / PLOT
    picture(path, portray(artifact), curves if curves.is_file() else None)


def portray(artifact: Artifact) -> Portrait:
    """Play inside and outside, and look at what is preferred where."""
    recipe, real = artifact.recipe, worlds.real(artifact.recipe.target)
    world, params = synthetic(artifact)
    generator = torch.Generator().manual_seed(0)
    task, wild = real.init(generator, 1), rollout.uniform(world.payoff)

    def expert(observation: Tensor, _: torch.Generator) -> Tensor:
        return world.best_action(params, observation)

    inside = visited(world, params, wild, recipe.time_limit or 1, generator)
    skilled = visited(real, task, expert, real.horizon, generator)
    visits = {
        f"{recipe.id}, random actions": inside,
        f"{real.name}, random actions": visited(real, task, wild, real.horizon, generator),
        f"{real.name}, best actions": skilled,
    }
    box, share = world.spaces.observation, telling(world, params, inside)
    order = share.argsort(descending=True).tolist()
    first, second = sorted((order[0], order[min(1, len(order) - 1)]))
    sides = [np.linspace(box.low[k], box.high[k], GRID, dtype=np.float32) for k in (first, second)]
    places = skilled.median(0).values.expand(GRID, GRID, -1).clone()  # [Y, X, O]
    places[..., first], places[..., second] = torch.from_numpy(sides[0]), torch.from_numpy(sides[1])[:, None]
    places = places.flatten(0, 1)[None]  # [Y, X, O] -> [1, Y*X, O]
    preferred = world.best_action(params, places)[0].unflatten(0, (GRID, GRID))  # [Y, X] or [Y, X, A]
    action, discrete = 0, isinstance(world.spaces.action, spaces.Discrete)
    if not discrete:
        action = int(preferred.flatten(0, 1).std(0).argmax())
        preferred = preferred[..., action]
    return Portrait(
        recipe.id,
        {label: states.numpy() for label, states in visits.items()},
        np.stack((box.low, box.high)),
        share.numpy(),
        (first, second),
        preferred.numpy(),
        world.regret(params, world.unit(places))[0].unflatten(0, (GRID, GRID)).numpy(),
        int(world.spaces.action.n) if isinstance(world.spaces.action, spaces.Discrete) else None,
        action,
    )


def visited(world: World, params: Tree, act: Act, horizon: int, generator: torch.Generator) -> Tensor:
    """States of whole episodes of an agent, restarted when they end: [M, O], at most POINTS."""
    begun = rollout.begin(world, params, generator, EPISODES)
    steps, _ = rollout.collect(world, params, act, begun, horizon, generator, horizon)
    seen = steps.observation.flatten(0, 2)  # [1, T, N, O] -> [T*N, O]
    return seen[torch.randperm(len(seen), generator=generator)[:POINTS]]


def telling(world: SyntheticBandit, params: Tree, states: Tensor) -> Tensor:
    """How much the preferred action varies along each dimension: [O], sum 1.

    From each of some states [M, O], all dimensions but one are kept, and that one goes where the states are.
    """
    u = world.unit(states)
    bases, size = u[:BASES], u.shape[1]
    tried = bases.expand(size, ACROSS, *bases.shape).clone()  # [O, ACROSS, B, O]
    across = u.quantile(torch.linspace(0.01, 0.99, ACROSS), 0)  # [ACROSS, O]
    for k in range(size):
        tried[k, :, :, k] = across[:, k, None]
    best = world.payoff.best(world.preferences(params, tried.reshape(1, -1, size)))[0]
    if isinstance(world.spaces.action, spaces.Discrete):
        best = torch.nn.functional.one_hot(best, int(world.spaces.action.n))
    else:
        best = best / torch.from_numpy(world.spaces.action.high - world.spaces.action.low)
    varied = best.float().reshape(size, ACROSS, len(bases), -1).var(1).sum(-1).mean(-1)  # [O]
    return varied / varied.sum().clamp(min=1e-12)


def picture(path: Path, what: Portrait, curves: Path | None) -> None:
    """Draw where states lie, what is preferred there, and below them the picture of learning curves, if any."""
    from matplotlib import image
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    width, height = 13.0, 4.6
    pictures = [] if curves is None else [image.imread(curves)]
    heights = [height, *(0.8 * width * picture.shape[0] / picture.shape[1] for picture in pictures)]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    top, *below = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    top.suptitle(what.title, fontsize=13)
    left, middle, right = top.subplots(1, 3, width_ratios=(1, 1.15, 1.3))
    _draw_ranges(left, what)
    _draw_states(middle, what)
    _draw_preferences(right, what)
    for axis in (middle, right):
        axis.set_xlabel(f"observation[{what.pair[0]}]")
        axis.set_ylabel(f"observation[{what.pair[1]}]")
    patches = [Patch(color=colour, label=label) for label, colour in zip(what.visits, VISITORS, strict=True)]
    top.legend(handles=patches, loc="outside lower left", ncols=3, frameon=False)
    for part, picture in zip(below, pictures, strict=True):
        axis = part.subplots()
        axis.imshow(picture)
        axis.axis("off")
    figure.savefig(path, dpi=150)


def _draw_ranges(axis: Axes, what: Portrait) -> None:
    """Along each dimension, as a share of the box: the middle half of the states, and all but 2 % of them."""
    middle, half = (what.box[1] + what.box[0]) / 2, (what.box[1] - what.box[0]) / 2
    size = len(middle)
    for place, (states, colour) in enumerate(zip(what.visits.values(), VISITORS, strict=True)):
        low, lower, upper, high = np.quantile((states - middle) / half, (0.01, 0.25, 0.75, 0.99), axis=0)
        y = np.arange(size) + 0.22 * (place - 1)
        axis.hlines(y, low, high, color=colour, linewidth=1.5)
        axis.hlines(y, lower, upper, color=colour, linewidth=6)
    named = [f"observation[{k}]\ntells {share:.0%}" for k, share in enumerate(what.telling)]
    axis.set_yticks(range(size), named)
    axis.invert_yaxis()
    axis.axvline(-1, color="black", linewidth=0.6)
    axis.axvline(1, color="black", linewidth=0.6)
    axis.set_xlabel("share of the observation box")
    axis.set_title("states along each dimension", fontsize=11)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _draw_states(axis: Axes, what: Portrait) -> None:
    """States over the two most telling dimensions."""
    first, second = what.pair
    for states, colour in zip(what.visits.values(), VISITORS, strict=True):
        axis.scatter(states[:, first], states[:, second], s=4, color=colour, alpha=0.5, linewidths=0)
    axis.set_title("states over the two most telling ones", fontsize=11)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlim(what.box[0][first], what.box[1][first])
    axis.set_ylim(what.box[0][second], what.box[1][second])


def _draw_preferences(axis: Axes, what: Portrait) -> None:
    """The preferred action over the two most telling dimensions, and the states it leads to outside."""
    from matplotlib.patches import Patch

    first, second = what.pair
    extent = (what.box[0][first], what.box[1][first], what.box[0][second], what.box[1][second])
    if what.choices is None:
        shown = axis.imshow(what.preferred, cmap="PuOr", extent=extent, origin="lower", aspect="auto")
        axis.figure.colorbar(shown, ax=axis, label=f"preferred action[{what.action}]")
    else:
        strength = np.clip(what.regret / np.quantile(what.regret, 0.9).clip(min=1e-9), 0.1, 1)
        palette = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in ACTIONS])
        colours = palette[np.arange(what.choices) % len(palette)]
        picture = 1 - strength[..., None] * (1 - colours[what.preferred])
        axis.imshow(picture, extent=extent, origin="lower", aspect="auto")
        patches = [Patch(color=colour, label=f"action {k}") for k, colour in enumerate(colours)]
        axis.legend(handles=patches, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    *_, skilled = what.visits.values()
    axis.scatter(skilled[:, first], skilled[:, second], s=1.5, color="black", alpha=0.35, linewidths=0)
    axis.set_xlim(*extent[:2])
    axis.set_ylim(*extent[2:])
    hint = "" if what.choices is None else ", pale where it matters little"
    axis.set_title(f"preferred action{hint}", fontsize=11)
