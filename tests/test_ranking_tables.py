"""Tables of regrets: means over tasks, a row a suite and method."""

from benchmarks.ranking_tables import ranking_budget, ranking_runs


def test_regrets_are_averaged_over_tasks():
    rows = [
        {"suite": "a", "ranker": "list", "runs": runs, "regret": regret, "covered": covered}
        for runs, regret, covered in (("1", "0.2", "0.5"), ("1", "0.4", "0.7"), ("10", "0.1", "nan"))
    ]
    lines = ranking_runs(rows).splitlines()
    assert lines[0] == "| suite | ranker | n | 1 runs | 10 runs | 80 % intervals cover |"
    assert lines[2] == "| a | list | 2 | 0.300 | 0.100 | 60 % |"


def test_budgets_have_no_intervals():
    rows = [{"suite": "a", "method": "m", "epochs": "51.0", "regret": "0.25"}]
    assert ranking_budget(rows).splitlines()[2] == "| a | m | 1 | 0.250 |"
