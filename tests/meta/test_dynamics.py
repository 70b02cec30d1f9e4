"""The transition network against systems whose laws are known."""

import pytest
import torch

from synthenv.meta import states
from synthenv.meta.dynamics import calibrated, fit_transition, strided
from synthenv.recipe import StatesStage
from synthenv.tree import part, prefixed
from tests.meta import toys

M = 4000
PUSH = torch.tensor([[-0.1, 0.0, 0.05, 0.0], [0.1, 0.02, -0.05, 0.0]])
DRIFT = 0.1 * torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [-1, 0, 0, 0]])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world():
    return toys.world("mdp", hidden=16)


@pytest.fixture(scope="module")
def transition(world):
    return part(world.init(seeded(), 1), "transition")


def linear_system(ending: float = 0.9, seed: int = 1) -> dict[str, torch.Tensor]:
    """u' = u + D u + B a, ending where the first coordinate goes beyond `ending`: one in twenty for 0.9."""
    u = 2 * torch.rand((M, 4), generator=seeded(seed)) - 1
    action = torch.randint(2, (M,), generator=seeded(seed + 1))
    following = u + u @ DRIFT.T + PUSH[action]
    return {"observation": u, "following": following, "action": action, "terminated": u[:, 0] > ending}


def guess(world, transition, seen):
    following, logit = world.predict(
        prefixed("transition", transition), seen["observation"][None], seen["action"][None]
    )
    return following[0], logit[0] > 0


def test_learns_a_linear_system_and_where_it_ends(world, transition):
    seen, unseen = linear_system(), linear_system(seed=10)
    fitted, facts = fit_transition(world, transition, seen, 600, seeded())
    following, ends = guess(world, fitted, unseen)
    change, true = following - unseen["observation"], unseen["following"] - unseen["observation"]
    unexplained = ((change - true).var(0) / true.var(0)).mean()
    assert unexplained < 0.02
    assert facts["change_r2"] == pytest.approx(1 - unexplained.item(), abs=0.02)
    truth = unseen["terminated"]
    recall, precision = (ends & truth).sum() / truth.sum(), (ends & truth).sum() / ends.sum()
    assert min(recall, precision) > 0.8
    assert facts["end_recall"] == pytest.approx(recall.item(), abs=0.08)
    assert facts["end_precision"] == pytest.approx(precision.item(), abs=0.08)
    assert not any(leaf.requires_grad for leaf in fitted.values())
    again, _ = fit_transition(world, transition, seen, 600, seeded())
    assert all(torch.equal(leaf, again[name]) for name, leaf in fitted.items())


def test_facts_are_of_the_network_returned(world, transition):
    """Nothing learned, so the facts are low and can be told from good ones."""
    seen = linear_system(0.5)
    fitted, facts = fit_transition(world, transition, seen, 1, seeded())
    following, ends = guess(world, fitted, seen)
    truth = seen["terminated"]
    error = (following - seen["following"]) / (seen["following"] - seen["observation"]).std(0)
    assert facts["change_r2"] == pytest.approx(1 - error.square().mean().item(), abs=1e-2)
    assert facts["end_recall"] == pytest.approx(((ends & truth).sum() / truth.sum()).item())
    assert facts["end_precision"] == pytest.approx(((ends & truth).sum() / ends.sum()).item())
    assert facts["change_r2"] < 0.5
    assert facts["end_recall"] < 0.9


@pytest.mark.parametrize("ending", [0.998, 0.9, 0.0, -0.9])
def test_as_many_steps_end_as_really_did(world, transition, ending):
    """Calibrated by a shift of the end's logits alone; nothing else may move."""
    seen = linear_system(ending)
    shifted = calibrated(transition, world, seen)
    before, after = guess(world, transition, seen), guess(world, shifted, seen)
    assert abs(int(after[1].sum()) - int(seen["terminated"].sum())) <= 1
    assert not torch.equal(before[1], after[1])
    torch.testing.assert_close(before[0], after[0])
    others = [name for name in transition if name != "b1"]
    assert all(torch.equal(transition[name], shifted[name]) for name in others)


def test_a_task_that_never_ended_never_ends(world, transition):
    seen = linear_system(2.0)
    assert not seen["terminated"].any()
    fitted, facts = fit_transition(world, transition, seen, 300, seeded())
    assert facts["change_r2"] > 0.8
    assert facts["end_recall"] == facts["end_precision"] == 0
    _, ends = guess(world, fitted, seen)
    assert not ends.any()


def test_coordinates_that_never_change_are_learned_not_to(world, transition):
    seen = linear_system()
    seen["following"][:, 3] = seen["observation"][:, 3]
    fitted, facts = fit_transition(world, transition, seen, 5, seeded())
    assert all(leaf.isfinite().all() for leaf in fitted.values())
    assert all(value == value for value in facts.values())


