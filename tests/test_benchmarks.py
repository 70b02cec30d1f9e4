"""Every benchmark runs its protocol from beginning to end, here with budgets that prove nothing else."""

import csv
import inspect
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3 import A2C

from benchmarks import (
    harness,
    learners_vs_sb3,
    meta_cost,
    population,
    random_hyperparameters,
    throughput,
    transfer,
    worlds_throughput,
)
from benchmarks.students import Lesson, exam_seed, study
from benchmarks.tables import peers, rows_of
from synthenv import artifact, learners, presets, recipe, sb3, shelf, worlds
from synthenv.expected import expected_steps
from synthenv.recipe import DynamicsStage, EnvRecipe, GreedyStage, Inner, InnerStage, Search, StatesStage
from synthenv.scores import read_trials, write_trials
from tests.conftest import random_artifact


def run(benchmark, results, *arguments):
    """What `python -m benchmarks...` does with these arguments, in this process."""
    return benchmark.main([*map(str, arguments), "--workers", "1", "--results", str(results)])


@pytest.fixture
def measure_transfer(tmp_path, bandit_folder):
    """A quick transfer benchmark, which returns its trials."""

    def measure(*arguments):
        quick = ("--algorithms", "A2C", "--steps", 6, 20, "--episodes", 2)
        run(transfer, tmp_path, "--environments", bandit_folder, "CartPole-v1", *quick, *arguments)
        return read_trials(tmp_path / "transfer.csv")

    return measure


def test_transfer_measures_every_agent_at_every_budget(measure_transfer, tmp_path, bandit_folder):
    trials = measure_transfer("--seeds", 2)
    assert [(t.environment, t.seed, t.steps) for t in trials] == [
        (environment, seed, steps)
        for environment in ("CartPole-v1", bandit_folder.name)
        for seed in (transfer.FIRST_SEED, transfer.FIRST_SEED + 1)
        for steps in (6, 20)
    ]
    assert all(t.algorithm == "A2C" and t.episodes == 2 and t.real_return >= 8 for t in trials)
    assert all(late.cpu_seconds >= early.cpu_seconds > 0 for early, late in zip(trials[::2], trials[1::2], strict=True))
    made_of = json.loads((tmp_path / "transfer.json").read_text())["environments"]
    assert made_of[bandit_folder.name] == shelf.card(bandit_folder)["sha256"]
    assert (tmp_path / "transfer.png").stat().st_size > 10_000


def test_transfer_goes_on_where_it_was(measure_transfer, capsys):
    before = measure_transfer("--seeds", 1)
    after = measure_transfer("--seeds", 2)
    assert "2 of 4 agents to train" in capsys.readouterr().out
    assert set(before) < set(after)
    measure_transfer("--seeds", 1, "--fresh")
    assert "2 of 2 agents to train" in capsys.readouterr().out


def test_transfer_trains_again_where_weights_changed(measure_transfer, bandit_folder, capsys):
    before = measure_transfer("--seeds", 1)
    shutil.rmtree(bandit_folder)
    random_artifact(bandit_folder, "bandit", noise=0.2)
    after = measure_transfer("--seeds", 1)
    assert "1 of 2 agents to train" in capsys.readouterr().out
    assert before[:2] == after[:2]


def test_transfer_does_not_mix_protocols(measure_transfer):
    measure_transfer("--seeds", 1)
    with pytest.raises(SystemExit, match="--fresh"):
        measure_transfer("--seeds", 1, "--steps", "5")


def test_transfer_does_not_mix_versions(measure_transfer, tmp_path):
    measure_transfer("--seeds", 1)
    facts = tmp_path / "transfer.json"
    facts.write_text(facts.read_text().replace(torch.__version__, "0.4"))
    with pytest.raises(SystemExit, match=r"was measured with .*'torch': '0\.4'"):
        measure_transfer("--seeds", 2)


def test_transfer_begins_again_only_with_what_is_asked_for(measure_transfer, tmp_path, bandit_folder):
    before = measure_transfer("--seeds", 1)
    table = tmp_path / "transfer.csv"
    write_trials(table, [replace(trial, cpu_seconds=77.0) for trial in before])
    quick = ("--steps", 5, "--seeds", 1, "--episodes", 2, "--algorithms", "A2C", "--fresh")
    run(transfer, tmp_path, "--environments", "CartPole-v1", *quick)
    ended, *kept = read_trials(table)
    assert (ended.environment, ended.steps) == ("CartPole-v1", 5)
    assert [(trial.environment, trial.cpu_seconds) for trial in kept] == [(bandit_folder.name, 77.0)] * 2


