"""Behaviours, rewards, endings, nuisances and the screen, each by itself."""

import pytest
import torch

from synthenv.incontext.prior import PriorSettings, behaviour, endings, nuisance, rewards, screen
from synthenv.incontext.prior.base import STATE, Actions, scattered
from synthenv.incontext.prior.dice import Dice
from synthenv.incontext.rows import ACTIONS

TASKS, STEPS, LANES = 60, 50, 4


def dice(seed=0):
    return Dice(torch.Generator().manual_seed(seed))


def behaved(kind, discrete):
    """A behaviour of one kind, looked at in a state of ones; actions [B, A, T, N]."""
    acting = torch.arange(ACTIONS).expand(TASKS, -1) < 3
    actions = Actions(torch.full((TASKS,), discrete), acting)
    settings = PriorSettings(behaviours={kind: 1.0})
    reach, steer = torch.ones(TASKS, STATE), torch.randn((TASKS, ACTIONS, STATE), generator=dice().generator)
    acts = behaviour.draw(dice(), actions, reach, steer, STEPS, LANES, settings)
    for step in range(STEPS):
        acts.look(step, torch.full((TASKS, STATE, LANES), 0.0 if step % 2 else 2.0))
    return acts.action


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("kind", behaviour.KINDS)
def test_behaviours_take_actions_that_exist(kind, discrete):
    action = behaved(kind, discrete)
    assert (action[:, 3:] == 0).all()
    assert action.abs().max() <= 1
    if discrete:
        assert (action.sum(1) == 1).all()
        assert (action.sum((0, 2, 3))[:3] > 0).all()


def kept(action):
    """Share of steps whose action is the one before."""
    return (action[:, :3, 1:] == action[:, :3, :-1]).all(1).float().mean()


def test_sticky_actions_stay_and_uniform_ones_do_not():
    assert kept(behaved("uniform", False)) == 0
    assert 0.2 < kept(behaved("sticky", False)) < 0.95
    assert abs(kept(behaved("uniform", True)) - 1 / 3) < 0.05


def test_wandering_and_swinging_are_smooth():
    def roughness(action):
        return (action[:, 0, 1:] - action[:, 0, :-1]).square().mean()

    rough = roughness(behaved("uniform", False))
    assert roughness(behaved("wandering", False)) < 0.5 * rough
    assert roughness(behaved("sinusoid", False)) < 0.7 * rough


def test_feedback_depends_on_the_state_and_random_actions_do_not():
    def differs(action):
        return (action[:, :, ::2].mean((2, 3)) - action[:, :, 1::2].mean((2, 3))).abs().mean()

    assert differs(behaved("feedback", False)) > 5 * differs(behaved("uniform", False))
    assert differs(behaved("greedy", True)) > 5 * differs(behaved("uniform", True))


def test_states_are_scattered_where_they_have_a_spread():
    centre, spread = torch.tensor([[[1.0], [2.0]], [[-1.0], [0.0]]]), torch.tensor([[[0.5], [0.0]], [[0.0], [3.0]]])
    state = scattered(dice(), centre, spread, 1000)
    away = (state - centre).abs()
    assert (away <= spread).all()
    torch.testing.assert_close(away.mean(-1, keepdim=True), spread / 2, rtol=0.1, atol=0)


@pytest.fixture
def lived():
    """Random walks [B, 4, T * N] that begin anew every 25 steps, and where they do, [B, T, N]."""
    start = (torch.arange(STEPS)[:, None] % 25 == 0).repeat(TASKS, 1, LANES)
    walk = torch.randn((TASKS, 4, STEPS, LANES), generator=dice(1).generator)
    walk = torch.cat((walk[:, :, :25].cumsum(2), walk[:, :, 25:].cumsum(2)), 2)
    return walk.flatten(2), start


@pytest.mark.parametrize("kind", range(1, len(endings.KINDS)))
def test_endings_cut_what_comes_after_them(lived, kind):
    places, start = lived
    rows = places.shape[2]
    kinds = torch.full((TASKS,), kind)
    valid = torch.ones(TASKS, 4, dtype=torch.bool)
    found = endings.find(dice(), places, valid, torch.zeros(TASKS, 4), start, kinds, round(0.8 * rows))
    assert (found.kept.sum(1) >= round(0.8 * rows)).all()
    assert not found.kept.all()
    kept, reached = (mask.unflatten(1, start.shape[1:]) for mask in (found.kept, found.reached))
    ended = kept & reached
    assert ended.any((1, 2)).float().mean() > 0.7
    assert not (kept[:, 1:] & ended[:, :-1] & ~start[:, 1:]).any(), "a step survived its episode's end"
    assert (kept[:, 1:] | ended[:, :-1] | ~kept[:, :-1]).all(), "a step was cut before its episode's end"


def test_without_an_ending_nothing_is_cut(lived):
    places, start = lived
    none = torch.zeros(TASKS, dtype=torch.long)
    found = endings.find(dice(), places, torch.ones(TASKS, 4, dtype=torch.bool), places[..., 0], start, none, 10)
    assert found.kept.all()
    assert not found.reached.any()


def test_worlds_with_endings_of_their_own_get_no_other():
    own = torch.arange(TASKS) < 20
    kinds = endings.draw(dice(), ~own, {"box": 1.0})
    assert (kinds[own] == 0).all()
    assert (kinds[~own] == endings.KINDS.index("box")).all()


