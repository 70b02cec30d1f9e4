"""A transformer over sets: what depends on what."""

import pytest
import torch

from synthenv.attention import SetTransformer


@pytest.fixture
def body():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SetTransformer(16, 3, 2).double()


def tokens(count, seed, sets=2):
    return torch.randn((sets, count, 16), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_order_of_the_context_does_not_matter(body):
    context, queries = tokens(7, 0), tokens(4, 1)
    shuffled = context[:, torch.tensor([3, 1, 6, 0, 2, 5, 4])]
    assert torch.allclose(body(queries, body.encode(context)), body(queries, body.encode(shuffled)))


def test_queries_do_not_see_one_another(body):
    memory, queries = body.encode(tokens(7, 0)), tokens(4, 1)
    assert torch.allclose(body(queries, memory)[:, 1:2], body(queries[:, 1:2], memory))


def test_sets_do_not_interact(body):
    context, queries = tokens(7, 0), tokens(4, 1)
    alone = body(queries[1:], body.encode(context[1:]))
    assert torch.allclose(body(queries, body.encode(context))[1:], alone)


def test_every_row_of_the_context_counts(body):
    context, queries = tokens(7, 0), tokens(4, 1)
    before = body(queries, body.encode(context))
    context[:, 5] = tokens(1, 2)[:, 0]
    assert not torch.allclose(body(queries, body.encode(context)), before)


def test_every_weight_is_trained(body):
    body(tokens(4, 1), body.encode(tokens(7, 0))).square().sum().backward()
    assert [name for name, p in body.named_parameters() if p.grad is None] == []
