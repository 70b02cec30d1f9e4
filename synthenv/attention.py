"""A transformer over a set: context rows attend to one another, queries to the context, and order says nothing.

The context is encoded once; its keys and values are kept, and any number of queries read them. Layers are pre-norm
(Xiong et al. 2020). Logits are sharpened by a learned multiple of the logarithm of the context's length, so that
attention trained on short contexts does not blur over long ones (scalable softmax, Nakanishi 2025).

Letters: B sets, C context rows, Q queries, W width, J heads.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Memory(NamedTuple):
    """What queries read of a context: keys, sharpened, and values of every layer, each [B, J, C, W / J]."""

    keys: list[Tensor]
    values: list[Tensor]


class Layer(nn.Module):
    """One layer, the same weights for context and queries."""

    def __init__(self, width: int, heads: int, widening: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.ask = nn.Linear(width, width, bias=False)
        self.tell = nn.Linear(width, 2 * width, bias=False)
        self.join = nn.Linear(width, width, bias=False)
        self.between = nn.LayerNorm(width)
        self.think = nn.Sequential(nn.Linear(width, widening * width), nn.GELU(), nn.Linear(widening * width, width))
        self.sharpness = nn.Parameter(torch.full((heads, 1, 1), 0.2))

    def remember(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Sharpened keys and values [B, J, C, W / J] of context rows [B, C, W]."""
        keys, values = self.tell(self.before(rows)).chunk(2, -1)
        return self._split(keys) * (1 + self.sharpness * math.log(keys.shape[1])), self._split(values)

    def forward(self, rows: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Rows [B, N, W] after reading keys and values [B, J, C, W / J] and thinking it over."""
        asked = self._split(self.ask(self.before(rows)))
        read = functional.scaled_dot_product_attention(asked, keys, values)
        rows = rows + self.join(read.transpose(1, 2).flatten(2))
        thought: Tensor = self.think(self.between(rows))
        return rows + thought

    def _split(self, x: Tensor) -> Tensor:
        """[B, N, W] -> [B, J, N, W / J]."""
        heads: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return heads


class SetTransformer(nn.Module):
    """Layers over a context, and over queries that see the context but not one another."""

    def __init__(self, width: int, layers: int, heads: int, widening: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, widening) for _ in range(layers))
        self.after = nn.LayerNorm(width)

    def encode(self, context: Tensor) -> Memory:
        """Read context rows [B, C, W] once."""
        memory = Memory([], [])
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            keys, values = layer.remember(context)
            memory.keys.append(keys)
            memory.values.append(values)
            if index + 1 < len(self.layers):  # nobody reads what the last one makes of the context
                context = layer(context, keys, values)
        return memory

    def forward(self, queries: Tensor, memory: Memory) -> Tensor:
        """Queries [B, Q, W] -> [B, Q, W], each by itself."""
        for layer, keys, values in zip(self.layers, memory.keys, memory.values, strict=True):
            queries = layer(queries, keys, values)
        result: Tensor = self.after(queries)
        return result
