"""README tables come from result files: summarised over seeds, put between markers, compared."""

import pytest

from benchmarks import harness, tables
from synthenv import shelf
from synthenv.scores import Trial, write_trials
from tests.conftest import random_artifact

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
        Trial(environment, "PPO", steps, seed, 50, level + seed, 1.0)
        for environment, seeds in (("Synth-CartPole-v0", 4), ("CartPole-v1", 2), ("Acrobot-v1", 2))
        for steps, level in levels.items()
        for seed in range(seeds)
    ]
    write_trials(results / "transfer.csv", trials)
    return tmp_path


def test_write_puts_every_table_between_its_markers(checkout):
    assert tables.main(["--check"]) == 1
    assert tables.main(["--write"]) == 0
    text = (checkout / "README.md").read_text()
    assert "| CartPole-v1 | PPO | 10,000 |  | 481.5 (480) | 480.5 (480) | 4, 2 | 500 |" in text
    assert "| Acrobot-v1 | PPO | 10,000 |  |  | 480.5 (480) | 2 | -84.1 |" in text
    assert "| 64 | 1,500,000 |\n| 1,024 | 3,500,000 |" in text
    assert text.startswith("before\n<!-- table:transfer -->\n| task")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    plots = sorted(path.name for path in (checkout / "benchmarks" / "results").glob("*.png"))
    assert plots == ["transfer-Acrobot-v1.png", "transfer.png"]


def test_check_agrees_with_write(checkout):
    tables.main(["--write"])
    assert tables.main(["--check"]) == 0
    assert tables.main(["--write"]) == 0
    assert tables.main(["--check"]) == 0


def test_print_says_which_file_is_missing(checkout, capsys):
    (checkout / "benchmarks" / "results" / "speed.csv").unlink()
    assert tables.main([]) == 0
    out = capsys.readouterr().out
    assert "speed\n\nNot measured yet: `benchmarks/results/speed.csv` has no rows." in out
    assert (checkout / "README.md").read_text() == README


def test_the_shelf_is_told_by_its_cards(checkout, monkeypatch):
    monkeypatch.setattr(shelf, "root", lambda kind="envs": checkout / kind)
    for name, form, target in (("A-v0", "bandit", "Pendulum-v1"), ("B-v0", "mdp", "CartPole-v1"),
                               ("B-v1", "mdp", "CartPole-v1")):  # fmt: skip
        random_artifact(checkout / "envs" / name, form, target=target)
    (checkout / "README.md").write_text("<!-- table:shelf -->\n<!-- end -->\n")
    tables.main(["--write"])
    text = (checkout / "README.md").read_text()
    assert "| stands for | actions | bandit | MDP |" in text
    assert "| CartPole-v1 | 2 choices |  | [B-v0](envs/B-v0), [B-v1](envs/B-v1) |" in text
    assert "| Pendulum-v1 | 1 number in [-2, 2] | [A-v0](envs/A-v0) |  |" in text


def summary(checkout, name, *lines):
    """The table of a result file with these lines."""
    path = checkout / "benchmarks" / "results" / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n")
    return tables.markdown(path)


def test_a_marker_may_ask_for_some_tasks(checkout):
    readme = checkout / "README.md"
    readme.write_text(README.replace("transfer -->", "transfer Acrobot-v1 Pendulum-v1 -->"))
    tables.main(["--write"])
    text = readme.read_text()
    assert "| Acrobot-v1 | PPO |" in text
    assert "CartPole" not in text
    readme.write_text(README.replace("transfer -->", "transfer Pendulum-v1 -->"))
    tables.main(["--write"])
    assert "Not measured yet: `benchmarks/results/transfer.csv` has no rows of Pendulum-v1." in readme.read_text()


def test_transfer_shows_the_end_of_training(checkout):
    header = "environment,algorithm,steps,real_return"
    ours, real = "SynthBandit-CartPole-v0,A2C", "CartPole-v1,A2C"
    text = summary(checkout, "transfer", header, f"{ours},50,9", f"{ours},500,90", f"{ours},500,100", f"{real},50,9")
    assert "| CartPole-v1 | A2C | 500 | 95 (90) |  |  | 2 |  |" in text


def test_draws_stand_beside_those_of_the_peers(checkout):
    header = "environment,algorithm,real_return"
    rows = [f"SynthBandit-CartPole-v0,PPO,{value}" for value in (400, 500)]
    text = summary(checkout, "random_hyperparameters", header, *rows, "Pendulum-v1,TD3,-500")
    assert "| CartPole-v1 | PPO | 2 | 450 / 450 / 400 |  |  | 484.7 / 500 / 61.6 |" in text
    assert "| Pendulum-v1 | TD3 | 1 |  |  | -500 / -500 / -500 | -166.9 / -165.8 / -194.9 |" in text


