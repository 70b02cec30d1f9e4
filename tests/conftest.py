"""Small random artifacts, made where a test needs one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from matplotlib.figure import Figure

import synthenv
from synthenv import artifact, worlds
from synthenv.expected import expected_steps
from synthenv.recipe import EnvRecipe

HORIZON = 7

# Small tensors: a second thread only spins against the first.
torch.set_num_threads(1)


TARGETS = {
    "CartPole-v1": (spaces.Discrete(2), [0.1, 0.0, 0.0, -0.2], [2.4, 3.0, 0.3, 3.0], 0.5),
    "Pendulum-v1": (spaces.Box(-2, 2, (1,)), [0.0, 0.1, 0.0], [1.2, 1.1, 9.0], 1.2),
    "Lopsided-v0": (spaces.Box(np.float32([-1, 0]), np.float32([1, 3])), [0.0, 1.0], [1.0, 2.0], 0.4),
}
"""Actions, centre, reach and a bias against ends of what random artifacts stand for; the last is no task of anybody."""


def random_artifact(
    folder: Path,
    form: str,
    activation: str = "tanh",
    noise: float = 0.1,
    seed: int = 0,
    target: str = "CartPole-v1",
    layers: tuple[int, ...] = (),
    margin: float = 0.0,
    shift: float = 0.0,
) -> Path:
    """An environment of random networks, complete on disk; about one step in ten ends an MDP's episode."""
    horizon = HORIZON if form == "mdp" else 1
    recipe = EnvRecipe(
        folder.name, target, form, hidden=8, layers=layers, activation=activation, margin=margin, shift=shift,
        horizon=horizon,
    )  # fmt: skip
    action, *box, against = TARGETS[target]
    centre, reach = map(torch.tensor, box)
    world = worlds.synthetic(recipe, action, centre, reach)
    params = world.init(torch.Generator().manual_seed(seed), 1)
    params |= {name: 3 * leaf for name, leaf in params.items() if name.endswith(("w1", "w2"))}
    params["noise.reward"] += noise
    params["height.reward"] *= 2
    if form == "mdp":
        params[f"transition.b{max(1, len(layers))}"].unflatten(-1, (-1, len(centre) + 1))[..., -1] -= against
        params["cost.end"] += 2.0
    expected = expected_steps(world, params, recipe.time_limit)
    artifact.save(
        folder,
        recipe,
        {**params, "reach": reach[None], "centre": centre[None]},
        artifact.describe(*world.spaces),
        expected,
    )
    return folder


@pytest.fixture(params=["bandit", "mdp"])
def artifact_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a small random artifact, once in each form."""
    return random_artifact(tmp_path / f"Random-{request.param}-v0", request.param)


@pytest.fixture(params=["bandit-CartPole-v1", "mdp-CartPole-v1", "bandit-Pendulum-v1", "mdp-Pendulum-v1"])
def any_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a small random artifact, once in each form with Discrete actions and with a Box."""
    form, target = request.param.split("-", 1)
    return random_artifact(tmp_path / f"Random-{request.param}", form, target=target)


@pytest.fixture
def mdp_folder(tmp_path: Path) -> Path:
    return random_artifact(tmp_path / "Random-mdp-v0", "mdp")


@pytest.fixture
def bandit_folder(tmp_path: Path) -> Path:
    return random_artifact(tmp_path / "Random-bandit-v0", "bandit")


@pytest.fixture
def registered_id(any_folder: Path) -> Iterator[str]:
    """The same artifact under its id in Gymnasium, for one test."""
    name = synthenv.register(any_folder)
    yield name
    del gymnasium.registry[name]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they are saved."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (figures.append(figure), save(figure, *a, **k)))
    return figures