def test_transfer_uses_the_presets_where_the_protocol_says_so(tmp_path, capsys):
    folder = random_artifact(tmp_path / "SynthBandit-Pendulum-v0", "bandit", target="Pendulum-v1")
    quick = ("--environments", folder, "--algorithms", "A2C", "--steps", 20, "--seeds", 1, "--episodes", 1)
    run(transfer, tmp_path, *quick)
    (trial,) = read_trials(tmp_path / "transfer.csv")
    assert (trial.environment, trial.algorithm) == (folder.name, "A2C, rl_zoo3")
    facts = tmp_path / "transfer.json"
    made_of = json.loads(facts.read_text())
    preset = presets.read(shelf.root("agents") / "hyperparameters" / "a2c.yml", folder.name, A2C)
    assert made_of["presets"] == {
        "A2C, rl_zoo3 in SynthBandit-Pendulum-v0": {**preset.settings, "n_envs": preset.n_envs}
    }
    assert (tmp_path / "transfer-Pendulum-v1.png").is_file()

    run(transfer, tmp_path, *quick)
    assert "0 of 1 agents to train" in capsys.readouterr().out
    made_of["presets"]["A2C, rl_zoo3 in SynthBandit-Pendulum-v0"]["gamma"] = 0.5
    facts.write_text(json.dumps(made_of))
    run(transfer, tmp_path, *quick)
    assert "1 of 1 agents to train" in capsys.readouterr().out


def test_transfer_begins_with_what_matters_most():
    bandit, mdp = harness.forms("CartPole-v1")
    args = transfer.parse(["--seeds", "2", "--baseline-seeds", "1", "--algorithms", "TRPO", "PPO"])
    jobs = transfer.plan(args, ["CartPole-v1", mdp, bandit])
    assert [(job.lesson.environment, job.lesson.algorithm) for job in jobs] == [
        *[(bandit, "PPO")] * 2, *[(mdp, "PPO")] * 2, *[(bandit, "TRPO")] * 2, *[(mdp, "TRPO")] * 2,
        ("CartPole-v1", "PPO"), ("CartPole-v1", "TRPO"),
    ]  # fmt: skip
    assert [job.lesson.seed for job in jobs[:2]] == [transfer.FIRST_SEED, transfer.FIRST_SEED + 1]


@pytest.mark.parametrize("protocol", transfer.PROTOCOLS)
def test_every_protocol_names_algorithms_that_can_act_in_its_task(protocol):
    assert protocol.target in harness.TARGETS
    for algorithm in protocol.algorithms:
        sb3.algorithm(algorithm)("MlpPolicy", protocol.target, device="cpu")


def test_environments_not_on_the_shelf_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(shelf, "ids", lambda kind="envs": ["Synth-Acrobot-v0"])
    assert harness.asked(None, ["Acrobot-v1"]) == ["Synth-Acrobot-v0", "Acrobot-v1"]
    assert capsys.readouterr().out == "SynthBandit-Acrobot-v0 is not on the shelf: left out\n"


def test_marks_are_of_the_policy_that_goes_beyond_the_budget(bandit_folder):
    """PPO that learns after 16, 32, ... steps: untrained at 15, once trained at 16, rounded up at the end."""
    few = {"n_steps": 16, "batch_size": 8, "learning_rate": 0.1}
    env, seed = str(bandit_folder), 3
    marks = [trial.real_return for trial in study(Lesson(env, "ppo", seed, (15, 16, 31, 33), 3, few))]
    untrained = sb3.algorithm("ppo")("MlpPolicy", sb3.make_vec_env(env, 1, seed), seed=seed, device="cpu", **few)

    def returns(model):
        return sb3.evaluate(model, "CartPole-v1", 3, exam_seed(seed)).mean()

    trained = [sb3.train("ppo", env, steps, seed=seed, hyperparameters=few, progress=False) for steps in (16, 48)]
    assert marks == [returns(untrained), returns(trained[0]), returns(trained[0]), returns(trained[1])]


