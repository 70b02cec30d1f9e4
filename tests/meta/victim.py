"""A session of `evolve` in a process of its own, to be killed at a chosen moment or at any."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

from synthenv.meta import evolve
from synthenv.meta.run import CHECKPOINT
from synthenv.recipe import EnvRecipe

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload([__name__])  # pays for imports once; what it forks is as fresh as a new interpreter


def session(recipe: EnvRecipe, folder: Path, workers: int, fatal: int | None) -> None:
    """Begin or resume a run; SIGKILL strikes before the `fatal`-th rename, when a file is written but not yet there.

    Leaves the ids of its worker processes in `workers`.
    """
    renames = 0

    def strike(event: str, _: Any) -> None:
        nonlocal renames
        renames += event == "os.rename"
        if event == "os.rename" and renames == fatal:
            (folder / "workers").write_text(" ".join(str(child.pid) for child in multiprocessing.active_children()))
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(strike)
    resume = (folder / "run" / CHECKPOINT).exists()
    evolve(recipe, folder / "env", run_folder=folder / "run", resume=resume, workers=workers, progress=False)


def begun(recipe: EnvRecipe, folder: Path, workers: int = 1, fatal: int | None = None) -> Any:
    """A session on its way in another process."""
    process = forks.Process(target=session, args=(recipe, folder, workers, fatal))
    process.start()
    return process


def survived(recipe: EnvRecipe, folder: Path, workers: int = 1, fatal: int | None = None) -> bool:
    """Whether a session came to its end; raises unless it did or was killed."""
    process = begun(recipe, folder, workers, fatal)
    process.join(120)
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the session ended with {process.exitcode}")
    return bool(process.exitcode == 0)
