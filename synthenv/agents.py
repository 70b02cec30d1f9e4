"""Trained SB3 agents on disk without a pickle: weights, what rebuilds the network around them, the facts.

policy.safetensors  the policy's parameters, and the statistics that its observations are normalised by
config.json         algorithm, policy, its arguments, spaces, hyperparameters, versions
card.json           where it was trained, its scores, and the digests of both
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from synthenv import shelf
from synthenv.artifact import agree, sha256, text_sha256, versions, written_aside
from synthenv.presets import NORMALIZE
from synthenv.tree import Tree, part, prefixed

TRUSTED = ("torch.", "stable_baselines3.", "sb3_contrib.")
"""Packages whose classes a config may name; no other is ever imported for it."""
STATISTICS = ("mean", "var", "count")
"""What SB3's `RunningMeanStd` holds."""


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
    told = ("policy", "policy_kwargs", "normalize")  # these the model itself tells
    rest = {key: value for key, value in (hyperparameters or {}).items() if key not in told}
    venv = model.get_vec_normalize_env()
    config = {
        "algorithm": _name(type(model)),
        "policy": names[0],
        "policy_kwargs": _plain(model.policy_kwargs),
        "hyperparameters": _plain({**({"use_sde": True} if model.use_sde else {}), **rest}),
        "normalize": None if venv is None else {name: getattr(venv, name) for name in NORMALIZE},
        "observation_space": _space_facts(model.observation_space),
        "action_space": _space_facts(model.action_space),
        "versions": {**versions(), "stable_baselines3": stable_baselines3.__version__},
    }
    with written_aside(folder) as aside:
        weights = {name: leaf.detach().cpu().clone() for name, leaf in _leaves(model, venv).items()}
        save_file(weights, aside / "policy.safetensors", {"format": "pt"})
        _write(aside / "config.json", config)
        card = {
            "id": folder.name,
            "env_id": env_id,
            "algorithm": type(model).__name__,
            "steps": model.num_timesteps,
            **({"normalize": True} if venv is not None and venv.norm_obs else {}),
            "scores": dict(scores),
            **(facts or {}),
            "sha256": sha256(aside / "policy.safetensors"),
            "config_sha256": text_sha256(aside / "config.json"),
        }
        _write(aside / "card.json", card)
    return folder


def load_agent(
    folder: str | Path, env: str | gymnasium.Env[Any, Any] | VecEnv | None = None, device: str = "cpu"
) -> BaseAlgorithm:
    """An agent from a folder or by name from the shelf; it predicts as it did when saved.

    Give `env` to go on learning there, in the same environment or another of the same shapes, as the real task is:
    `load_agent(folder, env="CartPole-v1").learn(10_000)`. The optimizer and any replay buffer begin afresh.

    An agent trained with `normalize` predicts from normalised observations, as in SB3: see `normaliser`.
    """
    folder = shelf.find(folder, "agents")
    card, path, told = shelf.card(folder), folder / "policy.safetensors", folder / "config.json"
    agree(path, "sha256", card["sha256"], sha256(path), "card.json")
    if "config_sha256" in card:
        agree(told, "sha256", card["config_sha256"], text_sha256(told), "card.json")
    config = json.loads(told.read_text(encoding="utf-8"))
    kind, leaves = _class(config["algorithm"]), load_file(path, device)
    place = _Blank(_space(config["observation_space"]), _space(config["action_space"])) if env is None else env
    if normalize := config.get("normalize"):
        place = _normalised(place, normalize, part(leaves, "normalize"), training=env is not None)
    model: BaseAlgorithm = kind(
        config["policy"],
        place,
        policy_kwargs=_rich(config["policy_kwargs"]),
        device=device,
        **arguments(_rich(config["hyperparameters"])),
    )
    if "log_ent_coef" in leaves:
        model.log_ent_coef.data.copy_(leaves.pop("log_ent_coef"))  # type: ignore[attr-defined]
    model.policy.load_state_dict({name: leaf for name, leaf in leaves.items() if not name.startswith("normalize.")})
    return model


def normaliser(model: Any) -> Callable[[Any], Any]:
    """From observations as an environment gives them to those that `model.predict` wants: the same, for most agents.

    One trained with `normalize` wants them by the statistics of its training environment.
    """
    venv = model.get_vec_normalize_env() if isinstance(model, BaseAlgorithm) else None
    return (lambda observation: observation) if venv is None else venv.normalize_obs


def arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a preset as SB3's classes take them: "lin_0.001" is a schedule, nn.ReLU a class, pairs are tuples."""
    ready = {key: _schedule(value) for key, value in settings.items()}
    if isinstance(ready.get("train_freq"), list):
        ready["train_freq"] = tuple(ready["train_freq"])
    if ready.get("policy_kwargs"):
        ready["policy_kwargs"] = {key: _layer(value) for key, value in ready["policy_kwargs"].items()}
    return ready


class _Blank(gymnasium.Env[Any, Any]):
    """Spaces without a task: enough for SB3 to build a network."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action


def _leaves(model: BaseAlgorithm, venv: VecNormalize | None) -> Tree:
    """Everything learned that an agent needs to act, and to go on."""
    leaves: Tree = dict(model.policy.state_dict())
    if getattr(model, "log_ent_coef", None) is not None:
        leaves["log_ent_coef"] = model.log_ent_coef  # type: ignore[attr-defined]
    if venv is not None and venv.norm_obs:
        seen = {name: torch.as_tensor(getattr(venv.obs_rms, name)) for name in STATISTICS}
        leaves |= prefixed("normalize", seen)
    return leaves


def _normalised(env: Any, settings: Mapping[str, Any], seen: Tree, training: bool) -> VecNormalize:
    """An environment, or a registered id, with an agent's own normalisation around it."""
    if isinstance(env, str):
        env = make_vec_env(env)
    elif not isinstance(env, VecEnv):
        env = DummyVecEnv([lambda: Monitor(env)])
    venv = VecNormalize(env, training, **settings)
    for name, value in seen.items():
        setattr(venv.obs_rms, name, value.cpu().numpy())
    return venv


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _schedule(value: Any) -> Any:
    """What "lin_0.001" means: from there to 0 in the course of training. Anything else is itself."""
    if isinstance(value, str) and value.startswith("lin_"):
        return LinearSchedule(float(value.removeprefix("lin_")), 0.0, 1.0)
    return value


def _layer(value: Any) -> Any:
    """What "nn.ReLU" means. Anything else is itself."""
    return _class(f"torch.{value}") if isinstance(value, str) and value.startswith("nn.") else value


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
    if isinstance(value, type):
        return {"class": _name(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"expected numbers, words, lists, mappings and classes as hyperparameters, got {value!r}")


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
