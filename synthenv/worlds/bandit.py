"""The one-step synthetic environment: a contextual bandit whose states and rewards are two small networks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from synthenv.nets import init_uniform, mlp
from synthenv.tree import part, prefixed
from synthenv.worlds.base import Outcome, Params, Spaces, State
from synthenv.worlds.payoff import payoff_of


def own(action: spaces.Discrete | spaces.Box) -> spaces.Discrete | spaces.Box:
    """The same space anew: a space carries a generator, which whoever plays there may seed."""
    if isinstance(action, spaces.Discrete):
        return spaces.Discrete(int(action.n))
    return spaces.Box(action.low, action.high, dtype=np.float32)


class SyntheticBandit:
    """Draws a state, pays for one action, ends.

    The contextual-bandit form of Liesen et al. (2024), with a bounded state: networks see unit coordinates
    u in [-1, 1]^O, and an observation is centre + reach * u, so no observation can leave the declared box.
    What an action costs is `payoff`'s to say. Its optimal policy is known in closed form, argmax_a r(s, a) for Discrete
    actions and the vertex of a quadratic for a Box; see `best_action`.

    It pays in advantage form, r(s, a) - max_b r(s, b), bounded by a tanh: the best action earns 0 in every state, a
    wrong one never less than -height.reward. Gaussian luck of deviation noise.reward comes on top. All three are for
    agents that have solved it. PPO blows up whatever is left of their advantages to unit size, and would follow the
    difference between states, or its critic's errors, until the policy is lost: luck is no direction to follow. And
    one dear mistake after a long calm throws an adaptive optimizer far off: no mistake is dear.

    `shift`, 0 unless it is given, is added to every reward. Best actions stay what they are, for every episode is one
    step long; but a critic begins at 0, and if that is where rewards lie on average it learns at once what they say
    about actions.

    Parameters: start.* (latent -> O), reward.* (O -> K), noise.reward and height.reward [P, 1], positive.
    State u [P, N, O].
    """

    name: ClassVar[str] = "bandit"

    def __init__(
        self,
        action: spaces.Discrete | spaces.Box,
        reach: Tensor,
        centre: Tensor,
        hidden: int = 32,
        latent: int = 4,
        activation: str = "tanh",
        layers: tuple[int, ...] = (),
        margin: float = 0.0,
        shift: float = 0.0,
    ) -> None:
        """`action` is the target task's action space; reach and centre [O] span the box that observations live in.

        layers: widths of the reward network's hidden layers, if not one of `hidden`; in the MDP form also of the
        network that foresees what follows. margin: share of a Box that best actions keep off its edges.
        shift: what the best action earns.
        """
        self.payoff = payoff_of(action, margin)
        self.reach, self.centre = reach.float(), centre.float()
        low, high = (self.centre + sign * self.reach for sign in (-1, 1))
        box = spaces.Box(low.cpu().numpy(), high.cpu().numpy())
        self.spaces = Spaces(box, own(action))
        self.hidden, self.latent, self.activation = hidden, latent, activation
        self.layers, self.margin, self.shift = layers or (hidden,), margin, shift

    @property
    def observation_size(self) -> int:
        """O."""
        return len(self.reach)

    def init(self, generator: torch.Generator, population: int) -> Params:
        """Random networks, leaves [P, ...]."""
        start = (self.latent, self.hidden, self.observation_size)
        reward = (self.observation_size, *self.layers, self.payoff.outputs)
        return {
            **prefixed("start", init_uniform(generator, population, start)),
            **prefixed("reward", init_uniform(generator, population, reward)),
            "noise.reward": torch.zeros((population, 1), device=generator.device),
            "height.reward": torch.ones((population, 1), device=generator.device),
        }

    def reset(self, params: Params, generator: torch.Generator, n: int) -> State:
        """Fresh states from Gaussian latents, u [P, N, O]."""
        shape = (len(params["start.w0"]), n, self.latent)
        latent = torch.randn(shape, generator=generator, device=generator.device)
        return {"u": mlp(part(params, "start"), latent, self.activation).tanh()}

    def observe(self, params: Params, state: State) -> Tensor:
        """[P, N, O], always inside the declared box."""
        return torch.addcmul(self.centre, state["u"], self.reach)

    def preferences(self, params: Params, u: Tensor) -> Tensor:
        """What the reward network says in unit states u [P, N, O]: [P, N, K]."""
        return mlp(part(params, "reward"), u, self.activation)

    def step(
        self, params: Params, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> tuple[State, Outcome]:
        """Pays for action [P, N] or [P, N, A] and ends; the state stays where it was."""
        paid = self.pay(params, state, action, generator)
        return state, Outcome(self.observe(params, state), paid, torch.ones_like(paid, dtype=torch.bool))

    def pay(self, params: Params, state: State, action: Tensor, generator: torch.Generator | None) -> Tensor:
        """Bounded advantage of actions, shifted, and luck; without a generator, what is expected: [P, N]."""
        height = params["height.reward"]  # [P, 1]
        paid = self.shift - height * (self.payoff.loss(self.preferences(params, state["u"]), action) / height).tanh()
        if generator is None:
            return paid
        luck = torch.randn(paid.shape, generator=generator, device=paid.device)
        return torch.addcmul(paid, params["noise.reward"].clamp(min=0), luck)

    def regret(self, params: Params, u: Tensor) -> Tensor:
        """What a random action costs on average in unit states u [P, N, O]: [P, N]."""
        return self.payoff.mean_loss(self.preferences(params, u), params["height.reward"][..., None])

    def unit(self, observation: Tensor) -> Tensor:
        """Unit coordinates of real observations [P, N, O], clamped to the box."""
        return ((observation - self.centre) / self.reach).clamp(-1, 1)

    def best_action(self, params: Params, observation: Tensor) -> Tensor:
        """This world's own optimal policy on any observations [P, N, O]: [P, N] or [P, N, A]."""
        return self.payoff.best(self.preferences(params, (observation - self.centre) / self.reach))
