"""One folder holds one synthetic environment: what was wanted, the numbers, the facts.

recipe.yaml        everything needed to make it again
model.safetensors  the weights; its header repeats id, package version and the recipe's digest
card.json          id, spaces, horizon, scores, cost, versions, and the digests that tie the files together
expected.json      16 steps from seed 0, so that silent change is noticed
README.md          generated from the others

No pickle. The weights of an id never change: an improvement is a new id.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from safetensors import safe_open
from safetensors.torch import save_file

from synthenv import __version__, shelf
from synthenv.recipe import EnvRecipe, dump
from synthenv.recipe import load as load_recipe
from synthenv.tree import Tree

FORMAT = 1
"""Grows when older readers could no longer make sense of a folder."""
HEADER = "synthenv"
"""The one key of the weights' metadata: safetensors shuffles several, and equal weights should be equal bytes."""
REPEATED = ("id", "target", "form", "horizon")
"""What a card repeats of the recipe, for those who read no YAML."""


@dataclass(frozen=True)
class Artifact:
    """A synthetic environment as read from its folder.

    weights: leaves [1, ...], the world's parameters besides `centre` and `reach` [1, O].
    card:    the facts of card.json.
    """

    folder: Path
    recipe: EnvRecipe
    weights: Tree
    card: dict[str, Any]


def load(folder: str | Path) -> Artifact:
    """Read a folder and check that its files belong together; raises ValueError naming the file that does not."""
    folder = Path(folder)
    for name in ("recipe.yaml", "model.safetensors", "card.json"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is no synthetic environment: it has no {name}")
    card, model = shelf.card(folder), folder / "model.safetensors"
    agree(model, "sha256", card.get("sha256"), sha256(model), "card.json")
    with safe_open(model, framework="pt") as file:
        header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
        weights = {name: file.get_tensor(name)[None] for name in file.keys()}  # noqa: SIM118 - not a mapping
    agree(model, "format", FORMAT, header.get("format"), "this version of synthenv")
    path, facts = folder / "recipe.yaml", folder / "card.json"
    for witness, told in ((model, header), (facts, card)):
        agree(path, "sha256", told.get("recipe"), text_sha256(path), witness.name)
    recipe = load_recipe(EnvRecipe, path)
    for name in REPEATED:
        agree(facts, name, getattr(recipe, name), card.get(name), path.name)
    if "spaces_sha256" in card:
        agree(facts, "spaces' sha256", card["spaces_sha256"], _spaces_sha256(card), "it")
    return Artifact(folder, recipe, weights, card)


def verify(folder: str | Path) -> None:
    """Raise ValueError unless the folder loads and its files belong together."""
    load(folder)


def save(
    folder: str | Path, recipe: EnvRecipe, weights: Tree, card: Mapping[str, Any], expected: Mapping[str, Any]
) -> Artifact:
    """Write a finished environment, leaves of weights [1, ...], and return it as `load` reads it.

    `card` brings what only the maker knows: spaces (see `describe`), scores, cost. Everything is written aside and
    then renamed, so a folder is either whole or absent.
    """
    folder = Path(folder)
    with written_aside(folder) as aside:
        (aside / "recipe.yaml").write_text(dump(recipe), encoding="utf-8", newline="\n")
        digest = text_sha256(aside / "recipe.yaml")
        header = {"format": FORMAT, "id": recipe.id, "version": __version__, "recipe": digest}
        leaves = {name: leaf[0].detach().cpu().contiguous() for name, leaf in weights.items()}
        save_file(leaves, aside / "model.safetensors", {HEADER: json.dumps(header)})
        facts = {
            **{name: getattr(recipe, name) for name in REPEATED},
            **card,
            "spaces_sha256": _spaces_sha256(card),
            "sha256": sha256(aside / "model.safetensors"),
            "recipe": digest,
            "versions": versions(),
            "date": date.today().isoformat(),
        }
        (aside / "card.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8", newline="\n")
        (aside / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8", newline="\n")
    return load(folder)


def describe(observation: spaces.Box, action: spaces.Discrete | spaces.Box) -> dict[str, Any]:
    """A world's spaces as a card states them: a mapping with the one key `spaces`."""
    return {"spaces": {"observation": _space(observation), "action": _space(action)}}


def action_space(card: dict[str, Any]) -> spaces.Discrete | spaces.Box:
    """The action space that a card states; the reverse of `describe`."""
    told = card["spaces"]["action"]
    if "n" in told:
        return spaces.Discrete(told["n"])
    return spaces.Box(np.array(told["low"], np.float32), np.array(told["high"], np.float32))


def _spaces_sha256(card: Mapping[str, Any]) -> str:
    """The digest of what `describe` wrote, before or after it was JSON."""
    return hashlib.sha256(json.dumps(card["spaces"], sort_keys=True).encode()).hexdigest()


def _space(space: spaces.Discrete | spaces.Box) -> dict[str, Any]:
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n)}
    return {"low": space.low.tolist(), "high": space.high.tolist()}


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    return {
        "synthenv": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gymnasium": gymnasium.__version__,
    }


def sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def text_sha256(path: Path) -> str:
    """The digest of a file's text, whatever line ends a checkout gave it."""
    return hashlib.sha256(path.read_text(encoding="utf-8").encode()).hexdigest()


def check_free(folder: Path) -> None:
    """Raise ValueError for a folder that holds something else than a finished artifact, or that we are in."""
    if Path.cwd().is_relative_to(folder.resolve()):
        raise ValueError(f"{folder} is, or holds, the folder that this process works in; choose another, say one in it")
    if folder.exists() and not (folder / "card.json").is_file() and any(folder.iterdir()):
        raise ValueError(f"{folder} exists and holds no card.json: it is not ours to replace; choose another folder")


@contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """A hidden sibling to write into, which becomes `folder` at the end; on an error `folder` stays as it was.

    Refuses what `check_free` does.
    """
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(".partial", f".{folder.name}.", folder.parent))
    before = aside.with_suffix(".before")
    try:
        yield aside
        for path in (*aside.iterdir(), aside):
            path.chmod(0o755 if path.is_dir() else 0o644)  # both are born private
            _flush(path)
        if folder.exists():
            folder.rename(before)
        try:
            aside.rename(folder)
        except OSError:
            if before.exists():
                before.rename(folder)
            raise
        _flush(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def _flush(path: Path) -> None:
    """Bytes and names on the disk before a rename announces them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def agree(path: Path, what: str, expected: object, got: object, witness: str) -> None:
    """Raise ValueError unless a file is what its witness says it is."""
    if expected != got:
        raise ValueError(
            f"{path}: {witness} says its {what} is {expected}, but it is {got}; the folder was changed or damaged, "
            "so fetch or make it again"
        )
