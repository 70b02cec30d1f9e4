"""The network over the closed form: an untrained one is the closed form, a trained one may differ, any size of task."""

import pytest
import torch

from synthenv.incontext.experts import EXPERTS, LARGE, LINE, PROCESS, solve
from synthenv.incontext.model import LEVELS, Architecture, Network, fan
from synthenv.incontext.rows import ACTIONS, OBSERVATIONS, Rows, Shape

SMALL = Architecture(width=16, layers=2, heads=2)


def task(count=40, observed=2, choices=3, tasks=2, seed=0):
    """Points that are pushed about: rows and shape."""
    generator = torch.Generator().manual_seed(seed)
    observation = torch.zeros(tasks, count, OBSERVATIONS)
    observation[..., :observed] = torch.randn((tasks, count, observed), generator=generator)
    choice = torch.randint(choices, (tasks, count), generator=generator)
    action = torch.nn.functional.one_hot(choice, ACTIONS).float()
    following = observation.clone()
    following[..., :observed] += 0.1 * observation[..., :observed].flip(-1) + 0.2 * choice[..., None]
    ended = following[..., 0] > 1.5
    start = torch.zeros(tasks, count, dtype=torch.bool)
    start[:, 0] = True
    shape = Shape(
        (torch.arange(OBSERVATIONS) < observed).expand(tasks, -1), (torch.arange(ACTIONS) < choices).expand(tasks, -1),
        torch.ones(tasks, dtype=torch.bool),
    )  # fmt: skip
    return Rows(observation, action, -observation.square().sum(-1), following, ended, start), shape


@pytest.fixture
def untrained():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(SMALL).requires_grad_(False)


@pytest.fixture
def network(untrained):
    """As if trained: a head that says something."""
    generator = torch.Generator().manual_seed(1)
    untrained.judge.weight.copy_(0.3 * torch.randn(untrained.judge.weight.shape, generator=generator))
    return untrained


def asked(network, rows, shape, queries):
    return network.believe(network.condition(rows, shape), queries.observation, queries.action)


def tensors(belief):
    return [leaf for leaf in belief if isinstance(leaf, torch.Tensor)]


def test_processes_share_their_trust_by_how_sure_they_are():
    rows, shape = task()
    solution = solve(rows, shape)
    trust = torch.full((1, 1, 3, EXPERTS + 1), 1 / (EXPERTS + 1))
    spread = torch.ones(1, 1, 3, EXPERTS)
    spread[..., PROCESS + 1] = 2.0  # of the process without a trend
    spread[..., LINE] = torch.tensor([0.25, 1.0, 9.0])  # of three outputs
    shared = solution.shared(trust, spread) * (EXPERTS + 1)
    assert torch.allclose(shared.sum(-1), torch.tensor(EXPERTS + 1.0))
    assert torch.allclose(shared[0, 0, :, LINE], torch.tensor([0.25, 1.0, 1.0]))
    assert torch.allclose(shared[0, 0, :, PROCESS], 0.8 * torch.tensor([2.75, 2.0, 2.0]))
    assert torch.allclose(shared[0, 0, :, PROCESS + 1], 0.2 * torch.tensor([2.75, 2.0, 2.0]))
    others = [0, 2, 5, 6]
    assert torch.equal(shared[..., others], trust[..., others] * (EXPERTS + 1))
    many = solve(*task(count=LARGE))
    assert many.shared(trust, spread) is trust


@pytest.mark.parametrize(("count", "wider"), [(LARGE - 1, True), (LARGE, False)])
def test_a_small_context_may_lie_in_a_corner_of_the_task(count, wider):
    rows, shape = task(count=count)
    solution = solve(rows._replace(observation=rows.observation + 100), shape)
    process, plain = solution.regressors[PROCESS - 1 : PROCESS + 1]
    own = solution.units.inputs.spread[..., solution.columns]
    assert torch.allclose(process.inputs.spread[..., 0], own[..., 0].hypot(own.new_tensor(30.0 * wider)), rtol=0.02)
    if wider:
        assert torch.equal(plain.inputs.spread, own)


