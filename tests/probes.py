"""Probe worlds: the smallest tasks there are, one thing to get right in each; the first to fail names the broken part.

After Jones, "Debugging RL, Without the Agonizing Pain" (2021), and keraJLi/rejax; each with Discrete and with Box
actions. Also every learner with each of its switches, small and quick, so that a new one is tested before anybody
writes a line; and CartPole steps to feed them, with both kinds of actions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv import catalogue, learners, rollout, worlds
from synthenv.worlds import Outcome, Spaces
from synthenv.worlds.cartpole import CartPole

QUICK = {"envs": 16, "length": 4, "hidden": (16, 16)}
REPLAYING = {"hidden": (64, 64), "batch": 64}
"""A critic of fewer units has kinks that an actor gets caught in."""
QUICKER = {
    "ppo": {"epochs": 2},
    "dqn": {"target_every": 256, "updates": 2},
    "ddpg": {**REPLAYING, "updates": 5},
    "td3": {**REPLAYING, "updates": 5},
    "sac": {**REPLAYING, "updates": 4},
}
"""Settings that only some learners have."""
CALM = {
    "ppo": {"log_std": -1.25},
    "a2c": {"log_std": -1.25},
    "ddpg": {"rate": 3e-3, "tau": 0.2, "noise": 0.3},
    "td3": {"rate": 3e-3, "tau": 0.2, "noise": 0.3},
    "sac": {"rate": 3e-3, "tau": 0.2, "alpha": 0.01},
}
"""Hyperparameters with which little is left to chance in the end, as far as a learner has them."""
LOPSIDED = spaces.Box(np.array([-1, -2], dtype=np.float32), np.array([2, 1], dtype=np.float32))
"""Its middle is not 0, and no two dimensions are alike."""


def variants() -> list[tuple[str, dict[str, bool]]]:
    """(name, switches) of every learner in the catalogue: plain, each switch alone, and all of them together.

    But for `compiled`, which changes nothing and takes long; it has tests of its own.
    """
    found: list[tuple[str, dict[str, bool]]] = []
    for name, kind in sorted(catalogue.names("synthenv.learners").items()):
        switches = [field.name for field in fields(kind) if field.default is False and field.name != "compiled"]
        settings = [{}, *({switch: True} for switch in switches), dict.fromkeys(switches, True)]
        found += [(name, setting) for k, setting in enumerate(settings) if setting not in settings[:k]]
    return found


VARIANTS = variants()


def pairs(choices: Iterable[worlds.World]) -> list[Any]:
    """Test parameters (name, switches, world): every variant in every world whose actions it has a policy for."""
    known = catalogue.names("synthenv.learners")
    return [
        pytest.param(name, switches, world, id="-".join((name, *switches, called(world))))
        for name, switches in VARIANTS
        for world in choices
        if learners.accepts(known[name], world.spaces.action)
    ]


def called(world: worlds.World) -> str:
    """What a test's id calls a world: its class and the kind of its actions."""
    return f"{type(world).__name__}-{type(world.spaces.action).__name__}"


def quick(name: str, spaces: Spaces, **settings: object) -> learners.Learner:
    """A learner of small networks and short loops."""
    return learners.named(name, spaces, **{**QUICK, **QUICKER.get(name, {}), **settings})


def calm(learner: learners.Learner) -> dict[str, float]:
    """Hyperparameters for probes; rate is that of the first part of the training."""
    found = {"rate": 1e-2, **CALM.get(learner.name, {})}
    return {name: value for name, value in found.items() if name in learner.defaults}


