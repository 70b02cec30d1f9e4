"""Synthetic environments: neural networks that train agents faster than the tasks they stand for.

`import synthenv` registers every environment on the shelf with Gymnasium; so does the prefix in
`gym.make("synthenv:Synth-CartPole-v0")`. Only names are registered: torch is loaded by the first environment made.

Letters, in every shape of the package: P population members, N episodes in parallel, T time, O observation,
A action, S internal state, D flat parameters, C context transitions, H hidden, R repeats (seeds, folded into P before
anything runs). Leading axes are always [P, N] or [P, T, N]; a single environment is P = N = 1.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium

from synthenv import shelf

__all__ = ["__version__", "register"]
__version__ = "0.1.0"


def register(folder: str | Path) -> str:
    """Make the artifact in `folder` known to Gymnasium under its own id, which is returned; loads no weights."""
    folder = shelf.find(folder)
    card = shelf.card(folder)
    _register(card, str(folder.resolve()))
    return str(card["id"])


def _register(card: dict[str, object], artifact: str) -> None:
    """A bandit's episodes end by themselves after one step, so only the multi-step form gets a time limit."""
    limit = card["horizon"] if card["form"] == "mdp" else None
    before = gymnasium.registry.get(str(card["id"]))
    if before is not None and "artifact" in before.kwargs:
        del gymnasium.registry[before.id]  # made again: the new one takes its place without Gymnasium's warning
    gymnasium.register(
        id=str(card["id"]),
        entry_point="synthenv.gym:SynthEnv",
        vector_entry_point="synthenv.gym:SynthVectorEnv",
        max_episode_steps=limit,  # type: ignore[arg-type]
        kwargs={"artifact": artifact},
    )


gymnasium.register(
    id="GridWorld-v0",
    entry_point="synthenv.gym:WorldEnv",
    max_episode_steps=200,
    kwargs={"target": "GridWorld-v0"},
)
gymnasium.register(
    id="InContext-v0",
    entry_point="synthenv.incontext.envs:InContextEnv",
    vector_entry_point="synthenv.incontext.envs:InContextVectorEnv",
)
for _id in shelf.ids():
    _register(shelf.card(shelf.find(_id)), _id)
