"""Pipeline ranking on tables of real runs: regret against runs and against epochs, baselines beside, each core dataset
held out in turn.

    python -m benchmarks.ranking --data FOLDER                        the development suites, all rankers and baselines
    python -m benchmarks.ranking --data FOLDER --suites regmix --rankers guarded average_rank       a part of them
    python -m benchmarks.ranking --data FOLDER --parts published unseen peft     held-out suites and unseen models

`SYNTHENV_DATA` names the folder as well; `benchmarks/ranking_data.py` says what lies in it. Everything is fitted to the
tasks of other groups: units, kernels, lists and the default ranker's choice between policies. Regret is `(best - found)
/ (best - median)` of a task; a pipeline's score is the best of its curve.

Parts, each a file of results. runs: ranking_runs.csv, a row a ranker, task and number of runs. budget:
ranking_budget.csv, regret after some epochs with runs that may be halted, of the default ranker, of lists run to their
ends and of successive halving. unseen: ranking_unseen.csv, rank correlation over models, each ranked without a run of
its own. published: ranking_published.csv, the 21 cells of Lin et al. (2024), beside their own rows and ours of their
baselines. peft: ranking_peft.csv, finetunings of one language model by the default ranker; seconds:
ranking_seconds.csv, the same against hours, and of an image model. speed: ranking_speed.csv, what a question costs, on
made-up runs. A part measured again replaces its rows, and leaves those of other suites and rankers.

Optuna's samplers choose among the same finite candidates: they propose settings, and the nearest candidate that has not
run is run; where pipelines have no settings, they choose a name. Warm means that the first three of the list are
enqueued. Their regret is the mean over three seeds, others for each task.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from benchmarks import ranking_data as tables
from benchmarks.harness import RESULTS, spread, write_rows
from benchmarks.ranking_halting import averaged, halving, hyperband, reading
from benchmarks.ranking_peft import peft, seconds
from benchmarks.ranking_published import published
from benchmarks.ranking_speed import speed
from benchmarks.ranking_unseen import unseen
from synthenv.ranking import rankers
from synthenv.ranking.evaluate import MARKS, Case, Trace, at_random, by_budget, by_runs, curve_of, folds
from synthenv.ranking.rankers.base import Ranker
from synthenv.ranking.runs import RunTable
from synthenv.ranking.space import PipelineSpace

LEARNED = (
    "average_rank",
    "portfolio",
    "nearest_task",
    "task_gp",
    "pairwise",
    "deep_kernel_gp",
    "guarded",
    "in_context",
)
OPTUNA = ("tpe", "tpe_warm", "gp_sampler", "gp_sampler_warm")
EPOCHS = (51, 102, 255, 510)
WARM = 3
SEEDS = 3
"""Of Optuna's samplers, whose first ten trials are drawn at random."""
KEYS = {
    "runs": ("suite", "ranker"),
    "budget": ("suite", "method"),
    "unseen": ("suite",),
    "published": ("method",),
    "peft": ("method",),
    "seconds": ("task", "method"),
    "speed": ("ranker",),
}
"""Part -> columns that tell which rows a new measurement replaces."""
HELD_BACK = {"unseen": unseen, "published": published, "peft": peft, "seconds": seconds}
"""Parts that need only the tables."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help=f"folder of tables (default: the variable {tables.VARIABLE})")
    parser.add_argument("--suites", nargs="+", choices=tables.DEVELOPMENT, default=list(tables.DEVELOPMENT))
    parser.add_argument("--rankers", nargs="+", choices=(*LEARNED, *OPTUNA), default=[*LEARNED, *OPTUNA])
    parser.add_argument("--parts", nargs="+", choices=KEYS, default=["runs", "budget"])
    parser.add_argument("--workers", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--tasks", type=int, help="at most so many tasks of a group (default all)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write into (default %(default)s)")
    args = parser.parse_args(argv)
    data = tables.folder(args.data)
    for part in args.parts:
        if part == "runs":
            jobs = [Job(data, suite, name, args.tasks) for suite in args.suites for name in args.rankers]
            for _, rows in spread(measure_runs, jobs, args.workers):
                keep(args.results, part, rows)
        elif part == "budget":
            for _, rows in spread(measure_budget, [Job(data, "taskset", "guarded", args.tasks)], args.workers):
                keep(args.results, part, rows)
        elif part == "speed":
            keep(args.results, part, speed())
        else:
            keep(args.results, part, HELD_BACK[part](data))


class Job(NamedTuple):
    """A ranker on a suite; `tasks` of a group at most, None for all."""

    data: Path
    suite: str
    ranker: str
    tasks: int | None


def keep(results: Path, part: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put rows into a part's file in place of those they measure again; the file is whole at any time."""
    path, fresh = results / f"ranking_{part}.csv", [{key: str(x) for key, x in row.items()} for row in rows]
    again = {tuple(row[key] for key in KEYS[part]) for row in fresh}
    old: list[dict[str, str]] = []
    if path.is_file():
        with path.open(newline="") as file:
            old = [row for row in csv.DictReader(file) if tuple(row[key] for key in KEYS[part]) not in again]
    write_rows(path, [*old, *fresh])


