"""README tables come from result files: summarised over seeds, put between markers, compared."""

import pytest

from benchmarks import tables
from synthenv.scores import Trial, write_trials

README = "before\n<!-- table:transfer -->\nold\n<!-- end -->\nbetween\n<!-- table:speed -->\n<!-- end -->\nafter\n"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with a README and two result files."""
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "RESULTS", results)
    (tmp_path / "README.md").write_text(README)
    (results / "speed.csv").write_text("environments,steps a second\n64,1500000.0\n1024,3.5e6\n")
    levels = {1_000: 100.0, 10_000: 480.0}
    trials = [
        Trial("Synth-A-v0", "PPO", steps, seed, 50, level + seed, 1.0)
        for steps, level in levels.items()
        for seed in range(4)
    ]
    write_trials(results / "transfer.csv", trials)
    return tmp_path


def test_write_puts_every_table_between_its_markers(checkout):
    assert tables.main(["--check"]) == 1
    assert tables.main(["--write"]) == 0
    text = (checkout / "README.md").read_text()
    assert "| PPO | Synth-A-v0 | 101.5 | 481.5 | 4 | 481.5 | 480 | 1.29 |" in text
    assert "| 64 | 1,500,000 |\n| 1,024 | 3,500,000 |" in text
    assert text.startswith("before\n<!-- table:transfer -->\n| agent")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    assert (checkout / "benchmarks" / "results" / "transfer.png").is_file()


def test_check_agrees_with_write(checkout):
    tables.main(["--write"])
    assert tables.main(["--check"]) == 0
    assert tables.main(["--write"]) == 0
    assert tables.main(["--check"]) == 0


def test_print_says_which_file_is_missing(checkout, capsys):
    (checkout / "benchmarks" / "results" / "speed.csv").unlink()
    assert tables.main([]) == 0
    out = capsys.readouterr().out
    assert "speed\n\nNot measured yet: `benchmarks/results/speed.csv` does not exist." in out
    assert (checkout / "README.md").read_text() == README


def summary(checkout, name, *lines):
    """The table of a result file with these lines."""
    path = checkout / "benchmarks" / "results" / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n")
    return tables.markdown(path)


def test_transfer_shows_few_of_the_points_that_its_plot_has(checkout):
    path = checkout / "benchmarks" / "results" / "transfer.csv"
    write_trials(path, [Trial("E", "PPO", steps, 0, 50, 9.0, 1.0) for steps in (500, 2_000, 10_000)])
    assert tables.markdown(path).startswith("| agent | trained in | 2,000 steps | 10,000 steps | n |")


def test_draws_stand_beside_those_of_the_peers(checkout):
    text = summary(checkout, "random_hyperparameters", "environment,algorithm,real_return", "E,PPO,400", "E,PPO,500")
    assert "| PPO | E | 2 | 450 | 450 | 400 | 70.7 |" in text
    assert "| PPO | Synthetic-CartPole (Liesen et al.) | 32 | 484.7 | 500 | 61.6 | 76.5 |" in text


def test_a_price_stands_beside_what_it_bought(checkout):
    header = "environment,stages,cpu_seconds,seconds,real_steps,algorithm,steps,n,mean,worst"
    text = summary(
        checkout, "meta_cost", header, "E,all,9.5,6,1000,ppo,2000,16,500,490", "E,all,9.5,6,1000,dqn,2000,16,9,8"
    )
    assert "| environment | stages | CPU s | s | real steps | ppo 2,000 | dqn 2,000 |" in text
    assert "| E | all | 9.5 | 6 | 1,000 | 500 (490) | 9 (8) |" in text


def test_populations_stand_beside_those_of_the_peers(checkout):
    text = summary(checkout, "population", "how,agents a second,weights", "together,90.5,926e06392789")
    assert text.startswith("| how | agents a second |\n| --- | ---: |\n| together | 90.5 |\n\nSynthetic-gymnax")


def test_the_greedy_stage_is_summarised_over_seeds(checkout):
    rows = [f"E,{seed},{seed},1,{1000 * seed},{seed != 3}" for seed in (3, 1, 2)]
    text = summary(checkout, "greedy", "environment,seed,cpu_seconds,seconds,real_steps,solved", *rows)
    assert "| E | 3 | 2 | 2 | 3 | 1 | 2,000 |" in text


def test_learners_are_compared_by_their_intervals(checkout):
    sides = {"here": 100, "there": 200}
    path = checkout / "benchmarks" / "results" / "learners_vs_sb3.csv"
    write_trials(path, [
        Trial(side, "A2C", steps, seed, 5, level * (steps == 40) + seed, 1.0)
        for side, level in sides.items() for steps in (40, 80) for seed in range(3)
    ])  # fmt: skip
    text = tables.markdown(path)
    assert "| A2C | 40 | 3 | 101 (100 to 102) | 3 | 201 (200 to 202) | no |" in text
    assert "| A2C | 80 | 3 | 1 (0 to 2) | 3 | 1 (0 to 2) | yes |" in text
