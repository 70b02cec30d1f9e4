"""Small random artifacts, made where a test needs one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
import torch

import synthenv
from synthenv import artifact, worlds
from synthenv.expected import expected_steps
from synthenv.recipe import EnvRecipe

HORIZON = 7

# Small tensors: a second thread only spins against the first.
torch.set_num_threads(1)


def random_artifact(folder: Path, form: str, activation: str = "tanh", noise: float = 0.1, seed: int = 0) -> Path:
    """A CartPole environment of random networks, complete on disk; about one step in ten ends an MDP's episode."""
    recipe = EnvRecipe(
        folder.name, "CartPole-v1", form, hidden=8, activation=activation, horizon=HORIZON if form == "mdp" else 1
    )
    reach, centre = torch.tensor([2.4, 3.0, 0.3, 3.0]), torch.tensor([0.1, 0.0, 0.0, -0.2])
    world = worlds.synthetic(recipe, centre, reach)
    params = world.init(torch.Generator().manual_seed(seed), 1)
    params |= {name: 3 * leaf for name, leaf in params.items() if name.endswith("w1")}
    params["noise.reward"] += noise
    params["height.reward"] *= 2
    if form == "mdp":
        params["transition.b1"][..., 4::5] -= 0.5
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


@pytest.fixture
def mdp_folder(tmp_path: Path) -> Path:
    return random_artifact(tmp_path / "Random-mdp-v0", "mdp")


@pytest.fixture
def bandit_folder(tmp_path: Path) -> Path:
    return random_artifact(tmp_path / "Random-bandit-v0", "bandit")


@pytest.fixture
def registered_id(artifact_folder: Path) -> Iterator[str]:
    """The same artifact under its id in Gymnasium, for one test."""
    name = synthenv.register(artifact_folder)
    yield name
    del gymnasium.registry[name]
