"""Models by name: the classical fits, and the in-context world model with its variants."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.classical import METHODS, Array, Data, Guess, Model
from synthenv import shelf
from synthenv.catalogue import unknown
from synthenv.incontext.belief import GAUSSIAN, level
from synthenv.incontext.model import Belief
from synthenv.incontext.rows import Rows, Shape
from synthenv.incontext.slots import Slots
from synthenv.incontext.transitions import Transitions
from synthenv.incontext.weights import SHIPPED
from synthenv.incontext.world import Simulator, WorldModel

OURS = "incontext"
HELP = (
    f'classical fits ({", ".join(METHODS)}), "{OURS}" for the weights that ship, or NAME=FOLDER for others, such as an '
    "ablation (default: %(default)s)"
)


class InContext:
    """The in-context world model, shown transitions."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    def guess(self, observation: Data, action: Data) -> Guess:
        """Everything about Q pairs; the interval is that between its own quantiles."""
        seen = self.simulator.predict(observation, action)
        low, high = (seen.quantiles[..., level(share)].double().numpy() for share in (0.05, 0.95))
        return Guess(
            seen.next_obs.double().numpy() - observation, seen.next_obs_std.double().numpy(), low, high,
            seen.reward.double().numpy(), seen.terminated.double().numpy(),
        )  # fmt: skip

    def change(self, observation: Data, action: Data) -> Array:
        """The mean change alone, [Q, O]."""
        change: Array = self.simulator.predict(observation, action).next_obs.double().numpy() - observation
        return change


class Engine:
    """A classical fit in the place of a world model's network, so that agents can learn in it as well."""

    def __init__(self, model: str, log: Transitions) -> None:
        self.fitted, self.slots = METHODS[model](log), Slots(log.spaces.action, log.observation.shape[1])

    def condition(self, rows: Rows, shape: Shape) -> None:
        """Nothing: it is fitted already."""

    def believe(self, known: Any, observation: Tensor, action: Tensor) -> Belief:
        """What the fit expects, normally distributed; slots as those of `Rows`, B = 1."""
        slots, acted = self.slots, action[0]
        moves = acted.argmax(-1) if slots.discrete else slots.box(acted[:, : slots.acting])
        guess = self.fitted.guess(observation[0, :, : slots.observed].numpy(), moves.numpy())
        change, spread = (slots.observations(torch.tensor(side, dtype=torch.float32))[None] for side in guess[:2])
        reward, end = (torch.tensor(side, dtype=torch.float32)[None] for side in (guess.reward, guess.end))
        fan = torch.tensor(GAUSSIAN)
        return Belief(change, change[..., None] + spread[..., None] * fan, reward, reward[..., None] + 0 * fan, end)


def fit(model: str, log: Transitions) -> Model:
    """The model of this name, fitted to transitions or conditioned on them."""
    return METHODS[model](log) if model in METHODS else InContext(simulator(model, log))


def simulator(model: str, log: Transitions) -> Simulator:
    """A world model of this name that has been shown transitions, or a classical fit in its place."""
    if model in METHODS:
        return Simulator(Engine(model, log), log)
    return WorldModel.load(folder(model)).condition(log)


def folder(model: str) -> str:
    """Where the weights of a world model are; raises ValueError for a name that says nothing."""
    label, _, where = model.partition("=")
    if label != OURS and not where:
        raise ValueError(unknown("model", model, [*METHODS, OURS]) + "; other weights are given as NAME=FOLDER")
    return where or SHIPPED


def name(model: str) -> str:
    """What a model is called in tables."""
    return model.partition("=")[0]


def origin(model: str) -> str:
    """What figures stand or fall with: the digest of the weights; nothing for a classical fit."""
    return "" if model in METHODS else str(shelf.card(shelf.find(folder(model), "models"))["sha256"])[:12]


def rank(label: str) -> tuple[int, str]:
    """Where a model stands in tables: classical fits first, then ours, then its variants by name."""
    known = [*METHODS, OURS]
    return known.index(label) if label in known else len(known), label
