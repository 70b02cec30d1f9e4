"""Hyperparameter presets: YAML with the keys of rl_zoo3, by environment id."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any, NamedTuple

from synthenv import recipe
from synthenv.catalogue import unknown

SCHEDULED = ("learning_rate", "clip_range", "clip_range_vf", "delta_std")
"""Hyperparameters that may fall to 0 in the course of training: "lin_0.001"."""
NORMALIZE = ("norm_obs", "norm_reward", "clip_obs", "clip_reward", "gamma", "epsilon")
"""What SB3's `VecNormalize` can be told under `normalize`."""


class Preset(NamedTuple):
    """What a file says about training in one environment.

    steps, n_envs: rl_zoo3's n_timesteps and n_envs, None where the file leaves them open.
    settings: the rest, as `synthenv.sb3.train` takes it: plain values that could be written as JSON.
    """

    steps: int | None
    n_envs: int | None
    settings: dict[str, Any]


def read(path: Path, environment: str, algorithm: type) -> Preset:
    """The preset for `environment`; raises ValueError for keys that `algorithm` does not take.

    Of what rl_zoo3 adds, `normalize`, linear schedules and arguments in Python's words ("dict(log_std_init=-2)") are
    understood. The rest (env_wrapper, frame_stack, noise_type, ...) is refused, not ignored.
    """
    presets = recipe.read(path)
    if not isinstance(presets, dict) or not all(isinstance(preset, dict) for preset in presets.values()):
        raise ValueError(f"{path} should map environment ids to hyperparameters")
    if environment not in presets:
        raise ValueError(f"{path}: {unknown('environment', environment, presets)}")
    settings = dict(presets[environment])
    steps, n_envs = settings.pop("n_timesteps", None), settings.pop("n_envs", None)
    taken = inspect.signature(algorithm).parameters
    known = [*(name for name in taken if name not in ("env", "_init_setup_model")), "normalize"]
    for key, value in settings.items():
        if key not in known:
            raise ValueError(f"{path}: {unknown(f'{algorithm.__name__} hyperparameter', key, known)}")
        try:
            if key in ("policy_kwargs", "normalize"):
                settings[key] = _arguments(key, value)
            elif isinstance(value, str) and key != "policy" and not isinstance(taken[key].default, str):
                _check_schedule(key, value)
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"{path}: {error}") from error
    return Preset(None if steps is None else int(steps), n_envs, settings)


def _check_schedule(key: str, text: str) -> None:
    """Raise ValueError unless `text` is a schedule such as "lin_0.001", and `key` takes one."""
    kind, _, start = text.partition("_")
    try:
        understood = key in SCHEDULED and kind == "lin" and float(start) > 0
    except ValueError:
        understood = False
    if not understood:
        ways = "a number, or a schedule like lin_0.001," if key in SCHEDULED else "a number"
        raise ValueError(f"expected {ways} for {key}, got {text!r}")


def _arguments(key: str, value: Any) -> Any:
    """A mapping of arguments, or True or False for `normalize`."""
    if isinstance(value, str):
        value = _spoken(ast.parse(value, mode="eval").body)
    if not isinstance(value, dict) and not (key == "normalize" and isinstance(value, bool)):
        raise ValueError(f"expected a mapping for {key}, got {value!r}")
    if key == "normalize" and isinstance(value, dict):
        for name in value.keys() - set(NORMALIZE):
            raise ValueError(unknown("argument of normalize", name, NORMALIZE))
    return value


def _spoken(node: ast.expr) -> Any:
    """The value of Python's words for plain data; nothing is run, and a name such as nn.ReLU stays a string."""
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=pairs) if all(pair.arg for pair in pairs):
            return {pair.arg: _spoken(pair.value) for pair in pairs}
        case ast.Dict(keys=keys, values=values) if all(keys):
            return {ast.literal_eval(key): _spoken(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_spoken(item) for item in items]
        case ast.Attribute():
            return ast.unparse(node)
    return ast.literal_eval(node)
