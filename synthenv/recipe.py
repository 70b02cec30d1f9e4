"""Recipes: everything needed to redo a run, as frozen dataclasses that read and write YAML and refuse unknown keys.

Choices are words. The reader is generic (`load`, `build`, `dump`); the recipe of a synthetic environment follows it.
"""

from __future__ import annotations

import hashlib
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

Kind = TypeVar("Kind")


def load(kind: type[Kind], path: str | Path) -> Kind:
    """Read a YAML file into the dataclass `kind`; raises ValueError naming the file, the key and the nearest one."""
    raw = read(path)
    try:
        return build(kind, raw)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read(path: str | Path) -> Any:
    """What a YAML file says, whatever that is; raises ValueError naming the file where it is no YAML."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def build(kind: type[Kind], raw: Any, place: str = "") -> Kind:
    """Turn nested mappings into `kind`, checking every key and type."""
    where = place or "recipe"
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where} must be a mapping of keys to values, got {type(raw).__name__}")
    hints = get_type_hints(kind)
    known = {f.name: hints[f.name] for f in fields(kind)}  # type: ignore[arg-type]
    for key in raw:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f" (it has: {', '.join(known)})"
            raise ValueError(f"{where} has no key '{key}'{hint}")
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    if missing := [name for name in needed if name not in raw]:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    return kind(**{key: _read(known[key], value, f"{place}.{key}".lstrip(".")) for key, value in raw.items()})


def check_counts(thing: Any, place: str = "") -> None:
    """Raise ValueError for a whole number, in a dataclass or those within it, below the `least` of its field.

    That is 1 unless the field's metadata say otherwise. Stages that are not enabled are passed over.
    """
    if not getattr(thing, "enabled", True):
        return
    for f in fields(thing):
        least, told, name = f.metadata.get("least", 1), getattr(thing, f.name), f"{place}.{f.name}".lstrip(".")
        several = isinstance(told, tuple | list)
        for where, value in [(f"{name}[{i}]", one) for i, one in enumerate(told)] if several else [(name, told)]:
            if is_dataclass(value):
                check_counts(value, where)
            elif isinstance(value, int) and not isinstance(value, bool) and value < least:
                raise ValueError(f"{where} must be at least {least}, got {value}")


def dump(recipe: Any) -> str:
    """The recipe as YAML, in the order of its fields."""
    return yaml.safe_dump(
        _plain(asdict(recipe)), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
    )


def digest(recipe: Any) -> str:
    """sha256 of the recipe's YAML: equal recipes, equal digests."""
    return hashlib.sha256(dump(recipe).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _read(hint: Any, value: Any, place: str) -> Any:
    """Check one value against its annotation; integers pass as floats, lists as tuples."""
    origin, choices = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, place)
    if origin is Literal:
        if value in choices:
            return value
        near = get_close_matches(str(value), [str(choice) for choice in choices], 1)
        wish = f"did you mean '{near[0]}'?" if near else "choose one of them"
        raise ValueError(f"{place} must be one of {', '.join(map(str, choices))}, got {value!r}; {wish}")
    if origin in (Union, types.UnionType):
        if value is None and type(None) in choices:
            return None
        return _read(next(choice for choice in choices if choice is not type(None)), value, place)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_read(choices[0], item, f"{place}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _read(choices[1], item, f"{place}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    plain = origin or hint
    if isinstance(value, plain) and not (plain is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{place} must be {getattr(plain, '__name__', plain)}, got {value!r}")


@dataclass(frozen=True)
class Search:
    """One evolution: which strategy, how wide, how long."""

    strategy: str = "snes"
    """Name of a strategy in `synthenv.strategies`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of the strategy, as its class names them (sigma, rate, ...)."""
    population: int = 32
    """Candidates a generation."""
    generations: int = field(default=20, metadata={"least": 0})
    """Outer steps, at most."""
    patience: int = field(default=0, metadata={"least": 0})
    """End when the mean fitness, smoothed over some generations, has not risen for so many of them; 0: never before
    the last. Generations whose candidates are all worth the same do not count: nothing is found yet."""


@dataclass(frozen=True)
class Inner:
    """One kind of training: an algorithm, its structure, and the hyperparameters it draws from."""

    algorithm: str
    """Name of a learner in `synthenv.learners`."""
    steps: int = 10_000
    """Steps an agent gets, of the synthetic environment unless it is said otherwise."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Static structure of the learner: envs, length, hidden, ... as its class names them."""
    draws: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Per hyperparameter, the values drawn from, all alike; those not named keep the learner's default."""


@dataclass(frozen=True)
class GreedyStage:
    """Stage 1: a reward network whose own optimal policy earns much in the real task; no inner loop."""

    enabled: bool = True
    """Whether to do this at all."""
    search: Search = field(default_factory=lambda: Search(options={"sigma": 0.3, "mirrored": True}, population=64))
    episodes: int = 4
    """Real episodes a candidate."""
    tail: float = 0.0
    """Weight of the worst episode in the fitness; the mean of all has the rest."""
    stretch: float = 1.0
    """Factor on the task's time limit in the first generation, falling to 1 at half of them: where reward is rare, more
    candidates find some."""
    slips: float = 0.1
    """Share of real actions replaced by random ones, so that what wins recovers from an imperfect agent."""
    misread: float = 0.0
    """Deviation of an error in what is observed, drawn for each episode and dimension and kept to its end, in units of
    the reach of a random policy's observations. An agent's policy turns a little too early or too late, and does so
    every time: what wins shall bear that."""
    calm: float = 0.0
    """What the fitness loses when the policy's action changes from one step to the next: by a half of a Box, or to
    another choice. A policy that moves gently is within reach of agents with few or small steps. The price rises from
    nothing in the first generation to this at half of them: what first finds a way is seldom gentle."""
    learner: Inner | None = None
    """Train this in the real task instead of evolving, and take its actor for the reward network: ppo, a2c or sac where
    actions are Discrete, sac, td3 or ddpg in a Box."""
    agents: int = 2
    """How many of them to train; the best is taken."""
    trials: int = 500
    """Real episodes by which it is told."""


@dataclass(frozen=True)
class StatesStage:
    """Stage 2: fit the start network to the states that the greedy policy visits, widened."""

    enabled: bool = True
    """Whether to do this at all."""
    episodes: int = 64
    """Real episodes under way at a time; each runs for the task's horizon and restarts when it ends."""
    slips: float = 1.0
    """Share of random actions: none in the first episode, rising to this share in the last."""
    widen: float = 3.0
    """Factor on the distance of visited states from their centre: agents learn faster from states that stand out."""
    floor: float = 0.0
    """Distance that the far end of every dimension is widened to at least: to a network with default weights and step
    sizes a velocity that never exceeds 0.07 is a constant."""
    graded: bool = False
    """Widen each state by a factor of its own, from none to all, instead of all of them fully."""
    nearest: float = 0.0
    """Where the grades begin: 0 at states as they were visited, towards 1 nearer to full widening."""
    telling: float = 0.0
    """Leave out widened states in which a random action costs too little: less than this share of the way from the
    least to the most that it costs in any of them. Where it hardly matters what is done, an agent with small steps
    learns to do nothing in particular, and takes that for an answer elsewhere."""
    stubborn: float = 0.0
    """Share of first states that policies see which never change their action. Agents who learned too little, or lost
    what they had learned, behave like that, and where it takes them the greedy policy does not go."""
    reach: float = 1.2
    """Half-width of the observation box over the widened states' far end (their 99.9 % quantile)."""
    updates: int = 300
    """Adam steps on the energy distance between drawn and visited states."""
    soft: float = 1.0
    """Factor on best actions before they are cut off at the bounds of a Box: below 1 a policy that switches from bound
    to bound bends between them, which agents with few or small steps follow further. Choices have nothing between."""
    scale: float = 12.0
    """How sharp rewards are before they are bounded: over visited states, the standard deviation of r(s, a) for
    Discrete actions, and the curvature of the quadratic for a Box."""
    height: float = 3.0
    """What the worst action costs at most."""
    noise: float = 0.3
    """Standard deviation of the luck in every reward; see `worlds.bandit` for what it is good for."""


@dataclass(frozen=True)
class DynamicsStage:
    """First half of stage 4, MDP form only: fit dynamics and termination on the real steps of stage 2."""

    enabled: bool = True
    """Whether to do this at all."""
    updates: int = 2000
    """Adam steps."""
    cost: float = 1.0
    """What ending an episode costs, in units of what a whole episode of random actions does; 0 for a task whose good
    actions end it, at a goal."""
    stride: int = 1
    """Real steps that one synthetic step stands for: the action is the first one's, the policy goes on from there. More
    than one for a task whose state hardly changes in one."""


@dataclass(frozen=True)
class InnerStage:
    """Stage 3: evolve the networks by the real return of agents trained inside."""

    enabled: bool = True
    """Whether to do this at all."""
    search: Search = field(default_factory=lambda: Search("snes", {"sigma": 0.03}, generations=30))
    loops: tuple[Inner, ...] = (Inner("ppo", 2048), Inner("a2c", 2000), Inner("dqn", 2000))
    """Kinds of inner loop, with draws shared by all candidates."""
    rotate: bool = True
    """Generation g uses loop g modulo their number, which is cheap; otherwise every generation uses all of them, so
    that what helps one kind of agent and harms another does not pass for progress."""
    parts: tuple[Literal["start", "reward", "transition", "cost", "noise", "height"], ...] = ("start", "reward")
    """Networks that evolve; the others stay as the stages before left them."""
    agents: int = 2
    """Agents a candidate."""
    episodes: int = 4
    """Real episodes an agent is scored on."""
    tail: float = 0.5
    """Weight of the worst agent in the fitness; the mean of all agents has the rest."""
    chunk: int = 8
    """Candidates trained together in one process."""


@dataclass(frozen=True)
class Exam:
    """After the last stage: agents with seeds and draws never used before, scored for the card."""

    loops: tuple[Inner, ...] = (Inner("ppo"), Inner("a2c"), Inner("dqn"))
    """Kinds of training that are examined."""
    agents: int = field(default=16, metadata={"least": 0})
    """Agents of each kind; 0 for no exam."""
    episodes: int = 20
    """Real episodes an agent is scored on."""


@dataclass(frozen=True)
class EnvRecipe:
    """How a synthetic environment is made."""

    id: str
    """Gymnasium id of the environment, e.g. SynthBandit-CartPole-v0."""
    target: str
    """The real task: a world in `synthenv.worlds` by Gymnasium id."""
    form: Literal["bandit", "mdp"] = "bandit"
    """One step an episode, or many."""
    seed: int = field(default=0, metadata={"least": -math.inf})
    """All randomness follows from it."""
    hidden: int = 32
    """Width of every network's hidden layer."""
    layers: tuple[int, ...] = ()
    """Widths of the hidden layers of the reward network and, in the MDP form, of the one for what follows; empty: one,
    of the width `hidden`."""
    latent: int = 4
    """Size of the Gaussian that initial states are drawn from."""
    activation: Literal["tanh", "relu", "silu"] = "tanh"
    """Of every network's hidden layer."""
    margin: float = 0.0
    """Share of the half of a Box that best actions keep off its edges, where losses grow faster: for learners whose
    actions are clipped."""
    shift: float = 0.0
    """What is added to every reward, bandit form only, where it leaves best actions as they are. About half of what the
    worst costs puts rewards around 0, where a critic begins: agents with small steps then lose no time."""
    horizon: int = 1
    """Steps of an episode at most: before truncation in the MDP form, 1 in the bandit form."""
    paired: bool = False
    """Score all candidates of a generation from the same real start states: common random numbers."""
    greedy: GreedyStage = field(default_factory=GreedyStage)
    states: StatesStage = field(default_factory=StatesStage)
    dynamics: DynamicsStage = field(default_factory=DynamicsStage)
    inner: InnerStage = field(default_factory=InnerStage)
    exam: Exam = field(default_factory=Exam)

    @property
    def time_limit(self) -> int | None:
        """Steps before truncation; None for a bandit, whose episodes terminate by themselves."""
        return self.horizon if self.form == "mdp" else None