def test_untrained_it_believes_those_with_the_best_record(untrained):
    rows, shape = task()
    known = untrained.condition(rows, shape)
    guess = untrained.answer(known, rows.observation, rows.action)
    assert known.solution.kept.tolist() == [0, 1, OBSERVATIONS]
    record, straight = torch.maximum(*known.solution.record), [LINE, PROCESS, PROCESS + 1]
    others = [each for each in range(EXPERTS) if each not in straight]

    def grouped(every, whole):
        """Those who share by how sure they are as one."""
        return torch.cat((every[..., others], whole(every[..., straight], -1, keepdim=True)), -1)

    best = grouped(record, torch.amin).argmin(-1)[:, None, :, None].expand(-1, 40, -1, -1)  # [B, Q, Y, 1]
    assert (grouped(guess.trust[..., :EXPERTS], torch.sum).gather(-1, best) > 0.3).all()
    belief, change = asked(untrained, rows, shape, rows), rows.following - rows.observation
    assert (belief.change - change).square().mean() < 1e-4 * change.square().mean()
    assert (belief.reward - rows.reward).square().mean() < 0.01 * rows.reward.var()


def test_nobody_is_believed_far_beyond_what_was_seen(untrained):
    rows, shape = task(6)
    far = rows._replace(observation=1e4 * rows.observation)
    change = asked(untrained, rows, shape, far).change
    assert change.abs().max() <= 20.1 * (rows.following - rows.observation).abs().max()


def test_shapes_and_order_of_quantiles(network):
    rows, shape = task()
    belief = asked(network, rows, shape, rows)
    assert belief.change.shape == (2, 40, OBSERVATIONS)
    assert belief.quantiles.shape == (2, 40, OBSERVATIONS, len(LEVELS))
    assert belief.rewards.shape == (2, 40, len(LEVELS))
    assert belief.reward.shape == belief.end.shape == (2, 40)
    assert (belief.quantiles.diff(dim=-1) >= 0).all()
    assert all(torch.isfinite(leaf).all() for leaf in tensors(belief))


def test_tasks_do_not_interact(network):
    rows, shape = task()
    alone = asked(
        network, Rows(*(x[1:] for x in rows)), Shape(*(x[1:] for x in shape[:3])), Rows(*(x[1:] for x in rows))
    )
    together = asked(network, rows, shape, rows)
    assert all(
        torch.allclose(a, b[1:], rtol=1e-3, atol=1e-4) for a, b in zip(tensors(alone), tensors(together), strict=True)
    )


def test_the_order_of_transitions_hardly_matters(network):
    """It says which stretches are left out, and no more."""
    rows, shape = task()
    shuffled = rows.pick(torch.randperm(40, generator=torch.Generator().manual_seed(2)))
    one, other = (tensors(asked(network, shown, shape, rows)) for shown in (rows, shuffled))
    for a, b in zip(one, other, strict=True):
        assert torch.allclose(a, b, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 5, 700])
def test_any_number_of_transitions(network, count):
    rows, shape = task(count)
    assert all(torch.isfinite(leaf).all() for leaf in tensors(asked(network, rows, shape, task(3)[0])))


def test_units_do_not_matter(network):
    """A task in millimetres is the task in metres."""
    rows, shape = task()
    scale = torch.ones(OBSERVATIONS)
    scale[1] = 1000.0
    scaled = rows._replace(observation=rows.observation * scale, following=rows.following * scale)
    plain, big = asked(network, rows, shape, rows), asked(network, scaled, shape, scaled)
    assert torch.allclose(plain.change * scale, big.change, rtol=0.02, atol=0.02)


def test_a_dimension_that_never_moves_stays(untrained):
    rows, shape = task()
    rows.observation[..., 1], rows.following[..., 1] = 4.0, 4.0
    assert asked(untrained, rows, shape, rows).change[..., 1].abs().max() < 1e-3


def test_one_task_may_use_all_slots(network):
    rows, shape = task(60, OBSERVATIONS, ACTIONS)
    assert all(torch.isfinite(leaf).all() for leaf in tensors(asked(network, rows, shape, rows)))


def test_fan():
    offsets = fan(torch.zeros(7))
    assert offsets[3] == 0
    assert (offsets.diff() > 0).all()
    assert torch.allclose(fan(torch.tensor([0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0])), offsets + 2)
