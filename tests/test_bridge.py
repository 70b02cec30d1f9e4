"""From a log of a task to agents that learned in what was evolved inside the world model."""

from benchmarks import bridge
from benchmarks.tables import SUMMARIES, rows_of
from synthenv import recipe
from synthenv.recipe import EnvRecipe, Exam, GreedyStage, InnerStage, Search, StatesStage


def test_the_benchmark_goes_from_a_log_to_agents(tmp_path, capsys):
    tiny = EnvRecipe(
        "SynthBandit-CartPole-v0", "CartPole-v1", "bandit", hidden=8,
        greedy=GreedyStage(search=Search("snes", {"sigma": 0.3}, 4, 2), episodes=1),
        states=StatesStage(episodes=2, updates=5), inner=InnerStage(enabled=False), exam=Exam(agents=0),
    )  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.dump(tiny))
    bridge.main([
        "--recipe", str(path), "--transitions", "60", "--algorithms", "a2c", "dqn", "--seeds", "2", "--steps", "50",
        "--episodes", "2", "--workers", "1", "--results", str(tmp_path),
    ])  # fmt: skip
    rows = rows_of(tmp_path / "bridge.csv")
    assert [row["algorithm"] for row in rows] == ["A2C", "DQN"]
    for row in rows:
        assert (row["task"], row["agents"], row["real steps"]) == ("CartPole-v1", "2", "60")
        assert int(row["imagined steps"]) > 0
        assert 8 <= float(row["worst"]) <= float(row["mean return"]) <= 500
    assert "A2C    mean" in capsys.readouterr().out
    assert "| CartPole-v1 | A2C |" in SUMMARIES["bridge"](rows)
