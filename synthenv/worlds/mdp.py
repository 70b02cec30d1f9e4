"""The multi-step synthetic environment: the bandit's states and rewards, with learned dynamics and termination."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from synthenv.nets import init_uniform
from synthenv.tree import part, prefixed
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.base import Outcome, Params, State


class SyntheticMDP(SyntheticBandit):
    """A synthetic task that goes on: s' = s + f(s, a), ends where a learned test says so.

    Rewards are the bandit's. Where ends are free, or the preferred actions do not lead to one, V* = 0 and Q* is the
    reward, for every discount, horizon and dynamics, and the optimal policy is the bandit's. Ending costs cost.end
    besides: an agent that does not act well yet expects a negative future, and would otherwise learn to end it.

    Parameters: the bandit's, noise included; transition.*, which foresees the change of u and a logit of the end as
    `payoff` arranges them; cost.end [P, 1], never negative.
    """

    name: ClassVar[str] = "mdp"

    def init(self, generator: torch.Generator, population: int) -> Params:
        """Random networks, leaves [P, ...]."""
        sizes = self.payoff.transition(self.observation_size, self.layers)
        transition = init_uniform(generator, population, sizes)
        cost = torch.zeros((population, 1), device=generator.device)
        return {**super().init(generator, population), **prefixed("transition", transition), "cost.end": cost}

    def predict(self, params: Params, u: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Next unit state before clamping [P, N, O] and logit of the end [P, N], for u [P, N, O] and actions."""
        foreseen = self.payoff.foresee(part(params, "transition"), u, action, self.activation)  # [P, N, O+1]
        return u + foreseen[..., :-1], foreseen[..., -1]

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One step with actions [P, N] or [P, N, A]; the next state is kept inside the box."""
        paid = self.pay(params, state, action, generator)
        following, end = self.predict(params, state["u"], action)
        state, ended = {"u": following.clamp(-1, 1)}, end > 0
        paid = paid - ended * params["cost.end"].clamp(min=0)
        return state, Outcome(self.observe(params, state), paid, ended)
