"""Print the README's tables from benchmarks/results, or write them between its markers.

    python -m benchmarks.tables            print every table
    python -m benchmarks.tables --write    put them into README.md, and draw the plots of transfer and ranking
    python -m benchmarks.tables --check    fail when README.md says something else than the results

A marker `<!-- table:NAME -->` asks for results/NAME.csv, `<!-- table:NAME CartPole-v1 -->` for what it says of one
task or of several. Files of single trials are summarised by the function in `SUMMARIES`; every other file is shown as
it stands, its first row the header. `<!-- table:shelf -->` asks for what is on the shelf, from its cards.

peers.csv holds the rows beside ours: the environments of Liesen et al. (2024), published with synthetic-gymnax, run by
us in November 2026 under jax 0.4.30 (n, mean, IQM, worst; 10,000 steps, hyperparameters from their own configurations,
50 real episodes an agent), and the interquartile mean in their README (published). oswm.csv: see `world_tables`.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks import harness, ranking_tables
from benchmarks.world_tables import world_model_accuracy, world_model_speed, world_model_transfer
from synthenv import shelf
from synthenv.cards import in_words
from synthenv.report import curves, learning_curves, number, table
from synthenv.scores import Trial, read_trials, statistics

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PEERS = ROOT / "benchmarks" / "peers.csv"
MARKED = re.compile(r"(<!-- table:(\w+)((?: [\w-]+)*) -->\n).*?(<!-- end -->)", re.DOTALL)
FORMS = {"bandit": "bandit", "mdp": "MDP", "itself": "task itself"}
"""Where agents are trained, in the order of the columns: what `home` calls it, and what a table does."""
LIESEN_SECONDS = {"ppo": 0.151, "dqn": 0.067, "sac": 1.22, "ddpg": 1.29, "td3": 3.4}
"""CPU seconds that one of their agents takes, compiled already, by the same measurement: CartPole, and Pendulum for
DDPG and TD3, whose measure includes an evaluation."""

Row = dict[str, str]
"""A line of a result file, by column."""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks; 1 means that README.md is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="put the tables into README.md and draw the plots")
    choice.add_argument("--check", action="store_true", help="exit with 1 when README.md is out of date")
    args = parser.parse_args(argv)
    readme = ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    new = MARKED.sub(lambda found: f"{found[1]}{asked(found)}\n{found[4]}", old)
    if args.write:
        readme.write_text(new, encoding="utf-8", newline="\n")
        if (RESULTS / "transfer.csv").is_file():
            draw(RESULTS)
        if (runs := RESULTS / "ranking_runs.csv").is_file():
            ranking_tables.draw_runs(runs.with_suffix(".png"), rows_of(runs))
    elif args.check and new != old:
        print("README.md does not show what benchmarks/results holds; run: python -m benchmarks.tables --write")
        return 1
    elif not args.check:
        print("\n\n".join(f"{found[2]}{found[3]}\n\n{asked(found)}" for found in MARKED.finditer(old)))
    return 0


def asked(marker: re.Match[str]) -> str:
    """What a marker asks for."""
    if marker[2] == "shelf":
        return shelved()
    return markdown(RESULTS / f"{marker[2]}.csv", marker[3].split())


def markdown(path: Path, targets: Sequence[str] = ()) -> str:
    """The table for one result file, of these real tasks alone if any, or a line that says there is none."""
    rows = rows_of(path) if path.is_file() else []
    shown = [row for row in rows if not targets or harness.home(row["environment"])[0] in targets]
    if not shown:
        what = f" of {', '.join(targets)}" if targets else ""
        return f"Not measured yet: `{path.relative_to(ROOT)}` has no rows{what}."
    return SUMMARIES.get(path.stem, as_it_stands)(shown)


def shelved() -> str:
    """A row for each real task: how one acts in it, and its environments in either form."""
    actions: dict[str, str] = {}
    rows: dict[str, dict[str, list[str]]] = {}
    for name in shelf.ids():
        card = shelf.card(shelf.find(name))
        actions[card["target"]] = in_words(card["spaces"]["action"])
        rows.setdefault(card["target"], {}).setdefault(card["form"], []).append(f"[{name}](envs/{name})")
    lines = [
        [task, actions[task], *(", ".join(forms.get(form, ())) for form in ("bandit", "mdp"))]
        for task, forms in sorted(rows.items())
    ]
    return table(["stands for", "actions", FORMS["bandit"], FORMS["mdp"]], lines)


def placed(row: Row) -> tuple[tuple[str, str], str]:
    """The line that a row belongs to, its real task and agent, and the column, its form.

    Environments beside a task's two have lines of their own, with their kind behind the agent.
    """
    environment = row["environment"]
    task, form = harness.home(environment)
    beside = form != "itself" and environment not in harness.forms(task)
    return (task, row["algorithm"] + (f", {environment.split('-', 1)[0]}" if beside else "")), form


def draw(results: Path, targets: Mapping[str, str] = MappingProxyType({})) -> None:
    """A plot of transfer.csv for each real task; `targets` tells it for environments that are not on the shelf."""
    tasks: dict[str, list[Trial]] = {}
    for trial in read_trials(results / "transfer.csv"):
        task = targets.get(trial.environment) or harness.home(trial.environment)[0]
        tasks.setdefault(task, []).append(trial)
    for task, trials in tasks.items():
        learning_curves(results / plot_of(task), curves(trials), task)


def plot_of(task: str) -> str:
    """The name of the file with a task's learning curves."""
    return "transfer.png" if task == "CartPole-v1" else f"transfer-{task}.png"


