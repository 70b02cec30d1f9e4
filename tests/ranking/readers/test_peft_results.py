"""Files as PEFT's method comparison writes them."""

import json

import pytest

from synthenv.ranking.readers import peft_results


def result(path, name="lora/rank8", status="success", rank=8, seed=0, **row):
    """One result: two evaluations and a test score."""
    train = {"model_id": "llama", "max_steps": 500, "seed": seed, "optimizer_kwargs": {"lr": 1e-4}, "attention": None}
    method = {"peft_type": "LORA", "r": rank, "target_modules": ["v", "q"], "rank_pattern": {"a": 1}}
    metrics = [{"step": 250, "valid accuracy": 0.1, "train loss": 1.0, "elapsed time": 20.0},
               {"step": 500, "valid accuracy": 0.3, "train loss": 0.9, "elapsed time": 40.0},
               {"step": 500, "test accuracy": 0.2, "train loss": 0.9}]  # fmt: skip
    told = {
        "run_info": {"experiment_name": name, "train_config": train, "peft_config": method},
        "train_info": {"status": status, "metrics": metrics if status == "success" else [], "train_time": 30},
    }
    path.write_text(json.dumps(told))
    return path


def test_a_run_becomes_its_curve(tmp_path):
    table = peft_results.read(result(tmp_path / "a.json"), "gsm8k")
    assert (table.tasks, table.pipelines, table.unit) == (("gsm8k",), ("lora/rank8",), "steps")
    assert [table.budget.tolist(), table.score.tolist(), table.seconds.tolist()] == [[250, 500], [0.1, 0.3], [20, 40]]
    assert table.settings["lora/rank8"] == {
        "train.model_id": "llama", "train.max_steps": 500, "train.optimizer.lr": 1e-4,
        "peft.peft_type": "LORA", "peft.r": 8, "peft.target_modules": "q v",
    }  # fmt: skip


def test_other_scores(tmp_path):
    table = peft_results.read(result(tmp_path / "a.json"), "gsm8k", score="train loss", maximize=False, seconds="none")
    assert (table.maximize, table.score.tolist()[0]) == (False, 1.0)


def test_a_folder_with_seeds_and_a_failure(tmp_path):
    result(tmp_path / "a.json")
    result(tmp_path / "b.json", seed=1)
    result(tmp_path / "c.json", "full", "failed")
    with pytest.warns(UserWarning, match="1 of 3 runs did not succeed"):
        table = peft_results.read(tmp_path, "gsm8k")
    assert (table.pipelines, sorted(set(table.seed.tolist())), len(table)) == (("full", "lora/rank8"), [0, 1], 5)


def test_what_is_no_result_is_refused(tmp_path):
    path = result(tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"no evaluation has a 'accuracy' .*valid accuracy"):
        peft_results.read(path, "gsm8k", score="accuracy")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no \.json"):
        peft_results.read(tmp_path / "empty", "gsm8k")
    result(tmp_path / "b.json", rank=16)
    with pytest.raises(ValueError, match="another 'lora/rank8'"):
        peft_results.read(tmp_path, "gsm8k")
    for text in ("{}", "[]", "{", '{"run_info": 1, "train_info": 2}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="no result of PEFT"):
            peft_results.read(path, "gsm8k")
