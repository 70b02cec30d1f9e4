"""Pipelines as numbers with a mask: scales, conditions, and what is never invented."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthenv.ranking.space import MANY, Categorical, Condition, Float, Integer, PipelineSpace

DECLARED = PipelineSpace(
    {
        "lr": Float(1e-4, 1e-2, log=True),
        "layers": Integer(0, 12),
        "opt": Categorical(("sgd", "adam")),
        "nesterov": Categorical((False, True)),
        "momentum": Float(0.0, 0.9),
    },
    {"momentum": Condition("opt", ("sgd",)), "nesterov": Condition("momentum", (0.9,))},
)


def column(encoded, name):
    f = encoded.columns.index(name)
    return encoded.values[:, f], encoded.active[:, f]


def test_the_middle_of_a_range_is_zero_and_a_uniform_draw_has_unit_spread():
    values, active = column(DECLARED.encode([{"lr": 1e-3}, {"lr": 1e-2}]), "lr")
    np.testing.assert_allclose(values, [0, math.sqrt(3)], atol=1e-12)
    assert active.all()


def test_what_is_missing_or_does_not_matter_is_masked():
    told = [{"opt": "sgd", "momentum": 0.9, "nesterov": True}, {"opt": "adam", "momentum": 0.9, "nesterov": True}, {}]
    encoded = DECLARED.encode(told)
    for name in ("momentum", "nesterov=true", "nesterov=false"):
        assert column(encoded, name)[1].tolist() == [True, False, False]
    assert not column(encoded, "lr")[1].any()
    assert not encoded.values[~encoded.active].any()


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"opt": "adan"}, "setting 'opt' of pipeline 'p': no choice is called 'adan'; did you mean 'adam'"),
        ({"lr": "high"}, "'lr' of pipeline 'p': expected a number, got 'high'"),
        ({"lr": True}, "expected a number, got True"),
        ({"lr": -1.0}, "has no logarithm"),
    ],
)
def test_wrong_values_are_refused(told, said):
    with pytest.raises(ValueError, match=said):
        DECLARED.encode({"p": told})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Float(2, 1), "from low to high"),
        (lambda: Float(0, 1, log=True), "from above 0"),
        (lambda: Categorical(("a", "a")), "distinct"),
        (lambda: Categorical(()), "distinct"),
        (lambda: PipelineSpace({"a": Float(0, 1)}, {"a": Condition("b", (1,))}), "no setting is called 'b'"),
        (lambda: PipelineSpace({"a": Float(0, 1)}, {"a": Condition("a", (1,))}), "leads back to itself"),
    ],
)
def test_wrong_spaces_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_infer_knows_kinds_and_scales():
    told = {str(i): {"lr": 10.0**-i, "wd": [0, 1e-4, 1e-2][i], "size": 32 * i, "freeze": i > 0,
                     "clip": ["none", 1, 1][i]} for i in range(3)}  # fmt: skip
    found = PipelineSpace.infer(told).parameters
    assert isinstance(found["lr"], Float)
    assert (found["lr"].log, found["wd"].log, found["size"].log) == (True, True, False)
    assert isinstance(found["size"], Integer)
    assert (found["freeze"].choices, found["clip"].choices) == (("false", "true"), ("1", "none"))


def test_inferred_columns_have_standard_units():
    told = [{"lr": 10.0 ** -(i % 5), "opt": "abc"[i % 3], "size": i} for i in range(60)]
    space = PipelineSpace.infer(dict(zip(map(str, range(60)), told, strict=True)))
    encoded = space.encode(told)
    np.testing.assert_allclose(encoded.values.mean(0), 0, atol=1e-12)
    assert column(encoded, "lr")[0].std() == pytest.approx(1)
    words = encoded.values[:, [name.startswith("opt=") for name in encoded.columns]]
    assert words.var(0).sum() == pytest.approx(1)


def test_zero_on_a_log_scale_lies_below_the_rest():
    space = PipelineSpace.infer({str(i): {"wd": wd} for i, wd in enumerate([0, 1e-5, 1e-1])})
    values, _ = column(space.encode([{"wd": 0}, {"wd": 1e-5}, {"wd": 1e-1}]), "wd")
    assert values[0] < values[1] < values[2]


def test_a_choice_never_seen_is_masked_and_the_rest_of_the_pipeline_is_not():
    space = PipelineSpace.infer({"a": {"opt": "sgd", "lr": 1.0}, "b": {"opt": "adam", "lr": 2.0}})
    encoded = space.encode([{"opt": "lion", "lr": 1.5}])
    assert encoded.active.tolist() == [[True, False, False]]


def test_of_many_words_only_shared_ones_relate_pipelines():
    names = {str(i): {"name": f"n{i}", "family": f"f{i // 2}"} for i in range(2 * MANY + 2)}
    columns = PipelineSpace.infer(names).columns
    assert len(columns) == MANY + 1
    assert not any(name.startswith("name=") for name in columns)


def test_samples_are_inside_and_complete():
    drawn = DECLARED.sample(np.random.default_rng(0), 50)
    assert all(1e-4 <= told["lr"] <= 1e-2 and 0 <= told["layers"] <= 12 for told in drawn)
    assert all(("momentum" in told) == (told["opt"] == "sgd") for told in drawn)
    assert {told["opt"] for told in drawn} == {"sgd", "adam"}
    DECLARED.encode(drawn)


SETTINGS = st.dictionaries(
    st.sampled_from("abc"),
    st.one_of(st.none(), st.booleans(), st.integers(-9, 999), st.floats(-1e3, 1e3), st.sampled_from(["x", "y", "1"])),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(SETTINGS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_any_settings_are_encoded_whatever_their_order(told, random):
    pipelines = {str(i): one for i, one in enumerate(told)}
    shuffled = list(pipelines)
    random.shuffle(shuffled)
    one, other = (PipelineSpace.infer(dict(table)) for table in (pipelines, [(n, pipelines[n]) for n in shuffled]))
    assert one == other
    encoded = one.encode(pipelines)
    assert np.isfinite(encoded.values).all()
    assert not encoded.values[~encoded.active].any()
    again = other.encode({name: pipelines[name] for name in shuffled})
    np.testing.assert_array_equal(again.values, encoded.values[[int(name) for name in shuffled]])
