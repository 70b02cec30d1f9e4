"""A simulator as a world: learners, rollouts and meta-learning take it for the task itself.

Letters: P population members, N episodes in parallel, Q = P * N queries, O observation size, A action size.
"""

from __future__ import annotations

import hashlib
from copy import copy
from dataclasses import replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from synthenv.compiled import compiled
from synthenv.incontext.transitions import FLAGS, NUMBERS
from synthenv.incontext.world import Conduct, Simulator
from synthenv.worlds.base import Outcome, Params, State

EVEN = 0.5
"""The probability of an end from which on it is likelier than not."""


class Move(NamedTuple):
    """One imagined step.

    observation: [Q, O].  reward: [Q].  terminated: [Q] bool.
    lost:        [Q] bool, the simulator is not believed any more; such an observation is the last that was.
    """

    observation: Tensor
    reward: Tensor
    terminated: Tensor
    lost: Tensor


def move(
    simulator: Simulator, conduct: Conduct, observation: Tensor, action: Tensor, generator: torch.Generator | None
) -> Move:
    """A step from observation [Q, O] with action [Q] or [Q, A]; without a generator, the most likely one."""
    share = chance = None
    if generator is not None and conduct.sampled:
        share = torch.rand(observation.shape, generator=generator)
    if generator is not None and conduct.threshold is None and simulator.ends:
        chance = torch.rand(len(observation), generator=generator)
    step = compiled(_moved) if simulator.compiles and len(observation) == 1 else _moved
    return step(simulator, conduct, observation, action, share, chance)


def _moved(
    simulator: Simulator, conduct: Conduct, observation: Tensor, action: Tensor,
    share: Tensor | None, chance: Tensor | None,
) -> Move:  # fmt: skip
    """What follows where luck, if there is any, is this share [Q, O] of the next observations and chance [Q] to end."""
    prediction = simulator.foresee(observation, action)
    following = prediction.next_obs if share is None else prediction.next_obs_at(share)
    likely = prediction.terminated
    terminated = likely > (conduct.threshold or EVEN) if chance is None else chance < likely
    lost = simulator.strayed(prediction, following, conduct)
    terminated = terminated & ~lost
    reward = prediction.reward_where(terminated)
    if conduct.penalty:
        reward = reward - conduct.penalty * simulator.wage * simulator.doubt(prediction)
    following = torch.where(lost[:, None], observation, following)
    reward = torch.where(reward.isfinite() | ~lost, reward, 0.0)
    return Move(following, reward, terminated, lost)


def cut(simulator: Simulator) -> float:
    """The probability of an end above which, of the transitions shown, as many lie as really ended.

    Where few have ended the model is sure of where an end is likelier, not that it is likely. EVEN where none has.
    """
    data, ended = simulator.data, int(simulator.data.terminated.sum())
    if not 0 < ended < len(data):
        return EVEN
    logits = simulator.predict(data.observation, data.action).terminated.double().logit(1e-9).sort(descending=True)
    return float(logits.values[ended - 1 : ended + 1].mean().sigmoid())


class ImaginedWorld:
    """The task that a simulator was shown, as a `worlds.base.RealTask`.

    All P * N episodes are one batch of queries. Where the simulator is not to be believed any more (see `Conduct`) an
    episode is not over, for an end would be welcome where steps cost: it stands still, and every further step pays the
    worst that the data have seen, or nothing where they have seen nothing worse.

    Ended episodes stand still as well. What stands still costs no query.

    Parameters: none, as `nothing` [P, 0]. State: observation [P, N, O]; still [P, N] bool, ended or not believed.
    """

    chunk: ClassVar[int] = 32
    """Candidates to score together: with few, all processes have some."""

    def __init__(self, simulator: Simulator, conduct: Conduct, horizon: int | None = None) -> None:
        """`horizon` is the real task's unless given; raises ValueError where neither is known."""
        data = simulator.data
        limit = horizon or data.real_horizon
        if limit is None:
            raise ValueError("the transitions do not tell after how many steps an episode is truncated: give a horizon")
        self.simulator, self.conduct, self.horizon = copy(simulator), conduct, limit
        self.name, self.spaces = data.task or "imagined", simulator.spaces
        self.worst = min(0.0, float(data.reward.min()))

    @property
    def fingerprint(self) -> str:
        """A digest of what happens here and why, by which a run that was interrupted knows its world again."""
        data, engine = self.simulator.data, self.simulator.engine
        conduct = replace(self.conduct, threshold=None)  # that is computed: its last bits depend on the machine
        digest = hashlib.sha256(repr((type(engine).__qualname__, conduct, self.horizon)).encode())
        seen = [getattr(data, name) for name in NUMBERS + FLAGS]
        weights = engine.state_dict().values() if isinstance(engine, torch.nn.Module) else ()
        for leaf in (*seen, *(weight.double().numpy(force=True) for weight in weights)):
            digest.update(leaf.tobytes())
        return f"one imagined from {len(data)} transitions, {digest.hexdigest()[:16]}"

    def init(self, generator: torch.Generator, population: int) -> Params:
        """No parameters: the members are copies of the task."""
        return {"nothing": torch.zeros((population, 0))}

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """First states of n episodes a member, resampled from those of the data."""
        population = len(params["nothing"])
        observation = self.simulator.first(generator, population * n, self.conduct)
        still = torch.zeros((population, n), dtype=torch.bool)
        return {"observation": observation.unflatten(0, (population, n)), "still": still}

    def observe(self, params: Params, state: State) -> Tensor:
        """The state itself, [P, N, O]."""
        return state["observation"]

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One step of every episode; action [P, N] or [P, N, A]. Without a generator, the most likely one."""
        observation, still = state["observation"].clone(), state["still"].clone()
        reward, terminated = torch.full(still.shape, self.worst), torch.zeros_like(still)
        if (on := ~still).any():
            moved = move(self.simulator, self.conduct, observation[on], action[on], generator)
            observation[on], terminated[on] = moved.observation, moved.terminated
            reward[on] = moved.reward.masked_fill(moved.lost, self.worst)
            still[on] = moved.terminated | moved.lost
        return {"observation": observation, "still": still}, Outcome(observation, reward, terminated)
