"""One folder holds one network that was pretrained on synthetic data: what was wanted, the numbers, the facts.

recipe.yaml        everything needed to make it again
model.safetensors  the weights; its header repeats id, package version and the recipe's digest
card.json          id, scores, cost, versions, and the digests that tie the files together
README.md          generated from the others

No pickle. The weights of an id never change: an improvement is a new id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from synthenv import __version__, recipe, shelf
from synthenv.artifact import FORMAT, HEADER, agree, sha256, versions, written_aside

Recipe = TypeVar("Recipe")


@dataclass(frozen=True)
class Pretrained(Generic[Recipe]):
    """A pretrained network as read from its folder: its recipe, weights by name, the facts of the card."""

    folder: Path
    recipe: Recipe
    weights: dict[str, Tensor]
    card: dict[str, Any]


def load(folder: str | Path, kind: type[Recipe]) -> Pretrained[Recipe]:
    """Read a folder whose recipe is of this kind; raises ValueError naming the file that does not belong."""
    folder = Path(folder)
    for name in ("recipe.yaml", "model.safetensors", "card.json"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no pretrained network: it has no {name}")
    card, model = shelf.card(folder), folder / "model.safetensors"
    agree(model, "sha256", card.get("sha256"), sha256(model), "card.json")
    with safe_open(model, framework="pt") as file:
        header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
        weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping
    agree(model, "format", FORMAT, header.get("format"), "this version of synthenv")
    wanted = recipe.load(kind, folder / "recipe.yaml")
    agree(folder / "recipe.yaml", "digest", header.get("recipe"), recipe.digest(wanted), model.name)
    return Pretrained(folder, wanted, weights, card)


def save(folder: str | Path, wanted: Any, network: nn.Module, card: Mapping[str, Any], about: str) -> None:
    """Write a finished network, weights in half precision; `wanted` is its recipe, `about` the text of its README.

    Raises ValueError for weights that half precision cannot hold. Everything is written aside and then renamed, so a
    folder is either whole or absent.
    """
    weights = {name: leaf.detach().cpu().half().contiguous() for name, leaf in network.state_dict().items()}
    if lost := [name for name, leaf in weights.items() if not torch.isfinite(leaf).all()]:
        raise ValueError(f"expected finite weights below 65,504, but {', '.join(lost)} are not; the training diverged")
    with written_aside(Path(folder)) as aside:
        (aside / "recipe.yaml").write_text(recipe.dump(wanted), encoding="utf-8", newline="\n")
        header = {"format": FORMAT, "id": wanted.id, "version": __version__, "recipe": recipe.digest(wanted)}
        save_file(weights, aside / "model.safetensors", {HEADER: json.dumps(header)})
        facts = {
            "id": wanted.id,
            "parameters": sum(leaf.numel() for leaf in weights.values()),
            **card,
            "sha256": sha256(aside / "model.safetensors"),
            "recipe": recipe.digest(wanted),
            "versions": versions(),
            "date": date.today().isoformat(),
        }
        (aside / "card.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8", newline="\n")
        (aside / "README.md").write_text(about, encoding="utf-8", newline="\n")
