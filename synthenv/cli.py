"""The command line: what can be asked, and the arguments of each command; `commands` does it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from synthenv import commands
from synthenv.catalogue import unknown

Command = Callable[[argparse.Namespace], None]
Add = Callable[[Command, str], argparse.ArgumentParser]
"""Makes the parser of a command; the text is an example."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, or 2 after a line about what was wrong with the input."""
    args = parser().parse_args(argv)
    sys.path.insert(0, str(Path.cwd()))  # "module:ID" may name a file that lies here, as with python -m
    command: Command = args.command
    try:
        command(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read, as `head` does, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"synthenv: {error}", file=sys.stderr)
        return 2
    return 0


class Parser(argparse.ArgumentParser):
    """Takes options by their whole names alone, and tells the nearest one there is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The arguments; unlike its parent's it refuses what is left over, for only this parser knows its options."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            wrong = next((word.partition("=")[0] for word in rest if word.startswith("-")), "")
            near = get_close_matches(wrong, self._option_string_actions, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; see {self.prog} --help"
            self.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = action.metavar if isinstance(action.metavar, str) else "choice"
            raise argparse.ArgumentError(action, unknown(what, str(value), action.choices))


def parser() -> Parser:
    """All commands and their arguments."""
    from synthenv import __version__

    top = Parser(prog="synthenv", description="Synthetic environments: make, show, train in, measure.")
    top.add_argument("--version", action="version", version=f"synthenv {__version__}")
    rooms = top.add_subparsers(required=True, metavar="command")

    def add(command: Command, example: str) -> argparse.ArgumentParser:
        about = (command.__doc__ or "").splitlines()[0]
        name = command.__name__.rstrip("_")
        sub = rooms.add_parser(name, help=about, description=about, epilog=f"example: synthenv {name} {example}")
        sub.set_defaults(command=command)
        return sub

    _shelves(add)
    _environments(add)
    _agents(add)
    _pipelines(add)
    return top


def _shelves(add: Add) -> None:
    """What lies on the shelves."""
    add(commands.list_, "")

    sub = add(commands.show, "Synth-CartPole-v0")
    sub.add_argument("id", help="an id on the shelf, or the folder of an environment of your own")
    sub.add_argument(
        "--plot", type=Path, nargs="?", const=Path("portrait.png"), metavar="FILE",
        help="draw what it teaches: its states against those of the task, its preferences (default %(const)s)",
    )  # fmt: skip

    sub = add(commands.demo, "--out demo.png")
    sub.add_argument("--steps", type=count, default=10_000, help="budget of each agent (default %(default)s)")
    sub.add_argument("--episodes", type=count, default=20, help="real episodes measured (default %(default)s)")
    sub.add_argument("--seed", type=int, default=1)  # by luck, 0 balances for a while untrained
    sub.add_argument("--out", type=Path, default=Path("demo.png"), help="learning curves (default %(default)s)")

    sub = add(commands.card, "envs/Synth-CartPole-v0")
    sub.add_argument("folder", type=Path, help="an environment, an agent, or a whole shelf of either")
    sub.add_argument(
        "--results", type=Path, metavar="CSV", help="trials that replace the scores (benchmarks/transfer.py)"
    )


def _environments(add: Add) -> None:
    """Making environments, and learning in imagined ones."""
    sub = add(commands.evolve, "--target CartPole-v1 --form bandit --out runs/mine")
    what = sub.add_mutually_exclusive_group()
    what.add_argument("recipe", nargs="?", type=Path, help="a recipe.yaml")
    what.add_argument("--target", help="a real task, made with the default recipe: any Gymnasium id, or module:ID")
    sub.add_argument(
        "--context", type=Path, metavar="NPZ",
        help="transitions of the task: evolve inside a world model that is shown them, with no further real step",
    )  # fmt: skip
    sub.add_argument("--model", help="with --context: a world model by name or folder (default: the one that ships)")
    sub.add_argument("--form", choices=("bandit", "mdp"), default="bandit", help="with --target (default %(default)s)")
    sub.add_argument("--out", type=Path, help="the finished environment's folder (default runs/ID/artifact)")
    sub.add_argument("--log", type=Path, help="folder for checkpoints and TensorBoard scalars (default runs/ID)")
    sub.add_argument("--resume", action="store_true", help="go on from the last checkpoint, bit for bit")
    sub.add_argument("--workers", type=count, help="processes (default one a core); changes no result")

    sub = add(commands.imagine, "CartPole-v1 --transitions 1000 --algo ppo")
    sub.add_argument(
        "target",
        help="a real task: any Gymnasium id, or module:ID; with more than 16 numbers an observation, or more than 6 "
        "choices or numbers an action, it is refused",
    )
    sub.add_argument("--transitions", type=count, default=1000, help="real steps a round (default %(default)s)")
    sub.add_argument("--rounds", type=count, default=1, help="after one, the agent collects (default %(default)s)")
    sub.add_argument("--algo", default="ppo",
                     help="of Stable-Baselines3 or sb3-contrib, or evolve (default %(default)s)")  # fmt: skip
    sub.add_argument("--plan", choices=("cem",), help="plan every real step in imagination, instead of a policy")
    sub.add_argument(
        "--steps",
        type=count,
        help="imagined steps a round (default: the hyperparameters', else 50,000; to evolve 500,000)",
    )
    sub.add_argument(
        "--n-envs", type=count, help="imagined episodes side by side (default 16; with hyperparameters theirs, else 1)"
    )
    sub.add_argument(
        "--hyperparameters", type=Path, metavar="YAML",
        help="rl_zoo3's format; else SB3's, with normalised observations and rewards, or an update every imagined step "
        "for algorithms with a replay buffer",
    )  # fmt: skip
    sub.add_argument("--penalty", type=float, help="what doubt costs an agent (default 1, and less to plan)")
    sub.add_argument("--margin", type=float, help="cut episodes that leave the data's range by more than this share")
    sub.add_argument("--max-std", type=float, help="cut episodes where doubt is above this")
    sub.add_argument("--sticky", type=float, default=0.9, help="how likely random actions repeat (default %(default)s)")
    sub.add_argument("--episodes", type=count, default=20, help="real episodes measured (default %(default)s)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--model", help="a world model by name or folder (default: the one that ships)")
    sub.add_argument("--out", type=Path, help="folder of data, agent and picture (default runs/imagine-TARGET)")


def _agents(add: Add) -> None:
    """Training agents and measuring them."""
    sub = add(commands.train, "ppo Synth-CartPole-v0 --steps 10000 --out runs/agent")
    sub.add_argument("algorithm", help="ppo, dqn, sac, td3, or another of Stable-Baselines3 and sb3-contrib")
    sub.add_argument("environment", help="a synthetic environment, or a real task")
    sub.add_argument("--steps", type=count, help="training steps (default: the hyperparameters', else 10000)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--n-envs", type=count, help="environments in parallel (default: the hyperparameters', else 1)")
    sub.add_argument("--hyperparameters", type=Path, metavar="YAML", help="rl_zoo3's format; else SB3's defaults")
    sub.add_argument("--episodes", type=count, default=20, help="real episodes measured (default %(default)s)")
    sub.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="SB3's training log goes here")
    sub.add_argument("--out", type=Path, help="the agent's folder (default runs/ALGORITHM-ENVIRONMENT)")

    sub = add(commands.evaluate, "runs/agent CartPole-v1 --episodes 50")
    sub.add_argument("agent", help="an id on the shelf of agents, or a folder that train wrote")
    sub.add_argument("environment", help="where to measure, usually the real task")
    sub.add_argument("--episodes", type=count, default=20)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--video", type=Path, metavar="FOLDER", help="record an episode (pip install 'synthenv[video]')")


def _pipelines(add: Add) -> None:
    """Ranking pipelines, and training what ranks and imagines."""
    sub = add(commands.rank, "--runs runs.csv --task mine --observed partial.csv --budget 1h")
    sub.epilog = f"{sub.epilog}; synthenv rank evaluate --runs runs.csv"
    sub.add_argument("what", nargs="?", choices=("evaluate",), help="measure rankers on the table itself, instead")
    sub.add_argument("--runs", type=Path, required=True, metavar="CSV",
                     help="columns task, pipeline, score; if known budget, seconds, hp:NAME, task:NAME")  # fmt: skip
    sub.add_argument("--task", help="the task to rank for; its own rows in --runs are what was seen of it")
    sub.add_argument("--observed", type=Path, metavar="CSV", help="more rows of the task, however partial")
    sub.add_argument("--budget", type=seconds, metavar="TIME", help="say which runs fit: 90s, 30m, 1.5h, 2d")
    sub.add_argument("--horizon", type=float, help="budget of a run that scores are wanted at (default the largest)")
    sub.add_argument("--ranker", help="one of ranking/rankers (default: one that falls back where transfer hurts)")
    sub.add_argument("--minimize", action="store_true", help="lower scores are better, and the file does not say so")
    sub.add_argument("--repair", action="store_true", help="cut padded tails, take zero seconds for unknown; warns")
    sub.add_argument("--top", type=count, default=20, help="rows printed and drawn (default %(default)s)")
    sub.add_argument("--plot", type=Path, default=Path("ranking.png"), metavar="FILE", help="default %(default)s")

    sub = add(commands.pretrain, "models/WorldModel-v0/recipe.yaml --out runs/mine")
    sub.add_argument("recipe", type=Path, help="a recipe.yaml of a world model or a ranker")
    sub.add_argument("--out", type=Path, help="the finished model's folder (default runs/ID/artifact)")
    sub.add_argument("--log", type=Path, help="folder for checkpoints and TensorBoard scalars (default runs/ID)")
    sub.add_argument("--resume", action="store_true", help="go on from the last checkpoint, bit for bit")
    sub.add_argument("--device", default="cpu", help="where to train a world model (default %(default)s)")


def count(text: str) -> int:
    """A positive integer from the command line; 10_000 and 1e4 are fine."""
    value = float(text)
    if value < 1 or not value.is_integer():
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text}")
    return int(value)


def seconds(text: str) -> float:
    """A duration from the command line."""
    from synthenv.ranking.commands import duration

    return duration(text)
