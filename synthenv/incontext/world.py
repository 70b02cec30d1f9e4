"""A world model and what becomes of it when it is shown a task: a simulator of that task.

    data = Transitions.collect("CartPole-v1", n=1000)
    sim = WorldModel.load().condition(data)
    p = sim.predict(obs, action)

No network is trained here: closed forms are fitted to the transitions once, and then the model answers for any number
of imagined episodes at a time. Nothing is known of any task: ends, rewards and first states follow from the transitions
alone, and so does which numbers are cosine and sine of an angle. Only the finite bounds of the observation space are
kept to.

Letters: Q queries, O observation size, A action size (Box), S known first states, L quantile levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthenv.incontext import weights
from synthenv.incontext.belief import Engine, deviation, drawn
from synthenv.incontext.circles import Circles, onto, unrolled
from synthenv.incontext.slots import Slots
from synthenv.incontext.transitions import Transitions

if TYPE_CHECKING:
    from synthenv.incontext.diagnose import Diagnosis
    from synthenv.incontext.envs import InContextEnv, InContextVectorEnv
    from synthenv.incontext.imagined import ImaginedWorld

Array = npt.ArrayLike | Tensor


class Draw(NamedTuple):
    """One possible outcome of each query: next_obs [Q, O], reward [Q], terminated [Q] bool."""

    next_obs: Tensor
    reward: Tensor
    terminated: Tensor


@dataclass(frozen=True)
class Prediction:
    """What is expected to follow, tensors on the CPU.

    next_obs:   [Q, O] mean, within the observation space's finite bounds; of cosine and sine those of the mean angle.
    reward:     [Q] mean.  reward_std: [Q].  reward_quantiles: [Q, L] where nothing ends; an end pays `prize` more.
    terminated: [Q] probability.
    quantiles:  [Q, O, L] of the change of the observation, at `model.LEVELS`.
    turns:      [Q, K, L] of the angles that K pairs of cosine and sine turn by, `circles`, where that is known.
    """

    observation: Tensor
    next_obs: Tensor
    reward: Tensor
    reward_quantiles: Tensor
    terminated: Tensor
    quantiles: Tensor
    bounds: tuple[Tensor, Tensor]
    circles: Circles = ()
    turns: Tensor | None = None
    prize: float = 0.0

    @property
    def next_obs_std(self) -> Tensor:
        """Standard deviation of the next observation, [Q, O]."""
        return deviation(self.quantiles)

    @property
    def reward_std(self) -> Tensor:
        """Standard deviation of the reward, [Q]."""
        luck = self.prize**2 * self.terminated * (1 - self.terminated)
        return (deviation(self.reward_quantiles).square() + luck).sqrt()

    def sample(self, generator: torch.Generator) -> Draw:
        """One outcome a query, from the predicted distributions."""
        following = self.sample_next_obs(generator)
        reward, chance = (torch.rand(self.reward.shape, generator=generator) for _ in range(2))
        terminated = chance < self.terminated
        return Draw(following, drawn(self.reward_quantiles, reward) + self.prize * terminated, terminated)

    def reward_where(self, terminated: Tensor) -> Tensor:
        """Mean reward [Q] of steps that end or do not: bool [Q], or the probability that they do."""
        return self.reward + self.prize * (terminated.float() - self.terminated) if self.prize else self.reward

    def sample_next_obs(self, generator: torch.Generator) -> Tensor:
        """Next observations [Q, O], each number by its own quantiles, cosine and sine by those of the angle."""
        return self.next_obs_at(torch.rand(self.observation.shape, generator=generator))

    def next_obs_at(self, share: Tensor) -> Tensor:
        """Next observations [Q, O] that shares [Q, O] of each number's distribution are below.

        Cosine and sine are where the angle's turn is that the share of the first of the two is below.
        """
        change = drawn(self.quantiles, share)
        if self.turns is not None:
            first = [first for first, _ in self.circles]
            change[:, first] = drawn(self.turns, share[:, first])
            change = unrolled(self.circles, self.observation, change)
        return (self.observation + change).clamp(*self.bounds)


@dataclass(frozen=True)
class Conduct:
    """How episodes are played in a simulator, and how far it is believed."""

    sampled: bool = True
    """Draw what follows from the predicted distribution; otherwise its mean follows."""
    threshold: float | None = None
    """End where the probability of an end is above this; None ends by chance, with that probability. Where no
    transition shown has ended a small one is nothing but caution, and None ends where an end is likelier than not."""
    penalty: float = 0.0
    """What a unit of doubt (see `Simulator.doubt`) costs a step, as in MOPO (Yu et al. 2020), in units of the data's
    typical reward (root mean square, prizes included); below 0 it pays, and sends agents where more should be seen."""
    max_std: float | None = None
    """Cut episodes where doubt is above this."""
    margin: float | None = None
    """Cut episodes that leave the range of the data, in any number, by more than this share of that range."""
    jitter: float = 0.1
    """First states are those of the data, moved by a Gaussian of this share of how they vary."""
    anywhere: float = 0.0
    """Share of episodes that begin in any state of the data instead, as in MBPO (Janner et al. 2019): where a goal was
    met once, some begin close to it."""

    def __post_init__(self) -> None:
        for name in ("max_std", "margin", "jitter"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise ValueError(f"expected {name} to be no less than 0, got {value}")
        if not 0 <= self.anywhere <= 1:
            raise ValueError(f"expected anywhere as a share from 0 to 1, got {self.anywhere}")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ValueError(f"expected threshold as a probability between 0 and 1, got {self.threshold}")


class WorldModel:
    """A model that simulates whatever task it is shown a few transitions of."""

    def __init__(self, engine: Engine, compiles: bool = False) -> None:
        self.engine, self.compiles = engine, compiles

    @classmethod
    def load(cls, name: str | Path | None = None) -> WorldModel:
        """The model that ships, another on the shelf by name, or one from a folder of one's own."""
        return cls(weights.load(name))

    def compiled(self) -> WorldModel:
        """The same model whose single imagined episodes are played by a compiled function; see `compiled`."""
        return WorldModel(self.engine, compiles=True)

    def condition(self, data: Transitions) -> Simulator:
        """A simulator of the task that the transitions are from."""
        return Simulator(self.engine, data, self.compiles)