def test_random_hyperparameters_writes_what_each_agent_drew(tmp_path, bandit_folder):
    quick = ("--draws", 2, "--steps", 500, "--episodes", 2)
    run(random_hyperparameters, tmp_path, "--environments", bandit_folder, "CartPole-v1", *quick)
    rows = rows_of(tmp_path / "random_hyperparameters.csv")
    outside, inside = ([row for row in rows if row["environment"] == e] for e in ("CartPole-v1", bandit_folder.name))
    for place in (inside, outside):
        assert [row["algorithm"] for row in place] == ["PPO"] * 2 + ["PPO, norm 0.5"] * 2 + ["DQN"] * 2 + ["SAC"] * 2
        assert [row["double"] for row in place] == ["", "", "", "", "False", "True", "", ""]
    drawn = (*random_hyperparameters.DRAWN, "double", "draw")
    assert [[row[key] for key in drawn] for row in inside] == [[row[key] for key in drawn] for row in outside]
    assert all(float(row["rate"]) in random_hyperparameters.RATES for row in rows)
    assert {row["origin"] for row in inside} == {shelf.card(bandit_folder)["sha256"]}


def test_random_hyperparameters_goes_on_where_it_was(tmp_path, bandit_folder, capsys):
    quick = ("--environments", bandit_folder, "--steps", 200, "--episodes", 1)
    table = tmp_path / "random_hyperparameters.csv"
    run(random_hyperparameters, tmp_path, *quick, "--draws", 2, "--algorithms", "dqn")
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join([header, *(line.replace(",False,", ",False,1", 1) for line in lines)]) + "\n")
    before = rows_of(table)
    run(random_hyperparameters, tmp_path, *quick, "--draws", 2, "--algorithms", "dqn", "ppo")
    assert capsys.readouterr().out.endswith("3 of 4 classes to train\n")  # PPO twice, and DQN of the other weights
    ppo, after = rows_of(table)[:4], rows_of(table)[4:]
    assert {row["algorithm"] for row in ppo} == {"PPO", "PPO, norm 0.5"}
    assert after[1] == before[1]
    assert after[0]["origin"] == shelf.card(bandit_folder)["sha256"]
    run(random_hyperparameters, tmp_path, *quick, "--draws", 4, "--algorithms", "dqn")
    assert [(row["draw"], row["double"]) for row in rows_of(table)[4:]] == [
        ("0", "False"), ("1", "False"), ("2", "True"), ("3", "True"),
    ]  # fmt: skip
    assert rows_of(table)[:4] == ppo


@pytest.mark.parametrize("task", random_hyperparameters.TASKS)
def test_the_peers_protocol_fits_the_learners(task):
    real = worlds.real(task)
    for kind in random_hyperparameters.TASKS[task]:
        learner = learners.named(kind.loop.algorithm, real.spaces, **kind.loop.settings)
        learners.fill(learner, 1, dict.fromkeys(kind.loop.draws, 0.0))
        missing = kind.loop.draws.keys() - {*random_hyperparameters.DRAWN, "max_norm", "exploration"}
        assert not missing, "drawn, but written nowhere"
    ours = {(task, kind.label.split(",")[0]) for kind in random_hyperparameters.TASKS[task]}
    assert ours == {cell for cell in peers() if cell[0] == task}


def test_population_counts_every_agent(tmp_path, bandit_folder):
    few = ("--populations", 2, "--agents", 4, "--one-by-one", 1, "--episodes", 2)
    quick = ("--settings", "fast", "--ways", "plain", *few)
    before = torch.get_float32_matmul_precision()
    run(population, tmp_path, "--environments", bandit_folder, *quick)
    assert torch.get_float32_matmul_precision() == before
    rows = rows_of(tmp_path / "population.csv")
    assert [row["precision"] for row in rows] == ["highest", "medium"] * 2
    together, _, alone, _ = rows
    assert (together["how"], together["agents"]) == ("batches of 2", "4")
    assert (alone["how"], alone["agents"]) == ("SB3, one by one", "1")
    assert float(together["agents a second"]) > 0
    assert float(alone["agents a second"]) > 0
    assert alone["MB an agent"] == ""
    assert float(together["MB a process"]) > 100 > float(together["MB an agent"]) > 0

    table = tmp_path / "population.csv"
    written = table.read_text()
    run(population, tmp_path, "--environments", bandit_folder, *quick)
    assert table.read_text() == written
    run(population, tmp_path, "--environments", bandit_folder, *quick, "--precision", "highest", "--fresh")
    assert sum(line in written.splitlines() for line in table.read_text().splitlines()) == 3  # header, and "medium"


def test_population_plans_both_ways(bandit_folder):
    args = population.parse(["--environments", str(bandit_folder), "--settings", "fast", "--precision", "highest"])
    hows = [population.facts(work, 2)["how"] for work in population.plan(args)]
    assert hows == ["batches of 32", "batches of 32, compiled", "SB3, one by one"]


