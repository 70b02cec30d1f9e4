"""From recipe to artifact and back from the dead: small budgets, all stages, both forms."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from synthenv import artifact, rollout, worlds
from synthenv.gym import synthetic
from synthenv.meta import dynamics, evolve, states
from synthenv.meta.run import CHECKPOINT, read_checkpoint
from synthenv.recipe import Exam, Inner, InnerStage, Search, StatesStage, digest
from synthenv.seeding import generator
from tests.meta import toys, victim

STAGES = {
    "bandit": ["look", "greedy", "seen", "states", "inner"],
    "mdp": ["look", "greedy", "seen", "states", "dynamics", "inner"],
}


def made(recipe, folder, **options):
    return evolve(recipe, folder / "env", run_folder=folder / "run", **{"workers": 1, "progress": False, **options})


def without(case, *stages, **changes):
    """The tiny recipe with some stages switched off, and no exam."""
    recipe = toys.recipe(*case, exam=Exam(agents=0), **changes)
    return replace(recipe, **{stage: replace(getattr(recipe, stage), enabled=False) for stage in stages})


def facts(folder):
    """The card as strict JSON, without what differs from run to run."""

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    card = json.loads((folder / "env" / "card.json").read_text(), parse_constant=refuse)
    return {name: value for name, value in card.items() if name not in ("seconds", "cpu_seconds", "date")}


def model(folder):
    return (folder / "env" / "model.safetensors").read_bytes()


def different(one, other):
    """Parts of the world that are not the same, bit for bit."""
    assert one.keys() == other.keys()
    return {name.split(".")[0] for name, leaf in one.items() if not torch.equal(leaf, other[name])}


CASES = [(form, target) for target in ("CartPole-v1", "Pendulum-v1") for form in ("bandit", "mdp")]
CARTPOLE, MDP = CASES[:2]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request):
    """A form, and a target: one of choices, one of numbers that never ends."""
    return request.param


@pytest.fixture(scope="module")
def form(case):
    return case[0]


@pytest.fixture(scope="module")
def straight(case, tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    made(toys.recipe(*case), folder)
    return folder


def test_an_artifact_and_its_record(case, form, straight):
    found, recipe = artifact.load(straight / "env"), toys.recipe(*case)
    assert found.recipe == recipe
    assert list(found.card["stages"]) == STAGES[form]
    ledger, tensors = read_checkpoint(straight / "run" / CHECKPOINT, digest(recipe))
    assert ledger.done == found.card["stages"]
    assert ledger.real_steps == found.card["real_steps"]
    assert not any(name.startswith("search.") for name in tensors)
    assert sorted(path.name for path in straight.iterdir()) == ["env", "run"]
    assert [path.name for path in (straight / "run").iterdir() if not path.name.startswith("events.")] == [CHECKPOINT]
    assert 0 < found.card["seconds"] < 60
    assert facts(straight)["exam"]["a2c-200"]["n"] == 2
    weights = {name: leaf for name, leaf in found.weights.items() if name not in ("centre", "reach")}
    for name, leaf in toys.world(*case).init(generator(0), 1).items():
        assert weights.pop(name).shape == leaf.shape, name
    assert not weights


def test_what_was_evolved_can_be_played(form, straight):
    found = artifact.load(straight / "env")
    world, params = synthetic(found)

    def act(observation, generator):
        return world.payoff.random(observation.shape[:2], generator)

    luck = generator(5)
    begun = rollout.begin(world, params, luck, 20)
    steps, _ = rollout.collect(world, params, act, begun, 50, luck, found.recipe.time_limit)
    box = found.card["spaces"]["observation"]
    assert (steps.observation >= torch.tensor(box["low"])).all()
    assert (steps.observation <= torch.tensor(box["high"])).all()
    assert steps.terminated.all() == (form == "bandit")


def test_the_price_is_what_was_spent_on_the_real_task(case, tmp_path):
    """64 random walks of 50 steps to look around, the searches, and 4 greedy episodes of full length; no exam."""
    horizon = worlds.real(case[1]).horizon
    shortest = 8 if case[1] == "CartPole-v1" else horizon
    look, seen = 64 * 50, 4 * horizon
    assert made(without(case, "greedy", "inner"), tmp_path / "none").card["real_steps"] == look + seen
    greedy = made(without(case, "inner"), tmp_path / "greedy").card["real_steps"] - look - seen
    assert 8 * 3 * shortest <= greedy <= 8 * 3 * horizon, "24 episodes"
    whole = made(without(case), tmp_path / "whole").card["real_steps"]
    inner = whole - look - seen - greedy
    assert 4 * 2 * 2 * shortest <= inner <= 4 * 2 * 2 * horizon, "2 generations of 4 candidates with 2 agents"
    examined = made(toys.recipe(*case), tmp_path / "examined")
    assert examined.card["real_steps"] == whole
    assert examined.card["exam"]


def test_all_randomness_follows_from_the_seed(case, form, straight, tmp_path):
    made(toys.recipe(*case), tmp_path / "again")
    assert model(tmp_path / "again") == model(straight)
    assert facts(tmp_path / "again") == facts(straight)
    other = made(toys.recipe(*case, seed=1), tmp_path / "other").weights
    learned = different(artifact.load(straight / "env").weights, other)
    assert learned == {"start", "reward", "centre", "reach", *(("transition", "cost") if form == "mdp" else ())}


def test_with_all_stages_off_nothing_is_learned(case, form, tmp_path):
    recipe = without(case, "greedy", "states", "dynamics", "inner")
    found = made(recipe, tmp_path)
    assert list(found.card["stages"]) == ["look", "seen"]
    real = worlds.real(case[1])
    box, _, _ = states.random_box(real, generator(0, "look"))
    world = worlds.synthetic(recipe, real.spaces.action, box["centre"], box["reach"])
    begun = world.init(generator(0, "init"), 1)
    assert found.weights.keys() == {*begun, "centre", "reach"}
    assert all(torch.equal(found.weights[name], leaf) for name, leaf in begun.items())
    assert torch.equal(found.weights["centre"][0], box["centre"])
    assert torch.equal(found.weights["reach"][0], box["reach"])
    assert found.card["exam"] == {}


def test_each_stage_changes_its_own(case, form, tmp_path):
    """Switched on one after the other; what a stage does not own stays bit for bit."""
    off = ["greedy", "states", "dynamics", "inner"]
    nothing = made(without(case, *off), tmp_path / "nothing").weights
    greedy = made(without(case, *off[1:]), tmp_path / "greedy").weights
    assert different(nothing, greedy) == {"reward"}
    taught = made(without(case, *off[2:]), tmp_path / "states").weights
    assert {"start", "reward", "noise", "centre", "reach"} <= different(greedy, taught)
    assert not {"transition", "cost"} & different(greedy, taught)
    assert (taught["reach"] > greedy["reach"]).all()
    moving = made(without(case, *off[3:]), tmp_path / "dynamics").weights
    assert different(taught, moving) == ({"transition", "cost"} if form == "mdp" else set())
    recipe = without(case)
    for parts in (("start",), ("reward", "noise")):
        inner = made(replace(recipe, inner=replace(recipe.inner, parts=parts)), tmp_path / "-".join(parts)).weights
        assert different(moving, inner) == set(parts)


def test_the_box_is_as_wide_as_it_always_was(straight):
    """To the last bit, as the environments that have shipped: numbers first, then the numbers and what was seen."""
    _, tensors = read_checkpoint(straight / "run" / CHECKPOINT, digest(artifact.load(straight / "env").recipe))
    found = artifact.load(straight / "env")
    centre, far = states.extent(tensors["seen.observation"])
    stage = found.recipe.states
    assert torch.equal(found.weights["centre"][0], centre)
    assert torch.equal(found.weights["reach"][0], stage.reach * stage.widen * far)


def test_dimensions_are_widened_to_the_floor(case, form, tmp_path, monkeypatch):
    """Where states are taught and dynamics learned, the far end of each is 1 / reach; graded ones lie further in."""
    shown = []

    def watched(fit):
        def fitted(synthetic, network, seen, *rest):
            shown.append(seen if torch.is_tensor(seen) else seen["observation"])
            return fit(synthetic, network, seen, *rest)

        return fitted

    monkeypatch.setattr(states, "fit_start", watched(states.fit_start))
    monkeypatch.setattr(dynamics, "fit_transition", watched(dynamics.fit_transition))
    stage = StatesStage(episodes=4, updates=2, reach=1.25, widen=1.5, floor=5.0)
    found = made(without(case, "greedy", "inner", states=stage), tmp_path / "whole").weights
    assert len(shown) == (2 if form == "mdp" else 1)
    for u in shown:
        torch.testing.assert_close(u.abs().quantile(states.FAR, 0), 0.8 * torch.ones_like(u[0]))
    assert (found["reach"] > 1.25 * 5.0 * 0.999).all()
    whole, *learned = shown
    shown.clear()
    again = made(without(case, "greedy", "inner", states=replace(stage, graded=True)), tmp_path / "graded").weights
    assert torch.equal(again["reach"], found["reach"])
    assert all(map(torch.equal, shown[1:], learned)), "dynamics are those of the whole box"
    share = shown[0] / whole
    assert ((share > 0) & (share < 1 + 1e-4)).all()
    assert (share[:, :2].std(0) > 0.1).all()


def test_a_soft_teacher_is_the_same_one_that_pushes_less(case, tmp_path):
    """The vertex is so much nearer to the middle of the box in every state; choices, and all else, stay as they are."""
    stages = {share: StatesStage(episodes=4, updates=2, soft=share) for share in (0.5, 1.0)}
    soft, plain = (
        made(without(case, "greedy", "dynamics", "inner", states=stage), tmp_path / f"{share}")
        for share, stage in stages.items()
    )
    choices = case[1] == "CartPole-v1"
    assert different(plain.weights, soft.weights) == (set() if choices else {"reward"})
    names = [name for name in plain.weights if not torch.equal(plain.weights[name], soft.weights[name])]
    assert names == [] if choices else sorted(names) == ["reward.b1", "reward.w1"]
    for name in names:
        torch.testing.assert_close(soft.weights[name][..., 0], 0.5 * plain.weights[name][..., 0])


@pytest.mark.parametrize("setting", [{"nearest": 0.5}, {"telling": 0.3}, {"stubborn": 0.4}])
def test_which_states_are_shown_changes_first_states(case, tmp_path, setting):
    """And how large rewards of choices are, which goes by the states they are spread over, left out or not."""
    stage = StatesStage(episodes=4, updates=2, graded=True)
    some, plain = (
        made(without(case, "greedy", "dynamics", "inner", states=states), tmp_path / name).weights
        for name, states in (("some", replace(stage, **setting)), ("plain", stage))
    )
    scaled = "nearest" in setting and case[1] == "CartPole-v1"
    assert different(plain, some) == ({"start", "reward"} if scaled else {"start"})


def test_dynamics_do_not_need_widened_states(tmp_path):
    """Without stage 2 they are learned in the first box, whose edge a greedy policy may leave."""
    found = made(without(MDP, "states", "inner"), tmp_path)
    assert list(found.card["stages"]) == ["look", "greedy", "seen", "dynamics"]
    nothing = made(without(MDP, "states", "dynamics", "inner"), tmp_path / "nothing").weights
    assert different(found.weights, nothing) == {"transition", "cost"}
    assert (found.weights["cost.end"] > 0).all()


def test_a_finished_run_is_resumed_for_nothing(case, straight, tmp_path):
    evolve(toys.recipe(*case), tmp_path / "env", run_folder=straight / "run", resume=True, workers=1, progress=False)
    assert model(tmp_path) == model(straight)
    assert facts(tmp_path) == facts(straight)


def test_a_folder_with_a_run_is_refused(case, straight, tmp_path):
    before = model(straight), (straight / "run" / CHECKPOINT).read_bytes()
    with pytest.raises(ValueError, match="holds a run already; resume it, or choose another folder"):
        made(toys.recipe(*case), straight)
    with pytest.raises(ValueError, match="is of another recipe"):
        made(toys.recipe(*case, seed=1), straight, resume=True)
    assert (model(straight), (straight / "run" / CHECKPOINT).read_bytes()) == before
    with pytest.raises(ValueError, match="nothing to resume"):
        made(toys.recipe(*case), tmp_path, resume=True)
    assert not list(tmp_path.iterdir())


def test_runs_are_kept_under_their_id_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    evolve(without(CARTPOLE, "inner"), "env", progress=False)
    assert (tmp_path / "runs" / "Tiny-bandit-v0" / CHECKPOINT).is_file()
    assert artifact.load("env").recipe.id == "Tiny-bandit-v0"


GOOD = toys.recipe()
ODD = Search("snes", {"mirrored": True}, population=7)
BAD = {
    "target": (replace(GOOD, target="CartPole-v2"), "no real task is called 'CartPole-v2'; did you mean 'CartPole-v1'"),
    "strategy": (Search("sness"), "no strategy is called 'sness'; did you mean 'snes'"),
    "option": (Search("snes", {"sigmma": 1.0}), "did you mean 'sigma'"),
    "odd-population": (ODD, "even population, got 7"),
    "algorithm": (Inner("ppp"), "no learner is called 'ppp'; did you mean 'ppo'"),
    "setting": (Inner("ppo", settings={"lenght": 3}), "did you mean 'length'"),
    "hyperparameter": (Inner("ppo", draws={"ratte": (1.0,)}), "did you mean 'rate'"),
    "no-values": (Inner("ppo", draws={"rate": ()}), "rate"),
    "soft": (replace(GOOD, states=StatesStage(soft=-0.2)), "states.soft above 0, 1 for the teacher as it is, got -0.2"),
    "nearest": (replace(GOOD, states=StatesStage(graded=True, nearest=1.0)), "nearest of 0 or more and below 1, got 1"),
    "no-grades": (replace(GOOD, states=StatesStage(nearest=0.5)), "set states.graded: true"),
    "telling": (replace(GOOD, states=StatesStage(telling=-0.1)), "telling of 0 or more and below 1, got -0.1"),
    "shift": (replace(GOOD, shift=float("nan")), "shift to be a number, got nan"),
    "shift-mdp": (replace(GOOD, form="mdp", shift=1.0), "shift is for the bandit form"),
    "calm": (replace(GOOD, greedy=replace(GOOD.greedy, calm=-1.0)), "greedy.calm of 0 or more, got -1.0"),
    "calm-learner": (
        replace(GOOD, greedy=replace(GOOD.greedy, calm=1.0, learner=Inner("ppo"))),
        "greedy.calm is for evolution, greedy.learner trains instead",
    ),
    "misread": (
        replace(GOOD, greedy=replace(GOOD.greedy, misread=float("inf"))),
        "greedy.misread of 0 or more, got inf",
    ),
    "stubborn": (replace(GOOD, states=StatesStage(stubborn=1.0)), "stubborn of 0 or more and below 1, got 1.0"),
    "count": (Inner("dqn", settings={"updates": -1}), "dqn.updates must be at least 1, got -1"),
    "no-envs": (Inner("ppo", settings={"envs": 0}), "ppo.envs must be at least 1, got 0"),
    "no-batch": (Inner("ppo", settings={"batch": 0}), "ppo.batch must be at least 1, got 0"),
    "no-units": (Inner("ppo", settings={"hidden": [8, 0]}), r"ppo\.hidden\[1\] must be at least 1, got 0"),
    "before-the-start": (Inner("dqn", settings={"warmup": -1}), "dqn.warmup must be at least 0, got -1"),
    "no-steps": (Inner("a2c", 0), r"loops\[0\]\.steps must be at least 1, got 0"),
    "activation": (
        Inner("a2c", settings={"activation": "gelu"}),
        "a2c.activation must be one of tanh, relu, silu, got",
    ),
    "dueling": (Inner("dqn", settings={"dueling": True, "hidden": []}), "dueling needs 1 hidden layers that"),
    "few": (Search("cma_es", population=2), "cma_es needs a population of at least 4, got 2"),
    "nobody": (Search(population=0), "search.population must be at least 1, got 0"),
    "own-activation": (replace(GOOD, activation="gelu"), "activation must be one of tanh, relu, silu, got 'gelu'"),
    "no-layer": (replace(GOOD, layers=(8, 0)), r"layers\[1\] must be at least 1, got 0"),
    "no-agents": (replace(GOOD, inner=replace(GOOD.inner, agents=0)), "inner.agents must be at least 1, got 0"),
    "no-episodes": (
        replace(GOOD, greedy=replace(GOOD.greedy, episodes=0)),
        "greedy.episodes must be at least 1",
    ),
    "no-chunk": (replace(GOOD, inner=replace(GOOD.inner, chunk=0)), "inner.chunk must be at least 1, got 0"),
    "still": (
        replace(GOOD, inner=replace(GOOD.inner, parts=("transition", "cost"))),
        "inner.parts must name one of height, noise, reward, start, which a bandit has, got transition, cost",
    ),
    "no-parts": (replace(GOOD, inner=replace(GOOD.inner, parts=())), "which a bandit has, got none"),
    "no-loops": (replace(GOOD, inner=replace(GOOD.inner, loops=())), "loop"),
}


def placed(wrong):
    """The recipe with something wrong in it, wherever such a thing can be."""
    if isinstance(wrong, Search):
        return [replace(GOOD, **{s: replace(getattr(GOOD, s), search=wrong)}) for s in ("greedy", "inner")]
    if isinstance(wrong, Inner):
        return [replace(GOOD, **{s: replace(getattr(GOOD, s), loops=(wrong,))}) for s in ("inner", "exam")]
    return [wrong]


@pytest.mark.parametrize(("wrong", "said"), BAD.values(), ids=BAD)
def test_a_bad_recipe_is_refused_before_anything_is_written(tmp_path, wrong, said):
    for recipe in placed(wrong):
        with pytest.raises(ValueError, match=said):
            made(recipe, tmp_path)
        assert not list(tmp_path.iterdir())


def test_nothing_may_mean_something(tmp_path):
    """No further generation, no patience, no exam, no steps at random; and any seed."""
    recipe = toys.recipe(seed=-3, exam=Exam(agents=0))
    loops = (Inner("dqn", 8, {"warmup": 0}),)
    inner = replace(recipe.inner, search=replace(recipe.inner.search, generations=0, patience=0), loops=loops)
    made(replace(recipe, inner=inner), tmp_path)
    off = replace(recipe, inner=InnerStage(enabled=False, chunk=0), dynamics=replace(recipe.dynamics, enabled=False))
    made(off, tmp_path / "off")


def test_loops_of_a_stage_that_is_off_are_nobodys_business(tmp_path):
    """The default ones have a learner of choices, which the pendulum has none of."""
    recipe = toys.recipe("bandit", "Pendulum-v1", inner=InnerStage(), exam=Exam(agents=0))
    with pytest.raises(ValueError, match=r"expected a task with Discrete actions.*dqn has no other policy, try a2c"):
        made(recipe, tmp_path)
    made(replace(recipe, inner=InnerStage(enabled=False)), tmp_path)
    with pytest.raises(ValueError, match="dqn has no other policy"):
        made(replace(recipe, inner=InnerStage(enabled=False), exam=Exam()), tmp_path / "examined")


def test_a_folder_of_something_else_is_refused_before_anything_is_spent(tmp_path):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="not ours to replace; choose another folder"):
        made(GOOD, tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["env", "thesis.tex"]


@pytest.mark.parametrize("guard", ["", "if __name__ == '__main__': "])
def test_a_script_must_let_its_processes_import_it(tmp_path, guard):
    """Those of a script without a guard run it again."""
    call = f"evolve(recipe(), {str(tmp_path / 'env')!r}, run_folder={str(tmp_path / 'run')!r}, workers=2)"
    lines = ("from synthenv.meta import evolve", "from tests.meta.toys import recipe", guard + call)
    (tmp_path / "script.py").write_text("\n".join(lines))
    command = [sys.executable, str(tmp_path / "script.py")]
    path = os.pathsep.join((str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")))
    told = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (told.returncode == 0) == bool(guard)
    assert ('put the call under `if __name__ == "__main__":`, or give workers=1' in told.stderr) == (not guard)
    assert "holds a run already" not in told.stderr
    assert (tmp_path / "env").exists() == bool(guard)


def test_killed_before_every_file_it_writes(case, form, straight, tmp_path):
    """Each session makes one file whole and dies with the next one written but not in place."""
    recipe, deaths = toys.recipe(*case), 0
    while not victim.survived(recipe, tmp_path, fatal=2):
        deaths += 1
        assert not (tmp_path / "env").exists()
        read_checkpoint(tmp_path / "run" / CHECKPOINT, digest(recipe))
        assert deaths < 30
    assert deaths == len(STAGES[form]) + 3 + 2, "a file for every stage and generation, then the artifact"
    assert model(tmp_path) == model(straight)
    assert facts(tmp_path) == facts(straight)


def test_killed_before_its_first_file(case, tmp_path):
    assert not victim.survived(toys.recipe(*case), tmp_path, fatal=1)
    assert not (tmp_path / "run" / CHECKPOINT).exists()
    with pytest.raises(ValueError, match=r"nothing to resume.*start without resume"):
        made(toys.recipe(*case), tmp_path, resume=True)
    made(without(case, "greedy", "states", "dynamics", "inner"), tmp_path)


def test_killed_three_times_at_any_moment(case, straight, tmp_path):
    for _ in range(3):
        process = victim.begun(toys.recipe(*case), tmp_path)
        time.sleep(random.SystemRandom().uniform(0, 0.4))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        if (tmp_path / "env").exists():
            artifact.verify(tmp_path / "env")
    assert victim.survived(toys.recipe(*case), tmp_path)
    assert model(tmp_path) == model(straight)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killed_with_workers(tmp_path):
    """In the middle of the inner stage, where there are some: they end too, and the run goes on bit for bit."""
    recipe = toys.recipe("mdp")
    expected = made(recipe, tmp_path / "straight")
    assert not victim.survived(recipe, tmp_path, workers=2, fatal=10)
    left = [int(pid) for pid in (tmp_path / "workers").read_text().split()]
    assert len(left) == 2
    deadline = time.monotonic() + 10
    while any(map(alive, left)) and time.monotonic() < deadline:
        time.sleep(0.05)
    orphans = [pid for pid in left if alive(pid)]
    for pid in orphans:
        os.kill(pid, signal.SIGKILL)
    assert victim.survived(recipe, tmp_path, workers=2)
    assert model(tmp_path) == model(tmp_path / "straight")
    assert facts(tmp_path)["stages"] == expected.card["stages"]
    assert not orphans, "workers outlived the run they worked for"
