"""The difficulty dial: what is optimal stays, and what is paid at once no longer says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from synthenv import artifact, shelf
from synthenv.gym import SynthEnv, SynthVectorEnv, synthetic
from synthenv.players import TorchPlayer, player
from synthenv.worlds.delayed import DelayedMDP, delayed, put_off
from tests.conftest import random_artifact

GAMMA = 0.9
N = 40
"""States of the tabular task."""


# A tabular task in advantage form, solved by value iteration


class Table:
    """N states, two actions: rewards [S, A], following [S, A] states, ended [S, A] bool. Best actions do not end it."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        preferences = torch.randn((N, 2), generator=generator, dtype=torch.float64)
        self.reward = preferences - preferences.amax(1, keepdim=True)
        self.following = torch.randint(N, (N, 2), generator=generator)
        self.ended = (torch.rand((N, 2), generator=generator) < 0.2) & (self.reward < 0)

    def values(self, reward: Tensor, gamma: float) -> Tensor:
        """Q* [S, A] for rewards [S, A]."""
        q = torch.zeros_like(reward)
        for _ in range(1000):
            q = reward + gamma * q.amax(1)[self.following] * ~self.ended
        return q

    def late(self, potential: Tensor, gamma: float) -> Tensor:
        """Rewards [S, A] put off by a potential [S]."""
        return put_off(self.reward, potential[:, None], potential[self.following], self.ended, gamma)

    def hiding(self, gamma: float) -> Tensor:
        """The potential [S] under which what is paid at once says least about the action."""
        gone = ~self.ended[..., None] * torch.nn.functional.one_hot(self.following, N).double()  # [S, A, S]
        wanted = (self.reward[:, 1] - self.reward[:, 0]) / gamma
        return torch.linalg.lstsq(gone[:, 1] - gone[:, 0], wanted[:, None], driver="gelsd").solution[:, 0]


