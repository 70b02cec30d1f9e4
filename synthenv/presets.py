"""Hyperparameter presets: YAML with the keys of rl_zoo3, by environment id."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from synthenv.catalogue import unknown


class Preset(NamedTuple):
    """What a file says about training in one environment.

    steps, n_envs: rl_zoo3's n_timesteps and n_envs, None where the file leaves them open.
    settings: the rest, arguments of the algorithm's class.
    """

    steps: int | None
    n_envs: int | None
    settings: dict[str, Any]


def read(path: Path, environment: str, algorithm: type) -> Preset:
    """The preset for `environment`; raises ValueError for keys that `algorithm` does not take.

    What belongs to rl_zoo3 alone (normalize, env_wrapper, schedules like "lin_0.001") is refused, not ignored.
    """
    try:
        presets = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(presets, dict) or not all(isinstance(preset, dict) for preset in presets.values()):
        raise ValueError(f"{path} should map environment ids to hyperparameters")
    if environment not in presets:
        raise ValueError(f"{path}: {unknown('environment', environment, presets)}")
    settings = dict(presets[environment])
    steps, n_envs = settings.pop("n_timesteps", None), settings.pop("n_envs", None)
    known = [name for name in inspect.signature(algorithm).parameters if name not in ("env", "_init_setup_model")]
    for key, value in settings.items():
        if key not in known:
            raise ValueError(f"{path}: {unknown(f'{algorithm.__name__} hyperparameter', key, known)}")
        if isinstance(value, str) and key not in ("policy", "device"):
            raise ValueError(f"{path}: expected a number for {key}, got {value!r}; schedules are not read")
    return Preset(None if steps is None else int(steps), n_envs, settings)
