"""Probe worlds: the smallest tasks there are, one thing to get right in each; the first to fail names the broken part.

After Jones, "Debugging RL, Without the Agonizing Pain" (2021), and keraJLi/rejax. Also every learner with each of its
switches, small and quick, so that a new one is tested before anybody writes a line; and CartPole steps to feed them.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from gymnasium import spaces
from torch import Tensor

from synthenv import catalogue, learners, rollout, worlds
from synthenv.worlds import Outcome, Spaces

QUICK = {"envs": 16, "length": 4, "hidden": (16, 16)}
QUICKER = {"ppo": {"epochs": 2}, "dqn": {"target_every": 256, "updates": 2}}
"""Settings that only one learner has."""


def variants() -> list[tuple[str, dict[str, bool]]]:
    """(name, switches) of every learner in the catalogue: plain, each switch alone, and all of them together."""
    found: list[tuple[str, dict[str, bool]]] = []
    for name, kind in sorted(catalogue.names("synthenv.learners").items()):
        switches = [field.name for field in fields(kind) if field.default is False]
        settings = [{}, *({switch: True} for switch in switches), dict.fromkeys(switches, True)]
        found += [(name, setting) for k, setting in enumerate(settings) if setting not in settings[:k]]
    return found


VARIANTS = variants()
IDS = ["-".join((name, *settings)) for name, settings in VARIANTS]


def quick(name: str, spaces: Spaces, **settings: object) -> learners.Learner:
    """A learner of small networks and short loops."""
    return learners.named(name, spaces, **{**QUICK, **QUICKER.get(name, {}), **settings})


def experience(population: int, length: int, n: int, seed: int = 0) -> rollout.Steps:
    """CartPole pushed to the right three times in four, for 13 steps at most: as many episodes fall as are stopped."""
    world, generator = worlds.real("CartPole-v1"), torch.Generator().manual_seed(seed)

    def act(observation: Tensor, generator: torch.Generator) -> Tensor:
        return (torch.rand(observation.shape[:2], generator=generator) < 0.75).long()

    params = world.init(generator, population)
    episodes = rollout.begin(world, params, generator, n)
    return rollout.collect(world, params, act, episodes, length, generator, 13)[0]


class Probe:
    """Shows -1 or 1, takes 0 or 1, ends. Members are paid differently, so that one who learns another's task fails."""

    spaces = Spaces(spaces.Box(-1, 1, (1,)), spaces.Discrete(2))
    SHOWN = torch.tensor([-1.0, 1.0])

    def init(self, generator: torch.Generator, population: int) -> dict[str, Tensor]:
        return {"pay": torch.linspace(1, -0.5, population)}

    def reset(self, params: dict[str, Tensor], generator: torch.Generator, n: int) -> dict[str, Tensor]:
        return {"x": self.SHOWN[torch.randint(2, (len(params["pay"]), n), generator=generator)]}

    def observe(self, params: dict[str, Tensor], state: dict[str, Tensor]) -> Tensor:
        return state["x"][..., None]

    def step(self, params, state, action, generator=None) -> tuple[dict[str, Tensor], Outcome]:
        paid = params["pay"][:, None] * self.share(state["x"], action)
        return state, Outcome(self.observe(params, state), paid, torch.ones_like(paid, dtype=torch.bool))

    def share(self, x: Tensor, action: Tensor) -> Tensor:
        """Of the member's pay, for action [P, N] in x [P, N]."""
        raise NotImplementedError

    def worth(self, pay: Tensor, gamma: Tensor) -> Tensor:
        """Value of the best policy at SHOWN, [P, 2]."""
        every = torch.stack([self.share(self.SHOWN, torch.full((2,), choice)) for choice in (0, 1)], -1)
        return (pay[:, None, None] * every).amax(-1)

    def right(self, pay: Tensor) -> Tensor | None:
        """Its actions there, [P, 2]; none if they make no difference."""
        return None


class Constant(Probe):
    """The same for everything: is the value learned at all, and does it stop at the end of an episode?"""

    def share(self, x, action):
        return torch.ones_like(x)


class Observed(Probe):
    """What is seen: does the value look at the observation?"""

    def share(self, x, action):
        return x


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

    def share(self, x, action):
        return 2.0 * action - 1

    def right(self, pay):
        return (pay[:, None] > 0).long().expand(-1, 2)


class ObservedAndChosen(Probe):
    """Both: does the policy look at the observation, and is an action credited where it was taken?"""

    def share(self, x, action):
        return x * (2.0 * action - 1)

    def right(self, pay):
        return (pay[:, None] * self.SHOWN > 0).long()


class Endless(Constant):
    """The same for ever: no probe for everybody, but what a time limit should not hide."""

    def step(self, params, state, action, generator=None):
        state, outcome = super().step(params, state, action)
        return state, outcome._replace(terminated=torch.zeros_like(outcome.terminated))

    def worth(self, pay, gamma):
        return (pay / (1 - gamma))[:, None].expand(-1, 2)


PROBES = (Constant(), Observed(), Delayed(), Chosen(), ObservedAndChosen())
