"""The world model's benchmark: marks are what they say, cells are measured once, and tables compare with the best."""

import csv

import numpy as np
import pytest
import torch

from benchmarks import world_tables
from benchmarks.world_data import collect
from synthenv import pretrained
from synthenv.imagine import Plan
from synthenv.incontext.experts import PROCESS
from synthenv.incontext.model import Architecture
from synthenv.incontext.pretrain import WorldModelRecipe, build

pytest.importorskip("sklearn", reason="classical fits need scikit-learn")

from benchmarks import contestants, world_exam, world_model, world_transfer
from benchmarks.classical import METHODS, Guess
from synthenv.incontext.slots import Numbers


def run(results, *arguments):
    """What `python -m benchmarks.world_model` does with these arguments."""
    world_model.main([*map(str, arguments), "--results", str(results)])


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A folder with a world model that nobody has trained."""
    folder = tmp_path_factory.mktemp("m") / "Raw-v0"
    recipe = WorldModelRecipe("Raw-v0", architecture=Architecture(width=16, layers=1, heads=2))
    pretrained.save(folder, recipe, build(recipe), {}, "")
    return folder


class Oracle:
    """Knows the answers, but for an error."""

    def __init__(self, test, error=0.0, spread=1e-3):
        self.test, self.error, self.spread = test, error, spread

    def guess(self, observation, action):
        change = self.test.following.astype(float) - self.test.observation + self.error
        spread = np.full_like(change, self.spread)
        end = self.test.terminated.astype(float)
        return Guess(change, spread, change - 2 * spread, change + 2 * spread, self.test.reward.astype(float), end)

    def change(self, observation, action):
        """Of every row that looks like these."""
        found = [np.abs(self.test.observation - row).sum(1).argmin() for row in observation]
        return (self.test.following.astype(float) - self.test.observation)[found]


def test_a_perfect_model_gets_perfect_marks():
    test = collect("CartPole-v1", 400, "random", 1)
    marks = world_exam.examine(Oracle(test), test)
    assert (marks.nmse, marks.coverage, marks.auroc) == (0.0, 1.0, 1.0)
    assert marks.open_loop < 1e-9
    assert marks.reward is None  # CartPole's never varies
    wrong = world_exam.examine(Oracle(test, error=1.0), test)
    assert wrong.coverage == 0.0
    power = np.square(test.following.astype(float) - test.observation).mean(0)
    assert wrong.nmse == pytest.approx((1 / power).mean(), rel=1e-4)
    assert wrong.nll > marks.nll


def test_persistence_is_the_unit_of_errors():
    log = collect("Pendulum-v1", 300, "random", 2)
    marks = world_exam.examine(METHODS["persistence"](log), collect("Pendulum-v1", 300, "mixed", 3))
    assert marks.nmse == pytest.approx(1.0)
    assert marks.open_loop == pytest.approx(1.0, abs=0.5)
    assert marks.auroc is None  # no end in sight


def test_numbers_that_never_change_do_not_count():
    test = collect("Gearbox-v0", 90, "random", 1)  # within an episode the wish stays
    wrong = Oracle(test)
    wrong.error = np.array([0.0, 0.0, 5.0])
    assert world_exam.examine(wrong, test).nmse == 0.0


def test_windows_stay_within_episodes():
    log = collect("OSWMLine-v0", 65, "random", 1)  # three episodes of 20, and the beginning of a fourth
    np.testing.assert_array_equal(world_exam.windows(log), [0, 20, 40])


def test_auroc_counts_ties_half():
    happened = np.array([True] * 5 + [False] * 5)
    assert world_exam.auroc(np.array([2.0] * 5 + [1.0] * 5), happened) == 1.0
    assert world_exam.auroc(np.zeros(10), happened) == 0.5
    assert world_exam.auroc(np.array([3, 1, 3, 3, 3, 2, 2, 2, 2, 2.0]), happened) == pytest.approx(0.8)
    assert world_exam.auroc(np.zeros(10), np.arange(10) < 4) is None


QUICK = ("accuracy", "--tasks", "OSWMLine-v0", "--rows", 5, 20, "--contexts", 2)


def test_accuracy_is_measured_once(tmp_path, capsys):
    table = tmp_path / "world_model_accuracy.csv"
    run(tmp_path, *QUICK, "--models", "linear")
    before = rows_of(table)
    assert [(row["rows"], row["context"], row["test"]) for row in before] == [
        (rows, context, test) for rows in ("5", "20") for context in ("0", "1") for test in ("random", "mixed")
    ]
    run(tmp_path, *QUICK, "--models", "persistence", "linear")
    assert "4 of 8 cells to measure" in capsys.readouterr().out
    after = rows_of(table)
    assert [row["model"] for row in after[:4]] == ["persistence"] * 4
    assert [row for row in after if row["model"] == "linear"] == before
    assert {row["nmse"] for row in after if row["model"] == "persistence"} == {"1"}
    run(tmp_path, *QUICK, "--models", "linear", "--fresh")
    assert "4 of 4 cells to measure" in capsys.readouterr().out
    assert (tmp_path / "world_model_accuracy.png").stat().st_size > 5_000


def test_new_weights_cost_only_their_own_cells(tmp_path, capsys, untrained):
    models = ("--models", "linear", f"raw={untrained}")
    run(tmp_path, *QUICK, *models)
    table = tmp_path / "world_model_accuracy.csv"
    written = table.read_text()
    origin = contestants.origin(f"raw={untrained}")
    assert {row["origin"] for row in rows_of(table) if row["model"] == "raw"} == {origin}
    table.write_text(written.replace(origin, "another"))
    capsys.readouterr()
    run(tmp_path, *QUICK, *models)
    assert "4 of 8 cells to measure" in capsys.readouterr().out
    assert {row["origin"] for row in rows_of(table)} == {"", origin}


def test_unknown_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"did you mean 'linear'.*NAME=FOLDER"):
        run(tmp_path, *QUICK, "--models", "linaer")


def test_our_intervals_are_its_own_quantiles(untrained):
    log = collect("CartPole-v1", 40, "random", 0)
    model = contestants.fit(f"raw={untrained}", log)
    guess = model.guess(log.observation, log.action)
    seen = model.simulator.predict(log.observation, log.action)
    np.testing.assert_allclose(guess.low, seen.quantiles[..., 2], rtol=1e-6)
    np.testing.assert_allclose(guess.change, model.change(log.observation, log.action))
    assert (guess.low < guess.high).all()


def test_ablations_leave_the_say_to_one_part():
    """The processes have all the trust, the experts' records share it out, or the network answers by itself."""
    log, asked = collect("Pendulum-v1", 60, "random", 0), collect("Pendulum-v1", 20, "random", 1)
    simulators = {name: contestants.simulator(name, log) for name in (contestants.OURS, *contestants.ABLATIONS)}
    slots = simulators["process"].slots
    sides = slots.observations(torch.tensor(asked.observation)), slots.actions(torch.tensor(asked.action))
    queries = [side[None] for side in sides]
    found = {name: one.engine.network if isinstance(one.engine, contestants.Trusting) else one.engine
             for name, one in simulators.items()}  # fmt: skip
    guesses = {name: network.answer(simulators[name].known, *queries) for name, network in found.items()}
    processes = guesses["process"].trust[..., PROCESS : PROCESS + 2]
    torch.testing.assert_close(processes.sum(-1), torch.ones_like(processes[..., 0]))
    assert (guesses["transformer"].trust[..., -1] == 1).all()
    shared = guesses["records"].trust
    others = [0, 2, 5, 6]  # but for those whose shares follow from how sure they are
    torch.testing.assert_close(shared[..., others], shared[:, :1, :, others].expand_as(shared[..., others]))
    assert not torch.allclose(guesses[contestants.OURS].trust, shared, atol=0.05)


