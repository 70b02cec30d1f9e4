"""The trainer: it learns, it resumes bit for bit, several processes are one run."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from synthenv import checkpoint, pretraining
from synthenv.pretraining import Plan, Schedule, pace, pretrain


def build():
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def lesson(model, generator, share, stop_at=1.0):
    """Learn a linear law; shares from `stop_at` on are a crash."""
    if share >= stop_at:
        raise MemoryError
    x = torch.randn((64, 3), generator=generator)
    error = (model(x)[:, 0] - x @ torch.tensor([1.0, -2.0, 0.5])).square().mean()
    return {"loss": error, "twice": 2 * error}


@pytest.fixture
def plan(tmp_path):
    return Plan(build, lesson, Schedule(steps=60, rate=3e-2), 0, "digest", tmp_path / "run", every=20)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_learns_and_logs(plan):
    before = torch.random.get_rng_state()
    _, done = pretrain(plan)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert done.step == 60
    assert done.losses["twice"] == pytest.approx(2 * done.losses["loss"], rel=1e-5)
    seen = EventAccumulator(str(plan.folder))
    seen.Reload()
    curve = [(event.step, event.value) for event in seen.Scalars("pretraining/loss")]
    assert [step for step, _ in curve] == [20, 40, 60]
    assert curve[-1][1] < 0.2 * curve[0][1]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_broken_run_goes_on_bit_for_bit(plan, tmp_path, processes):
    plan = replace(plan, schedule=replace(plan.schedule, processes=processes))
    straight, _ = pretrain(plan)
    broken = replace(plan, folder=tmp_path / "broken")
    with pytest.raises((MemoryError, torch.multiprocessing.ProcessRaisedException)):
        pretrain(replace(broken, lesson=partial(lesson, stop_at=0.75)))
    assert checkpoint.read(broken.folder / checkpoint.NAME, "digest")[0]["step"] == 40
    resumed, done = pretrain(broken, resume=True)
    assert done.step == 60
    assert torch.equal(weights(resumed), weights(straight))


def test_processes_learn_from_batches_of_their_own(plan, tmp_path):
    alone, _ = pretrain(plan)
    two, _ = pretrain(replace(plan, folder=tmp_path / "two", schedule=replace(plan.schedule, processes=2)))
    assert not torch.equal(weights(alone), weights(two))


@pytest.mark.parametrize(
    "device",
    ["abacus", pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"))],
)
def test_a_device_that_is_not_here_is_refused(device, plan):
    with pytest.raises(ValueError, match=f"cannot train on '{device}' here: [^\n]+$"):
        pretrain(replace(plan, device=device))
    assert not plan.folder.exists()


def test_refusals(plan):
    with pytest.raises(ValueError, match="nothing to resume"):
        pretrain(plan, resume=True)
    pretrain(plan)
    with pytest.raises(ValueError, match="holds a run already; resume it, or choose another folder"):
        pretrain(plan)
    with pytest.raises(ValueError, match="is of another recipe"):
        pretrain(replace(plan, digest="another"), resume=True)


def test_pace():
    schedule = Schedule(steps=100, rise=0.1)
    paces = [pace(step, schedule) for step in range(100)]
    assert paces[0] == pytest.approx(0.1)
    assert max(paces) == paces[9] == paces[10] == 1.0
    assert paces[99] < 0.001


def test_half_precision_is_asked_for(plan):
    seen = []

    def look(model, generator, share):
        losses = lesson(model, generator, share)
        seen.append(model(torch.zeros(1, 3)).dtype)
        return losses

    pretrain(replace(plan, lesson=look, schedule=replace(plan.schedule, steps=1, precision="bf16")))
    assert seen == [torch.bfloat16]
    assert pretraining.Schedule().precision == "full"
