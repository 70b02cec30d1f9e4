"""Training one network on batches that are made up on the spot: steps, processes, checkpoints, TensorBoard.

All random numbers follow from the seed and the step they are used in, so a run that was killed goes on from its last
checkpoint bit for bit. Several processes each make a batch of their own and average gradients; every one of them holds
the same network, and the first writes.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from synthenv import checkpoint, seeding

Losses = dict[str, Tensor]
"""Named scalars of one batch; `loss` is what is minimised, the others are only logged."""
Lesson = Callable[[nn.Module, torch.Generator, float], Losses]
"""What a network is trained on: the network, a generator, and the share of the training done, in [0, 1)."""


@dataclass(frozen=True)
class Schedule:
    """How long a network is trained, and how fast."""

    steps: int = 10_000
    """Updates."""
    rate: float = 1e-3
    """Learning rate of AdamW at its height: a linear rise, then a cosine down to 0."""
    rise: float = 0.05
    """Share of the steps that the rate takes to rise."""
    decay: float = 0.01
    """Weight decay."""
    clip: float = 1.0
    """Norm that gradients are scaled down to."""
    precision: str = "full"
    """Of matrix products: full, or bf16 where the network asks for autocast."""
    processes: int = 1
    """Batches an update, one a process, whose gradients are averaged."""


@dataclass
class Progress:
    """How far a run is, and its price so far."""

    recipe: str
    """Digest of the recipe: a checkpoint of another recipe is refused."""
    step: int = 0
    """Updates done."""
    seconds: float = 0.0
    """Wall time of all sessions."""
    cpu_seconds: float = 0.0
    """CPU time of the first process; the others do as much."""
    losses: dict[str, float] = field(default_factory=dict)
    """Means over the last steps before the checkpoint."""


@dataclass(frozen=True)
class Plan:
    """One pretraining: what is trained, on what, for how long, and where its record is kept."""

    build: Callable[[], nn.Module]
    """Makes the network; called once in every process, so a function of a module, or a partial of one."""
    lesson: Lesson
    """The same for what it learns."""
    schedule: Schedule
    seed: int
    digest: str
    """Of the recipe."""
    folder: Path
    """For checkpoints and TensorBoard's files."""
    every: int = 200
    """Steps between checkpoints."""
    device: str = "cpu"


def pretrain(plan: Plan, *, resume: bool = False, progress: bool | None = None) -> tuple[nn.Module, Progress]:
    """Run a plan to its end; progress None shows a bar on a terminal only.

    Raises ValueError when the folder holds a run and `resume` is False, when there is none to resume, when its
    checkpoint is damaged or of another recipe, or when there is no such device.
    """
    try:
        torch.empty(0, device=plan.device)
    except (AssertionError, RuntimeError) as error:  # torch's ways of saying so
        raise ValueError(f"cannot train on {plan.device!r} here: {str(error).splitlines()[0]}") from error
    if resume:
        _read(plan)
    elif (plan.folder / checkpoint.NAME).exists():
        raise ValueError(f"{plan.folder} holds a run already; resume it, or choose another folder")
    plan.folder.mkdir(parents=True, exist_ok=True)
    if plan.schedule.processes > 1:
        multiprocessing.spawn(_work, (plan, resume, progress, _port()), plan.schedule.processes)  # type: ignore[attr-defined,no-untyped-call]
    else:
        _train(plan, 0, resume, progress)
    done, tensors = _read(plan)
    if done.step < plan.schedule.steps:
        raise RuntimeError(f"a process ended early; {done.step:,} steps of {plan.schedule.steps:,} are done: resume")
    model = _built(plan)
    _load(model, tensors)
    return model, done


def _work(rank: int, plan: Plan, resume: bool, progress: bool | None, port: int) -> None:
    """One of several processes."""
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=plan.schedule.processes
    )
    try:
        _train(plan, rank, resume, progress)
    finally:
        distributed.destroy_process_group()