def measure_runs(job: Job) -> list[dict[str, Any]]:
    """Regret of one ranker on one suite after each mark, and beside the first of them that of random search."""
    data, suite, name, most = job
    runs = tables.DEVELOPMENT[suite](data)
    traces: list[Trace] = []
    clock = time.process_time()
    for rest, cases in folds(runs):
        cases = cases if most is None else cases[:most]
        if name in OPTUNA:
            warm = first_of_list(rest) if name.endswith("_warm") else []
            traces += [optuna_trace(case, name, warm) for case in cases]
        else:
            ranker = rankers.ranker(name).fit(rest)
            traces += [by_runs(ranker, case, name) for case in cases]
        if name == "average_rank":
            traces += [at_random(case) for case in cases]
    seconds = (time.process_time() - clock) / len(traces)
    return [
        {
            "suite": suite, "ranker": trace.ranker, "task": trace.task, "group": trace.group, "runs": mark,
            "regret": f"{trace.regret[min(mark, len(trace.regret)) - 1]:.4f}",
            "covered": f"{np.nanmean(trace.covered) if np.isfinite(trace.covered).any() else math.nan:.3f}",
            "cpu_seconds": f"{seconds:.2f}",
        }
        for trace in traces for mark in MARKS
    ]  # fmt: skip


def first_of_list(rest: RunTable) -> list[str]:
    """The pipelines that a warm start is given."""
    ranking = rankers.ranker("average_rank").fit(rest).rank()
    return [ranking.pipelines[m] for m in ranking.order[:WARM]]


def optuna_trace(case: Case, name: str, warm: Sequence[str]) -> Trace:
    """What an Optuna sampler finds among a task's pipelines, on average over seeds."""
    seeds = [crc32(f"{case.task} {seed}".encode()) for seed in range(SEEDS)]
    regret = np.mean([curve_of(case, optuna_order(case, name, warm, seed)) for seed in seeds], 0)
    return Trace(name, case.task, case.group, regret, np.full(3, math.nan), math.nan)


def optuna_order(case: Case, name: str, warm: Sequence[str], seed: int) -> list[int]:
    """The pipelines that an Optuna sampler runs, as indices."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind = optuna.samplers.TPESampler if name.startswith("tpe") else optuna.samplers.GPSampler
    study = optuna.create_study(sampler=kind(seed=seed), direction="maximize")
    space = PipelineSpace.infer({p: case.own.settings[p] for p in case.pipelines})
    codes = space.encode([case.own.settings[p] for p in case.pipelines]).values  # [M, F]
    worst = case.score[np.isfinite(case.score)].min()
    low, high = (codes.min(0), codes.max(0)) if codes.size else (None, None)
    order: list[int] = []
    while len(order) < min(MARKS[-1], len(case.pipelines)):
        if low is None:
            kinds: dict[str, Any] = {"pipeline": optuna.distributions.CategoricalDistribution(case.pipelines)}
        else:
            kinds = {
                f"x{f}": optuna.distributions.FloatDistribution(a, b)
                for f, (a, b) in enumerate(zip(low, high, strict=True))
            }
        trial = study.ask(kinds)
        left = np.setdiff1d(np.arange(len(case.pipelines)), order)
        if len(order) < len(warm):
            chosen = case.pipelines.index(warm[len(order)])
        elif low is None:
            asked = case.pipelines.index(trial.params["pipeline"])
            chosen = asked if asked in left else int(np.random.default_rng((seed, len(order))).choice(left))
        else:
            at = np.array([trial.params[f"x{f}"] for f in range(len(low))])
            chosen = int(left[np.argmin(((codes[left] - at) ** 2).sum(1))])
        # what is run, not what was proposed, is what the sampler learns of
        ran = (
            {"pipeline": case.pipelines[chosen]}
            if low is None
            else {f"x{f}": float(x) for f, x in enumerate(codes[chosen])}
        )
        score = case.score[chosen] if np.isfinite(case.score[chosen]) else worst
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        study.add_trial(optuna.create_trial(params=ran, distributions=kinds, value=float(score)))
        order.append(chosen)
    return order


def measure_budget(job: Job) -> list[dict[str, Any]]:
    """Regret after some epochs: freeze-thaw by the default ranker, lists to their ends, successive halving."""
    data, suite, name, most = job
    runs = tables.DEVELOPMENT[suite](data)
    found: list[dict[str, Any]] = []
    for rest, cases in folds(runs):
        fitted: dict[str, Ranker] = {name: rankers.ranker(name).fit(rest)}
        lists = {kind: rankers.ranker(kind).fit(rest).rank() for kind in ("average_rank", "portfolio")}
        for case in cases if most is None else cases[:most]:
            curves: dict[str, Callable[[float], float]] = {
                name: reading(by_budget(fitted[name], case, max(EPOCHS))),
            }
            own = {
                kind: [case.pipelines.index(ranking.pipelines[m]) for m in ranking.order]
                for kind, ranking in lists.items()
            }
            for kind, order in own.items():
                curves[f"{kind} to the end"] = reading(halving(case, order, max(EPOCHS), rungs=1))
                curves[f"{kind}, successive halving"] = reading(halving(case, order, max(EPOCHS)))
            generator = np.random.default_rng(0)
            drawn = [generator.permutation(len(case.pipelines)).tolist() for _ in range(20)]
            curves["random to the end"] = averaged(
                [reading(halving(case, order, max(EPOCHS), rungs=1)) for order in drawn]
            )
            curves["random, successive halving"] = averaged(
                [reading(halving(case, order, max(EPOCHS))) for order in drawn]
            )
            curves["random, hyperband"] = averaged([reading(hyperband(case, order, max(EPOCHS))) for order in drawn])
            found += [
                {"suite": suite, "method": method, "task": case.task, "group": case.group, "epochs": epochs,
                 "regret": f"{curve(epochs):.4f}"}
                for method, curve in curves.items() for epochs in EPOCHS
            ]  # fmt: skip
    return found


if __name__ == "__main__":
    main()
