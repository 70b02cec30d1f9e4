"""The outer loop: how an environment is made. `evolve.py` tells the story, each stage has a file."""

from __future__ import annotations

from synthenv.meta.defaults import default_recipe
from synthenv.meta.evolve import evolve

__all__ = ["default_recipe", "evolve"]