def _train(plan: Plan, rank: int, resume: bool, progress: bool | None) -> None:
    """The loop over steps."""
    if plan.device == "cpu":
        torch.set_num_threads(1)
    schedule = plan.schedule
    model = _built(plan).to(plan.device)
    optimizer = torch.optim.AdamW(model.parameters(), schedule.rate, betas=(0.9, 0.98), weight_decay=schedule.decay)
    state = Progress(plan.digest)
    if resume:
        state, tensors = _read(plan)
        _restore(model, optimizer, tensors)
    first = rank == 0
    writer = SummaryWriter(str(plan.folder), purge_step=state.step) if first else None
    wall, cpu = time.perf_counter() - state.seconds, time.process_time() - state.cpu_seconds
    hidden = not first or (None if progress is None else not progress)
    sums: dict[str, float] = {}
    since = state.step
    for step in tqdm(
        range(state.step, schedule.steps), "pretraining", schedule.steps, initial=state.step, disable=hidden
    ):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate * pace(step, schedule)
        generator = seeding.generator(plan.seed, "batch", step, rank, device=plan.device)
        with _precision(plan):
            losses = plan.lesson(model, generator, step / schedule.steps)
        optimizer.zero_grad()
        losses["loss"].backward()
        _average(model, schedule.processes)
        losses["norm"] = nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        optimizer.step()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        done = step + 1
        if writer is not None and (done % plan.every == 0 or done == schedule.steps):
            means = {name: total / (done - since) for name, total in sums.items()}
            state = Progress(plan.digest, done, time.perf_counter() - wall, time.process_time() - cpu, means)
            for name, mean in means.items():
                writer.add_scalar(f"pretraining/{name}", mean, done)
            checkpoint.write(plan.folder / checkpoint.NAME, _tensors(model, optimizer), asdict(state))
        if done % plan.every == 0:
            sums, since = {}, done
    if writer is not None:
        writer.close()


def pace(step: int, schedule: Schedule) -> float:
    """Share of the full learning rate at a step."""
    rise = max(1, round(schedule.rise * schedule.steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1, schedule.steps - rise))


def _read(plan: Plan) -> tuple[Progress, dict[str, Tensor]]:
    """The last checkpoint of a plan; raises ValueError where there is none that fits."""
    facts, tensors = checkpoint.read(plan.folder / checkpoint.NAME, plan.digest)
    return Progress(**facts), tensors


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The network and the optimizer's memory as one flat mapping."""
    found = {f"model.{name}": leaf.detach().cpu() for name, leaf in model.state_dict().items()}
    for index, memory in optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{index}.{name}": leaf.cpu() for name, leaf in memory.items()}
    return found


def _load(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """The network as a checkpoint holds it."""
    model.load_state_dict({name.removeprefix("model."): x for name, x in tensors.items() if name.startswith("model.")})


def _restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Undo `_tensors`."""
    _load(model, tensors)
    memory: dict[int, dict[str, Tensor]] = {}
    for name, leaf in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            memory.setdefault(int(index), {})[key] = leaf
    optimizer.load_state_dict({**optimizer.state_dict(), "state": memory})


def _built(plan: Plan) -> nn.Module:
    """The untrained network; layers draw from the global generator, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        return plan.build()


def _average(model: nn.Module, processes: int) -> None:
    """Every parameter's gradient as the mean over processes, in one message."""
    if processes == 1:
        return
    slopes = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([slope.flatten() for slope in slopes])
    distributed.all_reduce(flat)
    for slope, mean in zip(slopes, (flat / processes).split([s.numel() for s in slopes]), strict=True):
        slope.copy_(mean.view_as(slope))


def _precision(plan: Plan) -> Any:
    if plan.schedule.precision == "full":
        return nullcontext()
    return torch.autocast(torch.device(plan.device).type, torch.bfloat16)


def _port() -> int:
    """A port that is free now."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])
