"""Finds what ships: environments in envs/, agents in agents/, pretrained networks in models/; a folder each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from synthenv.catalogue import unknown

Kind = Literal["envs", "agents", "models"]
NOUNS: dict[Kind, str] = {"envs": "environment", "agents": "agent", "models": "pretrained model"}


def root(kind: Kind = "envs") -> Path:
    """The shelf's folder: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).parent
    installed = package / "_data" / kind
    return installed if installed.is_dir() else package.parent / kind


def ids(kind: Kind = "envs") -> list[str]:
    """Names on the shelf, sorted."""
    return sorted(card.parent.name for card in root(kind).glob("*/card.json"))


def find(name: str | Path, kind: Kind = "envs") -> Path:
    """The folder of a name on the shelf, or a path to a folder of one's own.

    Raises ValueError with the nearest name for one nobody knows.
    """
    for folder in (root(kind) / name, Path(name)):
        if (folder / "card.json").is_file():
            return folder
    if Path(name).is_dir() or len(Path(name).parts) > 1:
        raise ValueError(absent(Path(name), kind))
    raise ValueError(unknown(NOUNS[kind], str(name), ids(kind)))


def absent(folder: Path, kind: Kind = "envs") -> str:
    """One sentence about a path without what was looked for, naming a folder that differs in case alone, if any."""
    if folder.is_dir():
        inside = folder / "artifact"  # where evolve puts what is finished
        hint = f"; did you mean '{inside}'?" if (inside / "card.json").is_file() else ""
        return f"{folder} is a folder without a card.json, so it holds no finished {NOUNS[kind]}{hint}"
    beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
    near = [other for other in beside if other.name.lower() == folder.name.lower() and other.is_dir()]
    return f"there is no {NOUNS[kind]}'s folder at {folder}" + (f"; did you mean '{near[0]}'?" if near else "")


def card(folder: Path) -> dict[str, Any]:
    """The facts in a folder's card.json."""
    path = folder / "card.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(facts).__name__}")
    return facts
