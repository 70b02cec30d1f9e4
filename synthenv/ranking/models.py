"""A pretrained model as settings of a pipeline, read offline from its own configuration or from tables of results.

A model is a vector of what is known of it, under names that begin with `model.`: parameters, macs (multiply-adds of one
forward pass: of an image, or of a token), resolution, width, layers, the data and the method of pretraining, public
scores, throughput. So one that nobody has run on any task can still be ranked. What a configuration does not say is
left out; parameters are counted from it where its architecture is one of those below.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from synthenv.ranking.plain import as_value, cells

TIMM_COLUMNS = {
    "param_count": ("model.parameters", 1e6),
    "infer_gmacs": ("model.macs", 1e9),
    "infer_samples_per_sec": ("model.throughput", 1),
    "train_samples_per_sec": ("model.throughput.training", 1),
    "img_size": ("model.resolution", 1),
    "infer_img_size": ("model.resolution", 1),
    "top1": ("model.score.top1", 1),
    "pretrain": ("model.pretraining", 1),
}
"""Columns of the tables in timm's `results/` -> setting and unit."""
DATA = re.compile(r"in(1|12|21|22)k|(laion|lvd|jft|ig\d|yfcc|dfn|datacomp)\w*|openai|webli|merged2b|m38m|wit")
"""Parts of a timm tag that name pretraining data; the others name methods."""


def table(
    path: str | Path, columns: Mapping[str, tuple[str, float]] = TIMM_COLUMNS, key: str = "model"
) -> dict[str, dict[str, Any]]:
    """What a CSV file with a row a model says of each: the `columns` that it has, empty cells left out.

    Of several rows for one model the first counts, with a warning.
    """
    header, *rows = cells(Path(path))
    known = [name for name in columns if name in header]
    if key not in header or not known:
        raise ValueError(f"{path} needs a column '{key}' and some of {', '.join(columns)}; got {', '.join(header)}")
    found: dict[str, dict[str, Any]] = {}
    for row in (dict(zip(header, values, strict=True)) for values in rows):
        told = {columns[name]: as_value(row[name]) for name in known if row[name]}
        found.setdefault(
            row[key],
            {name: x * unit if isinstance(x, int | float) else x for (name, unit), x in told.items()},
        )
    if len(found) < len(rows):
        warnings.warn(f"{path}: {len(rows) - len(found)} of {len(rows)} rows are of models told before", stacklevel=2)
    return found


def timm(config: Any) -> dict[str, Any]:
    """Settings of a timm model, out of its `config.json` or `pretrained_cfg`: a path, a mapping or an object."""
    told = _mapping(config)
    told = {**told, **_mapping(told.get("pretrained_cfg", {}))}
    size = told.get("input_size")
    parts = re.split(r"[_.]", str(told.get("tag") or ""))
    data = [part for part in parts if DATA.fullmatch(part)]
    method = [part for part in parts if part and part not in (*data, "ft") and not part.isdigit()]
    return _known(
        {
            "model.type": re.sub(r"\d.*", "", told.get("architecture") or "").strip("_"),
            "model.resolution": max(size[1:]) if size else None,
            "model.channels": size[0] if size else None,
            "model.width": told.get("num_features"),
            "model.classes": told.get("num_classes"),
            "model.crop": told.get("crop_pct"),
            "model.pretraining": " ".join(data),
            "model.method": " ".join(method),
        }
    )


def huggingface(config: Any) -> dict[str, Any]:
    """Settings of a Hugging Face model, out of its `config.json` or the folder of that, a mapping, or an AutoConfig.

    Parameters are those of the backbone, without a classifier; macs are of a token, or an image where it sees images.
    """
    told = _mapping(config)
    kind = str(told.get("model_type", ""))
    settings = {
        "model.type": kind,
        "model.width": _first(told, "hidden_size", "n_embd", "d_model", "dim"),
        "model.layers": _first(told, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        "model.heads": _first(told, "num_attention_heads", "n_head", "n_heads", "num_heads"),
        "model.vocabulary": told.get("vocab_size"),
        "model.context": _first(told, "max_position_embeddings", "n_positions", "n_ctx"),
        "model.resolution": told.get("image_size") if isinstance(told.get("image_size"), int) else None,
        "model.channels": told.get("num_channels"),
        "model.tied": told.get("tie_word_embeddings"),
        "model.encoder_decoder": told.get("is_encoder_decoder"),
    }
    try:
        size = SIZES[kind](told) if kind in SIZES else None
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"a config of type '{kind}' should tell its sizes, but lacks {error}") from error
    if size is not None:
        settings |= {"model.parameters": size.parameters, "model.macs": size.macs}
    return _known(settings)


