"""A run on disk: what is done, how far the rest is, what it has cost; saved so that a killed run goes on bit for bit.

A run folder holds checkpoint.safetensors (tensors, with facts in its header) and TensorBoard's event files. All random
numbers follow from the recipe's seed and the place they are used in, so no generator needs saving.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from synthenv import checkpoint, seeding
from synthenv.checkpoint import NAME as CHECKPOINT
from synthenv.meta.task import Executor, Score, Task
from synthenv.recipe import EnvRecipe, Search, digest
from synthenv.strategies import SearchState, named
from synthenv.tree import Tree, part, prefixed

SMOOTHING = 0.2
"""Weight of the last generation in the running mean of fitness: about ten count."""


@dataclass
class Ledger:
    """How far a run is, and its price so far."""

    recipe: str
    """Digest of the recipe: a checkpoint of another recipe is refused."""
    stand_in: str | None = None
    """What stood in for the real task, by its fingerprint or type; None for the real task itself."""
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Finished stages and the facts each reported."""
    generation: int = 0
    """Generations finished in the search under way."""
    fitness: float = 0.0
    """Mean fitness of the last of them."""
    smoothed: float | None = None
    """A running mean of it over the search under way."""
    summit: float | None = None
    """The highest that the running mean has been."""
    stale: int = 0
    """Generations since then."""
    logged: int = 0
    """Generations finished in all searches: TensorBoard's time axis."""
    real_steps: int = 0
    """Steps of the real task spent."""
    seconds: float = 0.0
    """Wall time of all sessions."""
    cpu_seconds: float = 0.0
    """CPU time of all processes."""


