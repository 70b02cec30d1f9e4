"""Gymnasium's own tasks as witnesses: what they do from a state of our choosing, and whether a world does the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Story(NamedTuple):
    """What happened from a first state on.

    states [T+1, S]; actions of T steps; observations [T, O]; rewards [T]; ended [T] bool.
    """

    states: Floats
    actions: list[Any]
    observations: Floats
    rewards: Floats
    ended: list[bool]


def seeded(seed: int = 0) -> torch.Generator:
    """A generator."""
    return torch.Generator().manual_seed(seed)


def gym_task(name: str, **physics: float) -> Any:
    """Gymnasium's own, with other constants where asked."""
    env = gymnasium.make(name).unwrapped
    for constant, value in physics.items():
        assert hasattr(env, constant), f"{name} has no {constant}"
        setattr(env, constant, value)
    env.reset(seed=0)
    return env


def replay(env: Any, start: Floats, choose: Callable[[Floats], Any], limit: int) -> Story:
    """Gymnasium's story under a policy on states [S], until it ends."""
    env.state = np.array(start, dtype=np.float64)
    states, actions, steps, ended = [env.state], [], [], [False]
    while not ended[-1] and len(actions) < limit:
        actions.append(choose(states[-1]))
        observation, reward, over, _, _ = env.step(actions[-1])
        steps.append((observation, reward))
        ended.append(over)
        states.append(np.array(env.state, dtype=np.float64))
    observations, rewards = (np.array(column, dtype=np.float64) for column in zip(*steps, strict=True))
    return Story(np.stack(states), actions, observations, rewards, ended[1:])


def follow(world: Any, params: Any, start: Floats, actions: list[Any]) -> Story:
    """The same actions in a world of one member, whose state is x [1, 1, S]."""
    state = {"x": torch.tensor(start, dtype=world.dtype)[None, None]}
    states, steps = [state["x"][0, 0]], []
    for action in actions:
        state, outcome = world.step(params, state, torch.as_tensor(action)[None, None])
        assert torch.equal(world.observe(params, state), outcome.observation)
        states.append(state["x"][0, 0])
        steps.append([leaf[0, 0] for leaf in outcome])
    observations, rewards, ended = (torch.stack(column) for column in zip(*steps, strict=True))
    return Story(torch.stack(states).numpy(), actions, observations.numpy(), rewards.numpy(), ended.tolist())


def same_story(found: Story, expected: Story, atol: float) -> None:
    """States to `atol`, observations and rewards to float32 rounding besides, ends exactly."""
    np.testing.assert_allclose(found.states, expected.states, rtol=0, atol=atol)
    np.testing.assert_allclose(found.observations, expected.observations, rtol=1e-6, atol=max(atol, 1e-7))
    np.testing.assert_allclose(found.rewards, expected.rewards, rtol=1e-6, atol=max(atol, 1e-7))
    assert found.ended == expected.ended


def same_steps(world: Any, env: Any, starts: Floats, actions: NDArray[Any], tolerance: float = 2e-6) -> list[bool]:
    """One step from every state [N, S] at once, against Gymnasium's one by one; which of them ended."""
    told = [replay(env, start, lambda _, a=action: a, 1) for start, action in zip(starts, actions, strict=True)]
    state = {"x": torch.tensor(starts, dtype=world.dtype)[None]}
    _, outcome = world.step(world.init(seeded(), 1), state, torch.tensor(actions)[None])
    for found, expected in ((outcome.observation, "observations"), (outcome.reward, "rewards")):
        rows = [getattr(story, expected)[0] for story in told]
        np.testing.assert_allclose(found[0], rows, rtol=tolerance, atol=tolerance)
    assert outcome.terminated[0].tolist() == [story.ended[0] for story in told]
    return outcome.terminated[0].tolist()


def same_physics(world: Any, names: dict[str, str], start: Floats, action: Any, steps: int = 5) -> None:
    """One member with each constant changed, by its name here and Gymnasium's: all differ, each follows its witness."""
    params = world.init(seeded(), len(names) + 1)
    for p, name in enumerate(names):
        params[name][p] *= 1.3
    state = {"x": torch.tensor(start, dtype=world.dtype).expand(len(params["gravity"]), 1, -1)}
    for _ in range(steps):
        state, _ = world.step(params, state, torch.as_tensor(action).expand(len(names) + 1, 1, *np.shape(action)))
    assert len(state["x"].unique(dim=0)) == len(names) + 1
    for p, (name, theirs) in enumerate(names.items()):
        env = gym_task(world.name, **{theirs: 1.3 * world.CONSTANTS[name]})
        expected = replay(env, start, lambda _: action, steps)
        np.testing.assert_allclose(state["x"][p, 0], expected.states[-1], rtol=0, atol=1e-7)