class Size(NamedTuple):
    """Parameters of a backbone, and multiply-adds of one forward pass."""

    parameters: int
    macs: int


def _block(width: int, inner: int) -> int:
    """Parameters of a transformer block with biases and two layer norms."""
    return 4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width


def _encoder(told: Mapping[str, Any]) -> Size:
    """BERT, RoBERTa and their kin: embeddings, normed; blocks; a pooler."""
    width, layers = told["hidden_size"], told["num_hidden_layers"]
    tables = told["vocab_size"] + told["max_position_embeddings"] + told.get("type_vocab_size", 2)
    blocks = layers * _block(width, told["intermediate_size"])
    pooler = width * width + width
    return Size(tables * width + 2 * width + blocks + pooler, blocks + pooler)


def _distilled(told: Mapping[str, Any]) -> Size:
    """DistilBERT: neither token types nor pooler."""
    width = told["dim"]
    blocks = told["n_layers"] * _block(width, told["hidden_dim"])
    return Size((told["vocab_size"] + told["max_position_embeddings"]) * width + 2 * width + blocks, blocks)


def _gpt2(told: Mapping[str, Any]) -> Size:
    """GPT-2: the head is the embedding."""
    width = told["n_embd"]
    blocks = told["n_layer"] * _block(width, told.get("n_inner") or 4 * width)
    words = told["vocab_size"] * width
    return Size(words + told["n_positions"] * width + blocks + 2 * width, blocks + words)


def _gated(told: Mapping[str, Any]) -> Size:
    """Llama and its kin: grouped attention, three gated projections, two scales a block."""
    width, layers, heads = told["hidden_size"], told["num_hidden_layers"], told["num_attention_heads"]
    head = told.get("head_dim") or width // heads
    queries, keys = heads * head, (told.get("num_key_value_heads") or heads) * head
    attention = 2 * width * queries + 2 * width * keys
    biases = queries + 2 * keys if told.get("attention_bias") or told["model_type"] == "qwen2" else 0
    biases += width if told.get("attention_bias") else 0
    block = attention + biases + 3 * width * told["intermediate_size"] + 2 * width
    words = told["vocab_size"] * width
    tied = told.get("tie_word_embeddings", False)
    return Size(words * (1 if tied else 2) + layers * block + width, layers * block + words)


def _vision(told: Mapping[str, Any]) -> Size:
    """ViT: patches, a class token, positions, blocks, a last norm. Attention costs the square of the patches."""
    width, layers, patch = told["hidden_size"], told["num_hidden_layers"], told["patch_size"]
    patches = (told["image_size"] // patch) ** 2
    tokens = patches + 1
    stem = told.get("num_channels", 3) * patch * patch * width
    blocks = layers * _block(width, told["intermediate_size"])
    macs = patches * stem + tokens * blocks + layers * 2 * tokens * tokens * width
    return Size(stem + width + width + tokens * width + blocks + 2 * width, macs)


SIZES = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert"), _encoder),
    **dict.fromkeys(("llama", "mistral", "qwen2"), _gated),
    **dict.fromkeys(("vit", "deit"), _vision),
    "distilbert": _distilled,
    "gpt2": _gpt2,
}
"""`model_type` -> how its parameters are counted."""


def _mapping(config: Any) -> Mapping[str, Any]:
    """A configuration as a mapping, from wherever it is."""
    if isinstance(config, str | Path):
        path = Path(config) / "config.json" if Path(config).is_dir() else Path(config)
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
    elif hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, Mapping):
        raise ValueError(f"a configuration is a path, a mapping or an object with to_dict, got {type(config).__name__}")
    return config


def _first(told: Mapping[str, Any], *names: str) -> Any:
    """The value under the first name that there is."""
    return next((told[name] for name in names if told.get(name) is not None), None)


def _known(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in settings.items() if value is not None and value != ""}
