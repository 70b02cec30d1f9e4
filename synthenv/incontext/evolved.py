"""A policy evolved inside a simulator: the search needs no gradient, no value and no exploration of its own.

Where rewards are sparse a learner that climbs them step by step sees nothing to climb. A search over whole policies
compares returns of episodes instead, and one of hundreds of networks often does something that pays. Small networks
will do; what each is worth is the mean return of a few imagined episodes, those of a generation side by side, from
starts that all its candidates share. Chosen in the end is who does best in fresh imagined episodes.

Letters: P candidates, N episodes, O observation size, H hidden units, A choices of a Discrete space or numbers of a
Box, D flat parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from synthenv import rollout, seeding, strategies
from synthenv.incontext.imagined import ImaginedWorld
from synthenv.incontext.world import Simulator
from synthenv.nets import init_uniform, layout, mlp
from synthenv.rollout import Act
from synthenv.tree import Tree, length, ravel, unravel
from synthenv.worlds.payoff import payoff_of


@dataclass(frozen=True)
class Evolution:
    """How policies are sought."""

    hidden: int = 32
    """Units of the one hidden layer."""
    population: int = 32
    """Candidates a generation."""
    episodes: int = 4
    """Imagined ones a candidate."""
    sigma: float = 0.3
    """First standard deviation of every parameter."""
    slips: float = 0.02
    """Share of actions that are replaced by random ones, so that a policy may not rely on a single step. Not more:
    beside a cliff it would learn to keep away from what its own actions never lead to."""
    finalists: int = 16
    """Candidates that play again in the end; as many fresh episodes each."""

    def __post_init__(self) -> None:
        if self.population < 2 or self.population % 2:
            raise ValueError(f"expected an even population of at least 2, got {self.population}")
        if min(self.hidden, self.episodes, self.finalists) < 1:
            raise ValueError(f"expected at least one hidden unit, episode and finalist, got {self}")


class Generation(NamedTuple):
    """Where a search stands.

    centre: [D].  candidates: [P, D] with their fitness [P].  steps: imagined so far.
    """

    centre: Tensor
    candidates: Tensor
    fitness: Tensor
    steps: int


class Kind(NamedTuple):
    """Policies of one shape: a network that reads standardised observations.

    sizes: O, H, A.  middle, spread: [O], of the observations that were seen.
    """

    sizes: tuple[int, int, int]
    middle: Tensor
    spread: Tensor
    simulator: Simulator

    @property
    def size(self) -> int:
        """D."""
        return length(layout(self.sizes))

    def act(self, candidates: Tensor) -> Act:
        """Policies with parameters [P, D]: observations [P, N, O] to actions [P, N] or [P, N, A]."""
        networks, slots = unravel(candidates, layout(self.sizes)), self.simulator.slots

        def act(observation: Tensor, _: torch.Generator) -> Tensor:
            out = mlp(networks, (observation - self.middle) / self.spread)
            return out.argmax(-1) if slots.discrete else slots.box(out.clamp(-1, 1))

        return act

    def plain(self, candidate: Tensor) -> Tree:
        """The network of one policy [D] as it reads observations and says actions in the task's own units, P = 1."""
        net, slots = unravel(candidate[None], layout(self.sizes)), self.simulator.slots
        first = net["w0"] / self.spread[:, None]
        plain = {**net, "w0": first, "b0": net["b0"] - self.middle @ first}
        if not slots.discrete:
            plain |= {"w1": net["w1"] * slots.half, "b1": torch.addcmul(slots.middle, net["b1"], slots.half)}
        return plain


def kind_of(simulator: Simulator, hidden: int) -> Kind:
    """Policies for what a simulator was shown."""
    seen = torch.from_numpy(np.array(simulator.data.observation))
    spread = seen.std(0, correction=0)
    return Kind((simulator.size, hidden, simulator.slots.acting), seen.mean(0), torch.where(spread > 0, spread, 1.0),
                simulator)  # fmt: skip


def evolve(world: ImaginedWorld, steps: int, seed: int = 0, settings: Evolution | None = None) -> Tree:
    """The network `w0 [1, O, H], b0 [1, 1, H], w1 [1, H, A], b1 [1, 1, A]` of the best policy found; tanh between.

    It reads observations as they are. Its outputs are a Box's numbers, to be clipped, or of choices the largest acts.
    No generation begins after `steps` imagined steps. Finalists play from starts alone, and as they are.
    """
    settings = settings or Evolution()
    kind = kind_of(world.simulator, settings.hidden)
    *_, last = generations(kind, world, steps, seed, settings)
    most = min(settings.finalists - 1, len(last.fitness))
    finalists = torch.cat((last.centre[None], last.candidates[last.fitness.topk(most).indices]))
    whole = ImaginedWorld(world.simulator, replace(world.conduct, anywhere=0.0), world.horizon)
    again, _ = worth(kind, whole, finalists, settings.finalists, 0.0, seeding.generator(seed, "final"))
    return kind.plain(finalists[again.argmax()])


def generations(kind: Kind, world: ImaginedWorld, steps: int, seed: int, settings: Evolution) -> Iterator[Generation]:
    """Every generation of a search, at least one."""
    generator = seeding.generator(seed, "evolved")
    strategy = strategies.named("snes", sigma=settings.sigma, mirrored=True)
    state, spent = strategy.init(ravel(init_uniform(generator, 1, kind.sizes))[0]), 0
    while not spent or spent < steps:
        candidates = strategy.ask(state, generator, settings.population)
        fitness, lengths = worth(kind, world, candidates, settings.episodes, settings.slips, generator)
        state, spent = strategy.tell(state, candidates, fitness), spent + lengths
        yield Generation(state["mean"], candidates, fitness, spent)


def worth(
    kind: Kind, world: ImaginedWorld, candidates: Tensor, episodes: int, slips: float, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Mean imagined return [P] of candidates [P, D] over episodes with shared starts, and the steps that took."""
    act = rollout.slipping(kind.act(candidates), payoff_of(world.spaces.action), slips)
    everyone = world.init(generator, len(candidates))
    returns, lengths = rollout.evaluate(world, everyone, act, generator, episodes, world.horizon, paired=True)
    return returns.mean(1), int(lengths.sum())
