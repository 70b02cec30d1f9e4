"""The in-context world model beside everything classical: accuracy, speed, and what policies made in it are worth.

    python -m benchmarks.world_model accuracy      all cells that world_model_accuracy.csv lacks
    python -m benchmarks.world_model accuracy --models incontext no-gate=runs/no-gate      our model and an ablation
    python -m benchmarks.world_model prior         the network trained briefly, on OSWM's prior and on ours
    python -m benchmarks.world_model speed
    python -m benchmarks.world_model transfer --models incontext "the task"
    python -m benchmarks.world_model accuracy --quick --results runs/quick      a quick look; so with the others

accuracy: models are shown the first 10, 30, 100, 300, 1,000 and 2,000 transitions of 5 logs of random actions of every
task, and examined on 1,000 fresh ones each of random actions and of a noisy controller. prior: the same, for networks
that are trained first. speed: reading a context, stepping 1, 256 and 2,048 environments, SB3's PPO in the loop, memory.
transfer: SB3's agents learn in models of 3 logs of 1,000 transitions, 10 seeds each, and their final policies, never
selected on the real task, play 50 real episodes; beside them agents that learn in the task itself for 1,000, 10,000 and
50,000 steps.

A killed run goes on where it was. Figures of other weights are measured again; those of classical fits stay, so that
new weights cost only their own cells. Writes world_model_{accuracy,speed,transfer}.csv, and plots of two.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from benchmarks import world_accuracy, world_prior, world_speed, world_transfer
from benchmarks.harness import RESULTS
from benchmarks.tables import rows_of
from benchmarks.world_tables import draw_accuracy, draw_transfer

PARTS: dict[str, ModuleType] = {
    "accuracy": world_accuracy, "prior": world_prior, "speed": world_speed, "transfer": world_transfer
}  # fmt: skip
QUICK = {
    "accuracy": ["--tasks", "CartPole-v1", "Room-v0", "--rows", "30", "100", "--contexts", "2"],
    "prior": ["--steps", "20", "--tasks", "CartPole-v1", "Room-v0", "--rows", "30", "100", "--contexts", "2"],
    "speed": ["--steps", "4096", "--rounds", "2"],
    "transfer": ["--tasks", "CartPole-v1", "--seeds", "1", "--contexts", "1", "--steps", "4096", "--episodes", "5"],
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing of a part, then draw."""
    args = parse(argv)
    PARTS[args.part].main(args)
    written = {"prior": "accuracy"}.get(args.part, args.part)
    draw = {"accuracy": draw_accuracy, "transfer": draw_transfer}.get(written)
    table: Path = args.results / f"world_model_{written}.csv"
    if draw and table.is_file():
        draw(table.with_suffix(".png"), rows_of(table))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; its defaults are the published protocols."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for part, module in PARTS.items():
        asked = parts.add_parser(part, description=module.__doc__)
        module.ask(asked)
        asked.add_argument("--quick", action="store_true", help=f"small budgets: {' '.join(QUICK[part])}")
        asked.add_argument("--workers", type=int, default=1, help="processes (default %(default)s)")
        asked.add_argument("--fresh", action="store_true", help="forget what the table holds of what is asked for")
        asked.add_argument("--results", type=Path, default=RESULTS, help="folder to write into (default %(default)s)")
    args = parser.parse_args(argv)
    if args.quick:  # what is asked for by name comes after, and counts
        given = sys.argv[1:] if argv is None else list(argv)
        args = parser.parse_args([args.part, *QUICK[args.part], *given[given.index(args.part) + 1 :]])
    return args


if __name__ == "__main__":
    main()
