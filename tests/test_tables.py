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
