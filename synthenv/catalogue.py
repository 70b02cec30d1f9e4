"""Finds the named things in a room, so that adding one is adding one file.

A strategy, learner or real task is a class with its own class attribute ``name``. Nothing is listed twice.
"""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches
from functools import cache
from typing import Any


@cache
def names(package: str) -> dict[str, type]:
    """Every class of `package` that carries its own ``name``, by that name."""
    room = importlib.import_module(package)
    found: dict[str, type] = {}
    for info in pkgutil.iter_modules(room.__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        for thing in vars(module).values():
            own = isinstance(thing, type) and thing.__module__ == module.__name__
            if own and isinstance(name := vars(thing).get("name"), str):
                found[name] = thing
    return found


def named(package: str, name: str, what: str) -> Any:
    """The class called `name`; raises KeyError-like ValueError naming the nearest right name."""
    known = names(package)
    if name not in known:
        raise ValueError(unknown(what, name, known))
    return known[name]


def unknown(what: str, name: str, known: Any) -> str:
    """One sentence for a name nobody knows, with the nearest one that exists."""
    near = get_close_matches(name, list(known), 1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"no {what} is called '{name}'{hint} (known: {', '.join(sorted(known)) or 'none'})"
