"""Environments as instruments: both benchmarks from beginning to end, and the arithmetic of what they claim."""

import json

import numpy as np
import pytest
import torch

from benchmarks import faults
from benchmarks.tables import rows_of
from synthenv import catalogue, learners, shelf, worlds
from synthenv.tree import unravel
from tests.conftest import random_artifact
from tests.probes import experience

KINDS = {name: catalogue.named("synthenv.learners", name, "learner") for name in faults.SETTINGS}


def broken(fault, name):
    """One learner with a fault, small; and its agents, fresh."""
    kind = type("Broken", (faults.FAULTS[fault][name], KINDS[name]), {})
    quick = {"dqn": {"warmup": 0, "target_every": 4}, "ppo": {"epochs": 1}, "a2c": {}}[name]
    learner = kind(worlds.real("CartPole-v1").spaces, envs=3, length=4, hidden=(8, 8), **quick)
    agent = learner.init(learners.fill(learner, 1, {"rate": 0.01}), 100, torch.Generator().manual_seed(0))
    return learner, agent


def updated(fault, name, steps):
    """Parameters of an agent after one update."""
    learner, agent = broken(fault, name)
    return learner.update(agent, steps, torch.Generator().manual_seed(1))["flat"]


ALL = [(fault, name) for fault in faults.FAULTS for name in KINDS if fault != faults.SOUND]


def test_there_are_ten_faults_in_three_learners():
    assert len(ALL) == 30


@pytest.mark.parametrize(("fault", "name"), ALL)
def test_every_fault_changes_what_is_learned_or_done(fault, name):
    steps = experience(1, 4, 3)
    steps = steps._replace(reward=torch.randn(steps.reward.shape, generator=torch.Generator().manual_seed(2)))
    ends = torch.zeros_like(steps.terminated)
    ends[:, 1, 0] = True
    late = torch.zeros_like(ends)
    late[:, 2, 1] = True
    steps = steps._replace(terminated=ends, truncated=late)
    if fault == "no exploration":
        learner, agent = broken(fault, name)
        observation = torch.randn(1, 200, 4)
        assert learner.act(agent, observation, torch.Generator()).equal(learner.best(agent, observation))
        sound, _ = broken(faults.SOUND, name)
        assert not sound.act(agent, observation, torch.Generator()).equal(sound.best(agent, observation))
    elif fault == "stale target or critic":
        learner, agent = broken(fault, name)
        after = agent
        for _ in range(3):
            after = learner.update(after, steps, torch.Generator().manual_seed(1))
        stale = "target" if name == "dqn" else None
        before, then = (
            x[stale] if stale else learner.value(x, steps.observation[:, 0]) for x in (agent, after)
        )  # fmt: skip
        assert before.equal(then)
    else:
        assert not updated(fault, name, steps).equal(updated(faults.SOUND, name, steps))


@pytest.mark.parametrize("name", KINDS)
def test_a_detached_learner_trains_its_last_layers_only(name):
    learner, agent = broken("hidden layers untrained", name)
    after = learner.update(agent, experience(1, 4, 3), torch.Generator().manual_seed(1))
    old, new = (unravel(flat, learner.shapes) for flat in (agent["flat"].detach(), after["flat"].detach()))
    moved = {key for key in new if not new[key].equal(old[key])}
    assert moved
    assert all(key.endswith("2") for key in moved)


def test_transposed_steps_keep_their_shape_and_lose_their_order():
    steps = experience(1, 4, 3)._replace(reward=torch.arange(12.0).reshape(1, 4, 3))
    told = faults.Transposed().told(steps)
    assert told.reward.tolist() == [[[0, 3, 6], [9, 1, 4], [7, 10, 2], [5, 8, 11]]]
    assert told.observation is steps.observation


def test_faults_are_examined_and_counted(tmp_path):
    places = [random_artifact(tmp_path / f"Random-{form}-v0", form) for form in ("bandit", "mdp")]
    quick = ("--algorithms", "a2c", "--faults", "wrong sign", "--seeds", "2", "--budget", "0.02", "--workers", "1")
    faults.main(["--environments", *map(str, places), *quick, "--results", str(tmp_path)])
    rows = rows_of(tmp_path / "faults.csv")
    tests = ("bandit", "MDP", "delayed")
    assert [row["test"] for row in rows] == [test for test in tests for _ in range(4)]
    assert [row["fault"] for row in rows] == ["none", "none", "wrong sign", "wrong sign"] * 3
    assert {row["algorithm"] for row in rows} == {"A2C"}
    assert all((row["caught"] == "True") == (float(row["share"]) < 0.8) for row in rows)
    assert {row["origin"] for row in rows} == {shelf.card(folder)["sha256"] for folder in places}
    counts = rows_of(tmp_path / "faults_caught.csv")
    assert [row["test"] for row in counts] == list(tests)
    assert all((row["broken runs"], row["faults"], row["sound runs"]) == ("2", "1", "2") for row in counts)
    assert (tmp_path / "faults.png").stat().st_size > 10_000


