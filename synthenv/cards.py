"""The README of an artifact, an agent or a shelf, written from its facts; nothing in it is typed by hand.

A score in a card is a row of `scores.Statistics` with three keys before it: algorithm, steps, episodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from synthenv import shelf
from synthenv.artifact import Artifact, load
from synthenv.report import curves, learning_curves, number, table
from synthenv.scores import Trial, statistics

PLOT = "learning_curves.png"
SCORES = (("mean", "mean"), ("IQM", "iqm"), ("worst", "worst"), ("std", "std"))


class Form(NamedTuple):
    """What is said of every environment of one form."""

    episode: str
    stages: tuple[str, ...]
    nature: str


FORMS = {
    "bandit": Form(
        "one step",
        ("greedy", "states", "inner"),
        """\
Every episode is one step: a state is drawn, one action is paid for, the episode terminates. The environment carries a
good policy's preferences in a form that any learner picks up. It does not exercise bootstrapping: discounts, lambdas
and target networks change nothing here, and an agent that does well in it has not shown that it can plan.""",
    ),
    "mdp": Form(
        "at most {horizon}",
        ("greedy", "states", "dynamics", "inner"),
        """\
States follow from learned dynamics{stride}.
An episode terminates where a learned test says so, {end}, or is truncated at its horizon. Agents
bootstrap here, but nothing forces them to: one that ignores the future does as well.
With `gym.make(..., delay=1.0)` the best actions stay the same and rewards come later: then it does worse.""",
    ),
}

LOSSES = {
    "choices": """\
Rewards are in advantage form, r(s, a) - max_b r(s, b), and come with luck: the best action earns {} on average in every
state, so the optimal policy is known, whatever the discount.""",
    "box": """\
Rewards are in advantage form: an action loses by its distance from the best one, at first by the square of it, never
more than a bound, and there may be luck besides. The best action earns {} on average in every state, so the optimal
policy is known, whatever the discount.""",
}
"""How an action is paid for, by the kind of action; the blank is what the best one earns."""


def card_text(artifact: Artifact, plot: bool = False) -> str:
    """The README.md of a synthetic environment; `plot` says whether learning curves lie beside it."""
    recipe, card, form = artifact.recipe, artifact.card, FORMS[artifact.recipe.form]
    size = sum(leaf.numel() for leaf in artifact.weights.values())
    spaces = card["spaces"]
    facts = [
        ["form", recipe.form],
        ["episode", form.episode.format(horizon="1 step" if recipe.horizon == 1 else f"{recipe.horizon} steps")],
        ["observation", in_words(spaces["observation"])],
        ["action", in_words(spaces["action"])],
        ["parameters", number(size)],
        ["sha256", f"`{card['sha256']}`"],
    ]
    stages = [stage for stage in form.stages if getattr(recipe, stage).enabled]
    if recipe.greedy.enabled and (loop := recipe.greedy.learner) is not None:
        stages[0] = f"greedy ({loop.algorithm} trained in {recipe.target} is the teacher)"
    stride, cost = recipe.dynamics.stride, recipe.dynamics.cost
    nature = form.nature.format(
        stride="" if stride == 1 else f", a step for {stride} of the task's",
        end="mostly at a cost" if cost else "which costs nothing",
    )
    picture = f"\n![real return against training steps]({PLOT})\n" if plot else ""
    return f"""\
# {recipe.id}

A synthetic environment for {recipe.target}: agents are trained in here and used there.

```python
import gymnasium as gym

env = gym.make("synthenv:{recipe.id}")
```

{table(["what", "value"], facts)}

## How it was made

`synthenv evolve recipe.yaml`, which runs the stages {", ".join(stages)} from seed {recipe.seed}. The price, paid once:
{price(card)}.

## What agents trained here do in {recipe.target}

{score_tables(card)}
{picture}
## What it is and is not

{nature}

{LOSSES["choices" if "n" in spaces["action"] else "box"].format(f"{recipe.shift:g}")}

It is no model of the task: its states are spread wider than those of a real episode, and its returns mean nothing by
themselves. Judge an agent by what it does in {recipe.target}.
"""


NORMALISED = """
It was trained on normalised observations: let it see `normaliser(agent)(observation)`, also from `synthenv.sb3`.
"""


def agent_text(card: Mapping[str, Any]) -> str:
    """The README.md of a trained agent."""
    scores = card["scores"]
    rows = [[name, scores[key]] for name, key in SCORES]
    return f"""\
# {card["id"]}

{card["algorithm"]} after {number(card["steps"])} steps in {card["env_id"]}, seed {card["seed"]}.

```python
from synthenv.sb3 import load_agent

agent = load_agent("{card["id"]}")
```
{NORMALISED if card.get("normalize") else ""}
## What it does in {card["target"]}

