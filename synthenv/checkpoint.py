"""A checkpoint: tensors and facts in one safetensors file that is whole or absent, whenever the process dies."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

NAME = "checkpoint.safetensors"
FACTS = "facts"


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write aside, then rename; `facts` goes to the header as JSON and names the recipe by its digest as "recipe"."""
    aside = path.with_name(f".{path.name}.partial")
    save_file({name: leaf.contiguous() for name, leaf in tensors.items()}, aside, {FACTS: json.dumps(dict(facts))})
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)


def read(path: Path, recipe: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and tensors; raises ValueError when there are none, when damaged, or of a recipe with another digest."""
    if not path.is_file():
        raise ValueError(f"nothing to resume: {path.parent} has no {path.name}; start without resume")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()[FACTS])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        found = facts["recipe"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); start over in another folder") from error
    if found != recipe:
        raise ValueError(f"{path} is of another recipe; resume with the recipe that began it, or start over")
    return facts, tensors
