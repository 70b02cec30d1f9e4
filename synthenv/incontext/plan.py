"""Planning in a simulator instead of learning in it: the cross-entropy method, afresh at every real step.

Many action sequences are tried out in imagination, those that paid best say where to try next, and of the best so far
only the first action is taken (de Boer et al. 2005; as a controller, Chua et al. 2018). Discrete actions are searched
as numbers too: one a choice, of which the largest acts.

Letters: N episodes, K candidates, H steps ahead, O observation size, A action slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthenv.incontext.world import Conduct, Simulator


@dataclass(frozen=True)
class CEM:
    """How far and how hard to think."""

    horizon: int = 25
    """Steps ahead."""
    candidates: int = 96
    """Action sequences tried an iteration."""
    elites: int = 12
    """Of these, how many say where to try next."""
    iterations: int = 3
    """Times that is done at every step."""
    spread: float = 1.0
    """Standard deviation of actions tried at first, in units of half the Box."""

    def __post_init__(self) -> None:
        if not 1 <= self.elites <= self.candidates:
            raise ValueError(f"expected elites from 1 to {self.candidates} candidates, got {self.elites}")
        if min(self.horizon, self.iterations) < 1:
            raise ValueError(f"expected at least one step ahead and one iteration, got {self}")


class Planner:
    """A policy that plans every action, for any number of episodes at once.

    It has SB3's `predict`. What it meant to do next is where it begins to search at the following step, so call
    `forget` between episodes.
    """

    def __init__(self, simulator: Simulator, settings: CEM | None = None, seed: int = 0, **conduct: Any) -> None:
        """`conduct` says how far the simulator is believed; see `world.Conduct`."""
        self.simulator, self.settings = simulator, settings or CEM()
        self.conduct = Conduct(**conduct)
        self.observation_space = simulator.spaces.observation
        self.generator = torch.Generator().manual_seed(seed)
        self.worst = min(0.0, float(simulator.data.reward.min()))
        self._meant: Tensor | None = None

    def forget(self) -> None:
        """Begin afresh: the next observations have nothing to do with the last."""
        self._meant = None

    def predict(self, observation: npt.NDArray[Any], **_: Any) -> tuple[npt.NDArray[Any], None]:
        """Actions for observations [N, O], choices [N] or numbers of a Box [N, A]; the same for a single one [O]."""
        seen = torch.from_numpy(np.array(observation, dtype=np.float32))
        single = seen.dim() == 1
        plan = self.plan(seen[None] if single else seen)
        self._meant = torch.cat((plan[:, 1:], torch.zeros_like(plan[:, :1])), 1)
        action = self._actions(plan[:, 0]).numpy()
        return action[0] if single else action, None

    def plan(self, observation: Tensor) -> Tensor:
        """The sequence of greatest imagined return from each observation [N, O], as numbers searched: [N, H, A]."""
        settings = self.settings
        shape = (len(observation), settings.horizon, self.simulator.slots.acting)
        mean = self._meant if self._meant is not None and self._meant.shape == shape else torch.zeros(shape)
        spread = torch.full(shape, settings.spread)
        best, record = mean, torch.full((len(observation),), -torch.inf)
        for _ in range(settings.iterations):
            noise = torch.randn((shape[0], settings.candidates, *shape[1:]), generator=self.generator)
            tried = mean[:, None] + spread[:, None] * noise  # [N, K, H, A]
            tried[:, 0] = best
            if not self.simulator.slots.discrete:
                tried.clamp_(-1, 1)
            value = self.imagine(observation, tried)  # [N, K]
            top = value.topk(settings.elites, 1)
            elite = tried.gather(1, top.indices[..., None, None].expand(-1, -1, *shape[1:]))  # [N, E, H, A]
            mean, spread = elite.mean(1), elite.std(1, correction=0)
            better = top.values[:, 0] > record
            best = torch.where(better[:, None, None], elite[:, 0], best)
            record = torch.where(better, top.values[:, 0], record)
        return best

    def imagine(self, observation: Tensor, tried: Tensor) -> Tensor:
        """Expected return [N, K] of sequences [N, K, H, A] begun in observation [N, O].

        Each step counts as much as it is likely that the episode has come that far. Where the simulator is not believed
        any more, every further step pays the worst that the data have seen, or nothing where that is worse.
        """
        n, k, horizon, _ = tried.shape
        state = observation.repeat_interleave(k, 0)  # [N*K, O]
        alive, value = torch.ones(n * k), torch.zeros(n * k)
        lost = torch.zeros(n * k, dtype=torch.bool)
        price = self.conduct.penalty * self.simulator.wage
        for step in range(horizon):
            action = self._actions(tried[:, :, step].flatten(0, 1))
            prediction = self.simulator.foresee(state, action)
            reward, following = prediction.reward, prediction.next_obs
            if price:
                reward = reward - price * self.simulator.doubt(prediction)
            lost = lost | self.simulator.strayed(prediction, following, self.conduct)
            value += alive * torch.where(lost, self.worst, reward)
            alive = alive * torch.where(lost, 1.0, 1 - prediction.terminated)
            state = torch.where(lost[:, None], state, following)
        return value.view(n, k)

    def _actions(self, numbers: Tensor) -> Tensor:
        """What numbers [Q, A] mean: choices int64 [Q], or a Box's own numbers [Q, A]."""
        slots = self.simulator.slots
        return numbers.argmax(-1) if slots.discrete else slots.box(numbers)
