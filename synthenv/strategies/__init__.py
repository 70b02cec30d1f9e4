"""Strategies: ask for candidates, tell their fitness. One file each; `base` says what a strategy is."""

from __future__ import annotations

from typing import Any

from synthenv import catalogue, recipe
from synthenv.strategies.base import SearchState, Strategy

__all__ = ["SearchState", "Strategy", "named"]


def named(name: str, **options: Any) -> Strategy:
    """The strategy called `name` ("snes", "open_es", ...) with settings `options`, each a field of its class.

    Raises ValueError with the nearest name for a strategy or setting nobody knows, or a setting of the wrong type.
    """
    kind: type[Strategy] = catalogue.named(__name__, name, "strategy")
    return recipe.build(kind, options, name)
