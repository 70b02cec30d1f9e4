"""Stacked parameter trees: many networks, tasks or episodes held as one dictionary of tensors.

A tree is a flat ``dict[str, Tensor]`` whose leaves lead with the population axis ``[P, ...]``. Dots in a key name a
part (``"reward.w0"``), so that a world can hold several networks in one tree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Tree = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def stack(trees: Sequence[Mapping[str, Tensor]]) -> Tree:
    """Join trees of one member each, leaves [...], into one tree with leaves [P, ...]."""
    return {name: torch.stack([tree[name] for tree in trees]) for name in trees[0]}


def take(tree: Mapping[str, Tensor], index: int | slice | Tensor) -> Tree:
    """Pick members: leaves [P, ...] -> leaf[index]. An integer keeps the axis, so [P, ...] -> [1, ...]."""
    rows = slice(index, index + 1 or None) if isinstance(index, int) else index
    return {name: leaf[rows] for name, leaf in tree.items()}


def repeat(tree: Mapping[str, Tensor], times: int) -> Tree:
    """Each member `times` times in a row: leaves [P, ...] -> [P*R, ...]."""
    return {name: leaf.repeat_interleave(times, 0) for name, leaf in tree.items()}


def where(mask: Tensor, yes: Mapping[str, Tensor], no: Mapping[str, Tensor]) -> Tree:
    """Choose per episode: mask [P, N] bool against leaves [P, N, ...]."""
    return {
        name: torch.where(mask.reshape(mask.shape + (1,) * (leaf.dim() - mask.dim())), yes[name], leaf)
        for name, leaf in no.items()
    }


def part(tree: Mapping[str, Tensor], name: str) -> Tree:
    """The leaves [P, ...] under `name.`, with that prefix removed."""
    prefix = name + "."
    return {key[len(prefix) :]: leaf for key, leaf in tree.items() if key.startswith(prefix)}


def prefixed(name: str, tree: Mapping[str, Tensor]) -> Tree:
    """The same leaves [P, ...] under `name.`; the inverse of `part`."""
    return {f"{name}.{key}": leaf for key, leaf in tree.items()}


def shapes(tree: Mapping[str, Tensor]) -> Shapes:
    """Per-member shapes of leaves [P, ...], the population axis left out; what `unravel` needs."""
    return {name: tuple(leaf.shape[1:]) for name, leaf in tree.items()}


def length(like: Shapes) -> int:
    """D, the numbers that a member's leaves of these shapes hold."""
    return sum(math.prod(shape) for shape in like.values())


def ravel(tree: Mapping[str, Tensor]) -> Tensor:
    """Flatten every member: leaves [P, ...] -> [P, D], in the tree's own order."""
    return torch.cat([leaf.reshape(len(leaf), -1) for leaf in tree.values()], 1)


def unravel(flat: Tensor, like: Shapes) -> Tree:
    """Undo `ravel`: [P, D] -> leaves [P, ...]. Raises ValueError when D does not match."""
    if flat.shape[-1] != length(like):
        raise ValueError(f"expected {length(like)} parameters a member, got {flat.shape[-1]}")
    pieces = flat.split([math.prod(shape) for shape in like.values()], -1)
    return {
        name: piece.reshape(flat.shape[:-1] + shape) for (name, shape), piece in zip(like.items(), pieces, strict=True)
    }


def to(tree: Mapping[str, Tensor], where: torch.device | torch.dtype | str) -> Tree:
    """Every leaf [P, ...] on another device or in another dtype."""
    return {name: leaf.to(where) for name, leaf in tree.items()}
