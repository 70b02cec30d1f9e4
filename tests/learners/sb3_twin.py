"""Stable-Baselines3 agents with the weights of ours, fed the same steps: an independent witness for what is learned."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor

from synthenv import learners
from synthenv.rollout import Steps
from synthenv.tree import Tree, unravel
from synthenv.worlds import Spaces
from tests.probes import CARTPOLES, called

THEIRS = {
    "rate": "learning_rate", "lam": "gae_lambda", "clip": "clip_range", "entropy": "ent_coef", "value": "vf_coef",
    "max_norm": "max_grad_norm", "epochs": "n_epochs", "batch": "batch_size", "epsilon": "exploration_final_eps",
    "exploration": "exploration_fraction", "capacity": "buffer_size", "warmup": "learning_starts",
    "updates": "gradient_steps", "target_every": "target_update_interval", "delay": "policy_delay",
    "target_noise": "target_policy_noise", "target_clip": "target_noise_clip",
}  # fmt: skip
"""What Stable-Baselines3 calls our settings; those not named are called the same."""

ON_POLICY = [
    pytest.param(world, own, id=called(world))
    for world, own in zip(CARTPOLES, ({}, {"log_std": torch.tensor([0.0, -1.0, 0.5])}), strict=True)
]
"""Worlds with each kind of actions, and hyperparameters [3] that only their policy has."""

Layers = dict[str, torch.nn.Linear]


def check_defaults(
    learner: learners.Learner,
    kind: type[BaseAlgorithm],
    length: str,
    structure: Iterable[str],
    only_ours: Mapping[str, float] = {},
) -> None:
    """Hyperparameters and structure are SB3's where nothing is said; `length` is its word for ours.

    only_ours: what SB3 has no number for, and what it does.
    """
    theirs = {name: value.default for name, value in inspect.signature(kind).parameters.items()} | dict(only_ours)
    for name, value in learner.defaults.items():
        assert theirs[THEIRS.get(name, name)] == value, name
    for name in structure:
        assert theirs[THEIRS[name]] == getattr(learner, name), name
    assert theirs[length] == learner.length


class Bare(gymnasium.Env):
    """Spaces for an agent that nobody will play with."""

    def __init__(self, task: Spaces) -> None:
        self.observation_space, self.action_space = task


def twin(
    kind: type[BaseAlgorithm],
    envs: int,
    hyper: Mapping[str, float],
    task: Spaces = CARTPOLES[0].spaces,
    **settings: object,
) -> BaseAlgorithm:
    """An untrained SB3 agent that logs nothing."""
    settings |= {THEIRS.get(name, name): value for name, value in hyper.items()}
    model = kind("MlpPolicy", make_vec_env(lambda: Bare(task), envs), device="cpu", seed=0, **settings)
    model.set_logger(Logger(None, []))
    return model


def linear(*parts: Iterable[torch.nn.Module]) -> list[torch.nn.Linear]:
    return [layer for part in parts for layer in part if isinstance(layer, torch.nn.Linear)]


def actor_critic(policy: torch.nn.Module) -> list[torch.nn.Linear]:
    """Layers of an on-policy policy in the order of our trees."""
    bodies = policy.mlp_extractor
    return linear(bodies.policy_net, [policy.action_net], bodies.value_net, [policy.value_net])


def flattened(layers: list[torch.nn.Linear]) -> Tensor:
    """Their weights as a row of ours, [D]: a layer's matrix, which torch keeps transposed, then its bias."""
    return torch.cat([leaf for layer in layers for leaf in (layer.weight.T.flatten(), layer.bias)]).detach()


def lend(networks: Tree, layers: list[torch.nn.Linear], p: int) -> None:
    """Copy member p's leaves [P, I, O] and [P, 1, O] into torch's layers, in order."""
    leaves = list(networks.values())
    with torch.no_grad():
        for layer, weight, bias in zip(layers, leaves[::2], leaves[1::2], strict=True):
            layer.weight.copy_(weight[p].T)
            layer.bias.copy_(bias[p, 0])


def lend_policy(networks: Tree, policy: torch.nn.Module, p: int) -> None:
    """Copy what member p of an actor-critic learns into an on-policy policy."""
    bodies = {name: leaf for name, leaf in networks.items() if not name.startswith("policy.")}
    lend(bodies, actor_critic(policy), p)
    if "policy.log_std" in networks:
        policy.log_std.data.copy_(networks["policy.log_std"][p, 0])


def learned(policy: torch.nn.Module) -> Tensor:
    """The same as a row of ours, [D]."""
    own = [policy.log_std.detach()] if hasattr(policy, "log_std") else []
    return torch.cat((flattened(actor_critic(policy)), *own))


def feed(model: OnPolicyAlgorithm, steps: Steps, p: int) -> None:
    """Member p's steps into SB3's rollout buffer, time limits handled as its `collect_rollouts` does."""
    buffer, policy = model.rollout_buffer, model.policy
    buffer.reset()
    start = np.ones(model.n_envs)
    with torch.no_grad():
        for t in range(steps.reward.shape[1]):
            seen, action = steps.observation[p, t], steps.action[p, t]
            value, log, _ = policy.evaluate_actions(seen, action)
            beyond = policy.predict_values(steps.following[p, t])[:, 0]
            reward = steps.reward[p, t] + model.gamma * beyond * steps.truncated[p, t]
            buffer.add(seen.numpy(), action.numpy(), reward.numpy(), start, value, log)
            start = (steps.terminated[p, t] | steps.truncated[p, t]).numpy()
        buffer.compute_returns_and_advantage(policy.predict_values(steps.following[p, -1]), start)


def check_on_policy(
    learner: learners.Learner,
    kind: type[OnPolicyAlgorithm],
    given: Mapping[str, Tensor],
    batches: Iterable[Steps],
    structure: Iterable[str] = (),
    before_training: Callable[[int], None] = lambda seed: None,
) -> None:
    """From the same weights and steps, every member learns what its SB3 twin does; given: hyperparameters [P]."""
    population = len(given["rate"])
    hyper = learners.fill(learner, population, given)
    agent = learner.init(hyper, 10_000, torch.Generator().manual_seed(0))
    shared = {THEIRS[name]: getattr(learner, name) for name in structure}
    models = [
        twin(
            kind,
            learner.envs,
            {k: v[p].item() for k, v in hyper.items() if k != "log_std"},  # lent with the weights
            learner.spaces,
            n_steps=learner.length,
            **shared,
        )
        for p in range(population)
    ]
    for p, model in enumerate(models):
        lend_policy(unravel(agent["flat"], learner.shapes), model.policy, p)
    for seed, steps in enumerate(batches):
        assert steps.terminated.any()
        assert steps.truncated.any()
        targets = learner.targets(agent, steps)
        agent = learner.update(agent, steps, torch.Generator().manual_seed(seed))
        for p, model in enumerate(models):
            feed(model, steps, p)
            for name, mine in zip(("advantages", "returns"), targets, strict=True):
                theirs = torch.tensor(getattr(model.rollout_buffer, name)).flatten()
                torch.testing.assert_close(mine[p], theirs, rtol=1e-4, atol=1e-4)
            before_training(seed)
            model.train()
            torch.testing.assert_close(agent["flat"][p], learned(model.policy), rtol=0, atol=5e-5)