def paid(kind, lived):
    places, start = lived
    valid = torch.ones(TASKS, 4, dtype=torch.bool)
    none = torch.zeros(TASKS, dtype=torch.long)
    found = endings.find(dice(), places, valid, torch.zeros(TASKS, 4), start, none, 10)
    action = dice(2).uniform(-1, 1, TASKS, ACTIONS, places.shape[2])
    return rewards.pay(dice(3), places.roll(1, 2), places, action, valid, torch.zeros(TASKS, 4), found, {kind: 1.0})


@pytest.mark.parametrize("kind", rewards.KINDS)
def test_rewards_are_finite_and_vary_as_their_kind_has_it(lived, kind):
    found = paid(kind, lived)
    assert (found.kind == rewards.KINDS.index(kind)).all()
    assert found.value.shape == lived[0][:, 0].shape
    assert found.value.isfinite().all()
    levels = torch.tensor([len(value.unique()) for value in found.value])
    if kind == "constant":
        assert (levels == 1).float().mean() > 0.3
    elif kind in ("threshold", "goal"):
        assert (levels == 2).float().mean() > 0.2
    else:
        assert (levels > 50).all()


def test_late_actions_are_the_ones_before_except_at_a_start():
    settings = PriorSettings(lag=1.0)
    found = nuisance.draw_disturbance(dice(), torch.ones(TASKS, STATE), torch.ones(TASKS) > 0, STEPS, LANES, settings)
    found = found._replace(share=torch.ones_like(found.share))
    action = dice(1).uniform(-1, 1, TASKS, ACTIONS, STEPS, LANES)
    start = torch.zeros(TASKS, LANES, dtype=torch.bool)
    start[:, 0] = True
    effect = found.delay(action, 7, start)
    torch.testing.assert_close(effect[..., 0], action[:, :, 7, 0])
    torch.testing.assert_close(effect[..., 1:], action[:, :, 6, 1:])


def test_pushes_reach_some_worlds_and_spare_grids():
    smooth = torch.arange(TASKS) < 30
    found = nuisance.draw_disturbance(dice(), torch.ones(TASKS, STATE), smooth, 3, LANES, PriorSettings(noise=1.0))
    state = torch.ones(TASKS, STATE, LANES)
    found.push(1, state)
    moved = (state != 1).flatten(1).any(1)
    assert torch.equal(moved, smooth)
    assert (state - 1).abs().max() < 1


def test_distractors_follow_themselves():
    before, after = nuisance.distract(dice(), 200, LANES, STEPS)
    before, after = (path.unflatten(2, (STEPS, LANES)) for path in (before, after))
    assert torch.equal(before[:, :, 1:], after[:, :, :-1])
    still = (before == after).all((2, 3))
    assert 0.3 < still.float().mean() < 0.7


def test_blurred_sight_is_the_same_sight_one_step_later():
    true = torch.randn((5, STEPS + 1, LANES, 3), generator=dice(1).generator)
    before, after = nuisance.blur(dice(), true[:, :-1], true[:, 1:], torch.full((5, 3), 0.1))
    torch.testing.assert_close(before[:, 1:], after[:, :-1])
    assert 0.08 < (before - true[:, :-1]).std() < 0.12


def test_the_screen_tells_lines_from_curves_from_noise():
    generator = dice().generator
    x = torch.randn((3, 2 * screen.ROWS, 2), generator=generator)
    noise = torch.randn((2 * screen.ROWS, 1), generator=generator)
    verdict = screen.judge(x, torch.stack((x[0] @ torch.tensor([[1.0], [2.0]]), x[1, :, :1] * x[1, :, 1:], noise)))
    assert verdict.line[0] < 1e-6
    assert verdict.line[1] > 0.5
    assert verdict.smooth[1] < 0.2
    assert verdict.smooth[2] > 0.9
    still = screen.judge(x, torch.zeros((3, 2 * screen.ROWS, 1)))
    assert not still.moves.any()


def test_the_screen_s_line_is_ridge_regression():
    generator = dice().generator
    x = torch.randn((1, 2 * screen.ROWS, 3), generator=generator)
    y = x[..., :1] - x[..., 1:2] ** 2
    z = torch.nn.functional.pad((x - x.mean(1)) / x.std(1, correction=0), (0, 1), value=1.0)[0].double()
    fit, rest = z[: screen.ROWS], z[screen.ROWS :]
    penalty = screen.RIDGE[0] * fit.square().sum(1).max() * torch.eye(4)
    wanted, told = y[0, screen.ROWS :].double(), y[0, : screen.ROWS].double()
    error = wanted - rest @ torch.linalg.solve(fit.T @ fit + penalty, fit.T @ told)
    torch.testing.assert_close(
        screen.judge(x, y).line.double(), (error.square().mean() / wanted.square().mean())[None], rtol=1e-3, atol=0
    )


def test_the_screen_takes_what_is_worth_learning_first():
    verdict = screen.Verdict(
        line=torch.tensor([0.5, 0.0, 0.5, 0.5, 0.3]),
        smooth=torch.tensor([0.2, 0.0, 1.0, 0.2, 0.2]),
        moves=torch.tensor([True, True, True, False, True]),
    )
    sound = torch.tensor([True, True, True, True, True])

    def chosen(wanted, sound=sound):
        return set(screen.choose(dice(), verdict, wanted, sound, 1e-3, 0.0, 0.95).tolist())

    assert chosen(2) == {0, 4}
    assert chosen(3) == {0, 1, 4}
    assert chosen(4) == {0, 1, 2, 4}
    assert chosen(2, torch.tensor([False, True, True, True, True])) == {1, 4}