@pytest.mark.parametrize("task", population.SETTINGS)
def test_population_sets_both_sides_alike(task):
    """A setting that only one side knows would be dropped in silence."""
    ours_alone = {"envs", "hidden", "activation", "initial", "dueling", "shared", "exploration", "noise"}
    for setting in population.SETTINGS[task]:
        learner = learners.named(setting.algorithm, worlds.real(task).spaces, **setting.structure)
        learners.fill(learner, 1, setting.hyper)
        if setting.one_by_one:
            translated = population.translated(setting)
            taken = inspect.signature(sb3.algorithm(setting.algorithm)).parameters
            assert translated.keys() <= taken.keys()
            assert {*setting.structure, *setting.hyper} - ours_alone <= population.SB3.keys()


def test_learners_are_measured_after_equally_many_steps(tmp_path):
    run(learners_vs_sb3, tmp_path, "--seeds", 1, "--share", 0.001, "--episodes", 2)
    trials = read_trials(tmp_path / "learners_vs_sb3.csv")
    marks = {"CartPole-v1": {("PPO", 2048), ("A2C", 40), ("A2C", 80), ("DQN", 256)}}
    marks["Pendulum-v1"] = {(name, steps) for name in ("SAC", "TD3", "DDPG") for steps in range(1, 6)}
    for task, expected in marks.items():
        ours, theirs = (
            [(t.algorithm, t.steps, t.seed) for t in trials if t.environment == side.format(task)]
            for side in (learners_vs_sb3.OURS, learners_vs_sb3.THEIRS)
        )
        assert ours == theirs
        assert {(algorithm, steps) for algorithm, steps, _ in ours} == expected
        assert (tmp_path / learners_vs_sb3.plot_of(task)).is_file()


def test_meta_cost_switches_every_stage_off(tmp_path):
    small = Search(options={"sigma": 0.3}, population=4, generations=2)
    inner = InnerStage(search=small, loops=(Inner("a2c", 10),), agents=1, episodes=1)
    made = EnvRecipe(
        "Tiny-v0", "CartPole-v1", "mdp", horizon=5, greedy=GreedyStage(search=small, episodes=1),
        states=StatesStage(episodes=2, updates=2), dynamics=DynamicsStage(updates=2), inner=inner,
    )  # fmt: skip
    world = worlds.synthetic(made, worlds.real(made.target).spaces.action, torch.zeros(4), torch.ones(4))
    params = world.init(torch.Generator().manual_seed(0), 1)
    weights = {**params, "centre": torch.zeros(1, 4), "reach": torch.ones(1, 4)}
    folder = tmp_path / "Tiny-v0"
    artifact.save(folder, made, weights, artifact.describe(*world.spaces), expected_steps(world, params, 5))
    quick = ("--environments", folder, "--agents", 2, "--episodes", 1, "--steps", 10, "--seeds", 2)
    run(meta_cost, tmp_path, *quick)
    table = tmp_path / "meta_cost.csv"
    rows = rows_of(table)
    stages = ("all", "without inner", "without dynamics", "without states", "without greedy")
    assert [(row["stages"], row["algorithm"]) for row in rows] == [
        (stage, algorithm) for stage in stages for algorithm in ("ppo", "a2c", "dqn")
    ]
    assert rows[0]["recipe"] == recipe.digest(made)[:12]
    steps = {row["stages"]: int(row["real_steps"]) for row in rows}
    assert max(steps, key=steps.get) in ("all", "without states", "without dynamics")
    assert [row["seed"] for row in rows_of(tmp_path / "greedy.csv")] == ["50000", "50001"]

    (tmp_path / "greedy.csv").write_text(raced := (tmp_path / "greedy.csv").read_text().replace("50001,", "50001,9"))
    digest = rows[-1]["recipe"]
    table.write_text(table.read_text().replace(digest, "another"))
    run(meta_cost, tmp_path, *quick)
    assert (tmp_path / "greedy.csv").read_text() == raced
    again = rows_of(table)
    assert [row["stages"] for row in again] == [row["stages"] for row in rows]
    assert again[:12] == rows[:12]
    assert again[-1]["recipe"] == digest


