"""Models without a run of their own: what their names and features tell, and that they are told by the others alone."""

import numpy as np
import pytest

from benchmarks import ranking_models as described
from benchmarks.ranking_data import PUBLIC
from benchmarks.ranking_unseen import MEAN, architecture, compared, left_out
from synthenv.ranking.runs import RunTable


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("resnet50_lpf3", ("resnet50", {"lpf3"})),
        ("wide_resnet50_2", ("wideresnet502", set())),
        ("FixResNet50_v2", ("resnet50", {"v2", "fix"})),
        ("efficientnet-b0-advprop-autoaug", ("efficientnetb0", {"advprop", "autoaug"})),
        ("polynet", ("polynet", set())),
    ],
)
def test_a_name_is_an_architecture_and_words(model, found):
    sizes = dict.fromkeys(("resnet50", "resnet5", "wideresnet502", "efficientnetb0"), 1.0)
    assert described.named(model, sizes) == found


def test_cards_of_language_models():
    assert described.spoken("google/mt5-base") == {"model.encoder_decoder": True, "model.languages": "many"}
    assert described.spoken("gpt2-xl") == {"model.encoder_decoder": False, "model.languages": "one"}


def test_weights_of_one_architecture_are_held_out_together():
    assert architecture("vit_base_patch16_224.augreg 224") == architecture("vit_base_patch16_224.mae 384")


def runs(told, seed=0):
    """Two tasks whose scores are a bend of one feature; sizes and public scores have nothing to do with it."""
    generator = np.random.default_rng(seed)
    names = [f"m{i:02d}" for i in range(24)]
    x = generator.permutation(np.linspace(-2, 2, 24))
    settings = {
        name: {"width": float(x[i]), "model.parameters": float(generator.uniform(1, 9)),
               **({PUBLIC: float(generator.uniform())} if i < 10 else {})}
        for i, name in enumerate(names)
    }  # fmt: skip
    score = [told(x), 3 * told(x) + 0.2 * x]
    return RunTable.of(np.repeat(["a", "b"], 24), names * 2, np.concatenate(score), settings=settings)


def test_a_model_is_told_by_its_features_and_compared_where_a_rival_knows_it():
    mean, *rows = compared("made up", runs(lambda x: -((x - 0.5) ** 2)), str)
    assert (mean["task"], [row["task"] for row in rows]) == (MEAN, ["a", "b"])
    assert (mean["models"], mean["models_size"], mean["models_public"]) == ("24", "24", "10")
    assert float(mean["ours"]) > 0.8
    assert float(mean["size"]) < 0.6
    assert float(mean["size_low"]) > 0
    assert float(mean["size_low"]) <= float(mean["ours_size"]) - float(mean["size"]) <= float(mean["size_high"])


def test_its_own_score_tells_nothing():
    def but_one(x):
        return np.where(x == x[3], 99.0, np.sin(x))

    one, other = left_out(runs(np.sin), str), left_out(runs(but_one), str)
    assert one["a"]["m03"] == other["a"]["m03"]
    assert one["a"]["m04"] != other["a"]["m04"]
