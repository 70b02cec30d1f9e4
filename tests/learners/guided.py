"""SAC, TD3 and DDPG beside Stable-Baselines3's: weights lent, the same minibatches fed, what is learnt compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from synthenv import learners, nets
from synthenv.tree import Tree, unravel
from tests.learners.sb3_twin import flattened, lend, linear
from tests.probes import CARTPOLES, experience

DISCRETE, BOX = CARTPOLES
POPULATION = 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str, world=BOX, given: Mapping[str, float | Tensor] = {}, budget: int = 1000, **settings):
    """A learner and its untrained agents, whose targets are other than what they follow."""
    learner = learners.named(name, world.spaces, **{"hidden": (16, 16), **settings})
    hyper = learners.fill(learner, POPULATION, dict(given))
    agent, other = (learner.init(hyper, budget, seeded(seed)) for seed in (0, 1))
    agent["target"] = other["critics"]
    if "target_actor" in agent:
        agent["target_actor"] = other["flat"]
    return learner, agent


def minibatches(learner, world=BOX, count: int = 20, rows: int = 8) -> Iterator[Tree]:
    """Minibatches as replay gives them, leaves [P, B, ...]; episodes end in both ways."""
    for seed in range(count):
        steps = experience(POPULATION, 14, rows, seed, world)
        steps = steps._replace(action=learner.unit(steps.action))
        names = ("observation", "following", "action", "reward", "terminated")
        batch = {name: getattr(steps, name).flatten(1, 2)[:, -4 * rows :] for name in names}
        assert batch["terminated"].any()
        assert not batch["terminated"].all()
        yield batch


def sampled(model: OffPolicyAlgorithm, batch: Tree, p: int) -> None:
    """Let SB3's next minibatch be member p's."""
    rows = ReplayBufferSamples(
        batch["observation"][p], batch["action"][p], batch["following"][p],
        batch["terminated"][p, :, None].float(), batch["reward"][p, :, None],
    )  # fmt: skip
    model.replay_buffer.sample = lambda size, env=None: rows


def judges(learner, critics: Tensor) -> Iterator[Tree]:
    """Networks of the first, second ... critic: [P, K*D'] -> leaves [P, ...]."""
    layout = nets.layout(learner.critic_sizes)
    for flat in critics.unflatten(1, (learner.judges, -1)).unbind(1):
        yield unravel(flat, layout)


def actor(learner, flat: Tensor) -> Tree:
    """The actor's network, leaves [P, ...]."""
    return unravel(flat, nets.layout(learner.actor_sizes))


def lend_critics(learner, agent: Tree, policy: torch.nn.Module, p: int) -> None:
    """Copy member p's critics and their targets into SB3's."""
    for name, module in (("critics", policy.critic), ("target", policy.critic_target)):
        for network, theirs in zip(judges(learner, agent[name]), module.q_networks, strict=True):
            lend(network, linear(theirs), p)


def check_critics(agent: Tree, policy: torch.nn.Module, p: int) -> None:
    """Member p's critics and targets are SB3's by now."""
    for name, module in (("critics", policy.critic), ("target", policy.critic_target)):
        check(agent[name][p], (layer for network in module.q_networks for layer in linear(network)))


def check(mine: Tensor, theirs: Iterable[torch.nn.Linear]) -> None:
    """A row of ours [D] is what these layers hold."""
    torch.testing.assert_close(mine, flattened(list(theirs)), rtol=0, atol=2e-5)
