"""L_I: how much of each code Q can read back from the images, in nats.

L_I = E[log Q(c|x)] + H(c) is a lower bound on the mutual information
I(c; G(z, c)), with the entropy of the prior that c was really drawn from.

Source: Chen et al. (2016), equations 4 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import DataError
from infogan_export.latent import CategoricalCode, Latents
from infogan_export.runtime import Categories, Gaussian, Model, Recognition

Reals = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class InformationBound:
    """L_I of one code, in nats.

    Attributes:
        nats: the estimate.
        low, high: its confidence interval, by the normal approximation.
        ceiling: H(c) for a category; None for a continuous code, which could
            carry any amount.
    """

    nats: float
    low: float
    high: float
    ceiling: float | None


def categorical_information(
    log_probabilities: Reals,
    categories: NDArray[np.integer[Any]],
    *,
    entropy: float,
    level: float = 0.95,
) -> InformationBound:
    """L_I of a categorical code.

    Args:
        log_probabilities: (n, K), log Q(c|x) of every category.
        categories: (n,), those the images were generated with.
        entropy: H(c) of the prior that these were drawn from, in nats.
        level: of the confidence interval.

    Raises:
        DataError: fewer than two images.
    """
    _check(len(categories))
    terms = log_probabilities[np.arange(len(categories)), categories]
    terms = terms.astype(np.float64) + entropy
    error = float(terms.std(ddof=1)) / math.sqrt(len(terms))
    return _bound(float(terms.mean()), error, level, ceiling=entropy)


def uniform_information(
    values: Reals, means: Reals, *, low: float, high: float, level: float = 0.95
) -> InformationBound:
    """L_I of a continuous code, c ~ Unif(low, high), Q(c|x) = N(mean(x), sigma).

    The one sigma is fitted to these images (the root mean square residual,
    which maximises L_I), so E[log Q(c|x)] = -log(sigma) - log(2 pi e) / 2.

    Args:
        values: (n,), those the images were generated with.
        means: (n,), Q's means.
        low: end of the prior's range.
        high: end of the prior's range.
        level: of the confidence interval.

    Raises:
        DataError: fewer than two images.
    """
    _check(len(values))
    squares = (values.astype(np.float64) - means) ** 2
    variance = max(float(squares.mean()), np.finfo(np.float64).tiny)
    nats = math.log(high - low) - 0.5 * math.log(2 * math.pi * math.e * variance)
    # the error of log(variance) / 2, to first order
    error = float(squares.std(ddof=1)) / variance / 2 / math.sqrt(len(squares))
    return _bound(nats, error, level, ceiling=None)


def read_with_noise(
    model: Model, images: NDArray[np.uint8], *, seed: int = 0
) -> Recognition:
    """What Q reads in generated images that are slightly noisy, and then blurred.

    Where the recipe has noise for Q, the images get it, so that what counts is
    seen rather than hidden in fine texture.  The blur is part of the recognition
    network, and averages noise that comes before it: of that of ``faces``, a quarter
    of the deviation is left.  Training adds its noise after the blur.

    Args:
        model: with its recognition network.
        images: uint8, (n, H, W) or (n, H, W, 3).
        seed: of the noise.

    Raises:
        ModelError: the model has no recognition network.
    """
    deviation = float(model.metadata.training.get("recognition_noise", 0.0))
    if not deviation:
        return model.recognize(images)
    rng = np.random.default_rng(seed)
    noisy = images.astype(np.float32) / np.float32(255)
    noisy += np.float32(deviation) * rng.standard_normal(noisy.shape, np.float32)
    return model.recognize(np.clip(noisy, 0, 1))


def information_by_code(
    latents: Latents, read: Recognition
) -> dict[str, InformationBound]:
    """L_I of each code, from what Q reads in images of known latents.

    Args:
        latents: float32, (n, dim), those the images were drawn from.
        read: what Q reads in them.

    Raises:
        DataError: fewer than two images.
    """
    bounds: dict[str, InformationBound] = {}
    for code in read.spec.codes:
        asked, q = latents[:, read.spec.columns(code.name)], read[code.name]
        if isinstance(code, CategoricalCode):
            assert isinstance(q, Categories)
            # Rounded to zero, a probability is still above the least float.
            floor = np.finfo(np.float32).tiny
            log_q = np.log(np.maximum(q.probabilities, floor))
            bounds[code.name] = categorical_information(
                log_q, asked.argmax(axis=1), entropy=code.entropy
            )
        else:
            assert isinstance(q, Gaussian)
            bounds[code.name] = uniform_information(
                asked[:, 0], q.mean, low=code.low, high=code.high
            )
    return bounds


def _bound(
    nats: float, error: float, level: float, *, ceiling: float | None
) -> InformationBound:
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    return InformationBound(nats, nats - reach, nats + reach, ceiling)


def _check(count: int) -> None:
    if count < 2:
        raise DataError(f"L_I needs at least two images, got {count}")
