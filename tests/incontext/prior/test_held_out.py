"""The tasks that world models are evaluated on are not in the prior: neither their constants nor their motion."""

import math
import re
from pathlib import Path

import pytest
import torch

from synthenv import worlds
from synthenv.incontext import prior
from synthenv.incontext.prior import PriorSettings
from synthenv.incontext.prior.base import STATE
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.grids import HELD_OUT
from synthenv.incontext.prior.mechanics import CONSTANTS, METHODS, Mechanics, Q
from synthenv.incontext.prior.networks import Networks
from synthenv.incontext.rows import ACTIONS

SIGNATURES = {
    "CartPole": (r"\b9\.8\d?\b", r"4(\.0)?\s*/\s*3", r"pole", r"12\s*\*.*pi"),
    "Pendulum": (r"-?\b3(\.0)?\s*\*\s*g", r"0\.001\s*\*\s*\w+\s*\*\*\s*2", r"theta"),
    "MountainCar": (r"0\.0025", r"0\.0015", r"0\.07\b", r"cos\(3"),
    "Acrobot": (r"LINK_", r"lc1", r"4\s*\*\s*(math\.|torch\.)?pi", r"9\s*\*\s*(math\.|torch\.)?pi"),
    "Reacher": (r"fingertip", r"body0", r"mujoco"),
    "OSWM's GridWorld": (r"\b5\.2\b", r"0\.01\s*\*\s*(x|row|column)"),
    "SimpleEnv": (r"\b30(\.0)?\s*,\s*-?30", r"-30\b"),
    "CliffWalking": (r"-100\b", r"cliff"),
}
"""The tasks of the evaluation whose systems are known by heart, and what would betray them in source."""
WORLDS = 3000


@pytest.mark.parametrize("task", SIGNATURES)
def test_source_holds_no_constants_of_it(task):
    for file in Path(prior.__file__).parent.glob("*.py"):
        source = file.read_text()
        assert task.split()[-1] not in source, f"{file.name} names {task}"
        for signature in SIGNATURES[task]:
            assert not re.search(signature, source, re.IGNORECASE), f"{file.name} holds {signature} of {task}"


def mechanisms(method=0, discrete=0.5):
    """Many drawn mechanisms, dice and the family."""
    dice = Dice(torch.Generator().manual_seed(0))
    settings = PriorSettings(substeps=tuple(float(k == method) for k in range(len(METHODS))), discrete=discrete)
    family = Mechanics(dice, settings)
    return family, family.draw(dice, WORLDS), dice


def alike(name, state, push, coordinates, discrete):
    """Least share of the task's change of velocity that a drawn mechanism misses, in the task's own units.

    state [N, 2 * coordinates] in the order of coordinates, then velocities; push [N, A] as the prior writes actions.
    """
    world = worlds.real(name)
    order = {"CartPole-v1": [0, 2, 1, 3]}.get(name, list(range(2 * coordinates)))
    back = torch.tensor(order).argsort()
    params = world.init(torch.Generator(), 1)
    action = push.argmax(-1) if discrete else push[:, :1] * float(world.spaces.action.high[0])
    following, _ = world.step(params, {"x": state[:, back][None]}, action[None])
    change = (following["x"][0][:, order] - state)[:, coordinates:]
    best = math.inf
    for method in range(len(METHODS)):
        family, drawn, dice = mechanisms(method, float(discrete))
        full = torch.zeros((WORLDS, STATE, len(state)))
        full[:, :coordinates] = state[:, :coordinates].T
        full[:, Q : Q + coordinates] = state[:, coordinates:].T
        moved = family.step(drawn.params, full, push.T.expand(WORLDS, -1, -1), dice)
        other = (moved - full)[:, Q : Q + coordinates]
        missed = (other - change.T).square().mean(-1) / change.square().mean(0)
        best = min(best, float(missed.amax(-1).min()))
    return best


@pytest.mark.parametrize(
    ("name", "coordinates", "reach", "choices"),
    [
        ("CartPole-v1", 2, (2.0, math.pi, 2.0, 3.0), 2),
        ("Pendulum-v1", 1, (math.pi, 6.0), 0),
        ("MountainCar-v0", 1, (1.0, 0.05), 3),
        ("MountainCarContinuous-v0", 1, (0.8, 0.05), 0),
        ("Acrobot-v1", 2, (math.pi, math.pi, 4.0, 8.0), 3),
    ],
)
def test_no_drawn_mechanism_moves_like_it(name, coordinates, reach, choices):
    dice = Dice(torch.Generator().manual_seed(1))
    state = dice.uniform(-1, 1, 200, 2 * coordinates) * torch.tensor(reach)
    if choices:
        push = torch.nn.functional.one_hot(dice.whole(0, choices - 1, 200), ACTIONS).float()
    else:
        push = torch.nn.functional.pad(dice.uniform(-1, 1, 200, 1), (0, ACTIONS - 1))
    assert alike(name, state, push, coordinates, bool(choices)) > 0.05


def test_a_wave_never_comes_alone():
    """A single sine as the only force that depends on the place is what a pendulum or a sinusoidal valley is."""
    _, drawn, _ = mechanisms()
    force = drawn.params["force"].mT
    first = 2 * Q + ACTIONS
    waves = force[:, first : first + 2 * Q]
    springs, whirl = force[:, :Q].abs().sum((1, 2)), force[:, first + 2 * Q : -CONSTANTS].abs().sum((1, 2))
    alone = (drawn.params["used"].sum((1, 2)) == 1) & (springs == 0) & (whirl == 0)
    strength = waves[alone].abs().sum(-1)
    assert alone.sum() > 100
    waving = strength[strength.sum(-1) > 0]
    assert ((waving > 0.05 * waving.amax(-1, keepdim=True)).sum(-1) >= 2).all()


def test_no_integrator_is_the_simple_one():
    """One number that goes as far as it is pushed, within bounds three times the strongest push."""
    dice = Dice(torch.Generator().manual_seed(0))
    family = Networks(dice, PriorSettings(discrete=0.0))
    params = family.draw(dice, WORLDS).params
    lone = (params["keep"] == 1).sum((1, 2)) == 1
    lone &= (params["out"].abs().sum((1, 2)) == 0) & (params["direct"][..., :STATE].abs().sum((1, 2)) == 0)
    push = params["direct"][lone][..., STATE:].abs().amax((1, 2))
    ratio = params["bound"][lone][:, 0, 0] / push
    assert lone.sum() > 20
    assert ((ratio < 2.7) | (ratio > 3.3)).all()


def test_no_grid_is_of_their_size():
    assert {(8, 8), (4, 12)} == set(HELD_OUT)
