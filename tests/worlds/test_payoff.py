"""What actions cost, by brute force: nothing beats the best one, and averages are those of many random ones."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synthenv.nets import init_uniform, mlp
from synthenv.worlds.payoff import payoff_of

POPULATION, N = 3, 50
SPACES = {
    "choices": spaces.Discrete(4),
    "torque": spaces.Box(-2, 2, (1,)),
    "lopsided": spaces.Box(np.float32([-1.0, 0.25, 3.0]), np.float32([1.0, 3.0, 3.5])),
}
BOXES = {name: space for name, space in SPACES.items() if isinstance(space, spaces.Box)}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=SPACES.values(), ids=SPACES)
def space(request):
    return request.param


@pytest.fixture(params=BOXES.values(), ids=BOXES)
def box(request):
    return request.param


def heads(payoff, seed: int = 1):
    """Outputs of a reward network, [P, N, K], whose vertices lie within the box and beyond it."""
    return 0.5 * torch.randn((POPULATION, N, payoff.outputs), generator=seeded(seed))


def fall(distance):
    """A pseudo-Huber loss of curvature 1: quadratic near 0, then linear with slope 0.2."""
    return 0.02 * ((1 + (distance / 0.1) ** 2) ** 0.5 - 1)


def slow_loss(space, outputs, action, margin=0.0) -> float:
    """One state, one action, in numpy; numbers of the network as they lie in outputs [K]."""
    outputs = np.asarray(outputs, np.float64)
    if isinstance(space, spaces.Discrete):
        return max(outputs) - outputs[int(action)]
    low, high, size = space.low.astype(float), space.high.astype(float), len(space.low)
    unit = 2 * (np.clip(action, low, high) - low) / (high - low) - 1
    best = np.clip(4 * outputs[:size], margin - 1, 1 - margin)
    edge = 0.4 * np.maximum(abs(unit) - (1 - margin), 0)  # twice as steep as the loss is far from the best action
    return float(np.exp(outputs[size:]) @ (fall(unit - best) + edge))


def test_losses_are_what_the_formula_says(space):
    payoff = payoff_of(space)
    outputs, action = heads(payoff), payoff.random((POPULATION, N), seeded())
    if isinstance(space, spaces.Box):
        action = 1.5 * action  # some lie outside
    loss = payoff.loss(outputs, action)
    assert loss.shape == (POPULATION, N)
    for p in range(POPULATION):
        for n in range(N):
            assert loss[p, n].item() == pytest.approx(slow_loss(space, outputs[p, n], action[p, n].numpy()), abs=1e-5)


@pytest.mark.parametrize("margin", [0.1, 0.5])
def test_a_margin_keeps_best_actions_off_the_edges(box, margin):
    payoff = payoff_of(box, margin)
    outputs, action = heads(payoff), 1.5 * payoff.random((POPULATION, N), seeded())
    best = payoff.unit(payoff.best(outputs)).abs()
    assert best.max() == pytest.approx(1 - margin)
    assert (best < 1 - margin - 1e-4).any()
    expected = [
        [slow_loss(box, outputs[p, n], action[p, n].numpy(), margin) for n in range(N)] for p in range(POPULATION)
    ]
    torch.testing.assert_close(payoff.loss(outputs, action), torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("space", "margin"), [("torque", -0.1), ("torque", 1.0), ("torque", math.nan), ("choices", 0.1)]
)
def test_margins_that_cannot_be_are_refused(space, margin):
    with pytest.raises(ValueError, match="margin"):
        payoff_of(SPACES[space], margin)


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_nothing_beats_the_best_action(space, margin):
    if isinstance(space, spaces.Discrete):
        margin = 0.0
    payoff = payoff_of(space, margin)
    outputs = heads(payoff)
    best = payoff.best(outputs)
    assert all(space.contains(one) for one in best.flatten(0, 1).numpy())
    least = payoff.loss(outputs, best)
    assert (least >= 0).all()
    assert least.max() < (1e-6 if margin else 1e-10)
    tried = [payoff.loss(outputs, payoff.random((POPULATION, N), seeded(seed))) for seed in range(200)]
    assert (torch.stack(tried).amin(0) >= least).all()
    assert torch.stack(tried).amin(0).max() < 0.5 * torch.stack(tried).mean(), "the best was not nearly tried"


def test_the_first_of_equal_choices_is_taken():
    payoff = payoff_of(spaces.Discrete(3))
    assert payoff.best(torch.tensor([[[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]]])).tolist() == [[1, 0]]


def test_a_fresh_network_reaches_the_ends_of_the_box(box):
    """Its outputs are small, and pushing as hard as one can is often right."""
    payoff = payoff_of(box)
    u = 2 * torch.rand((20, 100, 4), generator=seeded()) - 1
    best = payoff.best(mlp(init_uniform(seeded(3), 20, (4, 32, payoff.outputs)), u)).flatten(0, 1)
    for end in (torch.from_numpy(box.low), torch.from_numpy(box.high)):
        share = (best == end).float().mean()
        assert 0 < share < 0.5


def test_the_average_of_random_actions(space):
    """By trying very many. A box is only walked along its diagonal, an estimate where it has several dimensions."""
    payoff, many = payoff_of(space), 4000
    outputs, height = heads(payoff), torch.tensor([3.0, 10.0, 1e4])[:, None, None]
    wild = payoff.random((POPULATION * N, many), seeded(2))
    losses = payoff.loss(outputs.flatten(0, 1)[:, None].expand(-1, many, -1), wild).unflatten(0, (POPULATION, N))
    expected = (height * (losses / height).tanh()).mean(-1)
    found, off = payoff.mean_loss(outputs, height), 0.25 if space.shape == (3,) else 0.06
    torch.testing.assert_close(found, expected, rtol=off, atol=0.02)
    torch.testing.assert_close(found.mean(1), expected.mean(1), rtol=off / 3, atol=0)


def test_averages_are_within_the_height_of_each_member(space):
    payoff = payoff_of(space)
    height = torch.tensor([0.01, 0.1, 1.0])[:, None, None]
    share = payoff.mean_loss(10 * heads(payoff), height) / height[..., 0]
    assert (share >= 0).all()
    assert (share < 1 + 1e-6).all()
    assert (share.amax(1) > 0.5).all()


@pytest.mark.parametrize("scale", [0.2, 12.0])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_standard_network_prefers_what_it_preferred(space, scale, activation):
    payoff = payoff_of(space)
    reward = init_uniform(seeded(1), 1, (4, 16, payoff.outputs))
    reward["b1"] = reward["b1"] + torch.linspace(7.0, 7.1, payoff.outputs) * isinstance(space, spaces.Discrete)
    before = {name: leaf.clone() for name, leaf in reward.items()}
    u = 2 * torch.rand((1, 500, 4), generator=seeded()) - 1
    standard = payoff.standard(reward, u, scale, activation)
    assert all(torch.equal(reward[name], leaf) for name, leaf in before.items()), "written to"
    assert {name for name in reward if not torch.equal(reward[name], standard[name])} == {"w1", "b1"}
    old, new = (mlp(tree, u, activation) for tree in (reward, standard))
    if isinstance(space, spaces.Box):
        assert torch.equal(payoff.best(new), payoff.best(old))
        ends = torch.from_numpy(space.high).expand(1, 500, -1)
        at_the_end = payoff.loss(new, ends) - scale * fall(payoff.unit(payoff.best(new)) - 1).sum(-1)
        torch.testing.assert_close(at_the_end, torch.zeros(1, 500), rtol=0, atol=1e-4 * scale)
        return
    torch.testing.assert_close(new.mean(-1), torch.zeros(1, 500), rtol=0, atol=1e-4 * scale)
    assert new.std().item() == pytest.approx(scale, rel=1e-3)
    top = old.topk(2).values
    clear = top[..., 0] - top[..., 1] > 1e-4  # far from a tie, which float32 may break
    assert clear.float().mean() > 0.95
    assert torch.equal(payoff.best(old)[clear], payoff.best(new)[clear])
    every = [torch.full((1, 500), choice) for choice in range(payoff.outputs)]
    was, now = (torch.stack([payoff.loss(head, action) for action in every]) for head in (old, new))
    torch.testing.assert_close(now, was * (now.mean() / was.mean()), rtol=0.02, atol=1e-3 * scale)


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_a_softened_network_pushes_less_in_the_same_direction(space, factor):
    payoff = payoff_of(space)
    reward = init_uniform(seeded(1), 1, (4, 16, payoff.outputs))
    before = {name: leaf.clone() for name, leaf in reward.items()}
    u = 2 * torch.rand((1, 500, 4), generator=seeded()) - 1
    soft = payoff.soften(reward, factor)
    assert all(torch.equal(reward[name], leaf) for name, leaf in before.items()), "written to"
    old, new = (mlp(tree, u, "tanh") for tree in (reward, soft))
    if isinstance(space, spaces.Discrete):
        assert torch.equal(new, old)
        return
    size = payoff.size
    torch.testing.assert_close(new[..., :size], factor * old[..., :size])
    assert torch.equal(new[..., size:], old[..., size:]), "losses are as steep as they were"
    push = payoff.unit(payoff.best(old)).abs() - payoff.unit(payoff.best(new)).abs()
    assert (push.abs() < 1e-6).all() if factor == 1 else (push > -1e-6).all() & (push > 0.1).any()


def test_rewards_that_pay_all_choices_alike_do_not_explode():
    payoff = payoff_of(spaces.Discrete(2))
    reward = {name: torch.zeros_like(leaf) for name, leaf in init_uniform(seeded(), 1, (4, 8, 2)).items()}
    standard = payoff.standard(reward, torch.zeros(1, 5, 4), 1.0, "tanh")
    assert not any(leaf.any() for leaf in standard.values())


def test_random_actions_fill_the_space_evenly(space):
    payoff = payoff_of(space)
    action = payoff.random((2, 5000), seeded())
    assert torch.equal(action, payoff.random((2, 5000), seeded()))
    assert not torch.equal(action[0], action[1])
    if isinstance(space, spaces.Discrete):
        assert action.dtype == torch.int64
        assert torch.equal(action, torch.randint(4, (2, 5000), generator=seeded())), "the draws of shipped worlds"
        share = action.flatten().bincount() / action.numel()
        torch.testing.assert_close(share, torch.full((4,), 0.25), rtol=0, atol=0.02)
        return
    assert action.dtype == torch.float32
    assert action.shape == (2, 5000, *space.shape)
    low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
    assert ((low <= action) & (action <= high)).all()
    quarters = action.flatten(0, 1).quantile(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]), 0)
    expected = low + torch.linspace(0, 1, 5)[:, None] * (high - low)
    torch.testing.assert_close(quarters, expected, rtol=0, atol=0.02 * float((high - low).max()))


def test_foresees_what_follows_an_action(space):
    """Choices have outputs of their own, [A, O+1]; a box goes in with the state, scaled."""
    payoff, observation = payoff_of(space), 3
    net = init_uniform(seeded(), POPULATION, payoff.transition(observation, (8,)))
    u = 2 * torch.rand((POPULATION, N, observation), generator=seeded(1)) - 1
    action = payoff.random((POPULATION, N), seeded(2))
    foreseen = payoff.foresee(net, u, action, "tanh")
    assert foreseen.shape == (POPULATION, N, observation + 1)
    other = payoff.foresee(net, u, payoff.random((POPULATION, N), seeded(3)), "tanh")
    assert not torch.equal(foreseen, other)
    for p in range(POPULATION):
        w0, b0, w1, b1 = (net[name][p].double().numpy() for name in ("w0", "b0", "w1", "b1"))
        for n in range(N):
            seen = u[p, n].double().numpy()
            if isinstance(space, spaces.Box):
                unit = 2 * (action[p, n].double().numpy() - space.low) / (space.high - space.low) - 1
                expected = np.tanh(np.append(seen, unit) @ w0 + b0[0]) @ w1 + b1[0]
            else:
                every = np.tanh(seen @ w0 + b0[0]) @ w1 + b1[0]
                expected = every.reshape(4, observation + 1)[action[p, n]]
            np.testing.assert_allclose(foreseen[p, n], expected, atol=1e-5)


def test_actions_beyond_the_box_count_as_its_nearest(box):
    payoff = payoff_of(box)
    net = init_uniform(seeded(), 1, payoff.transition(3, (8,)))
    u, outputs = torch.zeros(1, 2, 3), heads(payoff)[:1, :2]
    ends = torch.from_numpy(np.stack((box.low, box.high)))[None]
    beyond = ends + torch.tensor([-1.0, 1.0])[None, :, None] * torch.tensor([0.1, math.inf])[None, :, None]
    assert torch.equal(payoff.foresee(net, u, ends, "tanh"), payoff.foresee(net, u, beyond, "tanh"))
    assert torch.equal(payoff.loss(outputs, ends), payoff.loss(outputs, beyond))


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiDiscrete([2, 3]),
        spaces.Box(-1, 1, (2, 2)),
        spaces.Box(-1, np.inf, (2,)),
        spaces.Tuple((spaces.Discrete(2),)),
    ],
    ids=repr,
)
def test_other_spaces_are_refused_with_what_to_do(space):
    with pytest.raises(ValueError, match=r"expected Discrete actions, or a bounded Box.*got .*RescaleAction") as said:
        payoff_of(space)
    assert str(space) in str(said.value)


def test_an_adopted_actor_is_followed(box):
    """Where it would go before it squashes, cut off at the bounds; of what it says besides nothing is kept."""
    payoff, size = payoff_of(box), len(box.low)
    for extra in (0, size):  # TD3's actor, and SAC's, which gives deviations as well
        actor = init_uniform(seeded(2), POPULATION, (4, 6, size + extra))
        actor["w1"] *= 5
        u = torch.randn((POPULATION, N, 4), generator=seeded(3))
        wish = mlp(actor, u)[..., :size]
        middle, half = (torch.as_tensor(side) for side in ((box.high + box.low) / 2, (box.high - box.low) / 2))
        assert (wish.abs() > 1).any()
        assert (wish.abs() < 1).any()
        outputs = mlp(payoff.adopt(actor), u)
        torch.testing.assert_close(payoff.best(outputs), middle + half * wish.clamp(-1, 1))
        assert not outputs[..., size:].any(), "curvature 1"


def test_adopted_logits_are_rewards():
    payoff = payoff_of(SPACES["choices"])
    actor = init_uniform(seeded(2), POPULATION, (4, 6, 4))
    u = torch.randn((POPULATION, N, 4), generator=seeded(3))
    assert torch.equal(payoff.best(mlp(payoff.adopt(actor), u)), mlp(actor, u).argmax(-1))
