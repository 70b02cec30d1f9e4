"""What the prior is worth: the network that ships, trained for as long on OSWM's prior as on ours.

Everything but the tasks is the same: network, closed forms that it judges, losses, steps, seed. Accuracy is measured of
both, for the lines of world_model_accuracy.csv that are called after them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks import oswm_prior, world_accuracy
from synthenv import checkpoint, shelf
from synthenv.incontext.pretrain import Source, WorldModelRecipe, pretrain_world_model
from synthenv.incontext.weights import SHIPPED
from synthenv.pretrained import load

PRIORS: dict[str, Source | None] = {"our-prior": None, "oswm-prior": oswm_prior.sample}
"""Where tasks come from; None for where the recipe says."""


def ask(parser: argparse.ArgumentParser) -> None:
    """What can be asked of this part."""
    parser.add_argument("--steps", type=int, default=1_000, help="of training (default %(default)s)")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/prior"),
        help="folder for networks, checkpoints and TensorBoard (default %(default)s)",
    )  # fmt: skip
    world_accuracy.ask_where(parser)


def main(args: argparse.Namespace) -> None:
    """Train what is not there yet, then measure the cells that the table lacks."""
    args.models = [f"{name}={folder}" for name in PRIORS for folder in [trained(name, args.steps, args.runs)]]
    world_accuracy.main(args)


def trained(name: str, steps: int, runs: Path) -> Path:
    """The folder of a network trained on a prior; a run that was killed goes on."""
    recipe = load(shelf.find(SHIPPED, "models"), WorldModelRecipe).recipe
    label = f"{name}-{steps}"
    out, run = runs / label, runs / f"{label}-run"
    if not out.exists():
        short = replace(recipe, id=label, schedule=replace(recipe.schedule, steps=steps))
        pretrain_world_model(short, out, run, resume=(run / checkpoint.NAME).exists(), source=PRIORS[name])
    return out