class Simulator:
    """A world model that has been shown a task.

    Environments, worlds and planners made from it know what it knew when they were made: after `append`, make new ones.
    """

    def __init__(self, engine: Engine, data: Transitions, compiles: bool = False) -> None:
        """`compiles` says whether steps of one episode are to be compiled."""
        self.engine, self.compiles = engine, compiles
        self._show(data)

    def _show(self, data: Transitions) -> None:
        """Encode the transitions, once."""
        self.data, self.spaces = data, data.spaces
        self.size = data.spaces.observation.shape[0]
        self.slots = Slots(data.spaces.action, self.size)
        rows, shape = data.rows()
        self.circles = shape.circles
        with torch.inference_mode():
            self.known = self.engine.condition(rows, shape)
        both = np.concatenate((data.observation, data.following))
        self.seen = torch.from_numpy(both.min(0)), torch.from_numpy(both.max(0))  # [O] each
        low, high = (torch.from_numpy(side) for side in (data.spaces.observation.low, data.spaces.observation.high))
        self.bounds = torch.minimum(low, self.seen[0]), torch.maximum(high, self.seen[1])
        change = torch.from_numpy(data.following - data.observation).double()
        self.spread = change.square().mean(0).sqrt().float()  # [O]
        self._certainty = torch.where(self.spread > 0, 1 / self.spread, 0.0)
        width = self.seen[1] - self.seen[0]
        self._narrow = torch.where(width > 0, 1 / width, 0.0)
        self.ends = bool(data.terminated.any())
        self.wage = float(np.sqrt(np.square(data.reward.astype(np.float64)).mean())) or 1.0
        begun = data.observation[data.start] if data.start.any() else data.observation
        self.starts, self._states = torch.tensor(begun), torch.tensor(data.observation)  # [S, O], [C, O]
        whole = torch.from_numpy((both == both.round()).all(0))
        self._room = self.starts.std(0, correction=0).masked_fill(whole, 0.0)  # [O], how starts vary where they may

    def append(self, more: Transitions) -> Simulator:
        """Show further transitions of the task; returns the same simulator, which knows them from now on.

        Nothing that was known is written to, so shallow copies go on without them.
        """
        self._show(self.data.join(more))
        return self

    def predict(self, obs: Array, action: Array) -> Prediction:
        """What follows from observations [Q, O] and actions, choices [Q] or numbers of a Box [Q, A]."""
        observation = _floats(obs)
        if observation.shape[1:] != (self.size,):
            raise ValueError(f"expected observations [Q, {self.size}], got shape {tuple(observation.shape)}")
        if not observation.isfinite().all():
            raise ValueError("expected finite observations, got NaN or infinite ones")
        return self.foresee(observation, self._actions(action, len(observation)))

    def foresee(self, observation: Tensor, action: Tensor) -> Prediction:
        """`predict` for what is known to be sound: float32 [Q, O], and int64 [Q] or float32 [Q, A]."""
        untracked = torch.no_grad if torch.compiler.is_compiling() else torch.inference_mode  # faster, not compiled yet
        with untracked():
            asked = self.slots.observations(observation), self.slots.actions(action)
            belief = self.engine.believe(self.known, *(leaf[None] for leaf in asked))
        # computed out here, results are ordinary tensors, which autograd takes
        return Prediction(
            observation,
            (observation + belief.change[0, :, : self.size]).clamp(*self.bounds),
            belief.reward[0].clone(),
            belief.rewards[0],
            belief.end[0].sigmoid(),
            belief.quantiles[0, :, : self.size],
            self.bounds,
            () if belief.turns is None else self.circles,
            None if belief.turns is None else belief.turns[0],
            belief.prize,
        )

    def doubt(self, prediction: Prediction) -> Tensor:
        """How little is known of what is predicted, [Q]: 0 for nothing unknown, 1 and more for a guess.

        The sum of three parts: the standard deviation of the observation, in units of how much it changes from step to
        step, and how far it leaves the range of the data, in units of that range, both of the number where it is most;
        and the standard deviation of the reward where nothing ends, in units of the data's typical one. The second is
        for what may lie out there that no model can foresee, a limit that ends episodes, say; the third for moves that
        were never made.
        """
        apart = (prediction.next_obs_std * self._certainty).amax(-1)
        paid = deviation(prediction.reward_quantiles) / self.wage
        return apart + self.beyond(prediction.next_obs).amax(-1) + paid

    def beyond(self, observation: Tensor) -> Tensor:
        """How far observations [Q, O] are outside the range of the data, in units of that range: [Q, O], 0 inside."""
        low, high = self.seen
        return (torch.maximum(low - observation, observation - high) * self._narrow).clamp(min=0)

    def strayed(self, prediction: Prediction, following: Tensor, conduct: Conduct) -> Tensor:
        """Where the simulator is not to be believed any more, having predicted that `following` [Q, O] comes: [Q]."""
        lost = ~following.isfinite().all(-1)  # what runs away is not known either
        if conduct.max_std is not None:
            lost |= self.doubt(prediction) > conduct.max_std
        if conduct.margin is not None:
            lost |= (self.beyond(following) > conduct.margin).any(-1)
        return lost

    def first(self, generator: torch.Generator, n: int, conduct: Conduct) -> Tensor:
        """First observations of n episodes [N, O]: those of the data, with the jitter of a conduct.

        Numbers that have always been whole are left alone, and cosine and sine stay those of an angle.
        """
        chosen = self.starts[torch.randint(len(self.starts), (n,), generator=generator)]
        moved = chosen + conduct.jitter * self._room * torch.randn(chosen.shape, generator=generator)
        if conduct.anywhere:
            other = self._states[torch.randint(len(self._states), (n,), generator=generator)]
            moved = torch.where(torch.rand((n, 1), generator=generator) < conduct.anywhere, other, moved)
        return onto(self.circles, moved).clamp(*self.bounds)

    def world(self, horizon: int | None = None, **conduct: Any) -> ImaginedWorld:
        """The simulator as a `worlds.World`, in which learners, rollouts and meta-learning work.

        `horizon` is that of the real task unless given; for the rest see `Conduct`.
        """
        from synthenv.incontext.imagined import ImaginedWorld

        return ImaginedWorld(self, Conduct(**conduct), horizon)

    def make_env(
        self, max_episode_steps: int | None = None, render_mode: str | None = None, **conduct: Any
    ) -> InContextEnv:
        """A Gymnasium environment; episodes are truncated where the real task's are, unless told otherwise.

        For the rest see `Conduct`.
        """
        from synthenv.incontext.envs import InContextEnv

        return InContextEnv(self, max_episode_steps, render_mode=render_mode, **conduct)

    def make_vec(self, n: int, max_episode_steps: int | None = None, **settings: Any) -> InContextVectorEnv:
        """A Gymnasium vector environment of n episodes in one call; settings are those of `envs.InContextVectorEnv`."""
        from synthenv.incontext.envs import InContextVectorEnv

        return InContextVectorEnv(self, n, max_episode_steps, **settings)

    def diagnose(self, holdout: Transitions, steps: int = 20) -> Diagnosis:
        """How good the simulator is on transitions it was not shown, and where not to trust it."""
        from synthenv.incontext.diagnose import diagnose

        return diagnose(self, holdout, steps)

    def _actions(self, action: Array, count: int) -> Tensor:
        """Actions as int64 [Q] or float32 [Q, A]; raises ValueError for those the task does not have."""
        given = action if isinstance(action, Tensor) else torch.as_tensor(np.array(action))
        shape = (count,) if self.slots.discrete else (count, self.slots.acting)
        sound = tuple(given.shape) == shape and given.dtype != torch.bool
        if sound and self.slots.discrete:
            sound = not given.is_floating_point() and bool((given >= 0).all() and (given < self.slots.acting).all())
        elif sound:
            sound = not bool(given.isnan().any())
        if not sound:
            raise ValueError(
                f"expected {count} actions of {self.spaces.action}, shape {shape}, got {given.dtype} of shape "
                f"{tuple(given.shape)}"
            )
        return given.long() if self.slots.discrete else given.float()


def _floats(data: Array) -> Tensor:
    """Numbers as a float32 tensor."""
    return data.float() if isinstance(data, Tensor) else torch.from_numpy(np.array(data, dtype=np.float32))
