"""Models by name: the classical fits, and the in-context world model with its variants.

Ablations take a part of the shipped model away and leave all else as it is; nothing is trained again. "records" has no
network: experts share trust by their records. "process" has no gate: the Gaussian processes have all the trust.
"transformer" has no closed form to answer with: the network, which still reads what the experts say, has all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.classical import METHODS, Array, Data, Guess, Model
from synthenv import shelf
from synthenv.catalogue import unknown
from synthenv.incontext.belief import GAUSSIAN, level
from synthenv.incontext.experts import EXPERTS, PROCESS
from synthenv.incontext.model import Architecture, Belief, Known, Network
from synthenv.incontext.rows import Rows, Shape
from synthenv.incontext.slots import Slots
from synthenv.incontext.transitions import Transitions
from synthenv.incontext.weights import SHIPPED
from synthenv.incontext.world import Simulator, WorldModel

OURS = "incontext"


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


class Trusting:
    """A world model's network that gives one voice all the trust: that of an expert, or, at `EXPERTS`, its own."""

    def __init__(self, network: Network, voice: int) -> None:
        self.network, self.voice = network, voice

    def condition(self, rows: Rows, shape: Shape) -> Known:
        """As the network does, and trust is settled."""
        known = self.network.condition(rows, shape)
        base = torch.full_like(known.base, -torch.inf)
        base[..., self.voice] = 0.0
        return known._replace(base=base)

    def believe(self, known: Known, observation: Tensor, action: Tensor) -> Belief:
        """What the network makes of it."""
        return self.network.believe(known, observation, action)


def unread(network: Network) -> Network:
    """A network of the same size that has read nothing yet, and so leaves all to the records of the experts."""
    return Network(Architecture()).requires_grad_(False).eval()


ABLATIONS: dict[str, Callable[[Network], Any]] = {
    "records": unread,
    "process": lambda network: Trusting(network, PROCESS),
    "transformer": lambda network: Trusting(network, EXPERTS),
}
"""Engines made of the shipped network, by what has the say in them."""
HELP = (
    f'classical fits ({", ".join(METHODS)}), "{OURS}" for the weights that ship, these with a part taken away '
    f"({', '.join(ABLATIONS)}), or NAME=FOLDER for others (default: %(default)s)"
)


def fit(model: str, log: Transitions) -> Model:
    """The model of this name, fitted to transitions or conditioned on them."""
    return METHODS[model](log) if model in METHODS else InContext(simulator(model, log))


def simulator(model: str, log: Transitions) -> Simulator:
    """A world model of this name that has been shown transitions, or a classical fit in its place."""
    if model in METHODS:
        return Simulator(Engine(model, log), log)
    world = WorldModel.load(folder(model))
    if model in ABLATIONS:
        world = WorldModel(ABLATIONS[model](world.engine))
    return world.condition(log)


def folder(model: str) -> str:
    """Where the weights of a world model are; raises ValueError for a name that says nothing."""
    label, _, where = model.partition("=")
    if label not in (OURS, *ABLATIONS) and not where:
        known = [*METHODS, OURS, *ABLATIONS]
        raise ValueError(unknown("model", model, known) + "; other weights are given as NAME=FOLDER")
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