def test_a_fault_counts_as_caught_in_most_of_its_runs():
    def row(fault, caught):
        return {"test": "bandit", "fault": fault, "caught": caught}

    rows = [row("none", caught) for caught in (False, True)]
    rows += [row("wrong sign", True)] * 2 + [row("no bootstrap", caught) for caught in (True, False)]
    (counts,) = faults.counted(rows)
    assert list(counts.values()) == ["bandit", 4, 3, 2, 1, 2, 1]


# Search by proxy


@pytest.fixture
def proxy():
    pytest.importorskip("optuna")
    from benchmarks import proxy

    return proxy


def test_proxy_trains_everywhere_and_goes_on_where_it_was(proxy, tmp_path, capsys):
    places = [str(random_artifact(tmp_path / f"Random-{form}-v0", form)) for form in ("bandit", "mdp")]
    quick = ("--algorithms", "DQN", "--steps", "30", "--real-steps", "40", "--workers", "1")

    def run(count):
        proxy.main(["--environments", *places, *quick, "--configurations", str(count), "--results", str(tmp_path)])

    run(2)
    first = rows_of(tmp_path / "proxy_runs.csv")
    run(3)
    assert "5 of 15 trainings to do" in capsys.readouterr().out
    rows = rows_of(tmp_path / "proxy_runs.csv")
    assert rows[:10] == first
    assert len({row["configuration"] for row in rows}) == 3
    assert {row["trained in"] for row in rows} == {
        "Random-bandit-v0", "Random-mdp-v0", "Random-mdp-v0, delay 1", "CartPole-v1"
    }  # fmt: skip
    table = rows_of(tmp_path / "proxy.csv")
    assert [row["proxy"] for row in table] == ["Random-bandit-v0", "Random-mdp-v0", "Random-mdp-v0, delay 1"]
    assert (tmp_path / "proxy.png").stat().st_size > 10_000


def test_configurations_fit_their_algorithms(proxy):
    from stable_baselines3 import DQN, PPO

    for kind in (PPO, DQN):
        for text in proxy.drawn(kind.__name__, 5, seed=1):
            configuration = json.loads(text)
            assert configuration.keys() <= set(kind.__init__.__code__.co_varnames)
            assert configuration.get("n_steps", 128) * proxy.ENVS["PPO"] % configuration["batch_size"] == 0
    assert proxy.drawn("PPO", 2, 1) == proxy.drawn("PPO", 5, 1)[:2]


def test_rank_correlation_is_of_ranks_and_shares_ties(proxy):
    x = np.array([3.0, 1.0, 2.0, 10.0])
    assert proxy.spearman(x, x**3) == pytest.approx(1)
    assert proxy.spearman(x, -x) == pytest.approx(-1)
    tied = proxy.spearman(np.array([1.0, 1, 2, 3]), np.array([1.0, 2, 3, 3]))
    assert tied == pytest.approx(8 / 9)  # ranks 1.5 1.5 3 4 and 1 2 3.5 3.5: covariance 4, variances 4.5
    assert proxy.spearman(x, np.ones(4)) == 0


def test_search_on_the_task_keeps_the_best_it_saw_in_time(proxy):
    seen, worth, seconds = np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]), np.ones(3)
    assert proxy.searched(seen, worth, seconds, 3.0) == (20, 3)
    one, tried = proxy.searched(seen, worth, seconds, 0.5)
    assert tried == 1
    assert one == pytest.approx(20, abs=1)


def test_a_proxy_is_judged_by_what_its_choice_is_worth(proxy):
    def row(place, seed, score):
        return {"algorithm": "PPO", "trained in": place, "seed": seed, "score": str(score), "seconds": "1"}

    rows = [row("Synth-A-v0", "0", score) for score in (0.1, 0.9, 0.5)]
    rows += [
        row(proxy.TARGET, seed, score) for seed, scores in (("1", (5, 6, 9)), ("2", (4, 8, 6))) for score in scores
    ]
    (found,) = [proxy.compared(*pair) for pair in proxy.pairs(rows)]
    assert found["return of its choice"] == 8
    assert found["rank correlation"] == 1
    assert found["tuned on the task"] == 6
    assert (found["best of all"], found["median"], found["configurations in that time"]) == (8, 6, 3)
