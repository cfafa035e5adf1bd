"""Philox4x32-10: random words from a seed and a counter, the same everywhere.

A word depends on (seed, image index, purpose, position) and nothing else, so
an image's latent cannot change with the batch it is drawn in.  The generator
is thirty lines in any language; numpy's own ``Philox`` is another one (4x64).

Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import UsageError

MAX_SEED = 2**64 - 1
MAX_INDEX = 2**32 - 1

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_STREAM_VERSION = 1  # the last counter word; a change of layout must change it

Words = NDArray[np.uint32]


def philox4x32(counter: Words, key: Words) -> Words:
    """Ten rounds of Philox4x32.

    Args:
        counter: uint32, (n, 4).
        key: uint32, (2,).

    Returns:
        uint32, (n, 4), independent of each other and of the order of rows.
    """
    c0, c1, c2, c3 = (counter[:, lane] for lane in range(4))
    k0, k1 = np.uint32(key[0]), np.uint32(key[1])
    for _ in range(10):
        p0 = c0.astype(np.uint64) * _M0
        p1 = c2.astype(np.uint64) * _M1
        high0, low0 = (p0 >> np.uint64(32)).astype(np.uint32), (p0 & _LOW)
        high1, low1 = (p1 >> np.uint64(32)).astype(np.uint32), (p1 & _LOW)
        c0, c1 = high1 ^ c1 ^ k0, low1.astype(np.uint32)
        c2, c3 = high0 ^ c3 ^ k1, low0.astype(np.uint32)
        with np.errstate(over="ignore"):
            k0, k1 = k0 + _W0, k1 + _W1
    return np.stack([c0, c1, c2, c3], axis=1)


def words(seed: int, start: int, count: int, width: int, purpose: int) -> Words:
    """Random words for images ``start`` to ``start + count - 1`` of a seed.

    Word j of image i is lane ``j % 4`` of the block with
    key ``(seed low, seed high)`` and counter ``(j // 4, i, purpose, 1)``.

    Returns:
        uint32, (count, width).

    Raises:
        UsageError: the seed is not in 0..2^64-1, or an index not in 0..2^32-1.
    """
    # numpy's integers would wrap around, or turn to floats, in what follows.
    seed, start, count = map(operator.index, (seed, start, count))
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"a seed must be from 0 to 2^64-1, got {seed}")
    if count < 0 or start < 0 or start + count - 1 > MAX_INDEX:
        raise UsageError(
            f"image indices must be from 0 to 2^32-1, got {count} from {start}"
        )
    blocks = -(-width // 4)
    counter = np.empty((count, blocks, 4), dtype=np.uint32)
    counter[:, :, 0] = np.arange(blocks, dtype=np.uint32)
    counter[:, :, 1] = np.arange(start, start + count, dtype=np.int64)[:, None]
    counter[:, :, 2] = purpose
    counter[:, :, 3] = _STREAM_VERSION
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint32)
    return philox4x32(counter.reshape(-1, 4), key).reshape(count, 4 * blocks)[:, :width]


def to_uniform(x: Words) -> NDArray[np.float64]:
    """Words to Unif(-1, 1): 2^24 equal steps, exact in float32, never 0 or +-1."""
    steps = (x >> np.uint32(8)).astype(np.float64)
    uniform: NDArray[np.float64] = ((2.0 * steps + 1.0) - 2.0**24) * 2.0**-24
    return uniform


def to_category(x: Words, size: int) -> NDArray[np.int64]:
    """Words to categories 0..size-1, by the high half of word * size."""
    high = (x.astype(np.uint64) * np.uint64(size)) >> np.uint64(32)
    category: NDArray[np.int64] = high.astype(np.int64)
    return category


def to_share(x: Words, shares: Sequence[float]) -> NDArray[np.int64]:
    """Words to categories that come as often as their shares, which sum to 1."""
    below = np.floor(np.cumsum(shares)[:-1] * 2.0**32)
    category: NDArray[np.int64] = np.searchsorted(below, x, side="right")
    return category


def to_normal(x: Words) -> NDArray[np.float64]:
    """Words to N(0, 1), by the inverse of its distribution function."""
    return _inverse_normal((to_uniform(x) + 1.0) / 2.0)


def _rational(
    numerator: tuple[float, ...], denominator: tuple[float, ...]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def evaluate(r: NDArray[np.float64]) -> NDArray[np.float64]:
        above, below = np.zeros_like(r), np.zeros_like(r)
        for a, b in zip(reversed(numerator), reversed(denominator), strict=True):
            above, below = above * r + a, below * r + b
        return above / below

    return evaluate


# PPND16 of Wichura (1988), algorithm AS 241: about 16 digits everywhere.
_central = _rational(
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_middle = _rational(
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_tail = _rational(
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def _inverse_normal(p: NDArray[np.float64]) -> NDArray[np.float64]:
    q = p - 0.5
    r = np.sqrt(-np.log(np.minimum(p, 1.0 - p)))
    outer = np.where(r <= 5.0, _middle(r - 1.6), _tail(r - 5.0))
    return np.where(
        np.abs(q) <= 0.425,
        q * _central(0.180625 - q * q),
        np.copysign(outer, q),
    )