def test_the_world_steps_as_the_network_says(world, transition):
    """What was fitted is what `step` plays, inside the box."""
    fitted, _ = fit_transition(world, transition, linear_system(), 300, seeded())
    params = {**toys.teaching(world), **prefixed("transition", fitted)}
    seen = linear_system(seed=20)
    following, ends = guess(world, fitted, seen)
    state, outcome = world.step(params, {"u": seen["observation"][None]}, seen["action"][None])
    torch.testing.assert_close(state["u"][0], following.clamp(-1, 1))
    assert torch.equal(outcome.terminated[0], ends)


def in_units(world, walk):
    return {**walk, **{name: world.unit(walk[name]) for name in ("observation", "following")}}


@pytest.fixture(scope="module")
def steered():
    """A synthetic pendulum."""
    return toys.world("mdp", target="Pendulum-v1", hidden=32)


def test_learns_the_pendulum_and_what_torque_does_to_it(steered):
    """From real steps; unseen ones, and what twice the torque would do, say whether it has."""
    params, stage = steered.init(seeded(), 1), StatesStage(episodes=20)
    walks = [states.visit(toys.PENDULUM, steered, params, stage, seeded(seed))[0] for seed in (0, 1)]
    seen, unseen = (in_units(steered, walk) for walk in walks)
    fitted, facts = fit_transition(steered, part(params, "transition"), seen, 800, seeded())
    following, ends = guess(steered, fitted, unseen)
    left = (following - unseen["following"]).var(0) / (unseen["following"] - unseen["observation"]).var(0)
    assert (left < 0.1).all()
    assert facts["change_r2"] == pytest.approx(1 - left.mean().item(), abs=0.03)
    assert not ends.any()
    assert facts["end_recall"] == facts["end_precision"] == 0
    calm = unseen["observation"] * torch.tensor([1.0, 1.0, 0.5])  # spin is clipped at its limit
    pulled, pushed = (
        guess(steered, fitted, {"observation": calm, "action": torch.full((len(calm), 1), torque)})[0][:, 2]
        for torque in (-2.0, 2.0)
    )
    gained = steered.reach[2] * (pushed - pulled).mean()
    assert gained.item() == pytest.approx(4 * 3 * 0.05, rel=0.15), "3 torque / (mass length^2) a second"


@pytest.mark.parametrize("ending", [0.9, 0.0])
def test_as_many_steps_of_a_box_end_as_really_did(steered, ending):
    """One logit for all actions, so one bias is shifted."""
    transition = part(steered.init(seeded(), 1), "transition")
    u = 2 * torch.rand((M, 3), generator=seeded(1)) - 1
    action = steered.payoff.random((1, M), seeded(2))[0]
    seen = {"observation": u, "following": u, "action": action, "terminated": u[:, 0] > ending}
    shifted = calibrated(transition, steered, seen)
    assert (shifted["b1"] != transition["b1"]).flatten().tolist() == [False, False, False, True]
    assert abs(int(guess(steered, shifted, seen)[1].sum()) - int(seen["terminated"].sum())) <= 1


def walks(steps: int = 30, episodes: int = 3) -> dict[str, torch.Tensor]:
    """Counters that go up by one a step, each from its own hundred, and begin again at an end."""
    counts, ended, state = [], [], [100 * n for n in range(episodes)]
    for t in range(steps):
        ends = [(t + 1) % (7 + n) == 0 for n in range(episodes)]
        counts.append(state)
        ended.append(ends)
        state = [100 * n if over else now + 1 for n, (now, over) in enumerate(zip(state, ends, strict=True))]
    now = torch.tensor(counts, dtype=torch.float32).flatten()[:, None]
    action = torch.arange(steps * episodes)
    return {"observation": now, "following": now + 1, "action": action, "terminated": torch.tensor(ended).flatten()}


def test_a_stride_leads_as_far_or_to_the_end_of_its_episode():
    seen = walks()
    taken = strided(seen, 3, 4)
    assert len(taken["action"]) == (30 - 3) * 3
    for row, action in enumerate(taken["action"].tolist()):
        episode = range(action, len(seen["action"]), 3)  # rows of the same episode, from here on
        last = next((place for place in episode[:4] if seen["terminated"][place]), episode[3])
        assert row == action
        assert taken["observation"][row] == seen["observation"][action]
        assert taken["following"][row] == seen["following"][last]
        assert taken["terminated"][row] == seen["terminated"][last]
    assert not torch.equal(taken["terminated"], seen["terminated"][: len(taken["terminated"])])
    assert strided(seen, 3, 1) is seen


def test_a_stride_longer_than_what_was_seen_is_refused():
    with pytest.raises(ValueError, match="stride is 31, more than the 30 steps seen"):
        strided(walks(), 3, 31)
