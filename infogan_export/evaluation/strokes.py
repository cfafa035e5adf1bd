"""What can be measured of a bright stroke on black: slant, thickness, size, ink.

Each takes uint8 grey images (n, H, W) and gives float64 (n,).  An image
without any ink measures 0.  They are sub-pixel, since anti-aliased edges count
by their brightness, and made to rank images of one digit, not to survey them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Measured = NDArray[np.float64]

_CHUNK = 250  # images at a time


def slant(images: Images) -> Measured:
    """Lean in pixels to the right per pixel upwards, from second moments.

    The slope of the regression of x on height, so that a shear by s adds s:
    0 is upright, positive leans right as italics do.
    """
    return in_chunks(_slant, images)


def thickness(images: Images) -> Measured:
    """Mean width of the stroke in pixels, from its area A and perimeter P.

    A stroke of width w and length l with round ends has A = l w + pi w^2 / 4
    and P = 2 l + pi w; this is the w that solves both.  (A closed loop, which
    has no ends, measures a little thicker than it is.)  P is the total
    variation of the bilinear surface through the pixels: by the coarea
    formula, the mean perimeter over all grey thresholds.
    """
    return in_chunks(_thickness, images)


def width(images: Images) -> Measured:
    """Columns with ink, in pixels; a column counts by its brightest pixel."""
    return _extent(images, axis=1)


def height(images: Images) -> Measured:
    """Rows with ink, in pixels; a row counts by its brightest pixel."""
    return _extent(images, axis=2)


def ink(images: Images) -> Measured:
    """Mean brightness, 0 to 1."""
    mean: Measured = images.mean(axis=(1, 2), dtype=np.float64)
    return mean / 255


PROPERTIES: Mapping[str, Callable[[Images], Measured]] = {
    "slant": slant,
    "thickness": thickness,
    "width": width,
    "height": height,
    "ink": ink,
}


def _slant(images: Measured) -> Measured:
    _, rows, columns = images.shape
    up, right = -np.arange(rows, dtype=float), np.arange(columns, dtype=float)
    by_row = images.sum(axis=2)
    total = by_row.sum(axis=1)
    mean_up = ratio(by_row @ up, total)
    mean_right = ratio(images.sum(axis=1) @ right, total)
    covariance = ratio(((images @ right) * up).sum(axis=1), total)
    variance = ratio(by_row @ up**2, total) - mean_up**2
    return ratio(covariance - mean_up * mean_right, variance)


def _thickness(images: Measured) -> Measured:
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    across, down = np.diff(framed, axis=2), np.diff(framed, axis=1)
    top, bottom = across[:, :-1], across[:, 1:]
    left, right = down[:, :, :-1], down[:, :, 1:]
    # the gradient's length in each cell between four pixels, by 2x2 Gauss points
    near, far = 0.5 - 0.5 / np.sqrt(3), 0.5 + 0.5 / np.sqrt(3)
    perimeter = np.zeros(len(images))
    for x, y in product((near, far), repeat=2):
        slope_x = top * (1 - y) + bottom * y
        slope_y = left * (1 - x) + right * x
        perimeter += np.sqrt(slope_x**2 + slope_y**2).sum(axis=(1, 2)) / 4
    peak = images.max(axis=(1, 2))
    area = ratio(images.sum(axis=(1, 2)), peak)
    perimeter = ratio(perimeter, peak)
    round_ends = np.maximum(perimeter**2 - 4 * np.pi * area, 0)
    return ratio(4 * area, perimeter + np.sqrt(round_ends))


def _extent(images: Images, *, axis: int) -> Measured:
    profile = images.max(axis=axis).astype(np.float64)
    return ratio(profile.sum(axis=1), profile.max(axis=1))


def ratio(above: Measured, below: Measured) -> Measured:
    """`above` / `below`, 0 where there is nothing below."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def in_chunks(measure: Callable[[Measured], Measured], images: Images) -> Measured:
    """Measure a chunk at a time: floats take eight times the memory."""
    return np.concatenate([np.zeros(0), *(measure(chunk) for chunk in _chunks(images))])


def _chunks(images: Images) -> Iterator[Measured]:
    for start in range(0, len(images), _CHUNK):
        yield images[start : start + _CHUNK].astype(np.float64)