def as_it_stands(rows: Sequence[Row]) -> str:
    """Every row of a result file."""
    return table(list(rows[0]), [[cell(text) for text in row.values()] for row in rows])


def transfer(rows: Sequence[Row]) -> str:
    """A row for each real task and learner: mean (worst) at the end of training in either form and in the task."""
    theirs = peers()
    cells: dict[tuple[str, str], dict[str, dict[int, list[float]]]] = {}
    for row in rows:
        line, form = placed(row)
        budgets = cells.setdefault(line, {}).setdefault(form, {})
        budgets.setdefault(int(row["steps"]), []).append(float(row["real_return"]))
    lines = []
    for (task, algorithm), forms in cells.items():
        steps = max(steps for budgets in forms.values() for steps in budgets)
        found = [forms.get(form, {}).get(steps) for form in FORMS]
        peer = theirs.get((task, algorithm.split(",")[0]))
        counts = dict.fromkeys(len(returns) for returns in found if returns)
        lines.append([
            task, algorithm, steps, *(mean_worst(returns) if returns else "" for returns in found),
            ", ".join(map(str, counts)), number(float(peer["published"])) if peer else "",
        ])  # fmt: skip
    return (
        table(["task", "agent", "steps", *FORMS.values(), "n", "Liesen et al."], lines)
        + "\n\nMean (worst) real return of n agents after that many steps. Liesen et al. (2024): the interquartile "
        "mean that they publish for the algorithm with random hyperparameters after 10,000 steps. An empty cell is "
        "not measured; n has several numbers, in the order of the cells, where they differ."
    )


def random_hyperparameters(rows: Sequence[Row]) -> str:
    """A row for each real task and learner over its draws, those of the peers beside."""
    theirs = peers()
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        line, form = placed(row)
        returns = cells.setdefault(line, {}).setdefault(form, [])
        returns.append(float(row["real_return"]))
    lines = []
    for (task, algorithm), forms in cells.items():
        found = [statistics(forms[form]) if form in forms else None for form in FORMS]
        shown = [three(row["mean"], row["iqm"], row["worst"]) if row else "" for row in found]
        peer = theirs.get((task, algorithm.split(",")[0]))
        beside = three(*(float(peer[key]) for key in ("mean", "iqm", "worst"))) if peer else ""
        counts = dict.fromkeys(row["n"] for row in found if row)
        lines.append([task, algorithm, ", ".join(map(str, counts)), *shown, beside])
    return (
        table(["task", "agent", "n", *FORMS.values(), "Liesen et al."], lines)
        + "\n\nMean / IQM / worst of n draws. Liesen et al. (2024): the environments that they published, run under "
        "jax 0.4.30 by their protocol, 32 draws (20 on MountainCarContinuous, and of TD3 on Pendulum)."
    )


def peers() -> dict[tuple[str, str], Row]:
    """Rows of peers.csv by task and algorithm."""
    return {(row["task"], row["algorithm"]): row for row in rows_of(PEERS)}


def three(mean: float, iqm: float, worst: float) -> str:
    """Three numbers in a cell."""
    return " / ".join(map(number, (mean, iqm, worst)))