{table(["return", f"over {scores['n']} episodes"], rows)}
"""


def in_words(space: Mapping[str, Any]) -> str:
    """A space of a card: 2 choices, 1 number in [-2, 2]."""
    if "n" in space:
        return f"{space['n']} choices"
    sides = [f"[{number(low)}, {number(high)}]" for low, high in zip(space["low"], space["high"], strict=True)]
    return f"{len(sides)} {'number' if len(sides) == 1 else 'numbers'} in {' x '.join(sides)}"


def price(card: Mapping[str, Any]) -> str:
    """What making an environment took, in words."""
    imagined = f"{number(card['imagined_steps'])} imagined ones, " if "imagined_steps" in card else ""
    return (
        f"{number(card['real_steps'])} steps of {card['target']}, {imagined}"
        f"{number(round(card['seconds']))} s on the clock, {number(round(card['cpu_seconds']))} CPU seconds"
    )


def score_tables(card: Mapping[str, Any]) -> str:
    """What agents trained in an environment do outside: SB3's, and those of the exam at the end of making it."""
    header = ["agent", "training steps", "n", *(name for name, _ in SCORES), "95 % interval of the mean"]
    parts = []
    if scores := card.get("scores"):
        tuned = any("rl_zoo3" in row["algorithm"] for row in scores)
        parts.append(
            f"Stable-Baselines3, default hyperparameters{' or those of rl_zoo3 for the task' if tuned else ''}, the "
            f"final greedy policy; n agents, one a seed, {scores[0]['episodes']} episodes each.\n\n"
            + table(header, [[row["algorithm"], row["steps"], *_score_cells(row)] for row in scores])
        )
    if exam := card.get("exam"):
        names = [name.rsplit("-", 1) for name in exam]
        rows = [
            [learner, int(steps), *_score_cells(row)]
            for (learner, steps), row in zip(names, exam.values(), strict=True)
        ]
        parts.append(
            "The package's own learners on the terms of the recipe's exam, seeds never used before.\n\n"
            + table(header, rows)
        )
    return "\n\n".join(parts) or "Not measured yet."


def _score_cells(row: Mapping[str, Any]) -> list[Any]:
    return [row["n"], *(row[key] for _, key in SCORES), " to ".join(map(number, row["interval"]))]


def scores(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """What a card says of its trials: a row for each algorithm, at its longest training."""
    trials = list(trials)
    found = []
    for algorithm in dict.fromkeys(trial.algorithm for trial in trials):
        steps = max(trial.steps for trial in trials if trial.algorithm == algorithm)
        last = [trial for trial in trials if (trial.algorithm, trial.steps) == (algorithm, steps)]
        row = {"algorithm": algorithm, "steps": steps, "episodes": last[0].episodes}
        found.append({**row, **statistics([trial.real_return for trial in last])})
    return found


def refresh(folder: Path, trials: Sequence[Trial] = ()) -> list[Path]:
    """Rewrite what is generated in an environment's folder, an agent's, or a whole shelf; returns the files written.

    Where `trials` name an environment they replace its scores and draw its learning curves.
    """
    if (folder / "recipe.yaml").is_file():
        return _environment(folder, trials)
    if (folder / "config.json").is_file():
        return [_replace(folder / "README.md", agent_text(shelf.card(folder)))]
    if folder.name not in SHELVES:
        raise ValueError(f"expected an environment, an agent, or a shelf called envs or agents, got {folder}")
    inside = [path for card in sorted(folder.glob("*/card.json")) for path in refresh(card.parent, trials)]
    return [*inside, _replace(folder / "README.md", SHELVES[folder.name](folder))]


def _environment(folder: Path, trials: Sequence[Trial]) -> list[Path]:
    artifact, written = load(folder), []
    target = artifact.recipe.target
    mine = [trial for trial in trials if trial.environment == artifact.recipe.id]
    if mine:
        artifact.card["scores"] = scores(mine)
        written.append(_replace(folder / "card.json", json.dumps(artifact.card, indent=2) + "\n"))
        outside = [trial for trial in trials if trial.environment == target]
        learning_curves(folder / PLOT, curves([*mine, *outside]), target)
        written.append(folder / PLOT)
    text = card_text(artifact, (folder / PLOT).is_file())
    return [*written, _replace(folder / "README.md", text)]


def envs_text(root: Path) -> str:
    """The README.md of the shelf of environments in `root`."""
    cards = [shelf.card(path.parent) for path in root.glob("*/card.json")]
    rows = [
        [f"[{card['id']}]({card['id']})", card["target"], card["form"], in_words(card["spaces"]["action"]),
         card["real_steps"], round(card["cpu_seconds"]),
         "; ".join(f"{row['algorithm']} {number(row['mean'])}" for row in card.get("scores", ()))]
        for card in sorted(cards, key=lambda card: (card["target"], card["form"]))
    ]  # fmt: skip
    return f"""\
# envs: synthetic environments that ship

Data, one folder an id: the recipe, the weights, the card with price and scores. The code that plays them is
`synthenv/gym.py`, the code that makes them `synthenv/meta/`. This file is written by `synthenv card envs`.

{table(["id", "stands for", "form", "action", "real steps spent", "CPU seconds", "mean return of agents"], rows)}
"""


def agents_text(root: Path) -> str:
    """The README.md of the shelf of agents in `root`."""
    cards = [shelf.card(path.parent) for path in sorted(root.glob("*/card.json"))]
    rows = [
        [f"[{card['id']}]({card['id']})", card["algorithm"], card["env_id"], card["target"],
         card["scores"]["mean"], card["scores"]["worst"]]
        for card in cards
    ]  # fmt: skip
    presets = ", ".join(f"[{path.stem}](hyperparameters/{path.name})" for path in sorted(root.glob("*/*.yml")))
    return f"""\
# agents: hyperparameters and trained policies

Data. This file is written by `synthenv card agents`.

Presets have the keys of rl_zoo3, by environment id, and go to `synthenv train --hyperparameters`:
{presets}.

Policies were trained in a synthetic environment alone. They are safetensors and plain configuration, rebuilt by
`synthenv.sb3.load_agent(id)`.

{table(["id", "learner", "trained in", "used in", "mean return", "worst episode"], rows)}
"""


SHELVES = {"envs": envs_text, "agents": agents_text}


def _replace(path: Path, text: str) -> Path:
    """Write aside, then rename: a card is never half written."""
    aside = path.with_name(path.name + ".partial")
    aside.write_text(text, encoding="utf-8", newline="\n")
    return aside.replace(path)
