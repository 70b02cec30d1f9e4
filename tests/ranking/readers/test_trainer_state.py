"""What a Hugging Face Trainer leaves behind, read without transformers."""

import json

import numpy as np
import pytest

from synthenv.ranking.readers import trainer_state


def state(folder, steps, end=None, **metric):
    """A state after some evaluations, 100 steps an epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    log = []
    for step in steps:
        log += [{"epoch": step / 100, "step": step, "loss": 1.0},
                {"epoch": step / 100, "step": step, **{k: v * step for k, v in metric.items()}}]  # fmt: skip
    if end:
        log.append({"epoch": steps[-1] / 100, "step": steps[-1], "train_runtime": end})
    path = folder / "trainer_state.json"
    path.write_text(json.dumps({"global_step": steps[-1], "log_history": log}))
    return path


def test_one_run(tmp_path):
    path = state(tmp_path / "bert", [100, 200], end=50.0, eval_loss=0.01, eval_accuracy=0.002)
    table = trainer_state.read(path, "mine", settings={"bert": {"lr": 1e-5}})
    assert (table.tasks, table.pipelines, table.maximize) == (("mine",), ("bert",), False)
    np.testing.assert_allclose([table.budget, table.score, table.seconds], [[1, 2], [1, 2], [25, 50]])
    assert table.settings["bert"] == {"lr": 1e-5}
    table = trainer_state.read(path, "mine", score="eval_accuracy", unit="steps")
    assert (table.maximize, table.unit, table.budget.tolist()) == (True, "steps", [100, 200])


@pytest.mark.parametrize(
    ("score", "maximize"), [("eval_loss", False), ("wer", False), ("eval_answer", True), ("eval_f1", True)]
)
def test_names_tell_the_direction(tmp_path, score, maximize):
    assert trainer_state.read(state(tmp_path, [1], **{score: 1.0}), "a", score=score).maximize == maximize
    assert trainer_state.read(tmp_path, "a", score=score, maximize=True).maximize


def test_of_several_checkpoints_the_last_counts(tmp_path):
    state(tmp_path / "a" / "checkpoint-100", [100], eval_loss=1.0)
    state(tmp_path / "a" / "checkpoint-90", [50, 90], eval_loss=1.0)
    state(tmp_path / "b", [100], end=10.0, eval_loss=1.0)
    table = trainer_state.read(tmp_path, "mine")
    assert list(zip(table.pipeline, table.budget, strict=True)) == [("a", 1), ("b", 1)]
    assert np.isnan(table.seconds[0])
    assert trainer_state.read(tmp_path / "a", "mine").pipelines == ("a",)


def test_what_is_no_state_is_refused(tmp_path):
    path = state(tmp_path / "a", [100], eval_loss=1.0)
    with pytest.raises(ValueError, match=r"no evaluation with it .*eval_loss"):
        trainer_state.read(path, "mine", score="eval_accuracy")
    with pytest.raises(ValueError, match="epochs or steps"):
        trainer_state.read(path, "mine", unit="hours")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no trainer_state\.json"):
        trainer_state.read(tmp_path / "empty", "mine")
    for text in ("{}", "[]", "{", '{"log_history": [1], "global_step": 1}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="no state of a trainer"):
            trainer_state.read(path, "mine")
