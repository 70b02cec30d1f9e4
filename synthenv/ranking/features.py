"""What is known of a task before anything is trained on it: sizes, a few statistics, cheap landmarks. All optional.

Sizes are those of zero-shot AutoML with pretrained models (Ozturk et al. 2022): channels, classes, samples, resolution;
text and time series have counterparts. A landmark is what a simple learner scores in a second on a small sample:
how far pixels, words or raw values carry says how much a pretrained model has to add.

Features are plain numbers by name, for `RunTable.features`. Their scale is the business of who reads them.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]

SAMPLE = 600
"""Samples that landmarks look at; a third of them is held out."""
WIDE = 256
"""Columns that landmarks look at; more are projected at random."""
RIDGE = 1e-2
"""Weight of the linear probe's penalty, as a share of the columns' mean square."""


def images(pixels: Numbers, labels: npt.ArrayLike, generator: np.random.Generator | None = None) -> dict[str, float]:
    """Features of image classification: pixels [n, height, width] or [n, height, width, channels], labels [n].

    With a generator also landmarks.
    """
    if pixels.ndim not in (3, 4):
        raise ValueError(f"images are [n, height, width] or [n, height, width, channels], got {pixels.shape}")
    sizes = {
        "channels": float(pixels.shape[3]) if pixels.ndim == 4 else 1.0,
        "resolution": float(max(pixels.shape[1:3])),
        **classes(labels, len(pixels)),
    }
    return sizes | ({} if generator is None else landmarks(pixels.reshape(len(pixels), -1), labels, generator))


def texts(
    samples: Sequence[str], labels: npt.ArrayLike, generator: np.random.Generator | None = None
) -> dict[str, float]:
    """Features of text classification: n texts, labels [n]. With a generator also landmarks, on hashed words."""
    words = [re.findall(r"\w+", text.lower()) for text in samples]
    known = Counter(word for text in words for word in text)
    lengths = np.array([len(text) for text in words], np.float64)
    found = {
        "characters": float(np.mean([len(text) for text in samples])) if samples else 0.0,
        "words": float(lengths.mean()) if len(lengths) else 0.0,
        "words spread": float(lengths.std()) if len(lengths) else 0.0,
        "vocabulary": float(len(known)),
        "rare words": sum(count == 1 for count in known.values()) / max(len(known), 1),
        **classes(labels, len(samples)),
    }
    if generator is None:
        return found
    rows = _chosen(len(samples), generator)
    counts = np.zeros((len(rows), WIDE))
    for row, i in enumerate(rows):
        for word in words[i]:
            counts[row, zlib.crc32(word.encode()) % WIDE] += 1
    return found | landmarks(np.log1p(counts), np.asarray(labels)[rows], generator)


def series(
    values: Numbers, labels: npt.ArrayLike | None = None, generator: np.random.Generator | None = None
) -> dict[str, float]:
    """Features of time series [n, length] or [n, length, channels], of classification where there are labels [n].

    memory: correlation of neighbours in time.  noise: flatness of the spectrum, 1 for white noise.  trend: share of
    variance along a straight line. With labels and a generator also landmarks.
    """
    if values.ndim not in (2, 3) or values.shape[1] < 3:
        raise ValueError(f"series are [n, length >= 3] or [n, length, channels], got {values.shape}")
    curves = values.reshape(*values.shape[:2], -1).astype(np.float64)  # [n, T, C]
    curves = curves - curves.mean(1, keepdims=True)
    power = np.maximum((curves**2).sum(1), 1e-300)  # [n, C]
    line = np.linspace(-1, 1, curves.shape[1])
    along = np.einsum("ntc,t->nc", curves, line) ** 2 / (line**2).sum()
    spectrum = np.abs(np.fft.rfft(curves, axis=1))[:, 1:] ** 2 + 1e-300
    share = spectrum / spectrum.sum(1, keepdims=True)
    entropy = -(share * np.log(share)).sum(1) / max(np.log(share.shape[1]), 1e-9)
    found = {
        "length": float(curves.shape[1]),
        "channels": float(curves.shape[2]),
        "memory": float(((curves[:, 1:] * curves[:, :-1]).sum(1) / power).mean()),
        "noise": float(entropy.mean()),
        "trend": float((along / power).mean()),
    }
    if labels is None:
        return found | {"samples": float(len(values))}
    found |= classes(labels, len(values))
    return found if generator is None else found | landmarks(values.reshape(len(values), -1), labels, generator)


def classes(labels: npt.ArrayLike, n: int) -> dict[str, float]:
    """Samples, classes and the balance of labels [n]: 1 where all classes are alike, 0 where there is one."""
    known = np.asarray(labels)
    if known.shape != (n,) or n == 0:
        raise ValueError(f"expected one label a sample, [{n}] and some samples, got shape {known.shape}")
    share = np.unique(known, return_counts=True)[1] / n
    balance = -(share * np.log(share)).sum() / np.log(len(share)) if len(share) > 1 else 0.0
    return {"samples": float(n), "classes": float(len(share)), "balance": float(balance)}


def landmarks(inputs: npt.ArrayLike, labels: npt.ArrayLike, generator: np.random.Generator) -> dict[str, float]:
    """Held-out accuracy of simple learners on a sample of inputs [n, D], labels [n].

    majority: always the commonest label.  neighbour: that of the nearest input.  linear: ridge regression on labels.
    Each is left out where nothing could be held out.
    """
    x, y = np.asarray(inputs, np.float64), np.unique(np.asarray(labels), return_inverse=True)[1]
    if x.ndim != 2 or len(x) != len(y):
        raise ValueError(f"landmarks need inputs [n, D] and labels [n], got {x.shape} and {y.shape}")
    rows = _chosen(len(x), generator)
    x, y = np.nan_to_num(x[rows]), y[rows]
    if x.shape[1] > WIDE:
        x = x @ generator.standard_normal((x.shape[1], WIDE)) / np.sqrt(WIDE)
    held = len(x) // 3
    if held == 0 or x.shape[1] == 0:
        return {}
    x = (x - x[held:].mean(0)) / np.maximum(x[held:].std(0), 1e-9)
    train, test, known, asked = x[held:], x[:held], y[held:], y[:held]
    commonest = np.bincount(known).argmax()
    distance = (train**2).sum(1) - 2 * test @ train.T
    hot = np.eye(y.max() + 1)[known]
    gram = train.T @ train
    penalty = RIDGE * len(train) * np.eye(len(gram))
    linear = (test @ np.linalg.solve(gram + penalty, train.T @ (hot - hot.mean(0))) + hot.mean(0)).argmax(1)
    guesses = {"majority": np.full(held, commonest), "neighbour": known[distance.argmin(1)], "linear": linear}
    return {f"landmark {name}": float((guess == asked).mean()) for name, guess in guesses.items()}


def _chosen(n: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which of n samples landmarks look at, shuffled."""
    return generator.permutation(n)[:SAMPLE]