@pytest.mark.parametrize("seed", range(5))
def test_any_potential_leaves_the_optimal_policy_alone(seed: int) -> None:
    table = Table(seed)
    plain = table.values(table.reward, GAMMA)
    torch.testing.assert_close(plain, table.reward)  # V* = 0: whoever ignores the future does as well
    random = 5 * torch.randn(N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for potential in (random, table.hiding(GAMMA), 1.5 * table.hiding(GAMMA)):
        late = table.values(table.late(potential, GAMMA), GAMMA)
        torch.testing.assert_close(late, plain + potential[:, None])
        assert late.argmax(1).equal(plain.argmax(1))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_paid_at_once_misleads(seed: int) -> None:
    table = Table(seed)
    once = table.late(1.5 * table.hiding(GAMMA), GAMMA)
    myopic = table.reward.gather(1, once.argmax(1, keepdim=True))
    assert myopic.mean() < table.reward.mean()  # worse than chance
    assert table.late(0 * table.hiding(GAMMA), GAMMA).equal(table.reward)


def test_it_is_exact_for_one_discount_only() -> None:
    table = Table(0)
    late = table.late(20 * table.hiding(GAMMA), GAMMA)
    assert not table.values(late, 0.5).argmax(1).equal(table.reward.argmax(1))


# The real thing


def shipped(delay: float, discount: float = 0.99) -> tuple[Any, Any, DelayedMDP, Any]:
    """The shelf's MDP and its parameters, plain and delayed."""
    world, params = synthetic(artifact.load(shelf.find("Synth-CartPole-v0")))
    return world, params, *delayed(world, params, delay, discount)


def taken(n: int, choice: int) -> Tensor:
    return torch.full((1, n), choice)


def test_looking_one_step_ahead_gives_the_best_action_everywhere() -> None:
    """r' + gamma Phi(s') is r + Phi(s): the optimal value of the delayed form is its potential."""
    world, params, late, hidden = shipped(1.0)
    state = world.reset(params, torch.Generator().manual_seed(0), 500)
    for choice in (0, 1):
        following, outcome = late.step(hidden, state, taken(500, choice))
        ahead = outcome.reward + 0.99 * late.potential(hidden, following["u"]) * ~outcome.terminated
        _, plain = world.step(params, state, taken(500, choice))
        torch.testing.assert_close(ahead - late.potential(hidden, state["u"]), plain.reward, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(outcome.observation, plain.observation)
        assert outcome.terminated.equal(plain.terminated)


@pytest.mark.parametrize(("delay", "low", "high"), [(0.0, 0.99, 1.0), (1.0, 0.3, 0.8), (1.5, 0.0, 0.2)])
def test_the_dial_turns_a_myopic_agent_around(delay: float, low: float, high: float) -> None:
    """Share of states in which the action that earns most at once is the best one."""
    world, params, late, hidden = shipped(delay)
    state = world.reset(params, torch.Generator().manual_seed(0), 2000)
    once = torch.stack([late.step(hidden, state, taken(2000, choice))[1].reward for choice in (0, 1)], -1)
    best = world.best_action(params, world.observe(params, state))
    assert low <= (once.argmax(-1) == best).float().mean() <= high


def test_returns_telescope_over_an_episode() -> None:
    """What an episode pays in all is the plain form's and what the potential lost on the way; at an end, all of it."""
    world, params, late, hidden = shipped(1.0, discount=0.9)
    generator = torch.Generator().manual_seed(0)
    start = state = world.reset(params, generator, 300)
    gap, alive, ended = torch.zeros(1, 300), torch.ones(1, 300, dtype=torch.bool), torch.zeros(1, 300).bool()
    for t in range(20):
        action = world.payoff.random((1, 300), generator)
        _, plain = world.step(params, state, action)
        following, outcome = late.step(hidden, state, action)
        gap += alive * 0.9**t * (outcome.reward - plain.reward)
        ended |= alive & outcome.terminated
        alive &= ~outcome.terminated
        state = {"u": torch.where(alive[..., None], following["u"], state["u"])}
    assert 0 < ended.sum() < 300
    owed = 0.9**20 * late.potential(hidden, state["u"]) * ~ended
    torch.testing.assert_close(gap, late.potential(hidden, start["u"]) - owed, atol=1e-3, rtol=1e-3)


def test_a_fresh_one_puts_nothing_off() -> None:
    plain, _, late, _ = shipped(1.0)
    params = late.init(torch.Generator().manual_seed(0), 2)
    u = torch.rand((2, 50, 4), generator=torch.Generator().manual_seed(1)) * 2 - 1
    action = torch.arange(100).reshape(2, 50) % 2
    assert params["discount.delay"].shape == (2, 1)
    assert late.potential(params, u).count_nonzero() == 0
    (_, one), (_, other) = (world.step(params, {"u": u}, action) for world in (late, plain))
    assert one.reward.equal(other.reward)
    assert one.reward.unique().numel() > 2


def test_equal_worlds_get_equal_potentials() -> None:
    before = torch.get_rng_state()
    *_, one = shipped(0.5)
    *_, other = shipped(0.5)
    assert all(one[name].equal(other[name]) for name in one)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("target", ["CartPole-v1", "Pendulum-v1"])
def test_players_pay_alike(tmp_path: Path, target: str) -> None:
    found = artifact.load(random_artifact(tmp_path / "Late-v0", "mdp", target=target))
    world, params = delayed(*synthetic(found), 1.0, 0.95)
    one, other = player(world, params), TorchPlayer(world, params, torch.device("cpu"))
    assert (one.native, other.native) == ("numpy", "torch")
    generator = torch.Generator().manual_seed(1)
    action = world.payoff.random((1, 64), generator)[0]
    state = other.start(generator, 64)
    mine = one.step({name: leaf.numpy() for name, leaf in state.items()}, action.numpy())
    theirs = other.step(state, action)
    for got, expected in zip(mine[1:], theirs[1:], strict=True):
        torch.testing.assert_close(torch.as_tensor(got), expected, atol=2e-5, rtol=2e-5)
    assert theirs.terminated.any()
    assert not theirs.terminated.all()


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_a_batch_pays_late_and_only_that(mdp_folder: Path, output: Any) -> None:
    """Restarts, time limits and luck are as without a delay, and what lies before a restart is what is owed."""
    plain = SynthVectorEnv(mdp_folder, 8)
    late = SynthVectorEnv(mdp_folder, 8, delay=1.0, discount=0.9, output=output)
    world, params = delayed(*synthetic(plain.artifact), 1.0, 0.9)

    def potential(observation: Any) -> Any:
        seen = torch.as_tensor(observation)[None]
        return world.potential(params, (seen - world.centre) / world.reach)[0].numpy()

    before, _ = plain.reset(seed=3)
    np.testing.assert_allclose(late.reset(seed=3)[0], before)
    random, ends = np.random.default_rng(0), np.zeros(2)
    for _ in range(60):
        actions = random.integers(2, size=8)
        one, other = plain.advance(actions), late.advance(torch.as_tensor(actions) if output == "torch" else actions)
        owed = potential(before) - 0.9 * potential(one.following) * ~one.terminated
        np.testing.assert_allclose(np.asarray(other.reward) - one.reward, owed, atol=2e-4)
        for name in ("observation", "terminated", "truncated", "following"):
            np.testing.assert_allclose(getattr(other, name), getattr(one, name), atol=1e-6)
        before = one.observation
        ends += one.terminated.sum(), one.truncated.sum()
    assert all(ends > 0)


def test_gymnasium_makes_it() -> None:
    plain, late = (gymnasium.make("synthenv:Synth-CartPole-v0", **kwargs) for kwargs in ({}, {"delay": 0.9}))
    steps = []
    for env in (plain, late):
        env.reset(seed=0)
        steps.append([env.step(action) for action in (0, 1, 1, 0)])
    rewards = np.array([[step[1] for step in seen] for seen in steps])
    assert abs(rewards[0] - rewards[1]).min() > 1e-3
    np.testing.assert_allclose(steps[0][-1][0], steps[1][-1][0], rtol=1e-5)


def test_no_delay_is_the_plain_form(mdp_folder: Path) -> None:
    env = SynthEnv(mdp_folder, delay=0.0)
    assert type(env._player).__name__ == "NumpyMDP"


def test_what_cannot_be_delayed_is_refused(bandit_folder: Path, mdp_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"expected the multi-step form .* got form 'bandit'"):
        SynthEnv(bandit_folder, delay=1.0)
    for delay, discount in ((-1.0, 0.9), (1.0, 0.0), (1.0, 1.5)):
        with pytest.raises(ValueError, match="expected delay >= 0"):
            SynthEnv(mdp_folder, delay=delay, discount=discount)
