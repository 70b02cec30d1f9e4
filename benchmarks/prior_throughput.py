"""Transitions a CPU-second that the world model's synthetic prior makes, on one torch thread.

    python -m benchmarks.prior_throughput
    python -m benchmarks.prior_throughput --rounds 3 --calls 2 --results runs/quick

Every call of `prior.sample` draws fresh worlds, lives in them and keeps the good ones; what it makes in excess is paid
for and not counted. How long lanes are is drawn anew each call and rules what a call costs, so a round has many calls,
the same ones in every round; the clock is the CPU time of the process, and a figure is the median of its rounds.

Writes prior_throughput.csv. OSWM's sampler makes 3,200 to 4,200 transitions a second (measured on the same kind of
machine from its published code).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.harness import RESULTS, clocked, write_rows
from synthenv.incontext.prior import PriorSettings, families, sample
from synthenv.threads import one_thread

SIZES = ((64, 1000), (64, 256), (16, 256), (8, 256))
"""Tasks and rows of a batch with all families."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the whole prior at every size, and every family by itself at the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of every case (default %(default)s)")
    parser.add_argument("--calls", type=int, default=40, help="a round (default %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write into (default %(default)s)")
    args = parser.parse_args(argv)
    plan = [("all", *size) for size in SIZES] + [(name, *SIZES[0]) for name in families()]
    with one_thread():
        rows = [row(*case, args.rounds, args.calls) for case in tqdm(plan, disable=None)]
    write_rows(args.results / "prior_throughput.csv", rows)


def row(family: str, tasks: int, rows: int, rounds: int, calls: int) -> dict[str, Any]:
    """A line of the table."""
    settings = PriorSettings() if family == "all" else PriorSettings(families={family: 1.0})
    sample(torch.Generator().manual_seed(0), tasks, rows, settings)
    drawn = [partial(sample, torch.Generator().manual_seed(1), tasks, rows, settings) for _ in range(rounds)]
    took = [clocked(one, calls) for one in drawn]
    return {
        "family": family,
        "tasks": tasks,
        "rows": rows,
        "ms a call": round(statistics.median(took) * 1e3, 1),
        "transitions a CPU-second": round(tasks * rows / statistics.median(took)),
    }


if __name__ == "__main__":
    main()
