"""Plots show what they were given; tables read as a person would write them."""

from matplotlib.figure import Figure
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


def test_learning_curves_draw_means_and_name_every_line(tmp_path, monkeypatch):
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (drawn.append(figure), save(figure, *a, **k)))
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
