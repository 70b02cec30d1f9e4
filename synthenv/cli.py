"""The commands. Each is thin: it reads arguments, calls the package, prints.

Whatever is heavy is imported by the command that needs it, so that `synthenv --help` and `synthenv list` are quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Command = Callable[[argparse.Namespace], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, or 2 after a line about what was wrong with the input."""
    args = parser().parse_args(argv)
    sys.path.insert(0, str(Path.cwd()))  # "module:ID" may name a file that lies here, as with python -m
    command: Command = args.command
    try:
        command(args)
    except (ValueError, OSError) as error:
        print(f"synthenv: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    from synthenv import __version__

    top = argparse.ArgumentParser(prog="synthenv", description="Synthetic environments: make, show, train in, measure.")
    top.add_argument("--version", action="version", version=f"synthenv {__version__}")
    rooms = top.add_subparsers(required=True, metavar="command")

    def add(command: Command, example: str) -> argparse.ArgumentParser:
        about = (command.__doc__ or "").splitlines()[0]
        name = command.__name__.rstrip("_")
        sub = rooms.add_parser(name, help=about, description=about, epilog=f"example: synthenv {name} {example}")
        sub.set_defaults(command=command)
        return sub

    add(list_, "")

    sub = add(show, "Synth-CartPole-v0")
    sub.add_argument("id", help="an id on the shelf, or the folder of an environment of your own")
    sub.add_argument(
        "--plot", type=Path, nargs="?", const=Path("portrait.png"), metavar="FILE",
        help="draw what it teaches: its states against those of the task, its preferences (default %(const)s)",
    )  # fmt: skip

    sub = add(demo, "--out demo.png")
    sub.add_argument("--steps", type=count, default=10_000, help="budget of each agent (default %(default)s)")
    sub.add_argument("--episodes", type=count, default=20, help="real episodes measured (default %(default)s)")
    sub.add_argument("--seed", type=int, default=1)  # by luck, 0 balances for a while untrained
    sub.add_argument("--out", type=Path, default=Path("demo.png"), help="learning curves (default %(default)s)")

    sub = add(evolve, "--target CartPole-v1 --form bandit --out runs/mine")
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("recipe", nargs="?", type=Path, help="a recipe.yaml")
    what.add_argument("--target", help="a real task, made with the default recipe: any Gymnasium id, or module:ID")
    sub.add_argument("--form", choices=("bandit", "mdp"), default="bandit", help="with --target (default %(default)s)")
    sub.add_argument("--out", type=Path, help="the finished environment's folder (default runs/ID/artifact)")
    sub.add_argument("--log", type=Path, help="folder for checkpoints and TensorBoard scalars (default runs/ID)")
    sub.add_argument("--resume", action="store_true", help="go on from the last checkpoint, bit for bit")
    sub.add_argument("--workers", type=count, help="processes (default one a core); changes no result")

    sub = add(train, "ppo Synth-CartPole-v0 --steps 10000 --out runs/agent")
    sub.add_argument("algorithm", help="ppo, dqn, sac, td3, or another of Stable-Baselines3 and sb3-contrib")
    sub.add_argument("environment", help="a synthetic environment, or a real task")
    sub.add_argument("--steps", type=count, help="training steps (default: the hyperparameters', else 10000)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--n-envs", type=count, help="environments in parallel (default: the hyperparameters', else 1)")
    sub.add_argument("--hyperparameters", type=Path, metavar="YAML", help="rl_zoo3's format; else SB3's defaults")
    sub.add_argument("--episodes", type=count, default=20, help="real episodes measured (default %(default)s)")
    sub.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="SB3's training log goes here")
    sub.add_argument("--out", type=Path, help="the agent's folder (default runs/ALGORITHM-ENVIRONMENT)")

    sub = add(evaluate, "runs/agent CartPole-v1 --episodes 50")
    sub.add_argument("agent", help="an id on the shelf of agents, or a folder that train wrote")
    sub.add_argument("environment", help="where to measure, usually the real task")
    sub.add_argument("--episodes", type=count, default=20)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--video", type=Path, metavar="FOLDER", help="record an episode (pip install 'synthenv[video]')")

    sub = add(card, "envs/Synth-CartPole-v0")
    sub.add_argument("folder", type=Path, help="an environment, an agent, or a whole shelf of either")
    sub.add_argument(
        "--results", type=Path, metavar="CSV", help="trials that replace the scores (benchmarks/transfer.py)"
    )
    return top


def count(text: str) -> int:
    """A positive integer from the command line; 10_000 and 1e4 are fine."""
    value = float(text)
    if value < 1 or not value.is_integer():
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text}")
    return int(value)


def list_(args: argparse.Namespace) -> None:
    """List the environments and agents on the shelves."""
    from synthenv import shelf

    def shown(kind: shelf.Kind, *columns: str) -> None:
        print(f"{kind}  ({shelf.root(kind)})")
        for name in shelf.ids(kind):
            facts = shelf.card(shelf.find(name, kind))
            print(f"  {name:34}" + "  ".join(f"{facts[column]:24}" for column in columns).rstrip())

    shown("envs", "target", "form")
    shown("agents", "env_id", "algorithm")


def show(args: argparse.Namespace) -> None:
    """Show what an environment is, what it cost and what it is worth, or draw what it teaches."""
    from synthenv import artifact, shelf
    from synthenv.cards import card_text

    found = artifact.load(shelf.find(args.id))
    if args.plot is None:
        print(card_text(found), end="")
        return
    from synthenv import portrait

    portrait.draw(found, args.plot)
    print(f"portrait of {found.recipe.id}: {args.plot}")