def mean_worst(returns: Sequence[float]) -> str:
    """Mean (worst) of returns [n], one an agent."""
    return f"{number(sum(returns) / len(returns))} ({number(min(returns))})"


def meta_cost(rows: Sequence[Row]) -> str:
    """A row for each environment and set of stages: its price, and mean (worst) of what agents are worth.

    A table for each set of exams, which differ with the kind of action.
    """
    made: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        made.setdefault((row["environment"], row["stages"]), []).append(row)
    tables: dict[tuple[str, ...], list[list[int | float | str]]] = {}
    for what, exams in made.items():
        price = [cell(exams[0][key]) for key in ("cpu_seconds", "seconds", "real_steps")]
        marks = [f"{number(float(row['mean']))} ({number(float(row['worst']))})" for row in exams]
        header = tuple(f"{row['algorithm']} {number(int(row['steps']))}" for row in exams)
        tables.setdefault(header, []).append([*what, *price, *marks])
    counts = " or ".join(dict.fromkeys(row["n"] for row in rows))
    return (
        "\n\n".join(
            table(["environment", "stages", "CPU s", "s", "real steps", *header], lines)
            for header, lines in tables.items()
        )
        + f"\n\nMean (worst) real return of {counts} agents with default hyperparameters after that many steps."
    )


def population(rows: Sequence[Row]) -> str:
    """Every row but for the digest of the weights, and what the peers take."""
    header = [name for name in rows[0] if name != "weights"]
    theirs = [LIESEN_SECONDS.get(row.get("algorithm", "ppo"), "") for row in rows]
    shown = [
        [*(cell(row[name]) for name in header), seconds if row["setting"] == "Liesen et al." else ""]
        for row, seconds in zip(rows, theirs, strict=True)
    ]
    return (
        table([*header, "theirs, CPU s"], shown)
        + "\n\nTheirs: one agent of synthetic-gymnax (Liesen et al. 2024) under jax 0.4.30 on the same cores, after "
        "2.5 to 4.8 s of compilation. A batch of 32 saves them nothing; it takes 0.17 CPU s an agent of PPO."
    )


def greedy(rows: Sequence[Row]) -> str:
    """A row for each recipe: what stage 1 takes until its mean policy has solved the task."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["environment"], []).append(row)
    lines = []
    for environment, seeds in groups.items():
        price = ("cpu_seconds", "seconds", "real_steps")
        cpu, wall, steps = (sorted(float(row[key]) for row in seeds) for key in price)
        solved = sum(row["solved"] == "True" for row in seeds)
        middle = len(seeds) // 2
        lines.append([environment, len(seeds), solved, cpu[middle], cpu[-1], wall[-1], round(steps[middle])])
    header = ["recipe of", "seeds", "solved", "CPU s, median", "CPU s, worst", "s, worst", "real steps, median"]
    return table(header, lines)


def learners_vs_sb3(rows: Sequence[Row]) -> str:
    """A row for each learner and checkpoint: both intervals of the mean, and whether they overlap."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        both = found.setdefault((row["algorithm"], row["steps"]), {})
        both.setdefault(row["environment"], []).append(float(row["real_return"]))
    lines = []
    for (algorithm, steps), both in found.items():
        ours, theirs = (statistics(returns) for returns in both.values())
        overlap = ours["interval"][0] <= theirs["interval"][1] and theirs["interval"][0] <= ours["interval"][1]
        shown = [f"{number(side['mean'])} ({' to '.join(map(number, side['interval']))})" for side in (ours, theirs)]
        lines.append([algorithm, int(steps), ours["n"], shown[0], theirs["n"], shown[1], "yes" if overlap else "no"])
    header = ["agent", "steps", "n", "synthenv", "n", "Stable-Baselines3", "intervals overlap"]
    return table(header, lines) + "\n\nMean real return and its 95 % bootstrap interval."


