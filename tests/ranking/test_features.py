"""Task features: sizes are right, statistics tell apart what they should, landmarks find what is there."""

import numpy as np
import pytest

from synthenv.ranking import features
from synthenv.ranking.runs import RunTable


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_images_have_the_four_sizes(generator):
    pixels, labels = generator.random((90, 8, 6, 3)), np.arange(90) % 3
    found = features.images(pixels, labels)
    assert found == {"channels": 3, "resolution": 8, "samples": 90, "classes": 3, "balance": pytest.approx(1)}
    assert features.images(pixels[..., 0], labels)["channels"] == 1
    with pytest.raises(ValueError, match="height, width"):
        features.images(pixels[0, 0], labels)


def test_landmarks_find_a_linear_rule_and_nothing_in_noise(generator):
    inputs = generator.standard_normal((600, 400))
    rule = (inputs[:, :40].sum(1) > 0).astype(int)
    found = features.landmarks(inputs[:, :40], rule, generator)
    assert found["landmark linear"] > 0.85 > found["landmark majority"]
    noise = features.landmarks(inputs, generator.integers(0, 2, 600), generator)
    assert all(abs(score - 0.5) < 0.12 for score in noise.values())


def test_the_nearest_neighbour_finds_what_no_line_does(generator):
    inputs = generator.uniform(-1, 1, (600, 2))
    found = features.landmarks(inputs, (inputs[:, 0] * inputs[:, 1] > 0).astype(int), generator)
    assert found["landmark neighbour"] > 0.9 > 0.7 > found["landmark linear"]


def test_landmarks_are_those_of_their_generator(generator):
    inputs, labels = generator.standard_normal((50, 300)), np.arange(50) % 4
    one, other = (features.landmarks(inputs, labels, np.random.default_rng(3)) for _ in range(2))
    assert one == other
    assert features.landmarks(inputs[:2], labels[:2], generator) == {}
    with pytest.raises(ValueError, match="labels"):
        features.landmarks(inputs, labels[:3], generator)


def test_texts(generator):
    samples = ["the cat sat"] * 30 + ["dogs ran, far away!"] * 30
    labels = np.array([0] * 30 + [1] * 30)
    found = features.texts(samples, labels, generator)
    assert (found["words"], found["words spread"], found["vocabulary"]) == (3.5, 0.5, 7)
    assert found["landmark linear"] == found["landmark neighbour"] == 1
    assert features.texts(["a"], ["x"])["classes"] == 1


def test_series_tell_walks_from_noise_and_lines(generator):
    noise = generator.standard_normal((20, 100))
    walk, line = noise.cumsum(1), np.linspace(0, 9, 100)[None] + 0.01 * noise
    found = {name: features.series(x) for name, x in {"noise": noise, "walk": walk, "line": line}.items()}
    assert found["noise"]["noise"] > 0.85 > found["walk"]["noise"]
    assert abs(found["noise"]["memory"]) < 0.1 < 0.8 < found["walk"]["memory"]
    assert found["line"]["trend"] > 0.99 > 0.2 > found["noise"]["trend"]
    assert features.series(noise[..., None].repeat(2, 2), np.arange(20) % 2, generator)["channels"] == 2
    assert features.series(np.zeros((3, 5)))["trend"] == 0
    with pytest.raises(ValueError, match="length >= 3"):
        features.series(noise[0])


def test_labels_and_samples_belong_together():
    with pytest.raises(ValueError, match="one label a sample"):
        features.classes([1, 2], 3)
    with pytest.raises(ValueError, match="some samples"):
        features.texts([], [])


def test_features_fit_into_a_table(generator):
    found = features.images(generator.random((30, 4, 4)), np.arange(30) % 2, generator)
    assert RunTable.of("a", "p", 1.0, features={"a": found}).features["a"] == found