class Nudged(CartPole):
    """CartPole with a Box, pushed to the right by actions whose sum is above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.spaces = self.spaces._replace(action=LOPSIDED)

    def step(self, params, state, action, generator=None):
        return super().step(params, state, (action.sum(-1) > 0).long())


CARTPOLES = (CartPole(), Nudged())


def experience(population: int, length: int, n: int, seed: int = 0, world: CartPole = CARTPOLES[0]) -> rollout.Steps:
    """CartPole pushed to the right three times in four, for 13 steps at most: as many episodes fall as are stopped.

    The same lives with a Box, some of whose actions lie outside.
    """
    generator = torch.Generator().manual_seed(seed)

    def act(observation: Tensor, generator: torch.Generator) -> Tensor:
        push = 0.75 - torch.rand(observation.shape[:2], generator=generator)
        return torch.stack((4 * push, -2 * push), -1) if world.spaces.action == LOPSIDED else (push > 0).long()

    params = world.init(generator, population)
    episodes = rollout.begin(world, params, generator, n)
    return rollout.collect(world, params, act, episodes, length, generator, 13)[0]


class Pick:
    """Discrete deeds, 0 or 1: one of them gets what there is to get, the other loses it."""

    space = spaces.Discrete(2)

    def paid(self, prize: Tensor, action: Tensor) -> Tensor:
        """Of a prize [P, N], for actions [P, N]."""
        return prize * (2.0 * action - 1)

    def most(self, prize: Tensor) -> Tensor:
        """What the best action is paid, [P, N]."""
        return prize.abs()


class Aim:
    """Deeds in a Box: a concave quadratic around a spot inside, which moves with the prize."""

    space = spaces.Box(np.array([-0.75, -1.5], dtype=np.float32), np.array([1.25, 0.75], dtype=np.float32))
    SPOT = torch.tensor([0.4, -0.3])

    def paid(self, prize: Tensor, action: Tensor) -> Tensor:
        """Of a prize [P, N], for actions [P, N, A]."""
        return prize - (action - prize[..., None] * self.SPOT).square().sum(-1)

    def most(self, prize: Tensor) -> Tensor:
        """What the best action is paid, [P, N]."""
        return prize


class Probe:
    """Shows -1 or 1, takes a deed, ends. Members are paid differently, so that one who learns another's task fails."""

    SHOWN = torch.tensor([-1.0, 1.0])

    def __init__(self, deeds: Pick | Aim) -> None:
        self.deeds = deeds
        self.spaces = Spaces(spaces.Box(-1, 1, (1,)), deeds.space)

    def init(self, generator: torch.Generator, population: int) -> dict[str, Tensor]:
        return {"pay": torch.linspace(1, -0.5, population)}

    def reset(self, params: dict[str, Tensor], generator: torch.Generator, n: int) -> dict[str, Tensor]:
        return {"x": self.SHOWN[torch.randint(2, (len(params["pay"]), n), generator=generator)]}

    def observe(self, params: dict[str, Tensor], state: dict[str, Tensor]) -> Tensor:
        return state["x"][..., None]

    def step(self, params, state, action, generator=None) -> tuple[dict[str, Tensor], Outcome]:
        paid = self.reward(params["pay"][:, None], state["x"], action)
        return state, Outcome(self.observe(params, state), paid, torch.ones_like(paid, dtype=torch.bool))

    def reward(self, pay: Tensor, x: Tensor, action: Tensor) -> Tensor:
        """For actions in x [P, N], of pay [P, 1]: [P, N]."""
        raise NotImplementedError

    def worth(self, pay: Tensor, gamma: Tensor) -> Tensor:
        """Value of the best policy at SHOWN, [P, 2]."""
        raise NotImplementedError

    def regret(self, pay: Tensor, action: Tensor) -> Tensor:
        """What actions at SHOWN, [P, 2] or [P, 2, A], lose at once to the best, [P, 2]."""
        return torch.zeros(len(pay), 2)


class Constant(Probe):
    """The same for everything: is the value learned at all, and does it stop at the end of an episode?"""

    def reward(self, pay, x, action):
        return pay.expand_as(x)

    def worth(self, pay, gamma):
        return pay[:, None].expand(-1, 2)


class Observed(Probe):
    """What is seen: does the value look at the observation?"""

    def reward(self, pay, x, action):
        return pay * x

    def worth(self, pay, gamma):
        return pay[:, None] * self.SHOWN


class Delayed(Probe):
    """First -1 for nothing, then 1 and the pay: is the future discounted, and by whose gamma?"""

    def reset(self, params, generator, n):
        return {"x": torch.full((len(params["pay"]), n), -1.0)}

    def step(self, params, state, action, generator=None):
        last = state["x"] > 0
        following = {"x": torch.ones_like(state["x"])}
        return following, Outcome(self.observe(params, following), params["pay"][:, None] * last, last)

    def worth(self, pay, gamma):
        return torch.stack((gamma * pay, pay), -1)


class Chosen(Probe):
    """What is done: does the policy follow the reward?"""

    def reward(self, pay, x, action):
        return self.deeds.paid(pay, action)

    def worth(self, pay, gamma):
        return self.deeds.most(pay[:, None].expand(-1, 2))

    def regret(self, pay, action):
        return self.worth(pay, None) - self.deeds.paid(pay[:, None], action)


class ObservedAndChosen(Probe):
    """Both: does the policy look at the observation, and is an action credited where it was taken?"""

    def reward(self, pay, x, action):
        return self.deeds.paid(pay * x, action)

    def worth(self, pay, gamma):
        return self.deeds.most(pay[:, None] * self.SHOWN)

    def regret(self, pay, action):
        return self.worth(pay, None) - self.deeds.paid(pay[:, None] * self.SHOWN, action)


class Endless(Constant):
    """The same for ever: no probe for everybody, but what a time limit should not hide."""

    def step(self, params, state, action, generator=None):
        state, outcome = super().step(params, state, action)
        return state, outcome._replace(terminated=torch.zeros_like(outcome.terminated))

    def worth(self, pay, gamma):
        return (pay / (1 - gamma))[:, None].expand(-1, 2)


DEEDS = (Pick(), Aim())
PROBES = [probe(deeds) for deeds in DEEDS for probe in (Constant, Observed, Delayed, Chosen, ObservedAndChosen)]
ENDLESS = [Endless(deeds) for deeds in DEEDS]
