"""The prior's benchmark, with a tiny budget."""

import csv

from benchmarks import prior_throughput
from synthenv.incontext.prior import families


def test_the_prior_is_timed_as_a_whole_and_by_family(tmp_path):
    prior_throughput.main(["--rounds", "1", "--calls", "1", "--results", str(tmp_path)])
    with (tmp_path / "prior_throughput.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["family"] for row in rows] == ["all"] * len(prior_throughput.SIZES) + families()
    for row in rows:
        made = int(row["tasks"]) * int(row["rows"])
        took = float(row["ms a call"]) / 1e3
        assert abs(float(row["transitions a CPU-second"]) * took / made - 1) < 0.02
