"""Stage 2: where to teach. The start network learns the states that the greedy policy visits, widened.

After it, training in the environment needs no real task. The observation box follows from the widened states; the
reward network is rewritten for the new coordinates and standardised, which leaves its optimal policy untouched.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from synthenv import nets, rollout
from synthenv.meta.greedy import own_policy
from synthenv.recipe import StatesStage
from synthenv.rollout import Act, Steps
from synthenv.tree import Tree, prefixed, ravel, shapes, unravel
from synthenv.worlds import RealTask
from synthenv.worlds.bandit import SyntheticBandit
from synthenv.worlds.payoff import payoff_of

SAMPLES = 512
"""Points a side in one estimate of the energy distance."""
MANY = 2**23
"""Numbers that torch's quantile still takes, with room to spare; of more, evenly spaced rows will do."""
FAR = 0.999
"""Quantile that stands for the far end of a distribution; single outliers should not set the scale."""


def random_box(real: RealTask, generator: torch.Generator) -> tuple[Tree, dict[str, Any], int]:
    """Coordinates to begin with: centre and reach [O] of what a random policy sees; also facts, and the real steps."""
    steps = experience(real, rollout.uniform(payoff_of(real.spaces.action)), 64, 50, generator)
    centre, reach = extent(steps.observation.flatten(0, 2))
    return {"centre": centre, "reach": reach}, {}, steps.reward.numel()


def visit(
    real: RealTask, synthetic: SyntheticBandit, params: Tree, stage: StatesStage, generator: torch.Generator
) -> tuple[Tree, dict[str, Any], int]:
    """Real transitions of the greedy policy, with more slips from episode to episode; also facts, and the real steps.

    Leaves observation, following [M, O], action [M] or [M, A], terminated [M].
    """
    share = torch.linspace(0, stage.slips, stage.episodes, device=generator.device)
    policy = rollout.slipping(own_policy(synthetic, params), synthetic.payoff, share)
    steps = experience(real, policy, stage.episodes, real.horizon, generator)
    seen = {
        "observation": steps.observation.flatten(0, 2),  # [1, T, N, O] -> [M, O]
        "following": steps.following.flatten(0, 2),
        "action": steps.action.flatten(0, 2),
        "terminated": steps.terminated.flatten(),
    }
    return seen, {"ends": int(steps.terminated.sum())}, steps.reward.numel()


def stubbornness(
    real: RealTask, synthetic: SyntheticBandit, stage: StatesStage, generator: torch.Generator
) -> tuple[Tree, dict[str, Any], int]:
    """Real observations [M, O] of policies that never change their action; also facts, and the real steps."""
    action = synthetic.payoff.random((1, stage.episodes), generator)
    steps = experience(real, lambda *_: action, stage.episodes, real.horizon, generator)
    return {"observation": steps.observation.flatten(0, 2)}, {}, steps.reward.numel()


def experience(real: RealTask, act: Act, episodes: int, length: int, generator: torch.Generator) -> Steps:
    """`length` steps of each of some real episodes, restarted when they end: leaves [1, T, N, ...]."""
    task = real.init(generator, 1)
    begun = rollout.begin(real, task, generator, episodes)
    steps, _ = rollout.collect(real, task, act, begun, length, generator, real.horizon)
    return steps


def extent(observations: Tensor) -> tuple[Tensor, Tensor]:
    """Centre of visited observations [M, O], and how far from it they go: both [O]."""
    centre = observations.mean(0)
    some = observations[:: 1 + observations.numel() // MANY]
    return centre, (some - centre).abs().quantile(FAR, 0).clamp(min=1e-6)


def dilation(far: Tensor, widen: float, floor: float) -> Tensor:
    """Factor on each dimension's distance from the centre, [O]: `widen`, or as much as takes its far end to `floor`."""
    return (floor / far).clamp(min=widen)


def widened(synthetic: SyntheticBandit, observations: Tensor, factor: Tensor) -> Tensor:
    """Real observations [M, O], further from the box's centre by factors [O] or [M, O], in unit coordinates."""
    return synthetic.unit(synthetic.centre + factor * (observations - synthetic.centre))


def between(factor: Tensor, rows: int, nearest: float, generator: torch.Generator) -> Tensor:
    """For each of some rows a dilation from factor^nearest to factor [O], as likely in each octave: [M, O]."""
    power = nearest + (1 - nearest) * torch.rand((rows, 1), generator=generator, device=factor.device)
    return factor**power


def telling(synthetic: SyntheticBandit, params: Tree, u: Tensor, share: float) -> Tensor:
    """Those of the unit states [M, O] in which a random action costs at least that share of the way from the least to
    the most that it costs in any."""
    cost = synthetic.regret(params, u[None])[0]
    return u[cost >= torch.lerp(cost.min(), cost.max(), share)]


def mixed(u: Tensor, others: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Unit states [M, O] and so many draws of others [K, O] that these are that share of all: [M / (1 - share), O]."""
    rows = torch.randint(len(others), (round(len(u) * share / (1 - share)),), generator=generator, device=u.device)
    return torch.cat((u, others[rows]))


def rewrite(reward: Tree, old: SyntheticBandit, new: SyntheticBandit) -> Tree:
    """The same reward function of real observations in another box: only the first layer [1, O, H] changes."""
    weight, bias = reward["w0"], reward["b0"]
    shift = (new.centre - old.centre) / old.reach  # [O]
    return {**reward, "w0": weight * (new.reach / old.reach)[:, None], "b0": bias + shift[None, None] @ weight}


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


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'| between samples [M, O] and [K, O]; 0 only for equal distributions.

    Szekely, Rizzo (2013).
    """
    return 2 * torch.cdist(x, y).mean() - torch.pdist(x).mean() - torch.pdist(y).mean()
