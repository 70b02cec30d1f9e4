"""Stage 2: where to teach. The start network learns the states that the greedy policy visits, widened.

After it, training in the environment needs no real task. The observation box follows from the widened states; the
reward network is rewritten for the new coordinates and standardised, which leaves its optimal policy untouched.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from synthenv import nets, rollout
from synthenv.meta.greedy import own_policy, slipping
from synthenv.recipe import StatesStage
from synthenv.rollout import Act, Steps
from synthenv.tree import Tree, prefixed, ravel, shapes, unravel
from synthenv.worlds import RealTask
from synthenv.worlds.bandit import SyntheticBandit

SAMPLES = 512
"""Points a side in one estimate of the energy distance."""
FAR = 0.999
"""Quantile that stands for the far end of a distribution; single outliers should not set the scale."""


def random_box(real: RealTask, generator: torch.Generator) -> tuple[Tree, dict[str, Any], int]:
    """Coordinates to begin with: centre and reach [O] of what a random policy sees; also facts, and the real steps."""
    choices = int(real.spaces.action.n)  # type: ignore[union-attr]

    def act(observation: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randint(choices, observation.shape[:2], generator=generator, device=observation.device)

    steps = experience(real, act, 64, 50, generator)
    centre, reach = box(steps.observation.flatten(0, 2), 1.0, 1.0)
    return {"centre": centre, "reach": reach}, {}, steps.reward.numel()


def visit(
    real: RealTask, synthetic: SyntheticBandit, params: Tree, stage: StatesStage, generator: torch.Generator
) -> tuple[Tree, dict[str, Any], int]:
    """Real transitions of the greedy policy, with more slips from episode to episode; also facts, and the real steps.

    Leaves observation, following [M, O], action, terminated [M].
    """
    share = torch.linspace(0, stage.slips, stage.episodes, device=generator.device)
    policy = slipping(own_policy(synthetic, params), synthetic.choices, share)
    steps = experience(real, policy, stage.episodes, real.horizon, generator)
    seen = {
        "observation": steps.observation.flatten(0, 2),  # [1, T, N, O] -> [M, O]
        "following": steps.following.flatten(0, 2),
        "action": steps.action.flatten(),
        "terminated": steps.terminated.flatten(),
    }
    return seen, {"ends": int(steps.terminated.sum())}, steps.reward.numel()


def experience(real: RealTask, act: Act, episodes: int, length: int, generator: torch.Generator) -> Steps:
    """`length` steps of each of some real episodes, restarted when they end: leaves [1, T, N, ...]."""
    task = real.init(generator, 1)
    begun = rollout.begin(real, task, generator, episodes)
    steps, _ = rollout.collect(real, task, act, begun, length, generator, real.horizon)
    return steps


def box(observations: Tensor, widen: float, reach: float) -> tuple[Tensor, Tensor]:
    """Centre and reach [O] around visited observations [M, O]."""
    centre = observations.mean(0)
    far = (observations - centre).abs().quantile(FAR, 0).clamp(min=1e-6)
    return centre, reach * widen * far


def widened(synthetic: SyntheticBandit, observations: Tensor, widen: float) -> Tensor:
    """Real observations [M, O], further from the box's centre by a factor, in unit coordinates."""
    return synthetic.unit(synthetic.centre + widen * (observations - synthetic.centre))


def rewrite(reward: Tree, old: SyntheticBandit, new: SyntheticBandit) -> Tree:
    """The same reward function of real observations in another box: only the first layer [1, O, H] changes."""
    weight, bias = reward["w0"], reward["b0"]
    shift = (new.centre - old.centre) / old.reach  # [O]
    return {**reward, "w0": weight * (new.reach / old.reach)[:, None], "b0": bias + shift[None, None] @ weight}


def standardise(reward: Tree, u: Tensor, scale: float, activation: str) -> Tree:
    """Rewards with mean 0 over actions in every state, and deviation `scale` over unit states u [1, M, O].

    What does not depend on the action is only noise to a learner; the scale is what default step sizes expect.
    """
    last = len(reward) // 2 - 1
    names = (f"w{last}", f"b{last}")
    centred = {**reward, **{name: reward[name] - reward[name].mean(-1, keepdim=True) for name in names}}
    factor = scale / nets.mlp(centred, u, activation).std().clamp(min=1e-6)
    return {**centred, **{name: centred[name] * factor for name in names}}


def fit_start(
    synthetic: SyntheticBandit, start: Tree, u: Tensor, updates: int, generator: torch.Generator
) -> tuple[Tree, float]:
    """Train the start network until its draws look like unit states u [M, O]; returns it and the last distance."""
    like, flat = shapes(start), ravel(start)
    memory, distance = nets.adam_memory(flat), u.new_tensor(torch.inf)
    for update in range(updates):
        rows = torch.randint(len(u), (SAMPLES,), generator=generator, device=u.device)
        flat.requires_grad_()
        drawn = synthetic.reset(prefixed("start", unravel(flat, like)), generator, SAMPLES)["u"][0]
        distance = energy_distance(drawn, u[rows])
        (gradient,) = torch.autograd.grad(distance, flat)
        rate = flat.new_tensor([1e-2 * (1 - update / updates)])
        flat, memory = nets.adam(flat.detach(), gradient, memory, rate)
    return unravel(flat, like), float(distance.detach())


def regret(synthetic: SyntheticBandit, params: Tree, u: Tensor) -> float:
    """How much less a random action earns than the best one, on average over unit states u [M, O]."""
    return -float(synthetic.advantages(params, u[None]).mean())  # [1, M, A]


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'| between samples [M, O] and [K, O]; 0 only for equal distributions.

    Szekely, Rizzo (2013).
    """
    return 2 * torch.cdist(x, y).mean() - torch.pdist(x).mean() - torch.pdist(y).mean()
