"""Pretrained models from their configurations. Parameters are compared with the counts that the makers publish."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from synthenv.ranking import models
from synthenv.ranking.space import PipelineSpace

BERT = {"model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "vocab_size": 30522, "max_position_embeddings": 512,
        "type_vocab_size": 2}  # fmt: skip
ROBERTA = {**BERT, "model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
DISTILBERT = {"model_type": "distilbert", "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072,
              "vocab_size": 30522, "max_position_embeddings": 512}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257}
LLAMA = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 32, "intermediate_size": 11008, "vocab_size": 32000}  # fmt: skip
MISTRAL = {**LLAMA, "model_type": "mistral", "num_key_value_heads": 8, "intermediate_size": 14336}
LLAMA3_1B = {"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
             "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192, "vocab_size": 128256,
             "tie_word_embeddings": True}  # fmt: skip
QWEN2 = {"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
         "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936,
         "tie_word_embeddings": True}  # fmt: skip
VIT = {"model_type": "vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
       "intermediate_size": 3072, "image_size": 224, "patch_size": 16, "num_channels": 3}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (BERT, 109_482_240),
        (ROBERTA, 124_645_632),
        (DISTILBERT, 66_362_880),
        (GPT2, 124_439_808),
        (LLAMA, 6_738_415_616),
        (MISTRAL, 7_241_732_096),
        (LLAMA3_1B, 1_235_814_400),
        (QWEN2, 494_032_768),
        (VIT, 86_567_656 - 769_000),  # without the classifier
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)
def test_parameters_are_those_published(config, published):
    assert models.huggingface(config)["model.parameters"] == published


def test_macs_of_an_image():
    assert models.huggingface(VIT)["model.macs"] / 1e9 == pytest.approx(17.6, abs=0.1)


def test_a_config_is_read_from_wherever_it_is(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(BERT))
    found = models.huggingface(tmp_path)
    assert found == models.huggingface(tmp_path / "config.json") == models.huggingface(BERT)
    assert found == models.huggingface(SimpleNamespace(to_dict=lambda: BERT))
    assert (found["model.type"], found["model.layers"], found["model.context"]) == ("bert", 12, 512)


def test_unknown_architectures_keep_what_they_say():
    found = models.huggingface({"model_type": "mamba", "hidden_size": 768})
    assert found == {"model.type": "mamba", "model.width": 768}


def test_an_encoder_with_a_decoder_is_told():
    found = models.huggingface({"model_type": "t5", "d_model": 512, "is_encoder_decoder": True})
    assert found == {"model.type": "t5", "model.width": 512, "model.encoder_decoder": True}


def test_what_is_no_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        models.huggingface(tmp_path)
    with pytest.raises(ValueError, match="got list"):
        models.huggingface([])
    with pytest.raises(ValueError, match="lacks 'intermediate_size'"):
        models.huggingface({key: value for key, value in BERT.items() if key != "intermediate_size"})


def test_timm_configs():
    cfg = {"tag": "augreg_in21k_ft_in1k", "input_size": [3, 384, 384], "crop_pct": 1.0, "num_classes": 1000}
    found = models.timm({"architecture": "vit_base_patch16_384", "num_features": 768, "pretrained_cfg": cfg})
    assert found == {
        "model.type": "vit_base_patch", "model.resolution": 384, "model.channels": 3, "model.width": 768,
        "model.classes": 1000, "model.crop": 1.0, "model.pretraining": "in21k in1k", "model.method": "augreg",
    }  # fmt: skip
    assert models.timm({**cfg, "architecture": "resnet50"})["model.type"] == "resnet"
    assert models.timm({"architecture": "resnet50"}) == {"model.type": "resnet"}


def test_tables_of_results_relate_models(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("model,top1,param_count,img_size,other\nresnet50,80.1,25.6,224,x\nvit,85,86.6,,x\n")
    found = models.table(path)
    assert found["resnet50"]["model.score.top1"] == 80.1
    assert found["vit"]["model.parameters"] == pytest.approx(86.6e6)
    assert "model.resolution" not in found["vit"]
    with path.open("a") as file:
        file.write("vit,1,1,1,x\n")
    with pytest.warns(UserWarning, match="1 of 3 rows"):
        assert models.table(path) == found
    assert PipelineSpace.infer(found).encode(found).active.sum() == 5
    with pytest.raises(ValueError, match="needs a column 'model'"):
        models.table(path, {"top5": ("model.score.top5", 1)})


@pytest.mark.skipif("SYNTHENV_DATA" not in os.environ, reason="SYNTHENV_DATA names no folder of tables")
def test_timms_own_tables():
    folder = Path(os.environ["SYNTHENV_DATA"]) / "timm_results"
    with pytest.warns(UserWarning, match="rows are of models told before"):  # at several resolutions
        scores = models.table(folder / "results-imagenet.csv")
    assert len(scores) > 1_200
    assert scores["vit_base_patch16_224.augreg2_in21k_ft_in1k"]["model.parameters"] == pytest.approx(86.57e6)
