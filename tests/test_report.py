"""Plots show what they were given; tables read as a person would write them."""

import numpy as np
import pytest
from PIL import Image

from synthenv import report
from synthenv.scores import Trial


def trials(environment, algorithm="PPO", level=0.0):
    return [
        Trial(environment, algorithm, steps, seed, 50, level + steps / 100 + seed, 1.0)
        for steps in (100, 200)
        for seed in range(3)
    ]


def test_curves_arrange_trials_by_learner_and_environment():
    panels = report.curves(trials("Synth-A-v0") + trials("A-v0", "DQN"))
    assert panels == {
        "PPO": {"Synth-A-v0": {100: [1, 2, 3], 200: [2, 3, 4]}},
        "DQN": {"A-v0": {100: [1, 2, 3], 200: [2, 3, 4]}},
    }


def test_learning_curves_draw_means_and_name_every_line(tmp_path, drawn):
    panels = report.curves(trials("Synth-A-v0") + trials("A-v0", level=5) + trials("Synth-A-v0", "DQN"))
    report.learning_curves(tmp_path / "curves.png", panels, "A-v0")
    ppo, dqn = drawn[0].axes
    assert [list(line.get_ydata()) for line in ppo.get_lines()] == [[2, 3], [7, 8]]
    assert ppo.get_lines()[0].get_color() == dqn.get_lines()[0].get_color()
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == ["trained in Synth-A-v0", "trained in A-v0"]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > picture.height > 300


def test_tables_put_numbers_right():
    assert report.table(["name", "steps"], [["a", 10_000], ["b", 0.5]]) == (
        "| name | steps |\n| --- | ---: |\n| a | 10,000 |\n| b | 0.5 |"
    )


def test_numbers_are_written_as_a_person_would():
    assert [report.number(value) for value in (10_000, 500.0, 498.66, 0.03125, -83.9)] == [
        "10,000",
        "500",
        "498.7",
        "0.0312",
        "-83.9",
    ]


def test_grids_write_every_cell_under_its_group(tmp_path, drawn):
    columns = [("easy", "PPO"), ("easy", "DQN"), ("hard", "PPO")]
    cells = {(row, column): (i / 10, f"{row}{i}") for row in "ab" for i, column in enumerate(columns)}
    report.grid(tmp_path / "grid.png", ["a", "b"], columns, cells, "share")
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts == ["a0", "a1", "a2", "b0", "b1", "b2", "easy", "hard"]
    np.testing.assert_array_equal(drawn[0].axes[0].images[0].get_array(), [[0, 0.1, 0.2]] * 2)


def test_grids_leave_out_what_was_not_tried(tmp_path, drawn):
    report.grid(tmp_path / "grid.png", ["a", "b"], [("easy", "PPO")], {("a", ("easy", "PPO")): (1.0, "x")}, "share")
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["x", "easy"]


def test_scatters_mark_one_point_a_panel(tmp_path, drawn):
    x, y = np.arange(3.0), np.arange(3.0) ** 2
    report.scatters(tmp_path / "points.png", {"one": (x, y, 2), "two": (y, x, 1)}, 2, "across", "up")
    one, two = drawn[0].axes
    assert one.collections[1].get_offsets().tolist() == [[2, 4]]
    assert two.collections[1].get_offsets().tolist() == [[1, 1]]


def test_sweeps_draw_medians_over_growing_budgets(tmp_path, drawn):
    panels = {
        "A": {"gp": {10: [1.0, 30.0, 20.0], 100: [1e-12, 1e-12, 1e-12]}, "ours": {10: [0.5, 0.5, 0.7]}},
        "B": {"ours": {10: [4.0], 100: [5.0]}},
    }
    report.sweeps(tmp_path / "sweeps.png", panels, "rows", "error", within=(1e-8, 10.0))
    first, second = drawn[0].axes
    assert [list(line.get_ydata()) for line in first.get_lines()] == [[10.0, 1e-8], [0.5]]
    assert first.get_lines()[1].get_color() == second.get_lines()[0].get_color()
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["gp", "ours"]


def test_a_strong_line_of_sweeps_stands_out(tmp_path, drawn):
    labels = ["ours", *(f"fit {i}" for i in range(9))]
    panels = {"A": {label: {10: [1.0, 2.0], 100: [0.5, 0.7]} for label in labels}}
    report.sweeps(tmp_path / "sweeps.png", panels, "rows", "error", strong="ours")
    (axis,) = drawn[0].axes
    ours, *others = axis.get_lines()
    assert ours.get_color() == "black"
    assert all(ours.get_linewidth() > 2 * line.get_linewidth() for line in others)
    assert len({(line.get_color(), line.get_linestyle()) for line in (ours, *others)}) == len(labels)
    assert len(axis.collections) == 1  # the only band


@pytest.mark.filterwarnings("error")
def test_sweeps_draw_a_single_budget(tmp_path, drawn):
    report.sweeps(tmp_path / "sweeps.png", {"A": {"ours": {1000: [3.0, 5.0]}}}, "rows", "return", logarithmic=False)
    assert len(drawn[0].axes[0].collections) == 1  # the bar
