"""Every benchmark runs its protocol from beginning to end, here with budgets that prove nothing else."""

import csv
import json
import math
import shutil

import numpy as np
import pytest
import torch

from benchmarks import harness, learners_vs_sb3, meta_cost, population, random_hyperparameters, throughput, transfer
from benchmarks.students import EXAM_SEED, Lesson, study
from benchmarks.tables import rows_of
from synthenv import artifact, recipe, sb3, shelf, worlds
from synthenv.expected import expected_steps
from synthenv.recipe import DynamicsStage, EnvRecipe, GreedyStage, Inner, InnerStage, Search, StatesStage
from synthenv.scores import read_trials
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


def test_marks_are_of_the_policy_that_goes_beyond_the_budget(bandit_folder):
    """PPO that learns after 16, 32, ... steps: untrained at 15, once trained at 16, rounded up at the end."""
    few = {"n_steps": 16, "batch_size": 8, "learning_rate": 0.1}
    env, seed = str(bandit_folder), 3
    marks = [trial.real_return for trial in study(Lesson(env, "ppo", seed, (15, 16, 31, 33), 3, few))]
    untrained = sb3.algorithm("ppo")("MlpPolicy", sb3.make_vec_env(env, 1, seed), seed=seed, device="cpu", **few)

    def returns(model):
        return sb3.evaluate(model, "CartPole-v1", 3, EXAM_SEED + seed).mean()

    trained = [sb3.train("ppo", env, steps, seed=seed, hyperparameters=few, progress=False) for steps in (16, 48)]
    assert marks == [returns(untrained), returns(trained[0]), returns(trained[0]), returns(trained[1])]


def test_random_hyperparameters_writes_what_each_agent_drew(tmp_path, bandit_folder):
    quick = ("--draws", 2, "--steps", 500, "--episodes", 2)
    run(random_hyperparameters, tmp_path, "--environments", bandit_folder, "CartPole-v1", *quick)
    rows = rows_of(tmp_path / "random_hyperparameters.csv")
    assert [row["algorithm"] for row in rows] == ["PPO"] * 4 + ["PPO, norm 0.5"] * 4 + ["DQN"] * 4
    assert [row["double"] for row in rows] == [""] * 8 + ["False"] * 2 + ["True"] * 2
    inside, outside = ([row for row in rows if row["environment"] == e] for e in (bandit_folder.name, "CartPole-v1"))
    drawn = (*random_hyperparameters.COLUMNS, "double", "draw")
    assert [[row[key] for key in drawn] for row in inside] == [[row[key] for key in drawn] for row in outside]
    assert all(float(row["rate"]) in random_hyperparameters.RATES for row in rows)
    assert {row["origin"] for row in inside} == {shelf.card(bandit_folder)["sha256"]}


def test_population_counts_every_agent(tmp_path, bandit_folder):
    quick = ("--settings", "fast", "--populations", 2, "--agents", 4, "--one-by-one", 1, "--episodes", 2)
    run(population, tmp_path, "--environments", bandit_folder, *quick)
    together, alone = rows_of(tmp_path / "population.csv")
    assert (together["how"], together["agents"]) == ("batches of 2", "4")
    assert (alone["how"], alone["agents"]) == ("SB3, one by one", "1")
    assert float(together["agents a second"]) > float(alone["agents a second"]) > 0


def test_learners_are_measured_after_equally_many_steps(tmp_path):
    run(learners_vs_sb3, tmp_path, "--seeds", 1, "--share", 0.001, "--episodes", 2)
    trials = read_trials(tmp_path / "learners_vs_sb3.csv")
    ours, theirs = (
        [(t.algorithm, t.steps, t.seed) for t in trials if t.environment == side]
        for side in (learners_vs_sb3.OURS, learners_vs_sb3.THEIRS)
    )
    assert ours == theirs
    assert {(algorithm, steps) for algorithm, steps, _ in ours} == {
        ("PPO", 2048), ("A2C", 40), ("A2C", 80), ("DQN", 256)
    }  # fmt: skip
    assert (tmp_path / "learners_vs_sb3.png").is_file()


def test_meta_cost_switches_every_stage_off(tmp_path):
    small = Search(options={"sigma": 0.3}, population=4, generations=2)
    inner = InnerStage(search=small, loops=(Inner("a2c", 10),), agents=1, episodes=1)
    made = EnvRecipe(
        "Tiny-v0", "CartPole-v1", "mdp", horizon=5, greedy=GreedyStage(search=small, episodes=1),
        states=StatesStage(episodes=2, updates=2), dynamics=DynamicsStage(updates=2), inner=inner,
    )  # fmt: skip
    world = worlds.synthetic(made, torch.zeros(4), torch.ones(4))
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

    table.write_text(table.read_text().replace("without greedy", "without nothing"))
    run(meta_cost, tmp_path, *quick)
    again = rows_of(table)
    assert [row["stages"] for row in again] == [row["stages"] for row in rows]
    assert again[:12] == rows[:12]


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