class Run:
    """Stages of one recipe, each done once, and the record of what they cost."""

    def __init__(
        self,
        recipe: EnvRecipe,
        folder: Path,
        *,
        resume: bool = False,
        progress: bool | None = None,
        every: int = 1,
        stand_in: str | None = None,
    ) -> None:
        """Open `folder`, new or to be resumed; a checkpoint is written every `every` generations.

        progress None shows bars on a terminal only. Raises ValueError when the folder holds a run and `resume` is
        False, when there is none to resume, or when its checkpoint is damaged, of another recipe or another stand-in.
        """
        self.seed, self.folder, self.every = recipe.seed, folder, every
        self.hidden = None if progress is None else not progress
        self.ledger = Ledger(digest(recipe), stand_in)
        self.tensors: Tree = {}
        if resume:
            self.ledger, self.tensors = read_checkpoint(folder / CHECKPOINT, self.ledger.recipe)
            if self.ledger.stand_in != stand_in:
                before, now = (told or "the real task itself" for told in (self.ledger.stand_in, stand_in))
                raise ValueError(
                    f"{folder} holds a run in another world: expected {before}, got {now}; resume with the stand-in "
                    "(or --context and --model) that began it, or start over"
                )
        elif (folder / CHECKPOINT).exists():
            raise ValueError(f"{folder} holds a run already; resume it, or choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._wall = time.perf_counter()
        self.writer = SummaryWriter(str(folder), purge_step=self.ledger.logged + 1)

    def __enter__(self) -> Run:
        """The run itself; leaving closes TensorBoard's files."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open; the checkpoint stays."""
        self.writer.close()

    def generator(self, *place: int | str) -> torch.Generator:
        """Randomness for one place of this run."""
        return seeding.generator(self.seed, *place)

    def once(self, stage: str, work: Callable[[], tuple[Tree, dict[str, Any], int]]) -> Tree:
        """What `work` makes (a tree, facts, real steps spent), unless a session before has made it."""
        if stage not in self.ledger.done:
            start = time.process_time()
            tree, facts, real_steps = work()
            self.ledger.real_steps += real_steps
            self.ledger.cpu_seconds += time.process_time() - start
            self._finish(stage, tree, facts)
        return part(self.tensors, stage)

    def search(self, stage: str, task: Task, mean: Tensor, settings: Search, executor: Executor) -> Tensor:
        """Evolve mean [D] by `task`, from the last checkpoint on. Returns the final mean, not the best one seen."""
        if stage in self.ledger.done:
            return self.tensors[f"{stage}.mean"]
        strategy = named(settings.strategy, **settings.options)
        state = part(self.tensors, "search") or strategy.init(mean)
        rounds = range(self.ledger.generation, settings.generations)
        bar = tqdm(rounds, stage, settings.generations, False, initial=rounds.start, disable=self.hidden, unit="gen")
        for generation in bar:
            if 0 < settings.patience <= self.ledger.stale:
                break
            candidates = strategy.ask(state, self.generator(stage, generation, "ask"), settings.population)
            score = executor.score(task, candidates, generation)
            state, fitness = strategy.tell(state, candidates, score.fitness), score.fitness
            self._account(stage, score, state)
            bar.set_postfix(fitness=f"{float(fitness.mean()):.1f}", best=f"{float(fitness.max()):.1f}",
                            real_steps=f"{self.ledger.real_steps:,}")  # fmt: skip
            self.ledger.generation, self.ledger.fitness = generation + 1, float(fitness.mean())
            self._watch(fitness)
            if self.ledger.generation % self.every == 0:
                self._save({**self.tensors, **prefixed("search", state)})
        self._finish(stage, {"mean": state["mean"]}, {"generations": self.ledger.generation,
                                                      "last_fitness": self.ledger.fitness})  # fmt: skip
        return state["mean"]

    def price(self) -> dict[str, float]:
        """Real steps, wall seconds and CPU seconds so far."""
        self._clock()
        return {
            "real_steps": self.ledger.real_steps,
            "seconds": round(self.ledger.seconds, 1),
            "cpu_seconds": round(self.ledger.cpu_seconds, 1),
        }

    def _watch(self, fitness: Tensor) -> None:
        """Follow the running mean of fitness [P], and count the generations since it was highest."""
        ledger = self.ledger
        before = ledger.fitness if ledger.smoothed is None else ledger.smoothed
        ledger.smoothed = before + SMOOTHING * (ledger.fitness - before)
        if ledger.summit is None or ledger.smoothed > ledger.summit:
            ledger.summit, ledger.stale = ledger.smoothed, 0
        elif fitness.min() < fitness.max():
            ledger.stale += 1

    def _account(self, stage: str, score: Score, state: SearchState) -> None:
        """Add a generation to the price and to TensorBoard."""
        self._clock()
        self.ledger.real_steps += score.real_steps
        self.ledger.cpu_seconds += score.cpu_seconds
        self.ledger.logged += 1
        low, middle, high = score.fitness.quantile(score.fitness.new_tensor([0.1, 0.5, 0.9])).tolist()
        scalars = {
            "fitness/mean": float(score.fitness.mean()),
            "fitness/best": float(score.fitness.max()),
            "fitness/q10": low,
            "fitness/median": middle,
            "fitness/q90": high,
            "search/sigma": float(state["sigma"].mean()),
            "search/mean_norm": float(state["mean"].norm()),
            "price/real_steps": self.ledger.real_steps,
            "price/seconds": self.ledger.seconds,
        }
        for name, value in scalars.items():
            self.writer.add_scalar(f"{stage}/{name}", value, self.ledger.logged)

    def _finish(self, stage: str, tree: Tree, facts: dict[str, Any]) -> None:
        """Keep a stage's result and drop the search that led to it.

        Copied: what a stage hands on unchanged would be in the file twice at one place, which safetensors refuses.
        """
        self.tensors = {**self.tensors, **{name: leaf.clone() for name, leaf in prefixed(stage, tree).items()}}
        self.tensors = {name: leaf for name, leaf in self.tensors.items() if not name.startswith("search.")}
        self.ledger.done[stage], self.ledger.generation = facts, 0
        self.ledger.smoothed = self.ledger.summit = None
        self.ledger.stale = 0
        self._save(self.tensors)

    def _clock(self) -> None:
        now = time.perf_counter()
        self.ledger.seconds, self._wall = self.ledger.seconds + now - self._wall, now

    def _save(self, tensors: Tree) -> None:
        """Write the checkpoint of this moment."""
        self._clock()
        checkpoint.write(self.folder / CHECKPOINT, tensors, asdict(self.ledger))
        self.writer.flush()


def read_checkpoint(path: Path, recipe: str) -> tuple[Ledger, Tree]:
    """The ledger and tensors of a checkpoint; `recipe` is the digest it must be of."""
    facts, tensors = checkpoint.read(path, recipe)
    try:
        return Ledger(**facts), tensors
    except TypeError as error:
        raise ValueError(f"{path} is damaged ({error}); start over in another folder") from error