def worlds_throughput(rows: Sequence[Row]) -> str:
    """A row for each task: steps a CPU-second at every size, and how many times Gymnasium's that is."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["task"], []).append(row)
    lines = []
    for task, sized in groups.items():
        steps = [number(int(row["steps a CPU-second"])) for row in sized]
        ratios = [f" ({number(float(row['ratio']))}x)" if row["ratio"] else "" for row in sized]
        lines.append([task, sized[0]["by"], *map("".join, zip(steps, ratios, strict=True))])
    sizes = [f"{row['members']} x {row['episodes']}" for row in next(iter(groups.values()))]
    return (
        table(["task", "Gymnasium's", *sizes], lines)
        + "\n\nSteps a CPU-second for members x episodes, and how many times Gymnasium's vector environment of as many "
        "episodes: its own where it has one (native), copies stepped in turn where not (sync)."
    )


def throughput(rows: Sequence[Row]) -> str:
    """A row for each case, what its name means, and what an import takes."""
    cases = [row for row in rows if row["episodes"]]
    imports = [number(float(row["us a call"]) / 1000) for row in rows if not row["episodes"]]
    return (
        as_it_stands(cases)
        + "\n\nus a call: CPU microseconds of one step of all episodes. ratio: to the steps of Gymnasium's CartPole, "
        "from 64 episodes on to those of its own vector environment. step alone: without resets. step and reset: a "
        "loop over episodes. vector step: one call for all episodes, numpy in and out, restarts included; torch out: "
        "the same, out come tensors; advance: the same without Gymnasium's infos, for loops of one's own. "
        "SB3 step: a batch as Stable-Baselines3 sees it."
        + "".join(f" `import synthenv` takes {took} ms where gymnasium is loaded." for took in imports)
    )


def proxy(rows: Sequence[Row]) -> str:
    """A row for each algorithm and proxy, and what its columns mean."""
    return (
        as_it_stands(rows)
        + "\n\nRank correlation: of configurations' shares in the proxy with the real returns of an agent each that "
        "was trained in the task. Of two seeds of the task: of two such agents each; what chance leaves to any proxy. "
        "CPU seconds: to train all configurations in the proxy. Return of its choice: of the agent trained in the task "
        "with the configuration that is best in the proxy. Tuned on the task: the same for the best that random search "
        "there finds in those seconds, chosen by one agent's return and worth the other's, mean over orders; "
        "configurations in that time: how many it tries. Best of all, median: of all configurations in the task."
    )


def faults(rows: Sequence[Row]) -> str:
    """A row for each fault, how many of its runs each test caught: sound learners first, all faults together last."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["fault"], []).append(row)
    groups["every fault"] = [row for row in rows if row["fault"] != "none"]
    tests = dict.fromkeys(row["test"] for row in rows)
    lines = []
    for fault, runs in groups.items():
        verdicts = [[row["caught"] == "True" for row in runs if row["test"] == test] for test in tests]
        lines.append([fault, *(f"{sum(found)} of {len(found)}" for found in verdicts)])
    return table(["fault", *tests], lines) + "\n\nRuns caught, over all algorithms and seeds."


def own_task(rows: Sequence[Row]) -> str:
    """A row for either place to train in: what agents are worth, and the price of the place."""
    lines = []
    for row in rows:
        mean, low, high = (number(float(row[key])) for key in ("mean return", "low", "high"))
        price = ("steps", "agents", "real steps to make", "seconds to make")
        lines.append(
            [row["trained in"], row["algorithm"], f"{mean} ({low} to {high})", *(cell(row[key]) for key in price)]
        )
    header = ["trained in", "agent", "mean return", "steps", "n", "real steps to make", "s to make"]
    return table(header, lines) + "\n\nMean real return of n agents and its 95 % bootstrap interval."


def bridge(rows: Sequence[Row]) -> str:
    """A row an algorithm trained in what was evolved inside the world model."""
    lines = []
    for row in rows:
        mean, low, high, worst = (number(float(row[key])) for key in ("mean return", "low", "high", "worst"))
        price = ("steps", "agents", "real steps", "imagined steps", "CPU seconds to make")
        lines.append(
            [row["task"], row["algorithm"], f"{mean} ({low} to {high})", worst, *(cell(row[key]) for key in price)]
        )
    header = ["task", "agent", "mean return", "worst", "steps", "n", "real steps", "imagined steps", "CPU s to make"]
    return table(header, lines) + "\n\nMean real return of n agents and its 95 % bootstrap interval."


SUMMARIES: dict[str, Callable[[Sequence[Row]], str]] = {
    kind.__name__: kind
    for kind in (
        transfer, random_hyperparameters, meta_cost, population, greedy, learners_vs_sb3, throughput,
        worlds_throughput, proxy, faults, own_task, bridge, world_model_accuracy, world_model_speed,
        world_model_transfer,
        *ranking_tables.SUMMARIES.values(),
    )
}  # fmt: skip


def rows_of(path: Path) -> list[Row]:
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
