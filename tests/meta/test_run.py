"""A run's memory: whatever is done is done once, whatever breaks, and what is read was written whole."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from synthenv import catalogue, checkpoint, seeding
from synthenv.meta.run import CHECKPOINT, Run
from synthenv.meta.task import InProcess
from synthenv.recipe import Search
from synthenv.tree import part
from tests.meta.toys import Bowl, recipe

RECIPE = recipe()
MEAN = torch.zeros(5)
SEARCH = Search("snes", {"sigma": 0.3}, population=8, generations=6)
NEVER = -1


class AccidentError(Exception):
    """Something that ends a session at once."""


class FailsAt:
    """An executor that gives up when a generation is reached."""

    def __init__(self, generation):
        self.generation = generation

    def score(self, task, candidates, generation):
        if generation == self.generation:
            raise AccidentError
        return InProcess().score(task, candidates, generation)


def opened(folder, **options):
    return Run(RECIPE, folder, progress=False, **options)


def searched(run, where=None, settings=SEARCH, stage="greedy"):
    return run.search(stage, Bowl(), MEAN, settings, where or InProcess())


def breaks(run, generation, **options):
    with pytest.raises(AccidentError):
        searched(run, FailsAt(generation), **options)


@pytest.fixture
def work():
    """Work that counts how often it is done."""

    def once():
        once.times += 1
        return {"x": torch.ones(1, 3), "y": torch.zeros(2)}, {"found": 0.5}, 700

    once.times = 0
    return once


def test_once_is_once(tmp_path, work):
    with opened(tmp_path) as run:
        first, again = run.once("look", work), run.once("look", work)
        other = run.once("looking", work)
        assert run.price()["real_steps"] == 1400
        assert run.ledger.done == {"look": {"found": 0.5}, "looking": {"found": 0.5}}
    with opened(tmp_path, resume=True) as later:
        resumed = later.once("look", work)
        assert later.price()["real_steps"] == 1400
        assert later.ledger.done["look"] == {"found": 0.5}
    for tree in (first, again, other, resumed):
        assert {name: leaf.tolist() for name, leaf in tree.items()} == {"x": [[1, 1, 1]], "y": [0, 0]}
    assert work.times == 2


def test_a_stage_may_hand_on_what_another_made(tmp_path):
    with opened(tmp_path) as run:
        first = run.once("look", lambda: ({"x": MEAN}, {}, 0))
        run.once("seen", lambda: (first, {}, 0))
    with opened(tmp_path, resume=True) as later:
        assert torch.equal(part(later.tensors, "seen")["x"], MEAN)


def test_what_broke_is_done_again(tmp_path, work):
    def broken():
        raise AccidentError

    with opened(tmp_path) as run:
        run.once("look", work)
        with pytest.raises(AccidentError):
            run.once("seen", broken)
    with opened(tmp_path, resume=True) as later:
        assert list(later.ledger.done) == ["look"]
        later.once("seen", work)
        assert list(later.ledger.done) == ["look", "seen"]


def test_searches_and_keeps_the_last_mean(tmp_path):
    with opened(tmp_path) as run:
        mean = searched(run)
        assert (mean - 1).norm() < 0.5 * MEAN.sub(1).norm()
        assert run.ledger.done["greedy"]["generations"] == SEARCH.generations
        assert run.ledger.done["greedy"]["last_fitness"] > Bowl().fitness(MEAN[None], 5)[0]
        assert run.price()["real_steps"] == 10 * SEARCH.population * SEARCH.generations
        assert torch.equal(searched(run, FailsAt(0)), mean), "a finished search is not begun again"
        assert not part(run.tensors, "search")
    with opened(tmp_path, resume=True) as later:
        assert torch.equal(searched(later, FailsAt(0)), mean)


@pytest.mark.parametrize("strategy", sorted(catalogue.names("synthenv.strategies")))
def test_every_strategy_resumes_bit_for_bit(tmp_path, strategy):
    settings = replace(SEARCH, strategy=strategy)
    with opened(tmp_path / "straight") as straight:
        expected = searched(straight, settings=settings)
    with opened(tmp_path / "broken") as run:
        breaks(run, 3, settings=settings)
    with opened(tmp_path / "broken", resume=True) as later:
        assert later.ledger.generation == 3
        assert torch.equal(searched(later, settings=settings), expected)


class Scripted:
    """A task whose candidates are worth what the script says of the generation, give or take `spread`."""

    chunk = 8

    def __init__(self, *script, spread=1.0):
        self.script, self.spread = script, spread

    def fitness(self, candidates, generation):
        worth = self.script[min(generation, len(self.script) - 1)]
        return worth + self.spread * torch.linspace(-1, 1, len(candidates)), 10


@pytest.mark.parametrize(
    ("task", "generations"),
    [
        (Scripted(0, 1, 2, 3), 20),  # the running mean still rises
        (Scripted(0, 1, 2, 0), 6),
        (Scripted(0, 1, 2, 0, 0, 9, 0), 9),  # a second summit
        (Scripted(0, spread=0), 20),  # nobody has found anything
        (Scripted(0), 4),
    ],
)
def test_patience_ends_a_search_that_no_longer_rises(tmp_path, task, generations):
    patient = replace(SEARCH, generations=20, patience=3)
    with opened(tmp_path) as run:
        run.search("greedy", task, MEAN, patient, InProcess())
        assert run.ledger.done["greedy"]["generations"] == generations
        assert run.price()["real_steps"] == 10 * generations
        run.search("inner", task, MEAN, patient, InProcess())
        assert run.ledger.done["inner"]["generations"] == generations, "the second search begins anew"


@pytest.mark.parametrize("accident", [2, 3, 5])
@pytest.mark.parametrize("every", [1, 2])
def test_patience_is_remembered(tmp_path, every, accident):
    """Also where the session breaks after the last generation, before the search is over."""
    patient = replace(SEARCH, generations=20, patience=3)
    task = Scripted(0, 1, 2, 0)
    with opened(tmp_path / "straight") as straight:
        expected = straight.search("greedy", task, MEAN, patient, InProcess())
    with opened(tmp_path / "broken", every=every) as run, pytest.raises(AccidentError):
        run.search("greedy", task, MEAN, patient, FailsAt(accident))
    with opened(tmp_path / "broken", resume=True, every=every) as later:
        assert torch.equal(later.search("greedy", task, MEAN, patient, InProcess()), expected)
        assert later.ledger.done == straight.ledger.done
        assert later.price()["real_steps"] == straight.price()["real_steps"]


def test_patience_at_its_end_needs_no_further_generation(tmp_path, monkeypatch):
    patient = replace(SEARCH, generations=20, patience=3)

    def broken(*_):
        raise AccidentError

    with opened(tmp_path) as run:
        monkeypatch.setattr(run, "_finish", broken)
        with pytest.raises(AccidentError):
            run.search("greedy", Scripted(0), MEAN, patient, InProcess())
    with opened(tmp_path, resume=True) as later:
        later.search("greedy", Scripted(0), MEAN, patient, FailsAt(4))
        assert later.ledger.done["greedy"]["generations"] == 4


@pytest.mark.parametrize(("every", "accident"), [(1, 0), (1, 3), (1, 5), (4, 3), (4, 5), (100, 3)])
def test_resumes_from_the_last_checkpoint(tmp_path, every, accident):
    """Two searches after a stage; the second breaks. Its price and facts are those of a run that never did."""

    def story(run, where=None):
        run.once("look", lambda: ({"x": MEAN}, {}, 1))
        searched(run)
        return searched(run, where, stage="inner")

    with opened(tmp_path / "straight", every=every) as straight:
        expected = story(straight)
    with opened(tmp_path / "broken", every=every) as run, pytest.raises(AccidentError):
        story(run, FailsAt(accident))
    with opened(tmp_path / "broken", resume=True, every=every) as later:
        assert later.ledger.generation == accident // every * every
        assert torch.equal(story(later), expected)
        assert later.price()["real_steps"] == straight.price()["real_steps"]
        assert later.ledger.done == straight.ledger.done
        assert later.ledger.logged == straight.ledger.logged == 2 * SEARCH.generations


def test_a_search_that_broke_after_its_last_generation_forgets_nothing(tmp_path, monkeypatch):
    def accident(*_):
        raise AccidentError

    with opened(tmp_path / "straight") as straight:
        expected = searched(straight)
    with opened(tmp_path / "broken") as run, monkeypatch.context() as patch:
        patch.setattr(Run, "_finish", accident)
        breaks(run, NEVER)
    with opened(tmp_path / "broken", resume=True) as later:
        assert later.ledger.generation == SEARCH.generations
        assert torch.equal(searched(later), expected)
        assert later.ledger.done == straight.ledger.done


def test_randomness_is_the_recipes(tmp_path):
    with opened(tmp_path) as run:
        draws = torch.rand(3, generator=run.generator("greedy", 4, "ask"))
    assert torch.equal(draws, torch.rand(3, generator=seeding.generator(RECIPE.seed, "greedy", 4, "ask")))
    seven = Run(replace(RECIPE, seed=7), tmp_path / "seven", progress=False)
    with seven:
        assert not torch.equal(draws, torch.rand(3, generator=seven.generator("greedy", 4, "ask")))


@pytest.fixture
def done(tmp_path, work):
    """A folder with a run in the middle of a search."""
    with opened(tmp_path) as run:
        run.once("look", work)
        breaks(run, 3)
    return tmp_path


def test_a_folder_with_a_run_is_not_begun_again(done):
    before = (done / CHECKPOINT).read_bytes()
    with pytest.raises(ValueError, match="holds a run already; resume it, or choose another folder"):
        opened(done)
    assert (done / CHECKPOINT).read_bytes() == before


def test_nothing_to_resume(tmp_path):
    with pytest.raises(ValueError, match=r"nothing to resume: .*nowhere has no checkpoint.*start without resume"):
        opened(tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


def test_another_recipes_checkpoint_is_refused(done):
    with pytest.raises(ValueError, match="is of another recipe; resume with the recipe that began it"):
        Run(replace(RECIPE, hidden=9), done, resume=True)


@pytest.mark.parametrize("began", [None, "Moon"])
@pytest.mark.parametrize("goes_on", [None, "Moon", "Mars"])
def test_a_run_goes_on_in_the_world_it_began_in(tmp_path, began, goes_on):
    opened(tmp_path, stand_in=began).once("look", lambda: ({}, {}, 0))
    if began == goes_on:
        assert "look" in opened(tmp_path, stand_in=goes_on, resume=True).ledger.done
        return
    names = [name or "the real task itself" for name in (began, goes_on)]
    with pytest.raises(ValueError, match="in another world: expected {}, got {}; resume with".format(*names)):
        opened(tmp_path, stand_in=goes_on, resume=True)


def tensors_and_ledger(path):
    with safe_open(path, "pt") as file:
        return load_file(path), json.loads(file.metadata()["facts"])


def rewritten(**changes):
    def damage(path):
        tensors, ledger = tensors_and_ledger(path)
        save_file(tensors, path, {"facts": json.dumps({**ledger, **changes})})

    return damage


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "header-only": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "one-byte-short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "no-ledger": lambda path: save_file(tensors_and_ledger(path)[0], path),
    "other-facts": lambda path: save_file(tensors_and_ledger(path)[0], path, {"facts": "{}"}),
    "no-json": lambda path: save_file(tensors_and_ledger(path)[0], path, {"ledger": "{"}),
    "strange-field": rewritten(strange=1),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_named(done, damage):
    damage(done / CHECKPOINT)
    with pytest.raises(ValueError, match=rf"{CHECKPOINT} is damaged \(.*start over in another folder"):
        opened(done, resume=True)


def test_a_checkpoint_is_never_half_written(done, work, monkeypatch):
    """A full disk: the file beside it is half there, the checkpoint itself is the old one and can be resumed."""
    before = (done / CHECKPOINT).read_bytes()

    def half(tensors, path, facts):
        path.write_bytes(before[:50])
        raise OSError("no space left")

    with opened(done, resume=True) as run, monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", half)
        with pytest.raises(OSError, match="no space left"):
            run.once("seen", work)
    assert (done / CHECKPOINT).read_bytes() == before
    with opened(done, resume=True) as later:
        searched(later)
        assert [path.name for path in done.iterdir() if not path.name.startswith("events.")] == [CHECKPOINT]


def test_time_is_counted_over_all_sessions(tmp_path, work):
    with opened(tmp_path) as run:
        run.once("look", work)
        run.ledger.seconds += 100
        run.ledger.cpu_seconds += 200
        searched(run)
        price = run.price()
    with opened(tmp_path, resume=True) as later:
        later.once("seen", work)
        assert all(100 <= each["seconds"] < 130 for each in (price, later.price()))
        assert all(200 <= each["cpu_seconds"] < 230 for each in (price, later.price()))
        assert later.price()["real_steps"] == price["real_steps"] + 700


def events(folder):
    log = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


def test_every_generation_is_logged_once_even_when_resumed(tmp_path):
    """What the broken session logged after its last checkpoint gives way to what the later one logs."""
    seen = []

    class Recording(InProcess):
        def score(self, task, candidates, generation):
            seen.append(super().score(task, candidates, generation))
            return seen[-1]

    with opened(tmp_path, every=2) as run:
        searched(run)
        breaks(run, 3, stage="inner")
    (log,) = tmp_path.glob("events.*")
    log.rename(tmp_path / "events.out.tfevents.0.of-a-second-before")  # names sort by the second they were opened in
    with opened(tmp_path, resume=True, every=2) as later:
        searched(later, Recording(), stage="inner")
        spent = later.price()["real_steps"]
    found = events(tmp_path)
    last = np.stack([score.fitness.numpy() for score in seen])  # [G, P], generations 2 to 5
    expected = {
        "fitness/mean": last.mean(1),
        "fitness/best": last.max(1),
        "fitness/q10": np.quantile(last, 0.1, axis=1),
        "fitness/median": np.median(last, axis=1),
        "fitness/q90": np.quantile(last, 0.9, axis=1),
    }
    names = [*expected, "search/sigma", "search/mean_norm", "price/real_steps", "price/seconds"]
    assert set(found) == {f"{stage}/{name}" for stage in ("greedy", "inner") for name in names}
    for stage, first in (("greedy", 1), ("inner", 1 + SEARCH.generations)):
        for name in names:
            steps = [step for step, _ in found[f"{stage}/{name}"]]
            assert steps == list(range(first, first + SEARCH.generations)), (stage, name)
    for name, values in expected.items():
        np.testing.assert_allclose([value for _, value in found[f"inner/{name}"]][2:], values, rtol=1e-5)
    assert found["inner/price/real_steps"][-1][1] == spent
    assert all(math.isfinite(value) for series in found.values() for _, value in series)
    first, *_, final = (value for _, value in found["greedy/search/sigma"])
    assert 0 < final < 1.1 * first
    norms = [value for _, value in found["greedy/search/mean_norm"]]
    assert norms[0] < norms[-1]


def test_the_bar_shows_fitness_price_and_time_left(tmp_path, capfd):
    with Run(RECIPE, tmp_path / "loud", progress=True) as run:
        searched(run)
    bar = capfd.readouterr().err
    assert re.search(r"greedy: .* \d/6 \[\d\d:\d\d<.*best=-\d.*, fitness=-\d.*, real_steps=480\]", bar)
    with opened(tmp_path / "quiet") as run:
        searched(run)
    with Run(RECIPE, tmp_path / "piped") as run:
        searched(run)
    assert capfd.readouterr().err == "", "nobody watches"
