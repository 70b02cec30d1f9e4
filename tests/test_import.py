"""What `import synthenv` costs: names only."""

from __future__ import annotations

import subprocess
import sys


def test_importing_registers_names_and_loads_no_torch() -> None:
    code = """
import sys, gymnasium, synthenv
heavy = {"torch", "stable_baselines3", "safetensors", "yaml", "matplotlib"} & sys.modules.keys()
assert not heavy, heavy
assert all(name in gymnasium.registry for name in synthenv.shelf.ids())
"""
    subprocess.run([sys.executable, "-c", code], check=True)
