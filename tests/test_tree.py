"""Trees: every function on leaves small enough to read."""

import pytest
import torch

from synthenv import tree


def members(*values):
    """A tree of one scalar and one [2]-leaf a member."""
    first = torch.tensor(values, dtype=torch.float32)
    return {"net.b": first, "net.w": torch.stack((first, -first), 1), "other": first * 10}


def equal(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_stack_joins_single_members():
    singles = [{"b": torch.tensor(1.0), "w": torch.tensor([1.0, 2.0])}, {"b": torch.tensor(3.0), "w": torch.ones(2)}]
    found = tree.stack(singles)
    assert found["b"].tolist() == [1, 3]
    assert found["w"].tolist() == [[1, 2], [1, 1]]


@pytest.mark.parametrize(
    ("index", "kept"),
    [(0, [5]), (1, [6]), (-1, [7]), (slice(1, None), [6, 7]), (torch.tensor([2, 0, 0]), [7, 5, 5])],
)
def test_take_keeps_the_population_axis(index, kept):
    assert equal(tree.take(members(5, 6, 7), index), members(*kept))


def test_repeat_keeps_copies_together():
    assert equal(tree.repeat(members(5, 6), 3), members(5, 5, 5, 6, 6, 6))


def test_where_chooses_whole_episodes():
    mask = torch.tensor([[True, False, True], [False, False, True]])
    yes = {"x": torch.arange(12.0).reshape(2, 3, 2), "t": torch.ones(2, 3)}
    no = {"x": -torch.ones(2, 3, 2), "t": torch.zeros(2, 3)}
    found = tree.where(mask, yes, no)
    assert torch.equal(found["t"], mask.float())
    assert torch.equal(found["x"][mask], yes["x"][mask])
    assert (found["x"][~mask] == -1).all()


def test_parts_go_in_and_out():
    whole = members(5, 6)
    part = tree.part(whole, "net")
    assert list(part) == ["b", "w"]
    assert equal(tree.prefixed("net", part), {name: whole[name] for name in ("net.b", "net.w")})
    assert tree.part(whole, "ne") == {}, "a part ends at a dot"


def test_ravel_goes_member_by_member_in_the_trees_order():
    assert tree.ravel(members(5, 6)).tolist() == [[5, 5, -5, 50], [6, 6, -6, 60]]


@pytest.mark.parametrize("lead", [(2,), (2, 7)])
def test_unravel_undoes_ravel_behind_any_leading_axes(lead):
    like = {"w": (3, 2), "b": (), "c": (1, 4)}
    assert tree.shapes({name: torch.zeros(5, *shape) for name, shape in like.items()}) == like
    flat = torch.arange(float(torch.Size(lead).numel() * 11)).reshape(*lead, 11)
    found = tree.unravel(flat, like)
    assert {name: tuple(leaf.shape) for name, leaf in found.items()} == {n: lead + s for n, s in like.items()}
    assert torch.equal(torch.cat([leaf.flatten(len(lead)) if leaf.dim() > len(lead) else leaf[..., None]
                                  for leaf in found.values()], -1), flat)  # fmt: skip


def test_length_counts_every_number():
    assert tree.length({"w": (3, 3), "b": (2,), "reward": ()}) == 12


def test_unravel_and_ravel_are_inverse():
    whole = members(5, 6, 7)
    whole["w0"] = torch.randn((3, 4, 2), generator=torch.Generator().manual_seed(0))
    assert equal(tree.unravel(tree.ravel(whole), tree.shapes(whole)), whole)


@pytest.mark.parametrize("size", [10, 12])
def test_unravel_refuses_another_size(size):
    with pytest.raises(ValueError, match=f"expected 11 parameters a member, got {size}"):
        tree.unravel(torch.zeros(2, size), {"w": (3, 3), "b": (2,)})


def test_to_changes_every_leaf():
    found = tree.to(members(1, 2), torch.float64)
    assert {leaf.dtype for leaf in found.values()} == {torch.float64}
    assert found["other"].tolist() == [10, 20]