def test_a_price_stands_beside_what_it_bought(checkout):
    header = "environment,stages,cpu_seconds,seconds,real_steps,algorithm,steps,n,mean,worst"
    text = summary(
        checkout, "meta_cost", header, "E,all,9.5,6,1000,ppo,2000,16,500,490", "E,all,9.5,6,1000,dqn,2000,16,9,8"
    )
    assert "| environment | stages | CPU s | s | real steps | ppo 2,000 | dqn 2,000 |" in text
    assert "| E | all | 9.5 | 6 | 1,000 | 500 (490) | 9 (8) |" in text
    text = summary(checkout, "meta_cost", header, "E,all,9.5,6,1000,ppo,2000,16,500,490", "F,all,1,1,1,td3,500,16,2,1")
    assert "| environment | stages | CPU s | s | real steps | td3 500 |\n" in text


def test_populations_stand_beside_those_of_the_peers(checkout):
    header = "algorithm,setting,agents a second,weights"
    text = summary(
        checkout, "population", header, "sac,fast,90.5,926e06392789", "sac,Liesen et al.,3,9", "a2c,Liesen et al.,3,9"
    )
    assert "| algorithm | setting | agents a second | theirs, CPU s |" in text
    assert "| sac | fast | 90.5 |  |\n| sac | Liesen et al. | 3 | 1.22 |\n| a2c | Liesen et al. | 3 |  |" in text


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


def test_worlds_stand_beside_gymnasiums(checkout):
    header = "task,members,episodes,steps a CPU-second,by,ratio"
    rows = ["CartPole-v1,1,64,5000,native,0.5", "CartPole-v1,4,16,9000,native,2", "GridWorld-v0,1,64,70,,"]
    text = summary(checkout, "worlds_throughput", header, *rows, "GridWorld-v0,4,16,80,,")
    assert "| task | Gymnasium's | 1 x 64 | 4 x 16 |" in text
    assert "| CartPole-v1 | native | 5,000 (0.5x) | 9,000 (2x) |\n| GridWorld-v0 |  | 70 | 80 |" in text


def test_faults_are_counted_by_test(checkout):
    rows = ["MDP,none,PPO,False", "MDP,sign,PPO,True", "MDP,sign,DQN,False", "cut,sign,PPO,True"]
    text = summary(checkout, "faults", "test,fault,algorithm,caught", *rows)
    assert "| fault | MDP | cut |" in text
    assert "| none | 0 of 1 | 0 of 0 |\n| sign | 1 of 2 | 1 of 1 |\n| every fault | 1 of 2 | 1 of 1 |" in text


def test_an_own_task_shows_worth_and_price(checkout):
    header = "trained in,algorithm,steps,agents,mean return,low,high,returns,real steps to make,seconds to make"
    text = summary(checkout, "own_task", header, "Synth-Swing-v0,DQN,5000,5,9.5,9,10,9 10,70000,55.5")
    assert "| Synth-Swing-v0 | DQN | 9.5 (9 to 10) | 5,000 | 5 | 70,000 | 55.5 |" in text


def test_an_import_is_no_row_of_steps(checkout):
    header = "environment,what,episodes,us a call,steps a CPU-second,ratio"
    text = summary(checkout, "throughput", header, "A,advance,64,9.5,6736842,1.5", "import synthenv,all,,4482,,")
    assert "| A | advance | 64 | 9.5 | 6,736,842 | 1.5 |" in text
    assert "| import" not in text
    assert text.endswith("`import synthenv` takes 4.48 ms where gymnasium is loaded.")


def test_columns_of_the_proxies_are_explained(checkout):
    text = summary(checkout, "proxy", "algorithm,proxy,rank correlation", "PPO,Synth-A-v0,0.5")
    assert "| PPO | Synth-A-v0 | 0.5 |\n\nRank correlation: " in text


def test_environments_stand_with_their_task():
    """Those beside a task's two behind the task itself, and what is neither a task nor on the shelf at the end."""
    stands = ["CartPole-v1", "Synth-Pendulum-v0", "SynthBandit-Pendulum-v0", "Pendulum-v1", "SynthEasy-Pendulum-v0",
              "tests.own_task:Swing-v0"]  # fmt: skip
    places = [harness.order(environment) for environment in stands]
    assert places == sorted(set(places))
