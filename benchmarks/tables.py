"""Print the README's tables from benchmarks/results, or write them between its markers.

    python benchmarks/tables.py            print every table
    python benchmarks/tables.py --write    put them into README.md, and draw benchmarks/results/transfer.png
    python benchmarks/tables.py --check    fail when README.md says something else than the results

A marker `<!-- table:NAME -->` asks for results/NAME.csv. `transfer` is summarised over seeds; every other file is shown
as it stands, its first row the header.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from synthenv.report import curves, learning_curves, number, table
from synthenv.scores import Trial, read_trials, statistics

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks; 1 means that README.md is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="put the tables into README.md and draw the plot")
    choice.add_argument("--check", action="store_true", help="exit with 1 when README.md is out of date")
    args = parser.parse_args(argv)
    readme = ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    new = MARKED.sub(lambda found: f"{found[1]}{markdown(RESULTS / f'{found[2]}.csv')}\n{found[3]}", old)
    if args.write:
        readme.write_text(new, encoding="utf-8", newline="\n")
        if (RESULTS / "transfer.csv").is_file():
            trials = read_trials(RESULTS / "transfer.csv")
            learning_curves(RESULTS / "transfer.png", curves(trials), "CartPole-v1")
    elif args.check and new != old:
        print("README.md does not show what benchmarks/results holds; run: python benchmarks/tables.py --write")
        return 1
    elif not args.check:
        print("\n\n".join(f"{found[2]}\n\n{markdown(RESULTS / f'{found[2]}.csv')}" for found in MARKED.finditer(old)))
    return 0


def markdown(path: Path) -> str:
    """The table for one result file, or a line that says there is none."""
    if not path.is_file():
        return f"Not measured yet: `{path.relative_to(ROOT)}` does not exist."
    if path.name == "transfer.csv":
        return transfer(read_trials(path))
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return table(header, [[cell(text) for text in row] for row in rows])


def transfer(trials: Iterable[Trial]) -> str:
    """A row for each learner and environment: mean on the way, everything at the end of training."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.algorithm, trial.environment), []).append(trial)
    budgets = sorted({trial.steps for group in groups.values() for trial in group})
    header = ["agent", "trained in", *(f"{number(steps)} steps" for steps in budgets), "n", "IQM", "worst", "std"]
    rows = []
    for (algorithm, environment), group in groups.items():
        found = [statistics([trial.real_return for trial in group if trial.steps == steps]) for steps in budgets]
        last = found[-1]
        means = [row["mean"] for row in found]
        rows.append([algorithm, environment, *means, last["n"], last["iqm"], last["worst"], last["std"]])
    return table(header, rows) + f"\n\nMean at every budget; n, IQM, worst and std after {number(budgets[-1])} steps."


def cell(text: str) -> int | float | str:
    """A number where the text is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


if __name__ == "__main__":
    sys.exit(main())
