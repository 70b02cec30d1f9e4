"""Small made-up tables: tasks that are alike, and tasks that have nothing to do with each other."""

import numpy as np

from synthenv.ranking.runs import RunTable


def table(tasks=6, pipelines=40, budgets=1, alike=True, seed=0, noise=0.1, maximize=True, settings=True):
    """Scores that are a function of two settings: the same in all tasks, or of another direction in each."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, (pipelines, 2))
    angle = generator.uniform(0, 2 * np.pi, tasks) if not alike else np.zeros(tasks)
    best = np.stack((np.cos(angle), np.sin(angle)), -1) * 0.7
    final = 1 - ((x[None] - best[:, None]) ** 2).sum(-1) + noise * generator.normal(size=(tasks, pipelines))
    speed = generator.uniform(1, 4, pipelines)
    when = np.arange(1, budgets + 1) / budgets
    curve = final[..., None] - 0.8 * (np.exp(-speed[:, None] * when) - np.exp(-speed[:, None]))
    scale, offset = generator.uniform(0.5, 5, tasks), generator.normal(size=tasks)
    score = offset[:, None, None] + scale[:, None, None] * curve
    names, kinds = [f"task {t}" for t in range(tasks)], [f"p{m:03d}" for m in range(pipelines)]
    return RunTable.of(
        np.repeat(names, pipelines * budgets),
        np.tile(np.repeat(kinds, budgets), tasks),
        (score if maximize else -score).ravel(),
        np.tile(np.arange(1.0, budgets + 1), tasks * pipelines),
        np.tile((np.arange(1.0, budgets + 1) * speed[:, None]).ravel(), tasks),
        maximize=maximize,
        settings={p: {"lr": a, "decay": b} for p, (a, b) in zip(kinds, x.tolist(), strict=True)} if settings else {},
        features={name: {"size": float(t)} for t, name in enumerate(names)},
    )


def split(runs, task="task 0"):
    """The runs of all other tasks, and those of one."""
    return runs.only(tasks=[name for name in runs.tasks if name != task]), runs.only(tasks=[task])


def shuffled(runs, seed=0):
    """The same table, its rows in another order."""
    return runs.take(np.random.default_rng(seed).permutation(len(runs)))


def final(own):
    """Scores [M] at the end, higher is better."""
    return own.grid().score[0, :, -1]
