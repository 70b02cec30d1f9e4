"""P networks at once against torch's own layers and optimizers, one member at a time."""

import math
from itertools import pairwise
from typing import get_args

import pytest
import torch

from synthenv import nets
from synthenv.tree import ravel, shapes, take, unravel

POPULATION, SIZES = 3, (5, 7, 6, 2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


@pytest.mark.parametrize("activation", nets.ACTIVATIONS)
def test_mlp_is_a_stack_of_linear_layers(activation):
    bend = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "silu": torch.nn.SiLU}[activation]
    params, x = nets.init_uniform(seeded(), POPULATION, SIZES), normal(POPULATION, 4, SIZES[0])
    found = nets.mlp(params, x, activation)
    for p in range(POPULATION):
        layers = []
        for k, (fan_in, fan_out) in enumerate(pairwise(SIZES)):
            layer = torch.nn.Linear(fan_in, fan_out)
            layer.weight.data, layer.bias.data = params[f"w{k}"][p].T, params[f"b{k}"][p, 0]
            layers += [layer, bend()]
        torch.testing.assert_close(found[p], torch.nn.Sequential(*layers[:-1])(x[p]))


def test_layout_is_how_networks_are_flattened():
    params = nets.init_uniform(seeded(), POPULATION, SIZES)
    assert list(nets.layout(SIZES).items()) == list(shapes(params).items())


