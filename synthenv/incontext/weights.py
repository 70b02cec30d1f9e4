"""World models on the shelf, or in folders of one's own."""

from __future__ import annotations

from pathlib import Path

from synthenv import pretrained, shelf
from synthenv.incontext.model import Network

SHIPPED = "WorldModel-v0"
"""The model that is loaded unless another is named."""


def load(name: str | Path | None = None) -> Network:
    """A network by name from the shelf, or from a folder of one's own; the one that ships unless named."""
    from synthenv.incontext.pretrain import WorldModelRecipe, build  # with the whole of training behind it

    found = pretrained.load(shelf.find(SHIPPED if name is None else name, "models"), WorldModelRecipe)
    network = build(found.recipe)
    network.load_state_dict(found.weights)
    return network.requires_grad_(False).eval()
