"""Planning in a simulator instead of learning in it: the cross-entropy method, afresh at every real step.

Many action sequences are tried out in imagination, those that paid best say where to try next, and of the best so far
only the first action is taken (de Boer et al. 2005; as a controller, Chua et al. 2018). Sequences that change slowly
reach further than white noise, and the best of the last step are tried again, a step on (Pinneri et al. 2020). To look
far ahead is worth more than to try much: where nothing falls for a while, a short look cannot tell plans apart.
Discrete actions are searched as numbers too: one a choice, of which the largest acts.

Letters: N episodes, K candidates, E elites, H steps ahead, O observation size, A action slots.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthenv.incontext.imagined import cut
from synthenv.incontext.world import Conduct, Simulator

PRICE = 0.2
"""What a unit of doubt costs a step of a plan unless told otherwise: of plans that pay alike, the one that stays where
the data are is taken. At 1 an early end is better than a long life in doubt; at 0 a pole stays up until the track ends.
"""


@dataclass(frozen=True)
class CEM:
    """How far and how hard to think."""

    horizon: int = 40
    """Steps ahead."""
    candidates: int = 24
    """Action sequences tried an iteration."""
    elites: int = 5
    """Of these, how many say where to try next."""
    kept: int = 3
    """Of the elites, how many are tried again."""
    iterations: int = 1
    """Times that is done at every step."""
    spread: float = 1.0
    """Standard deviation of actions tried at first, in units of half the Box."""
    persistence: float = 0.8
    """Correlation of the noise from one step to the next."""

    def __post_init__(self) -> None:
        if not 1 <= self.elites <= self.candidates:
            raise ValueError(f"expected elites from 1 to {self.candidates} candidates, got {self.elites}")
        if not 0 <= self.kept <= self.elites:
            raise ValueError(f"expected from 0 to {self.elites} elites to be kept, got {self.kept}")
        if not 0 <= self.persistence < 1:
            raise ValueError(f"expected persistence from 0 to less than 1, got {self.persistence}")
        if min(self.horizon, self.iterations) < 1:
            raise ValueError(f"expected at least one step ahead and one iteration, got {self}")


class Planner:
    """A policy that plans every action, for any number of episodes at once.

    It has SB3's `predict`. What it meant to do next is where it begins to search at the following step, so call
    `forget` between episodes.
    """

    def __init__(self, simulator: Simulator, settings: CEM | None = None, seed: int = 0, **conduct: Any) -> None:
        """`conduct` says how far the simulator is believed: `world.Conduct`, with a penalty of PRICE unless given."""
        self.simulator, self.settings = copy(simulator), settings or CEM()
        self.conduct = Conduct(**{"penalty": PRICE, **conduct})
        self.observation_space = simulator.spaces.observation
        self.generator = torch.Generator().manual_seed(seed)
        self.worst = min(0.0, float(simulator.data.reward.min()))
        edge = cut(simulator)
        self.even = edge / (1 - edge)
        self._meant: Tensor | None = None

    def forget(self) -> None:
        """Begin afresh: the next observations have nothing to do with the last."""
        self._meant = None

    def predict(self, observation: npt.NDArray[Any], **_: Any) -> tuple[npt.NDArray[Any], None]:
        """Actions for observations [N, O], choices [N] or numbers of a Box [N, A]; the same for a single one [O]."""
        seen = torch.from_numpy(np.array(observation, dtype=np.float32))
        single = seen.dim() == 1
        plans = self.plan(seen[None] if single else seen)  # [N, E, H, A]
        self._meant = torch.cat((plans[:, :, 1:], torch.zeros_like(plans[:, :, :1])), 2)
        action = self._actions(plans[:, 0, 0]).numpy()
        return action[0] if single else action, None

    def plan(self, observation: Tensor) -> Tensor:
        """Sequences of great imagined return from each observation [N, O], best first, as numbers: [N, E, H, A]."""
        settings = self.settings
        shape = (len(observation), settings.horizon, self.simulator.slots.acting)
        elite = self._meant
        if elite is None or len(elite) != len(observation):
            elite = torch.zeros((shape[0], settings.elites, *shape[1:]))
        middle, spread = elite[:, 0], torch.full(shape, settings.spread)
        for _ in range(settings.iterations):
            tried = middle[:, None] + spread[:, None] * self._noise((shape[0], settings.candidates, *shape[1:]))
            tried[:, : settings.kept] = elite[:, : settings.kept]
            if not self.simulator.slots.discrete:
                tried.clamp_(-1, 1)
            best = self.imagine(observation, tried).topk(settings.elites, 1).indices  # [N, E]
            elite = tried.gather(1, best[..., None, None].expand(-1, -1, *shape[1:]))
            middle, spread = elite.mean(1), elite.std(1, correction=0)
        return elite

    def imagine(self, observation: Tensor, tried: Tensor) -> Tensor:
        """Expected return [N, K] of sequences [N, K, H, A] begun in observation [N, O].

        Each step counts as much as it is likely that the episode has come that far; an end is as likely as not where
        the data say that it begins (see `cut`). Where the simulator is not believed any more, every further step pays
        the worst that the data have seen, or nothing where that is worse.
        """
        n, k, horizon, _ = tried.shape
        state = observation.repeat_interleave(k, 0)  # [N*K, O]
        alive, value = torch.ones(n * k), torch.zeros(n * k)
        lost = torch.zeros(n * k, dtype=torch.bool)
        price = self.conduct.penalty * self.simulator.wage
        for step in range(horizon):
            action = self._actions(tried[:, :, step].flatten(0, 1))
            prediction = self.simulator.foresee(state, action)
            chance, following = prediction.terminated, prediction.next_obs
            chance = chance / (chance + self.even * (1 - chance))
            reward = prediction.reward_where(chance)
            if price:
                reward = reward - price * self.simulator.doubt(prediction)
            lost = lost | self.simulator.strayed(prediction, following, self.conduct)
            value += alive * torch.where(lost, self.worst, reward)
            alive = alive * torch.where(lost, 1.0, 1 - chance)
            state = torch.where(lost[:, None], state, following)
        return value.view(n, k)

    def _noise(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers [N, K, H, A], each correlated with the one a step before."""
        noise, keep = torch.randn(shape, generator=self.generator), self.settings.persistence
        for step in range(1, shape[2]):
            noise[:, :, step] = keep * noise[:, :, step - 1] + (1 - keep**2) ** 0.5 * noise[:, :, step]
        return noise

    def _actions(self, numbers: Tensor) -> Tensor:
        """What numbers [Q, A] mean: choices int64 [Q], or a Box's own numbers [Q, A]."""
        slots = self.simulator.slots
        return numbers.argmax(-1) if slots.discrete else slots.box(numbers)