@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1"])
def test_a_classical_fit_may_stand_in_for_the_network(task):
    log = collect(task, 200, "random", 0)
    fitted, simulator = contestants.fit("quadratic", log), contestants.simulator("quadratic", log)
    guess, seen = fitted.guess(log.observation, log.action), simulator.predict(log.observation, log.action)
    low, high = log.spaces.observation.low, log.spaces.observation.high
    np.testing.assert_allclose(seen.next_obs, np.clip(log.observation + guess.change, low, high), atol=1e-4)
    np.testing.assert_allclose(seen.next_obs_std, guess.spread, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(seen.reward, guess.reward, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seen.terminated, 1 / (1 + np.exp(-guess.end)), atol=1e-5)


def test_transfer_trains_inside_and_outside(tmp_path, capsys):
    quick = ("transfer", "--tasks", "CartPole-v1", "--seeds", 1, "--contexts", 2, "--steps", 40, "--episodes", 2)
    inside = (*quick, "--models", "quadratic", "the task", "--algorithms", "DQN")
    run(tmp_path, *inside)
    table = tmp_path / "world_model_transfer.csv"
    rows = rows_of(table)
    assert [(row["model"], row["context"], row["transitions"]) for row in rows] == [
        ("quadratic", "0", "1000"), ("quadratic", "1", "1000"), ("the task", "0", "40"),
    ]  # fmt: skip
    assert all(float(row["real_return"]) >= 8 for row in rows)
    assert (tmp_path / "world_model_transfer.png").stat().st_size > 5_000
    run(tmp_path, *inside)
    assert "0 of 3 agents to train" in capsys.readouterr().out
    run(tmp_path, *inside, "--episodes", 4, "--contexts", 1, "--models", "quadratic")
    assert "1 of 1 agents to train" in capsys.readouterr().out


def test_rounds_are_those_of_the_command(tmp_path, monkeypatch):
    few = Plan(40, 2, hyperparameters=world_transfer.SWING)
    lesson = world_transfer.Lesson("MountainCar-v0", "PPO, 2 rounds", 20, plan=few)
    monkeypatch.setattr(world_transfer, "LESSONS", (lesson,))
    run(
        tmp_path,
        "transfer",
        "--models",
        "incontext",
        "the task",
        "linear",
        "--seeds",
        1,
        "--contexts",
        1,
        "--episodes",
        2,
    )
    (row,) = rows_of(tmp_path / "world_model_transfer.csv")
    assert (row["model"], row["transitions"], row["real_return"]) == ("incontext", "80", "-200.0")
    other = world_transfer.Lesson("CartPole-v1", "DQN", 20)
    monkeypatch.setattr(world_transfer, "LESSONS", (other,))
    run(tmp_path, "transfer", "--models", "linear", "--seeds", 1, "--contexts", 1, "--episodes", 2)
    (row,) = rows_of(tmp_path / "world_model_transfer.csv")
    assert row["algorithm"] == "DQN"  # rows of a lesson that is no more are gone


def test_lessons_have_settings_that_their_algorithms_take():
    for lesson in world_transfer.LESSONS:
        if lesson.algorithm != world_transfer.PLANNED and not lesson.plan and lesson.task != "Reacher-v5":
            kind = world_transfer.algorithm(lesson.algorithm)
            kind("MlpPolicy", Numbers(world_transfer.make(lesson.task)), device="cpu", **lesson.settings)


def test_planners_are_measured_on_few_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr(world_transfer, "PLANNED_EPISODES", 2)
    monkeypatch.setattr(world_transfer, "LESSONS", (world_transfer.Lesson("OSWMLine-v0", "CEM", 0),))
    run(tmp_path, "transfer", "--models", "neighbours", "--seeds", 1, "--contexts", 1)
    (row,) = rows_of(tmp_path / "world_model_transfer.csv")
    assert (row["algorithm"], row["steps"], row["episodes"]) == ("CEM", "0", "2")
    assert float(row["real_return"]) > -60  # random actions get -250


def test_speed_is_measured_in_processes_of_their_own(tmp_path, monkeypatch, capsys):
    from benchmarks import world_speed

    monkeypatch.setattr(world_speed, "CASES", (world_speed.Case("step", 30, 4),))
    quick = ("speed", "--models", "linear", "--rounds", 1)
    run(tmp_path, *quick)
    (row,) = rows_of(tmp_path / "world_model_speed.csv")
    assert (row["what"], row["rows"], row["envs"]) == ("step", "30", "4")
    assert float(row["a second"]) > 0
    run(tmp_path, *quick)
    assert "0 of 1 cases to measure" in capsys.readouterr().out


def test_priors_are_compared_by_networks_trained_alike(tmp_path, capsys):
    (tmp_path / "runs" / "our-prior-2-run").mkdir(parents=True)  # killed before its first checkpoint
    small = ("--steps", 2, "--tasks", "CartPole-v1", "--rows", 10, "--contexts", 1)
    quick = ("prior", "--runs", tmp_path / "runs", *small)
    run(tmp_path, *quick)
    rows = rows_of(tmp_path / "world_model_accuracy.csv")
    assert {row["model"] for row in rows} == {"our-prior", "oswm-prior"}
    assert len({row["origin"] for row in rows}) == 2
    cards = [(tmp_path / "runs" / f"{name}-2" / "card.json").read_text() for name in ("our-prior", "oswm-prior")]
    assert all('"steps": 2' in card for card in cards)
    run(tmp_path, *quick)
    assert "0 of 2 cells to measure" in capsys.readouterr().out


def lines(**figures):
    """Rows of the accuracy table: model -> its error in task A, at 10 rows."""
    return [
        {"task": "A", "rows": "10", "context": str(k), "model": model, "test": "random", "nmse": str(value + k),
         "open_loop": "", "coverage": "0.9", "nll": "", "reward": "", "auroc": "0.75", "cpu_seconds": "1"}
        for model, value in figures.items() for k in (-0.01, 0.0, 0.01)
    ]  # fmt: skip


def test_ours_stands_beside_the_best_classical_fit():
    text = world_tables.world_model_accuracy(lines(linear=0.5, gp=0.2, incontext=0.1))
    assert "| A | 0.1 / 0.2 gp |  |" in text
    assert "best classical fit of each cell: 0.5 in the geometric mean; at most 1.25 in 1 of 1 cells" in text
    assert "at most 0.7 in 1 of 1 tasks" in text
    assert "| gp | 1 | 90% |" in text
    assert "| incontext | 0.5 | 90% |" in text
    assert "best classical fit of each cell: " not in world_tables.world_model_accuracy(lines(gp=0.2))


def test_errors_too_small_to_tell_are_equal():
    cell = {"gp": 1e-12, "linear": 1e-3, "incontext": 5e-7}
    assert world_tables.ratio(cell, "incontext") == 1.0
    assert world_tables.ratio(cell, "linear") == pytest.approx(1e3)
    assert world_tables.ratio(cell, "raw") is None


def test_published_figures_stand_beside_ours():
    text = world_tables.world_model_transfer([
        {"task": "CartPole200-v0", "algorithm": "PPO", "model": "incontext", "steps": "50000", "transitions": "1000",
         "real_return": value} for value in ("190", "200")
    ])  # fmt: skip
    assert "| CartPole200-v0 | PPO | incontext | 50,000 | 1,000 | 2 | 195 (190 to 200) | 190 | 115.3 +- 50.3 |" in text
    assert world_tables.oswm("nmse")["CartPole-v1", "random"] == "4.4"
