"""Trained SB3 agents on disk without a pickle: weights, what rebuilds the network around them, the facts.

policy.safetensors  the policy's parameters
config.json         algorithm, policy, its arguments, spaces, hyperparameters, versions
card.json           where it was trained, its scores, and the digest of the weights
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from synthenv import shelf
from synthenv.artifact import agree, sha256, versions, written_aside

TRUSTED = ("torch.", "stable_baselines3.", "sb3_contrib.")
"""Packages whose classes a config may name; no other is ever imported for it."""


def save_agent(
    model: BaseAlgorithm,
    folder: str | Path,
    *,
    env_id: str,
    scores: Mapping[str, Any],
    hyperparameters: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write a trained agent; `hyperparameters` are those it was made with where they were not the defaults."""
    folder = Path(folder)
    names = [name for name, policy in model.policy_aliases.items() if policy is model.policy_class]
    if not names:
        raise ValueError(f"expected one of {', '.join(model.policy_aliases)}, got policy {model.policy_class.__name__}")
    rest = {key: value for key, value in (hyperparameters or {}).items() if key not in ("policy", "policy_kwargs")}
    config = {
        "algorithm": _name(type(model)),
        "policy": names[0],
        "policy_kwargs": _plain(model.policy_kwargs),
        "hyperparameters": _plain(rest),
        "observation_space": _space_facts(model.observation_space),
        "action_space": _space_facts(model.action_space),
        "versions": {**versions(), "stable_baselines3": stable_baselines3.__version__},
    }
    with written_aside(folder) as aside:
        weights = {name: leaf.detach().cpu().clone() for name, leaf in model.policy.state_dict().items()}
        save_file(weights, aside / "policy.safetensors", {"format": "pt"})
        card = {
            "id": folder.name,
            "env_id": env_id,
            "algorithm": type(model).__name__,
            "steps": model.num_timesteps,
            "scores": dict(scores),
            **(facts or {}),
            "sha256": sha256(aside / "policy.safetensors"),
        }
        for name, content in (("config.json", config), ("card.json", card)):
            (aside / name).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return folder


def load_agent(
    folder: str | Path, env: str | gymnasium.Env[Any, Any] | VecEnv | None = None, device: str = "cpu"
) -> BaseAlgorithm:
    """An agent from a folder or by name from the shelf; it predicts as it did when saved.

    Give `env` to go on learning there, in the same environment or another of the same shapes, as the real task is:
    `load_agent(folder, env="CartPole-v1").learn(10_000)`. The optimizer and any replay buffer begin afresh.
    """
    folder = shelf.find(folder, "agents")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    path = folder / "policy.safetensors"
    agree(path, "sha256", shelf.card(folder)["sha256"], sha256(path), "card.json")
    kind = _class(config["algorithm"])
    model: BaseAlgorithm = kind(
        config["policy"],
        _Blank(_space(config["observation_space"]), _space(config["action_space"])) if env is None else env,
        policy_kwargs=_rich(config["policy_kwargs"]),
        device=device,
        **_rich(config["hyperparameters"]),
    )
    model.policy.load_state_dict(load_file(path, device))
    return model


class _Blank(gymnasium.Env[Any, Any]):
    """Spaces without a task: enough for SB3 to build a network."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action


def _space_facts(space: spaces.Space[Any]) -> dict[str, Any]:
    """A Box or Discrete space in JSON; bounds as text, for they may be infinite."""
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.Box):
        low, high = ([str(bound) for bound in side.ravel().tolist()] for side in (space.low, space.high))
        return {"low": low, "high": high, "shape": list(space.shape), "dtype": str(space.dtype)}
    raise ValueError(f"expected a Box or Discrete space, got {space}")


def _space(facts: Mapping[str, Any]) -> spaces.Space[Any]:
    """The inverse of `_space_facts`."""
    if "n" in facts:
        return spaces.Discrete(facts["n"], start=facts["start"])
    dtype = np.dtype(facts["dtype"])
    low, high = (np.array([float(b) for b in facts[side]], dtype).reshape(facts["shape"]) for side in ("low", "high"))
    return spaces.Box(low, high, tuple(facts["shape"]), dtype.type)


def _plain(value: Any) -> Any:
    """Arguments as JSON; a class becomes its name under "class"."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {"class": _name(value)} if isinstance(value, type) else value


def _rich(value: Any) -> Any:
    """The inverse of `_plain`."""
    if isinstance(value, list):
        return [_rich(item) for item in value]
    if isinstance(value, dict):
        return _class(value["class"]) if value.keys() == {"class"} else {key: _rich(v) for key, v in value.items()}
    return value


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _class(name: str) -> Any:
    """The class called `name`, if it is one of torch's or SB3's."""
    module, _, last = name.rpartition(".")
    kind = getattr(importlib.import_module(module), last, None) if name.startswith(TRUSTED) else None
    if not isinstance(kind, type):
        raise ValueError(f"config.json names {name}; expected a class of torch, stable_baselines3 or sb3_contrib")
    return kind
