"""Print the README's tables from benchmarks/results, or write them between its markers.

    python benchmarks/tables.py            print every table
    python benchmarks/tables.py --write    put them into README.md, and draw benchmarks/results/transfer.png
    python benchmarks/tables.py --check    fail when README.md says something else than the results

A marker `<!-- table:NAME -->` asks for results/NAME.csv. Files of single trials are summarised by the function in
`SUMMARIES`; every other file is shown as it stands, its first row the header.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from synthenv.report import curves, learning_curves, number, table
from synthenv.scores import Trial, read_trials, statistics

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
BUDGETS = (1_000, 2_000, 5_000, 10_000)
"""Steps shown in the table of transfer; its plot has more."""
LIESEN = {"PPO": (32, 484.7, 500.0, 61.6, 76.5), "DQN": (32, 497.1, 500.0, 427.6, 13.0)}
"""n, mean, IQM, worst, std of the CartPole checkpoint published with synthetic-gymnax (Liesen et al. 2024), run by us
in November 2026 under jax 0.4.30: 10,000 steps, hyperparameters from its own configuration, 50 real episodes."""


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
    return SUMMARIES.get(path.stem, as_it_stands)(path)


def as_it_stands(path: Path) -> str:
    """Every row of a result file."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return table(header, [[cell(text) for text in row] for row in rows])


def transfer(path: Path) -> str:
    """A row for each learner and environment: mean on the way, everything at the end of training."""
    groups = grouped(read_trials(path))
    measured = sorted({trial.steps for group in groups.values() for trial in group})
    budgets = [steps for steps in measured if steps in BUDGETS] or measured
    header = ["agent", "trained in", *(f"{number(steps)} steps" for steps in budgets), "n", "IQM", "worst", "std"]
    rows = []
    for (algorithm, environment), group in groups.items():
        found = [statistics([trial.real_return for trial in group if trial.steps == steps]) for steps in budgets]
        last = found[-1]
        means = [row["mean"] for row in found]
        rows.append([algorithm, environment, *means, last["n"], last["iqm"], last["worst"], last["std"]])
    return table(header, rows) + f"\n\nMean at every budget; n, IQM, worst and std after {number(budgets[-1])} steps."


def random_hyperparameters(path: Path) -> str:
    """A row for each learner and environment over its draws, those of the peers below."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows_of(path):
        groups.setdefault((row["algorithm"], row["environment"]), []).append(float(row["real_return"]))
    rows = []
    for (algorithm, environment), returns in groups.items():
        found = statistics(returns)
        rows.append([algorithm, environment, *(found[key] for key in ("n", "mean", "iqm", "worst", "std"))])
    theirs = [[algorithm, "Synthetic-CartPole (Liesen et al.)", *found] for algorithm, found in LIESEN.items()]
    return (
        table(["agent", "trained in", "n", "mean", "IQM", "worst", "std"], [*rows, *theirs])
        + "\n\nTheir rows: the checkpoint they published, run under jax 0.4.30 by their protocol."
    )


def meta_cost(path: Path) -> str:
    """A row for each environment and set of stages: its price, and mean (worst) of what agents are worth."""
    rows: dict[tuple[str, str], list[int | float | str]] = {}
    exams: dict[str, None] = {}
    for row in rows_of(path):
        price = [cell(row[key]) for key in ("cpu_seconds", "seconds", "real_steps")]
        marks = rows.setdefault((row["environment"], row["stages"]), price)
        marks.append(f"{number(float(row['mean']))} ({number(float(row['worst']))})")
        exams[f"{row['algorithm']} {number(int(row['steps']))}"] = None
    header = ["environment", "stages", "CPU s", "s", "real steps", *exams]
    return (
        table(header, [[*what, *marks] for what, marks in rows.items()])
        + f"\n\nMean (worst) real return of {row['n']} agents with default hyperparameters after that many steps."
    )


def population(path: Path) -> str:
    """Every row but for the digest of the weights, and what the peers take."""
    rows = rows_of(path)
    header = [name for name in rows[0] if name != "weights"]
    shown = table(header, [[cell(row[name]) for name in header] for row in rows])
    return (
        f"{shown}\n\nSynthetic-gymnax (Liesen et al. 2024) under jax 0.4.30 on two cores: 0.15 CPU s an agent of "
        "their setting alone, 0.17 in a batch of 32, after 3.9 s of compilation."
    )


def greedy(path: Path) -> str:
    """A row for each recipe: what stage 1 takes until its mean policy has solved the task."""
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows_of(path):
        groups.setdefault(row["environment"], []).append(row)
    rows = []
    for environment, seeds in groups.items():
        price = ("cpu_seconds", "seconds", "real_steps")
        cpu, wall, steps = (sorted(float(row[key]) for row in seeds) for key in price)
        solved = sum(row["solved"] == "True" for row in seeds)
        middle = len(seeds) // 2
        rows.append([environment, len(seeds), solved, cpu[middle], cpu[-1], wall[-1], round(steps[middle])])
    header = ["recipe of", "seeds", "solved", "CPU s, median", "CPU s, worst", "s, worst", "real steps, median"]
    return table(header, rows)


def learners_vs_sb3(path: Path) -> str:
    """A row for each learner and checkpoint: both intervals of the mean, and whether they overlap."""
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for trial in read_trials(path):
        both = found.setdefault((trial.algorithm, trial.steps), {})
        both.setdefault(trial.environment, []).append(trial.real_return)
    rows = []
    for (algorithm, steps), both in found.items():
        ours, theirs = (statistics(returns) for returns in both.values())
        overlap = ours["interval"][0] <= theirs["interval"][1] and theirs["interval"][0] <= ours["interval"][1]
        shown = [f"{number(side['mean'])} ({' to '.join(map(number, side['interval']))})" for side in (ours, theirs)]
        rows.append([algorithm, steps, ours["n"], shown[0], theirs["n"], shown[1], "yes" if overlap else "no"])
    header = ["agent", "steps", "n", "synthenv", "n", "Stable-Baselines3", "intervals overlap"]
    return table(header, rows) + "\n\nMean real return and its 95 % bootstrap interval."


SUMMARIES: dict[str, Callable[[Path], str]] = {
    kind.__name__: kind for kind in (transfer, random_hyperparameters, meta_cost, population, greedy, learners_vs_sb3)
}


def grouped(trials: Iterable[Trial]) -> dict[tuple[str, str], list[Trial]]:
    """Trials by algorithm and environment, in the order of the file."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.algorithm, trial.environment), []).append(trial)
    return groups


def rows_of(path: Path) -> list[dict[str, str]]:
    """A result file's rows by column."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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