def demo(args: argparse.Namespace) -> None:
    """Train PPO in Synth-CartPole-v0 and in CartPole-v1, and compare both in CartPole-v1."""
    from synthenv.demo import study
    from synthenv.report import learning_curves
    from synthenv.scores import statistics

    target = "CartPole-v1"
    students = []
    for environment in ("Synth-CartPole-v0", target):
        print(f"training PPO for {args.steps:,} steps in {environment} ...", flush=True)
        students.append(study(environment, target, args.steps, args.episodes, args.seed))
    print(f"\n{'trained in':20}{'steps':>10}{'CPU s':>8}{f'return in {target}, {args.episodes} episodes':>40}")
    for student in students:
        found = statistics(student.curve[student.steps])
        score = f"mean {found['mean']:.1f}, worst {found['worst']:.0f}"
        print(f"{student.environment:20}{student.steps:>10,}{student.cpu_seconds:>8.1f}{score:>40}")
    learning_curves(args.out, {"PPO": {student.environment: student.curve for student in students}}, target)
    print(f"\nlearning curves: {args.out}")


def evolve(args: argparse.Namespace) -> None:
    """Make a synthetic environment."""
    from synthenv import meta
    from synthenv.cards import price, refresh
    from synthenv.recipe import EnvRecipe, load

    recipe = load(EnvRecipe, args.recipe) if args.recipe else meta.default_recipe(args.target, args.form)
    run = args.log or Path("runs") / recipe.id
    made = meta.evolve(recipe, args.out or run / "artifact", run_folder=run, resume=args.resume, workers=args.workers)
    refresh(made.folder)
    print(f"{recipe.id}: {price(made.card)}\nsaved to {made.folder}")


def train(args: argparse.Namespace) -> None:
    """Train an agent with Stable-Baselines3, measure it in the real task, save it."""
    import time

    from synthenv import presets, sb3
    from synthenv.scores import statistics
    from synthenv.threads import one_thread

    environment, target = known(args.environment)
    kind = sb3.algorithm(args.algorithm)
    preset = presets.Preset(None, None, {})
    if args.hyperparameters:
        preset = presets.read(args.hyperparameters, environment, kind)
    start = time.process_time()
    with one_thread():
        model = sb3.train(
            args.algorithm,
            environment,
            args.steps or preset.steps or 10_000,
            seed=args.seed,
            hyperparameters=preset.settings,
            n_envs=args.n_envs or preset.n_envs,
            tensorboard=args.tensorboard,
        )
        cpu_seconds = round(time.process_time() - start, 2)
        print(f"{kind.__name__} in {environment}: {model.num_timesteps:,} steps, {cpu_seconds:.1f} CPU seconds")
        found = statistics(sb3.evaluate(model, target, args.episodes, args.seed + 1))
    print(summary(target, found))
    folder = args.out or Path("runs") / f"{kind.__name__}-{environment}"
    facts = {"target": target, "seed": args.seed, "cpu_seconds": cpu_seconds}
    sb3.save_agent(model, folder, env_id=environment, scores=found, hyperparameters=preset.settings, facts=facts)
    print(f"saved to {folder}")


def evaluate(args: argparse.Namespace) -> None:
    """Measure a saved agent."""
    from synthenv import sb3
    from synthenv.scores import statistics
    from synthenv.threads import one_thread

    environment, _ = known(args.environment)
    with one_thread():
        model = sb3.load_agent(args.agent)
        print(summary(environment, statistics(sb3.evaluate(model, environment, args.episodes, args.seed))))
        if args.video:
            record(model, environment, args.video, args.seed)
            print(f"video in {args.video}")


def card(args: argparse.Namespace) -> None:
    """Rewrite the README (and plot) of an environment, an agent or a whole shelf from the facts beside it."""
    from synthenv import cards
    from synthenv.scores import read_trials

    for path in cards.refresh(args.folder, read_trials(args.results) if args.results else []):
        print(path)


def known(environment: str) -> tuple[str, str]:
    """The registered id of an environment given by id or folder, and the real task behind it."""
    import gymnasium

    import synthenv
    from synthenv import shelf
    from synthenv.catalogue import unknown
    from synthenv.worlds.foreign import registered

    if (Path(environment) / "card.json").is_file():
        environment = synthenv.register(environment)
    try:
        registered(environment)
        spec = gymnasium.spec(environment.rpartition(":")[2])
    except gymnasium.error.Error as error:
        targets = {shelf.card(shelf.find(name))["target"] for name in shelf.ids()}
        raise ValueError(unknown("environment", environment, [*shelf.ids(), *sorted(targets)])) from error
    artifact = spec.kwargs.get("artifact")
    if artifact is None:
        return environment, environment
    return spec.id, shelf.card(shelf.find(artifact))["target"]


def summary(environment: str, found: Any) -> str:
    """One line about returns."""
    return (
        f"return in {environment} over {found['n']} episodes: mean {found['mean']:.1f}, IQM {found['iqm']:.1f}, "
        f"worst {found['worst']:.1f}, std {found['std']:.1f}"
    )


def record(model: Any, environment: str, folder: Path, seed: int) -> None:
    """One episode as a video in `folder`."""
    import gymnasium

    from synthenv.sb3 import flattened, normaliser

    try:
        env: Any = gymnasium.wrappers.RecordVideo(gymnasium.make(environment, render_mode="rgb_array"), str(folder))
    except gymnasium.error.DependencyNotInstalled as error:
        raise ValueError(f"recording needs one more package: pip install 'synthenv[video]' ({error})") from error
    if flattened(env.observation_space, model):
        env = gymnasium.wrappers.FlattenObservation(env)
    observation, _ = env.reset(seed=seed)
    seen, ended = normaliser(model), False
    while not ended:
        action, _ = model.predict(seen(observation), deterministic=True)
        observation, _, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated
    env.close()
