"""Vector arithmetic on latents: what is in A and not in B, added to C.

Source: Radford et al. (2016), "Unsupervised representation learning with deep
convolutional generative adversarial networks", figure 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infogan_export import philox
from infogan_export.errors import CodeError, UsageError
from infogan_export.latent import CategoricalCode, Latents, LatentSpec

NOISE = 0.25  # the half-width of the noise around a result, as in the source

_AROUND = 2  # third counter word of the Philox stream; 0 and 1 draw latents

Reals = NDArray[np.float64]


def pick(spec: LatentSpec, images: Iterable[int], *, seed: int = 0) -> Latents:
    """The latents of some images of a seed, by their index.

    Image i of a seed is the same as in ``sample``: its place in a contact sheet.

    Args:
        spec: the model's latent layout.
        images: indices from 0; one that is named twice counts twice.
        seed: of all of them.

    Returns:
        float32, (n, dim).

    Raises:
        UsageError: none, or an index out of range.
    """
    rows = [spec.sample(1, seed=seed, start=image) for image in images]
    if not rows:
        raise UsageError("each term of an arithmetic needs at least one image")
    return np.concatenate(rows)


def mean_latent(latents: ArrayLike, spec: LatentSpec) -> Latents:
    """The mean of a term's latents, such as the model would draw.

    The mean of n normal draws is shorter than any of them, by the root of n, and
    a generator never saw such: normal noise gets the root mean square norm of the
    latents back.  Uniform noise and codes stay as they are, inside their priors.
    The mean of categories is a mixture.

    Args:
        latents: float32, (n, dim), or one (dim,).
        spec: the model's latent layout.

    Returns:
        float32, (dim,); of one latent, that latent.

    Raises:
        CodeError: not latents of this model, or none.
    """
    rows = spec.validate(latents).astype(np.float64)
    if not len(rows):
        raise CodeError("a mean needs at least one latent, got none")
    mean = rows.mean(axis=0)
    if spec.noise.distribution == "normal" and len(rows) > 1:
        z = spec.columns("noise")
        usual = np.sqrt((rows[:, z] ** 2).sum(axis=1).mean())
        mean[z] *= _ratio(usual, np.linalg.norm(mean[z]))
    result: Latents = mean.astype(np.float32)
    return result


def combine(
    plus: Sequence[ArrayLike], minus: Sequence[ArrayLike], spec: LatentSpec
) -> Latents:
    """mean(A) - mean(B) + mean(C), and so on for more terms.

    There is one more term to add than to take away, so that what all have in
    common stays.  What the sum brings outside the prior (and the terms) is taken
    back: uniform noise and codes are clipped to their ranges, normal noise is
    shortened to the longest term's, and a category's weights are clipped at 0 and
    sum to 1 again.  So A - A + C is C.

    Args:
        plus: latents of each term to add, float32 (n, dim) or (dim,).
        minus: those of each term to take away.
        spec: the model's latent layout.

    Returns:
        float32, (dim,).

    Raises:
        UsageError: another number of terms.
        CodeError: not latents of this model.
    """
    if len(plus) != len(minus) + 1:
        raise UsageError(
            f"an arithmetic is A - B + C: one more term to add than to take away, "
            f"got {len(plus)} to add and {len(minus)} to take away"
        )
    added = [mean_latent(term, spec).astype(np.float64) for term in plus]
    taken = [mean_latent(term, spec).astype(np.float64) for term in minus]
    total: Reals = np.sum(added, axis=0)
    if taken:
        total = total - np.sum(taken, axis=0)
    return _within(total, np.stack([*added, *taken]), spec)


def around(
    latent: ArrayLike,
    spec: LatentSpec,
    *,
    count: int = 9,
    noise: float = NOISE,
    seed: int = 0,
) -> Latents:
    """A latent in the middle of others with a little noise on z; codes stay.

    Args:
        latent: float32, (dim,).
        spec: the model's latent layout.
        count: latents in all, the middle one included.
        noise: each column of z moves by Unif(-noise, noise).
        seed: of that noise.

    Returns:
        float32, (count, dim); row ``count // 2`` is the latent itself.

    Raises:
        UsageError: the noise is negative or not finite.
        CodeError: not one latent of this model.
    """
    if not 0 <= noise < np.inf:
        raise UsageError(f"noise must be 0 or more and finite, got {noise:g}")
    (row,) = _one(latent, spec)
    words = philox.words(seed, 0, count, spec.noise_dim, _AROUND)
    moves = noise * philox.to_uniform(words)
    moves[count // 2] = 0
    z = spec.columns("noise")
    rows = np.repeat(row[None], count, axis=0)
    moved = rows[:, z] + moves
    if spec.noise.distribution == "uniform":
        moved = _clipped(moved, row[None, z], -1, 1)
    rows[:, z] = moved
    return rows


def _within(total: Reals, terms: Reals, spec: LatentSpec) -> Latents:
    """A sum of latents, taken back to where the prior or its terms lie."""
    latent = total.copy()
    z = spec.columns("noise")
    if spec.noise.distribution == "uniform":
        latent[z] = _clipped(latent[z], terms[:, z], -1, 1)
    else:
        longest = np.linalg.norm(terms[:, z], axis=1).max()
        latent[z] *= min(1.0, _ratio(longest, np.linalg.norm(latent[z])))
    for code in spec.codes:
        columns = spec.columns(code.name)
        if isinstance(code, CategoricalCode):
            weights = np.maximum(latent[columns], 0)
            latent[columns] = weights / weights.sum()  # about 1 or more
        else:
            own = terms[:, columns]
            latent[columns] = _clipped(latent[columns], own, code.low, code.high)
    result: Latents = latent.astype(np.float32)
    return result


def _clipped(values: Reals, terms: Reals, low: float, high: float) -> Reals:
    return np.clip(
        values, np.minimum(low, terms.min(axis=0)), np.maximum(high, terms.max(axis=0))
    )


def _one(latent: ArrayLike, spec: LatentSpec) -> Latents:
    rows = spec.validate(latent)
    if len(rows) != 1:
        raise CodeError(f"one latent is needed, got {len(rows)}")
    return rows


def _ratio(above: Any, below: Any) -> float:
    return float(above / below) if below > 0 else 1.0
