"""The difficulty dial: the multi-step form with its signal moved from the action's own step to the ones after it.

In advantage form an agent that ignores the future does as well as any. Potential-based shaping (Ng, Harada, Russell
1999) adds gamma Psi(s') - Psi(s) to rewards, for whatever function Psi of states, and every Q*(s, a) falls by Psi(s),
alike for all actions: the optimal policy stays. It is meant to bring far rewards near. Here it is run backwards, with
Phi = -Psi fitted so that gamma Phi(s') takes away what r(s, a) says about the action, and Phi(s') gives it back later.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from synthenv.nets import init_uniform, mlp
from synthenv.tree import Tree, part, prefixed
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.base import Outcome, Params, State
from synthenv.worlds.mdp import SyntheticMDP

Array = Any
"""A tensor, or a numpy array where `synthenv.players` computes."""
FEATURES = 128
"""Random tanh features of a state that the potential is made of."""
EPISODES, STEPS, TRIES = 128, 16, 8
"""The fit's own sample: the states of a short walk, and random actions compared in each of them."""
RIDGE = 1e-2
"""Penalty on the potential's size, in mean squares of a feature's change."""


class DelayedMDP(SyntheticMDP):
    """Pays r(s, a) + Phi(s) - discount Phi(s'), where Phi is 0 once the world has ended the episode.

    For agents of that discount Q*(s, a) is the plain form's plus Phi(s), so the optimal policy is the same, and in the
    plain form it is known. A time limit is no end: an agent that bootstraps there, as it should, loses nothing.

    Parameters: the MDP's; potential.* (O -> 1) is Phi; discount.delay [P, 1].
    """

    def init(self, generator: torch.Generator, population: int) -> Params:
        """Random networks, leaves [P, ...], and a potential of 0."""
        potential = init_uniform(generator, population, (self.observation_size, FEATURES, 1))
        potential |= {name: torch.zeros_like(potential[name]) for name in ("w1", "b1")}
        discount = torch.full((population, 1), 0.99, device=generator.device)
        return {
            **super().init(generator, population),
            **prefixed("potential", potential),
            "discount.delay": discount,
        }

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """One step with actions [P, N] or [P, N, A], paid late."""
        following, outcome = super().step(params, state, action, generator)
        now, then = self.potential(params, state["u"]), self.potential(params, following["u"])
        paid = put_off(outcome.reward, now, then, outcome.terminated, params["discount.delay"])
        return following, outcome._replace(reward=paid)

    def potential(self, params: Params, u: Tensor) -> Tensor:
        """Phi in unit states u [P, N, O]: [P, N]."""
        return mlp(part(params, "potential"), u)[..., 0]


def put_off(reward: Array, now: Array, then: Array, terminated: Array, discount: Array | float) -> Array:
    """r + Phi(s) - discount Phi(s'), [...] each: `now` and `then` are Phi before and after; an end is worth nothing."""
    return reward + now - discount * then * ~terminated


def delayed(world: SyntheticBandit, params: Params, delay: float, discount: float) -> tuple[DelayedMDP, Params]:
    """The same world, one member, params leaves [1, ...], with its rewards put off, for agents of that discount.

    delay is the share of the signal that is missing at first: 0 leaves rewards as they are, at 1 an action's own reward
    says next to nothing about it, and beyond 1 it speaks for the wrong action. Equal worlds, equal potentials.
    """
    if not isinstance(world, SyntheticMDP):
        raise ValueError(f"expected the multi-step form to delay rewards in, got form '{world.name}'; leave delay at 0")
    if not (delay >= 0 and 0 < discount <= 1):
        raise ValueError(f"expected delay >= 0 and discount in (0, 1], got delay={delay} and discount={discount}")
    late = DelayedMDP(
        world.spaces.action, world.reach, world.centre, world.hidden, world.latent, world.activation, world.layers,
        world.margin,
    )  # fmt: skip
    potential = fitted(world, params, discount)
    potential |= {name: delay * potential[name] for name in ("w1", "b1")}
    level = params["cost.end"].new_full((1, 1), discount)
    return late, {**params, **prefixed("potential", potential), "discount.delay": level}


def fitted(world: SyntheticMDP, params: Params, discount: float) -> Tree:
    """The potential, leaves [1, ...], under which r(s, a) - discount Phi(s') varies least over the actions in a state.

    Random features and a ridge regression of their weights, on differences between actions alone. Its mean is 0.
    """
    device = params["cost.end"].device
    generator = torch.Generator(device).manual_seed(0)
    u = walked(world, params, generator)
    tried = {"u": u.repeat_interleave(TRIES, 1)}  # [1, M, O] -> [1, M*TRIES, O]
    action = world.payoff.random((1, tried["u"].shape[1]), generator)
    paid = world.pay(params, tried, action, None)[0] / discount
    following, outcome = world.step(params, tried, action)
    weight = torch.randn((1, world.observation_size, FEATURES), generator=generator, device=device)
    bias = torch.randn((1, 1, FEATURES), generator=generator, device=device)

    def features(u: Tensor) -> Tensor:
        seen: Tensor = torch.baddbmm(bias, u, weight).tanh()
        return seen[0]

    def between_actions(x: Tensor) -> Tensor:
        tries: Tensor = x.double().unflatten(0, (-1, TRIES))
        return (tries - tries.mean(1, keepdim=True)).flatten(0, 1)

    change = between_actions(features(following["u"]) * ~outcome.terminated[0, :, None])  # [M*TRIES, FEATURES]
    penalty = RIDGE * len(change) * change.square().mean() * torch.eye(FEATURES, dtype=change.dtype, device=device)
    solved = torch.linalg.solve(change.T @ change + penalty, change.T @ between_actions(paid)).float()
    level = -(features(u) @ solved).mean()
    return {"w0": weight, "b0": bias, "w1": solved[None, :, None], "b1": level.reshape(1, 1, 1)}


def walked(world: SyntheticMDP, params: Params, generator: torch.Generator) -> Tensor:
    """Unit states of episodes that take the best action and a random one in turn: [1, EPISODES * STEPS, O]."""
    state = world.reset(params, generator, EPISODES)
    seen = []
    for step in range(STEPS):
        seen.append(state["u"])
        wild = world.payoff.random((1, EPISODES), generator)
        best = world.best_action(params, world.observe(params, state))
        state, _ = world.step(params, state, wild if step % 2 else best)
    return torch.cat(seen, 1)
