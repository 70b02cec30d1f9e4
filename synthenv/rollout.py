"""The only loops over time: auto-reset, time limits, collecting experience, measuring returns.

Everything here works on any world and any policy; a policy is a function from observations [P, N, O] to actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from synthenv.tree import repeat, take, where
from synthenv.worlds.base import Params, State, World
from synthenv.worlds.payoff import Payoff

Act = Callable[[Tensor, torch.Generator], Tensor]
"""Observations [P, N, O] and a generator to actions [P, N] (Discrete) or [P, N, A] (Box)."""


@runtime_checkable
class Restarting(Protocol):
    """A world that begins single episodes again by itself, because a start is dear: others are reset as a whole.

    Such a world also lets episodes that are over stand still, at no reward, when it is stepped.
    """

    def restart(self, params: Params, state: State, ended: Tensor, generator: torch.Generator) -> State:
        """The state [P, N, ...] in which the episodes of ended [P, N] bool have begun again."""


def uniform(payoff: Payoff) -> Act:
    """The policy of uniformly random actions in the space that a payoff is for."""

    def act(observation: Tensor, generator: torch.Generator) -> Tensor:
        return payoff.random((observation.shape[0], observation.shape[1]), generator)

    return act


def slipping(act: Act, payoff: Payoff, share: Tensor | float) -> Act:
    """The policy `act` with a share (one for all, or [N]) of its actions replaced by random ones."""

    def slipped(observation: Tensor, generator: torch.Generator) -> Tensor:
        population, n = observation.shape[:2]
        action = act(observation, generator)
        chance = torch.rand((population, n), generator=generator, device=action.device)
        wild = payoff.random((population, n), generator)
        return torch.where((chance < share).reshape(population, n, *[1] * (action.dim() - 2)), wild, action)

    return slipped


class Episodes(NamedTuple):
    """Episodes under way.

    state:       leaves [P, N, ...].
    observation: [P, N, O] what the agent sees now.
    elapsed:     [P, N] int64, steps since the episode began.
    """

    state: State
    observation: Tensor
    elapsed: Tensor


class Steps(NamedTuple):
    """Experience, in the order it happened.

    observation: [P, T, N, O] before the action.
    action:      [P, T, N] or [P, T, N, A].
    reward:      [P, T, N].
    terminated:  [P, T, N] bool, the world ended the episode.
    truncated:   [P, T, N] bool, the time limit did (never together with terminated).
    following:   [P, T, N, O] after the action and before any restart: what to bootstrap from.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    following: Tensor


def begin(world: World, params: Params, generator: torch.Generator, n: int) -> Episodes:
    """n fresh episodes a member."""
    state = world.reset(params, generator, n)
    observation = world.observe(params, state)
    return Episodes(state, observation, torch.zeros(observation.shape[:2], dtype=torch.long, device=observation.device))


def advance(
    world: World,
    params: Params,
    episodes: Episodes,
    action: Tensor,
    generator: torch.Generator,
    horizon: int | None,
) -> tuple[Episodes, Steps]:
    """One step of every episode; those that ended, by world or by time limit, begin again at once.

    action [P, N] or [P, N, A]. Returns the episodes and one step, leaves [P, N, ...] without a time axis.
    """
    state, outcome = world.step(params, episodes.state, action, generator)
    elapsed = episodes.elapsed + 1
    late = elapsed >= horizon if horizon is not None else torch.zeros_like(outcome.terminated)
    truncated = late & ~outcome.terminated
    ended = outcome.terminated | truncated
    step = Steps(episodes.observation, action, outcome.reward, outcome.terminated, truncated, outcome.observation)
    if not ended.any():
        return Episodes(state, outcome.observation, elapsed), step
    if isinstance(world, Restarting):
        state = world.restart(params, state, ended, generator)
    else:
        state = where(ended, world.reset(params, generator, action.shape[1]), state)
    observation = torch.where(ended[..., None], world.observe(params, state), outcome.observation)
    return Episodes(state, observation, elapsed.masked_fill(ended, 0)), step


def collect(
    world: World,
    params: Params,
    act: Act,
    episodes: Episodes,
    length: int,
    generator: torch.Generator,
    horizon: int | None,
) -> tuple[Steps, Episodes]:
    """`length` steps of every episode, leaves [P, T, N, ...], and the episodes as they then stand."""
    steps = []
    for _ in range(length):
        action = act(episodes.observation, generator)
        episodes, step = advance(world, params, episodes, action, generator, horizon)
        steps.append(step)
    return Steps(*(torch.stack(leaves, 1) for leaves in zip(*steps, strict=True))), episodes


def evaluate(
    world: World, params: Params, act: Act, generator: torch.Generator, n: int, horizon: int, paired: bool = False
) -> tuple[Tensor, Tensor]:
    """Undiscounted return and length of n whole episodes a member, both [P, N]; the lengths' sum is the price.

    paired: members begin in the same n states, so that luck at the start cannot decide between them. Theirs are the
    first member's parameters then, as far as the start goes.
    """
    if paired and not isinstance(world, Restarting):
        state = repeat(world.reset(take(params, 0), generator, n), len(next(iter(params.values()))))
    else:
        state = world.reset(params, generator, n)
    observation = world.observe(params, state)
    returns = torch.zeros(observation.shape[:2], device=observation.device)
    lengths = torch.zeros_like(returns)
    alive = torch.ones_like(returns, dtype=torch.bool)
    for _ in range(horizon):
        state, outcome = world.step(params, state, act(observation, generator), generator)
        returns += torch.where(alive, outcome.reward, 0.0)
        lengths += alive
        alive &= ~outcome.terminated
        observation = outcome.observation
        if not alive.any():
            break
    return returns, lengths.long()