@pytest.mark.parametrize("sizes", [SIZES, (5, 2), (5, 7, 1)], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_columns_are_mlp_there_and_back(activation, sizes):
    flat, x = ravel(nets.init_uniform(seeded(), POPULATION, sizes)), normal(POPULATION, 4, 5)
    slope = normal(POPULATION, 4, sizes[-1], seed=2)
    leaves = [leaf.clone().requires_grad_() for leaf in (flat, x, flat, x)]
    rows = nets.mlp(unravel(leaves[0], nets.layout(sizes)), leaves[1], activation)
    columns = nets.columns(leaves[2], leaves[3].mT, sizes, activation)
    torch.testing.assert_close(columns.mT, rows)
    rows.backward(slope), columns.backward(slope.mT)
    for expected, found in zip(leaves[:2], leaves[2:], strict=True):
        torch.testing.assert_close(found.grad, expected.grad)
    for wanted in (2, 3):  # one of them alone, the other spared
        one = [leaf.detach().requires_grad_(k == wanted) for k, leaf in enumerate(leaves)]
        (found,) = torch.autograd.grad(nets.columns(one[2], one[3].mT, sizes, activation), one[wanted], slope.mT)
        torch.testing.assert_close(found, leaves[wanted].grad)


def test_columns_overwrite_nothing_of_others():
    flat, x = ravel(nets.init_uniform(seeded(), POPULATION, SIZES)).requires_grad_(), normal(POPULATION, 5, 4)
    held, slope = (flat.detach().clone(), x.clone()), normal(POPULATION, 2, 4)
    kept = slope.clone()
    torch.autograd.grad(nets.columns(flat, x, SIZES, "relu"), flat, slope)
    assert torch.equal(flat, held[0])
    assert torch.equal(x, held[1])
    assert torch.equal(slope, kept)


@pytest.mark.parametrize("init", nets.INITIAL.values(), ids=nets.INITIAL)
def test_init_is_fresh_for_every_member_and_repeatable(init):
    params, again, other = (init(seeded(seed), POPULATION, SIZES) for seed in (0, 0, 1))
    assert {name: tuple(leaf.shape) for name, leaf in params.items()} == {
        "w0": (3, 5, 7), "b0": (3, 1, 7), "w1": (3, 7, 6), "b1": (3, 1, 6), "w2": (3, 6, 2), "b2": (3, 1, 2),
    }  # fmt: skip
    for name, leaf in params.items():
        assert torch.equal(leaf, again[name])
        assert leaf.is_contiguous()
    for name in ("w0", "w1", "w2"):
        assert not torch.equal(params[name][0], params[name][1])
        assert not torch.equal(params[name], other[name])


def test_uniform_is_the_default_of_torch():
    params = nets.init_uniform(seeded(), 2000, (16, 4))
    for leaf in params.values():
        assert leaf.abs().max() <= 0.25
        assert leaf.abs().max() > 0.249
        assert leaf.mean().abs() < 0.005
        assert leaf.std().item() == pytest.approx(0.25 / math.sqrt(3), rel=0.02)


def test_what_can_be_asked_for_is_there():
    assert set(get_args(nets.Initial)) == set(nets.INITIAL)


def test_lecun_is_the_default_of_flax():
    """Normal, cut off at two deviations of what is then narrower, so that the variance is 1 / fan in; no biases."""
    params = nets.init_lecun(seeded(), 2000, (16, 4))
    weight = params["w0"]
    assert weight.std().item() == pytest.approx(0.25, rel=0.01)
    assert weight.mean().abs() < 0.005
    limit = 2 * 0.25 / 0.8796
    assert 0.99 * limit < weight.abs().max() <= 1.001 * limit
    share = (weight.abs() < limit / 2).float().mean().item()  # of a normal distribution: .683 of .954
    assert share == pytest.approx(0.6827 / 0.9545, abs=0.01)
    assert not params["b0"].any()


def test_orthogonal_keeps_lengths_up_to_the_gain():
    params = nets.init_orthogonal(seeded(), POPULATION, SIZES, last_gain=0.01)
    wide, tall, last = params["w0"], params["w1"], params["w2"]
    eye = torch.eye
    torch.testing.assert_close(wide @ wide.mT, 2 * eye(5).expand(3, 5, 5), rtol=0, atol=1e-5)
    torch.testing.assert_close(tall.mT @ tall, 2 * eye(6).expand(3, 6, 6), rtol=0, atol=1e-5)
    torch.testing.assert_close(last.mT @ last, 1e-4 * eye(2).expand(3, 2, 2), rtol=0, atol=1e-9)
    assert not any(params[name].any() for name in ("b0", "b1", "b2"))


def test_orthogonal_prefers_no_direction():
    """Without the sign correction QR leans to one side."""
    first = nets.init_orthogonal(seeded(), 4000, (3, 3))["w0"]
    assert first.mean(0).abs().max() < 0.05


def test_clip_norm_is_torchs_for_every_member():
    gradient, limit = normal(POPULATION, 9) * torch.tensor([[0.01], [1.0], [100.0]]), torch.tensor([0.5, 0.7, 50.0])
    found = nets.clip_norm(gradient, limit)
    for p in range(POPULATION):
        leaf = torch.zeros(9, requires_grad=True)
        leaf.grad = gradient[p].clone()
        torch.nn.utils.clip_grad_norm_(leaf, limit[p].item())
        torch.testing.assert_close(found[p], leaf.grad)
    assert torch.equal(found[0], gradient[0])
    assert found[2].norm().item() == pytest.approx(50)


def test_adam_is_torchs_with_a_rate_for_every_member():
    check_optimizer(nets.adam, nets.adam_memory, lambda leaf, rate: torch.optim.Adam([leaf], rate, eps=1e-5))


def test_rmsprop_is_torchs_with_a_rate_for_every_member():
    check_optimizer(nets.rmsprop, nets.rmsprop_memory, lambda leaf, rate: torch.optim.RMSprop([leaf], rate, eps=1e-5))


def check_optimizer(step, memory_of, witness_of):
    """Twenty steps of each member equal twenty steps of torch's optimizer, and nothing is changed in place."""
    flat, rate = normal(POPULATION, 9), torch.tensor([1e-4, 1e-2, 1.0])
    memory = memory_of(flat)
    leaves = [flat[p].clone().requires_grad_() for p in range(POPULATION)]
    witnesses = [witness_of(leaf, r.item()) for leaf, r in zip(leaves, rate, strict=True)]
    for t in range(20):
        gradient = normal(POPULATION, 9, seed=t + 2) * 10.0 ** (t % 4 - 2)
        held = {name: leaf.clone() for name, leaf in memory.items()}, flat.clone()
        following, after = step(flat, gradient, memory, rate, eps=1e-5)
        assert torch.equal(flat, held[1])
        assert all(torch.equal(memory[name], held[0][name]) for name in memory)
        flat, memory = following, after
        for p, (leaf, witness) in enumerate(zip(leaves, witnesses, strict=True)):
            leaf.grad = gradient[p]
            witness.step()
            torch.testing.assert_close(flat[p], leaf.detach(), rtol=1e-4, atol=1e-4 * rate[p].item())


def test_members_may_be_at_different_counts():
    """An optimizer's memory is a tree, so agents of different age can share a step."""
    flat, rate = normal(2, 4), torch.full((2,), 0.1)
    old = nets.adam_memory(flat)
    for t in range(5):
        _, old = nets.adam(flat, normal(2, 4, seed=t + 2), old, rate)
    mixed = {name: torch.cat((old[name][:1], leaf[1:])) for name, leaf in nets.adam_memory(flat).items()}
    gradient = normal(2, 4, seed=9)
    together, _ = nets.adam(flat, gradient, mixed, rate)
    for p in range(2):
        alone, _ = nets.adam(flat[p : p + 1], gradient[p : p + 1], take(mixed, p), rate[p : p + 1])
        torch.testing.assert_close(together[p], alone[0])
    assert not torch.allclose(together[0], flat[0] - 0.1 * gradient[0].sign(), atol=1e-3), "only a first step is a sign"
    torch.testing.assert_close(together[1], flat[1] - 0.1 * gradient[1].sign(), rtol=1e-4, atol=1e-5)
