"""What each command does. Thin: it reads arguments, calls the package, prints.

Whatever is heavy is imported by the command that needs it, so that `synthenv --help` and `synthenv list` are quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def list_(args: argparse.Namespace) -> None:
    """List the environments, agents and pretrained models on the shelves."""
    from synthenv import shelf

    def shown(room: shelf.Kind, **columns: str) -> None:
        """A shelf's table; columns: header -> key in the cards."""
        cards = {name: shelf.card(shelf.find(name, room)) for name in shelf.ids(room)}
        rows = ([name, *(str(card[key]) for key in columns.values())] for name, card in cards.items())
        lines = [["id", *columns], *rows]
        widths = [max(len(line[i]) for line in lines) for i in range(1 + len(columns))]
        print(f"{room}  ({shelf.root(room)})")
        for line in lines:
            print("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())

    shown("envs", task="target", form="form")
    shown("agents", environment="env_id", algorithm="algorithm")
    shown("models", kind="kind")


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

    instead: dict[str, Any] = {}
    default = meta.default_recipe
    recipe, target = None, args.target
    if args.recipe:
        there(args.recipe, "recipe", "synthenv evolve --target ID needs none")
        recipe = load(EnvRecipe, args.recipe)
        target = recipe.target
    if args.context:
        there(args.context, "transitions", "synthenv imagine ID collects some and keeps them")
        from synthenv.imagine import stand_in, thrifty
        from synthenv.incontext import Transitions, WorldModel

        data, default = Transitions.load(args.context), thrifty
        if target and data.task and target.rpartition(":")[2] != data.task.rpartition(":")[2]:
            raise ValueError(f"expected transitions of {target}, got those of {data.task} in {args.context}")
        world = stand_in(data, WorldModel.load(args.model), target)
        instead, target = {"stand_in": world, "spent": len(data)}, world.name
    elif not target:
        raise ValueError("expected a recipe.yaml, a --target, or a --context of transitions")
    recipe = recipe or default(target, args.form)
    run = args.log or Path("runs") / recipe.id
    made = meta.evolve(
        recipe, args.out or run / "artifact", run_folder=run, resume=args.resume, workers=args.workers, **instead
    )
    refresh(made.folder)
    print(f"{recipe.id}: {price(made.card)}\nsaved to {made.folder}")


def imagine(args: argparse.Namespace) -> None:
    """Learn a real task inside a world model that is shown a few of its transitions, and measure once outside."""
    from synthenv import presets, sb3
    from synthenv.imagine import Plan, draw, keep
    from synthenv.imagine import imagine as dream
    from synthenv.incontext import WorldModel
    from synthenv.scores import statistics

    settings, steps, n_envs = None, args.steps, args.n_envs
    kind = None if args.algo == "evolve" else sb3.algorithm(args.algo, besides=("evolve",))
    if args.hyperparameters:
        if kind is None:
            raise ValueError("--hyperparameters are for an algorithm of Stable-Baselines3; evolve takes none")
        preset = presets.read(hyperparameters(args), args.target, kind)
        settings, steps, n_envs = preset.settings, steps or preset.steps, n_envs or preset.n_envs or 1
    plan = Plan(
        args.transitions, args.rounds, args.plan or args.algo, steps, n_envs or Plan.n_envs, settings, args.penalty,
        margin=args.margin, max_std=args.max_std, sticky=args.sticky, episodes=args.episodes, seed=args.seed,
    )  # fmt: skip
    found = dream(args.target, plan, WorldModel.load(args.model))
    print(summary(args.target, statistics(found.returns)))
    print(found.price())
    folder = args.out or Path("runs") / f"imagine-{args.target.rpartition(':')[2]}"
    print(f"saved to {keep(found, plan, folder)}, imagined against real: {draw(folder / 'imagined.png', found)}")


def pretrain(args: argparse.Namespace) -> None:
    """Pretrain a world model or a ranker on synthetic tasks alone, by its recipe."""
    from synthenv.recipe import load, read

    there(args.recipe, "recipe", "copy one from the folders in models/")
    said = read(args.recipe)
    keys = said.keys() if isinstance(said, dict) else ()
    if "contexts" in keys:
        from synthenv.incontext.pretrain import WorldModelRecipe, pretrain_world_model

        world = load(WorldModelRecipe, args.recipe)
        run = args.log or Path("runs") / world.id
        out = args.out or run / "artifact"
        card = pretrain_world_model(world, out, run, resume=args.resume, device=args.device)
    elif "lesson" in keys:
        from synthenv.ranking.pretrain import RankerRecipe, pretrain_ranker

        ranker = load(RankerRecipe, args.recipe)
        run = args.log or Path("runs") / ranker.id
        out = args.out or run / "artifact"
        card = pretrain_ranker(ranker, out, run, resume=args.resume)
    else:
        raise ValueError(
            f"{args.recipe} is no recipe of a pretrained model: expected the key contexts (a world model) or lesson (a "
            "ranker); copy one from the folders in models/"
        )
    print(
        f"{card['id']}: {card['cost']['steps']:,} steps, {card['cost']['cpu_seconds']:,.0f} CPU seconds\nsaved to {out}"
    )


def train(args: argparse.Namespace) -> None:
    """Train an agent with Stable-Baselines3, measure it in the real task, save it."""
    import time

    from synthenv import artifact, presets, sb3
    from synthenv.scores import statistics
    from synthenv.threads import one_thread

    environment, target = known(args.environment)
    kind = sb3.algorithm(args.algorithm)
    folder = args.out or Path("runs") / f"{kind.__name__.lower()}-{environment}"
    artifact.check_free(folder)
    preset = presets.Preset(None, None, {})
    if args.hyperparameters:
        preset = presets.read(hyperparameters(args), environment, kind)
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


def rank(args: argparse.Namespace) -> None:
    """Rank pipelines for a task from runs on other tasks, or measure on your own table how well that goes."""
    from synthenv import report
    from synthenv.ranking import commands
    from synthenv.threads import one_thread

    columns = "a CSV file with the columns task, pipeline and score; synthenv rank --help names the others"
    for path in (args.runs, args.observed):
        if path:
            there(path, "runs", f"expected {columns}")
    with one_thread(), warnings_as_lines():
        if args.what == "evaluate":
            print(commands.evaluation(args.runs, args.ranker, minimize=args.minimize, repair=args.repair))
            return
        if args.task is None:
            raise ValueError("--task names the task to rank for; or see how well that goes: synthenv rank evaluate")
        found = commands.answer(
            args.runs,
            args.task,
            args.observed,
            seconds=args.budget,
            horizon=args.horizon,
            ranker=args.ranker,
            minimize=args.minimize,
            repair=args.repair,
        )
    print(f"{found.basis}\nmean and sd: {found.scale}\n\n{found.ranking.table(args.top)}")
    if found.plan:
        print(f"\n{found.plan}")
    report.ranking(args.plot, found.ranking.rows()[: args.top], f"pipelines for {args.task}", found.scale)
    print(f"\nplot: {args.plot}")


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Warnings as lines like those of errors, once each, after what they are about."""
    import warnings

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for line in dict.fromkeys(str(one.message) for one in said if issubclass(one.category, UserWarning)):
                print(f"synthenv: {line}", file=sys.stderr)


def card(args: argparse.Namespace) -> None:
    """Rewrite the README (and plot) of an environment, an agent or a whole shelf from the facts beside it."""
    from synthenv import cards
    from synthenv.scores import read_trials

    for path in cards.refresh(args.folder, read_trials(args.results) if args.results else []):
        print(path)


def there(path: Path, what: str, instead: str) -> None:
    """Raise ValueError for a file that is not there, with what to do instead."""
    if path.is_dir():
        inside = path / f"{what}.yaml"
        raise ValueError(f"{path} is a folder; " + (f"its {what} is {inside}" if inside.is_file() else instead))
    if not path.exists():
        raise ValueError(f"no {what} at {path}; {instead}")


def hyperparameters(args: argparse.Namespace) -> Path:
    """The file that --hyperparameters names; raises ValueError where there is none."""
    there(args.hyperparameters, "hyperparameters", "expected a YAML file such as those in agents/hyperparameters/")
    path: Path = args.hyperparameters
    return path


def known(environment: str) -> tuple[str, str]:
    """The registered id of an environment given by id or folder, and the real task behind it."""
    import gymnasium

    import synthenv
    from synthenv import shelf
    from synthenv.catalogue import unknown
    from synthenv.worlds.foreign import registered

    if (Path(environment) / "card.json").is_file():
        environment = synthenv.register(environment)
    elif (
        environment not in gymnasium.registry and Path(environment).parent.is_dir() and len(Path(environment).parts) > 1
    ):
        raise ValueError(shelf.absent(Path(environment), "envs"))
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
    import numpy as np

    from synthenv.sb3 import normaliser, wrapper

    try:
        env: Any = gymnasium.wrappers.RecordVideo(gymnasium.make(environment, render_mode="rgb_array"), str(folder))
    except gymnasium.error.DependencyNotInstalled as error:
        raise ValueError(f"recording needs one more package: pip install 'synthenv[video]' ({error})") from error
    if shown := wrapper(env.observation_space, model):
        env = shown(env)
    observation, _ = env.reset(seed=seed)
    seen, ended = normaliser(model), False
    memory, begun = None, np.ones(1, dtype=np.bool_)
    while not ended:
        action, memory = model.predict(seen(observation), state=memory, episode_start=begun, deterministic=True)
        observation, _, terminated, truncated, _ = env.step(action)
        begun, ended = np.zeros_like(begun), terminated or truncated
    env.close()