def test_meta_cost_ablates_only_what_is_switched_on(tmp_path):
    folder = random_artifact(tmp_path / "Tiny-v0", "mdp", target="Pendulum-v1")
    path = folder / "recipe.yaml"
    stages = [variant.stages for variant in meta_cost.variants(folder, meta_cost.STAGES["mdp"])]
    assert stages == ["all", "without inner", "without dynamics", "without states", "without greedy"]
    raw = yaml.safe_load(path.read_text())
    raw["inner"]["enabled"] = False
    path.write_text(yaml.safe_dump(raw))
    whole, *rest = meta_cost.variants(folder, ["inner", "states"])
    assert [variant.stages for variant in rest] == ["without states"]
    assert not rest[0].recipe.states.enabled
    assert len({whole.digest, rest[0].digest}) == 2
    args = meta_cost.parse([])
    assert {exam.loop.algorithm for exam in meta_cost.examined(whole.recipe, args)} == {"sac", "td3"}


def test_published_prices_are_of_the_recipes_that_ship():
    """New fields of recipes must not make measurements of old files stale."""
    digests = {
        (variant.recipe.id, variant.stages): variant.digest
        for name in shelf.ids()
        for variant in meta_cost.variants(shelf.find(name), meta_cost.STAGES["mdp"])
    }
    path = harness.RESULTS / "meta_cost.csv"
    for row in rows_of(path) if path.is_file() else []:
        assert digests.get((row["environment"], row["stages"])) == row["recipe"]


@pytest.mark.parametrize("what", [throughput.VECTOR, throughput.TENSOR, throughput.RAW, throughput.SB3])
def test_throughput_steps_batches(artifact_folder, what):
    call = throughput.together(throughput.Case(str(artifact_folder), what, 3))
    observation = [call() for _ in range(9)][-1][0]
    assert isinstance(observation, torch.Tensor if what == throughput.TENSOR else np.ndarray)
    assert observation.shape == (3, 4)


def test_throughput_steps_one_and_its_witness(artifact_folder):
    for environment in (str(artifact_folder), "CartPole-v1"):
        step, between = throughput.alone(environment)
        for _ in range(30):
            (action,), _ = between()
            step(action)
        throughput.together(throughput.Case(environment, throughput.WHOLE, 1))()
    throughput.together(throughput.Case("CartPole-v1", throughput.VECTOR, 3))()


def test_throughput_compares_within_one_run(monkeypatch):
    monkeypatch.setattr(throughput, "IMPORTS", 1)
    seconds = {case: 1e-3 if case.environment == "CartPole-v1" else 2e-3 for case in throughput.CASES}
    *rows, imported = throughput.report(seconds)
    assert {row["ratio"] for row in rows if row["environment"] != "CartPole-v1"} == {0.5}
    assert {row["steps a CPU-second"] for row in rows if row["episodes"] == 1024} == {1_024_000, 512_000}
    assert imported["us a call"] > 0


def test_worlds_are_timed_beside_gymnasiums(tmp_path):
    tasks = ("CartPole-v1", "Pendulum-v1", "GridWorld-v0")
    quick = ("--tasks", *tasks, "--rounds", "1", "--seconds", "0")
    worlds_throughput.main([*quick, "--results", str(tmp_path)])
    rows = rows_of(tmp_path / "worlds_throughput.csv")
    assert [(row["task"], int(row["members"]), int(row["episodes"])) for row in rows] == [
        (task, *size) for task in tasks for size in worlds_throughput.SIZES
    ]
    assert [row["by"] for row in rows] == ["native"] * 4 + ["sync"] * 4 + [""] * 4
    assert all(float(row["steps a CPU-second"]) > 0 for row in rows)
    assert all(float(row["ratio"]) > 0 for row in rows if row["by"])


def test_jobs_are_spread_over_processes():
    assert harness.gather(math.sqrt, [4.0, 9.0, 16.0], 2) == [2.0, 3.0, 4.0]


def test_nothing_half_written_replaces_a_result(tmp_path):
    path = tmp_path / "rows.csv"
    harness.write_rows(path, [{"a": 1}])
    with pytest.raises(ValueError, match="dict contains fields"):
        harness.write_rows(path, [{"a": 2}, {"b": 3}])
    assert rows_of(path) == [{"a": "1"}]


@pytest.mark.parametrize("name", shelf.ids())
def test_published_results_are_of_the_weights_that_ship(name):
    digest = shelf.card(shelf.find(name))["sha256"]
    facts = harness.RESULTS / "transfer.json"
    if facts.is_file():
        assert json.loads(facts.read_text())["environments"].get(name, digest) == digest
    for table, environment, column in (
        ("random_hyperparameters", "environment", "origin"),
        ("population", "trained in", "weights"),
    ):
        path = harness.RESULTS / f"{table}.csv"
        rows = list(csv.DictReader(path.open(newline=""))) if path.is_file() else []
        assert all(digest.startswith(row[column]) for row in rows if row[environment] == name)
