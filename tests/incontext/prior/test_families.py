"""What every family of worlds promises, and what makes each its own."""

import pytest
import torch

from synthenv import catalogue
from synthenv.incontext import prior
from synthenv.incontext.prior import PriorSettings, families
from synthenv.incontext.prior.base import STATE
from synthenv.incontext.prior.contact import SWITCH
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.prior.grids import HELD_OUT
from synthenv.incontext.prior.mechanics import METHODS, Q
from synthenv.incontext.rows import ACTIONS
from synthenv.tree import take

TASKS, LANES = 40, 5
SURE = PriorSettings(slippery=0.0)


def made(name, tasks=TASKS, settings=SURE, seed=0):
    """A family, its worlds, dice, first states [B, S, N] and valid actions [B, A, N]."""
    dice = Dice(torch.Generator().manual_seed(seed))
    family = catalogue.named(prior.__name__, name, "family")(dice, settings)
    drawn = family.draw(dice, tasks)
    state = family.begin(drawn.params, dice, LANES)
    wish = dice.uniform(-1, 1, tasks, ACTIONS, LANES).masked_fill_(~drawn.actions.acting[..., None], -2)
    chosen = torch.nn.functional.one_hot(wish.argmax(1), ACTIONS).float().mT
    action = torch.where(drawn.actions.discrete[:, None, None], chosen, wish * (wish > -2))
    return family, drawn, dice, state, action


@pytest.fixture(params=families())
def family_name(request):
    return request.param


def test_the_five_families_are_found():
    assert families() == ["contact", "grids", "linear", "mechanics", "networks"]


def test_members_do_not_interact(family_name):
    family, drawn, dice, state, action = made(family_name)
    together = family.step(drawn.params, state, action, dice)
    seen = family.features(drawn.params, together)
    for one in range(TASKS):
        params = take(drawn.params, one)
        alone = family.step(params, state[one : one + 1], action[one : one + 1], dice)
        torch.testing.assert_close(alone[0], together[one], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(family.features(params, together[one : one + 1])[0], seen[one], rtol=1e-4, atol=1e-4)


def test_shapes(family_name):
    family, drawn, dice, state, action = made(family_name)
    assert state.shape == (TASKS, STATE, LANES)
    assert family.step(drawn.params, state, action, dice).shape == state.shape
    seen = family.features(drawn.params, state)
    assert seen.shape == (TASKS, drawn.shown.shape[1], LANES)
    assert drawn.place.shape == drawn.shown.shape
    assert drawn.shown.any(-1).all(), "a world shows nothing"
    assert (drawn.reach > 0).all()
    over = family.ended(drawn.params, state)
    assert over is None or over.shape == (TASKS, LANES)


def test_actions_matter_and_states_move(family_name):
    family, drawn, dice, state, action = made(family_name)
    first = family.step(drawn.params, state, action, dice)
    for _ in range(5):
        other = family.step(drawn.params, state, action.roll(1, 2), dice)
        state = family.step(drawn.params, state, action, dice)
        assert state.isfinite().all()
    assert ((first - state).abs().amax((1, 2)) > 0).float().mean() > 0.7
    assert ((other - state).abs().amax((1, 2)) > 0).float().mean() > 0.6


@pytest.mark.parametrize("method", range(len(METHODS)))
def test_velocities_are_rates_of_change(method):
    chances = tuple(float(k == method) for k in range(len(METHODS)))
    settings = PriorSettings(substeps=chances, step=(1e-4, 1e-4), gentle=0.0)
    family, drawn, dice, state, action = made("mechanics", settings=settings)
    after = family.step(drawn.params, state, action, dice)
    rate = (after[:, :Q] - state[:, :Q]) / 1e-4
    torch.testing.assert_close(rate, state[:, Q : 2 * Q], atol=0.1, rtol=0.02)


def test_careful_steps_agree_with_many_small_ones():
    def ended(method, step):
        chances = tuple(float(k == method) for k in range(len(METHODS)))
        family, drawn, dice, state, action = made(
            "mechanics", settings=PriorSettings(substeps=chances, step=(0.02, 0.02))
        )
        drawn.params["step"] = torch.full_like(drawn.params["step"], step)
        for _ in range(round(0.08 / step / family.substeps)):
            state = family.step(drawn.params, state, action, dice)
        return state

    careful, small = ended(3, 0.02), ended(0, 0.0002)
    error = (careful - small).abs().amax((1, 2))
    assert error.median() < 2e-3


def test_episodes_of_grids_end_in_their_ends():
    family, drawn, dice, state, action = made("grids", 300)
    for step in range(10):
        over = family.ended(drawn.params, state)
        assert torch.equal(over, drawn.params["ends"].gather(1, state[:, 0].long()))
        state = family.step(drawn.params, state, action.roll(step, 2), dice)
    assert 0.02 < over.float().mean() < 0.5


def test_nothing_passes_a_wall_and_switches_are_on_or_off():
    family, drawn, dice, state, action = made("contact", 200)
    low, high = drawn.params["low"], drawn.params["high"]
    walled = (high < 1e5) & (low > -1e5)
    hit = torch.zeros(200, dtype=torch.bool)
    thrown = torch.zeros(200, dtype=torch.bool)
    for _ in range(150):
        state = family.step(drawn.params, state, action, dice)
        q = state[:, :Q]
        assert (((q >= low - 1e-4) & (q <= high + 1e-4)) | ~walled).all()
        hit |= (((q == low) | (q == high)) & walled).any(1).any(1)
        switch = state[:, SWITCH]
        assert ((switch == 0) | (switch == 1)).all()
        thrown |= (switch == 1).any(-1)
    assert hit.float().mean() > 0.15
    assert thrown.float().mean() > 0.15


def test_networks_and_linear_systems_stay_within_bounds():
    for name in ("networks", "linear"):
        family, drawn, dice, state, action = made(name)
        for _ in range(100):
            state = family.step(drawn.params, state, action, dice)
        assert (state.abs() <= drawn.params["bound"]).all()


def test_grids_have_whole_cells_that_exist():
    family, drawn, dice, state, action = made("grids", 300, PriorSettings(slippery=1.0))
    params = drawn.params
    for step in range(30):
        cell, row, column = state[:, 0], state[:, 1], state[:, 2]
        assert (cell == cell.round()).all()
        assert ((cell >= 0) & (cell < params["real"])).all()
        assert (cell == row * params["columns"] + column).all()
        assert ((row < params["rows"]) & (column < params["columns"])).all()
        state = family.step(params, state, action.roll(step, 2), dice)


def test_slipping_is_what_makes_grids_uncertain():
    for share, alike in ((0.0, True), (1.0, False)):
        family, drawn, dice, state, action = made("grids", 200, PriorSettings(slippery=share))
        once, again = (family.step(drawn.params, state, action, dice) for _ in range(2))
        assert torch.equal(once, again) is alike


def test_pits_lead_back_to_the_start():
    family, drawn, dice, state, action = made("grids", 300)
    fallen = 0
    for step in range(20):
        state = family.step(drawn.params, state, action.roll(step, 2), dice)
        fell = state[:, 3] == 1
        fallen += int(fell.sum())
        assert (state[:, 0] == drawn.params["start"]).logical_or(~fell).all()
    assert fallen > 50


def test_grids_of_the_evaluation_are_never_drawn():
    _, drawn, *_ = made("grids", 5000)
    sizes = set(zip(drawn.params["rows"][:, 0].tolist(), drawn.params["columns"][:, 0].tolist(), strict=True))
    assert not sizes & set(HELD_OUT)
    assert len(sizes) > 60
