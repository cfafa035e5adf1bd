"""What can be measured of a face that fills a photograph, without finding it.

Each takes uint8 grey images (n, H, W) and gives float64 (n,).  Places are in
half-frames from the middle, -1 to 1, to the right and upwards; "left" and "right"
are the picture's.  Where a definition says so, the grey levels are first centred
and scaled to a standard deviation of 1, so that brightness and contrast do not
enter; an image of one grey level measures 0.

*Features*, the eyes, brows, nose and mouth, are what a difference of Gaussians of
1/48 and 1/8 of the side leaves, so that lighting does not enter either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from infogan_export.evaluation.strokes import Images, Measured, in_chunks, ratio

_FACE = 0.5  # deviation of the Gaussian that weighs the face, in half-frames
_LEAST = 1e-3  # added to squared slopes, which may be 0

# For a place that fits best: how far from the middle it is expected (deviation,
# half-frames), the furthest one tried, and how much a better fit counts.
_EXPECTED, _FURTHEST, _SHARPNESS = 1 / 3, 0.6, 5.0

# The rows of a face, upwards: a bright forehead, dark eyes, bright cheeks and a dark
# mouth, as (place, deviation, brightness); the mean of FER-2013's, rounded.
_FACE_ROWS = (
    (0.64, 0.2, 1.0),
    (0.28, 0.1, -1.8),
    (-0.05, 0.15, 1.5),
    (-0.6, 0.1, -0.5),
)


def brightness(images: Images) -> Measured:
    """Mean grey level, 0 to 255."""
    return in_chunks(lambda x: x.mean(axis=(1, 2)), images)


def contrast(images: Images) -> Measured:
    """Standard deviation of the grey levels."""
    return in_chunks(lambda x: x.std(axis=(1, 2)), images)


def lighting(images: Images) -> Measured:
    """From the right (positive) or the left: the slope of the face's shading.

    The regression of standardised grey levels on the place to the right, per
    half-frame, weighed by a Gaussian around the middle.
    """
    return in_chunks(lambda x: _slope(_standard(x), axis=2), images)


def toplight(images: Images) -> Measured:
    """From above (positive) or below: as `lighting`, upwards.  Dark hair counts."""
    return in_chunks(lambda x: _slope(_standard(x), axis=1), images)


def background(images: Images) -> Measured:
    """How bright the upper two thirds of the sides are against the whole.

    The mean of the outer eighths, in standard deviations of the grey levels.
    """
    return in_chunks(_background, images)


def pose(images: Images) -> Measured:
    """Turned to the right (positive) or the left: where the symmetry axis is.

    The axis in which the features, mirrored, fit themselves best: that of a face
    which turns moves to the side.  A face that stands aside counts as well.
    """
    return in_chunks(_symmetry_axis, images)


def height(images: Images) -> Measured:
    """How high the face is in the frame.

    Where dark eyes and a dark mouth below a bright forehead fit best.
    """
    return in_chunks(_height, images)


def width(images: Images) -> Measured:
    """How wide the face is for its height.

    The log of the features' root mean square slope downwards over that to the right,
    around the middle: stretched by s to the sides, they measure about log(s) more.
    """
    return in_chunks(_width, images)


PROPERTIES: Mapping[str, Callable[[Images], Measured]] = {
    "pose": pose,
    "lighting": lighting,
    "toplight": toplight,
    "brightness": brightness,
    "contrast": contrast,
    "background": background,
    "width": width,
    "height": height,
}


def _standard(images: Measured) -> Measured:
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    return ratio(centred, centred.std(axis=(1, 2), keepdims=True))


def _places(count: int, axis: int) -> NDArray[np.float64]:
    """From -1 to 1, to the right or upwards, to be broadcast over (n, H, W)."""
    places = np.linspace(-1, 1, count)
    return -places[:, None] if axis == 1 else places


def _window(images: Measured, deviation: float) -> NDArray[np.float64]:
    """A Gaussian around the middle, (H, W)."""
    up, right = (_places(images.shape[axis], axis) for axis in (1, 2))
    window: NDArray[np.float64] = np.exp(-(up**2 + right**2) / (2 * deviation**2))
    return window


def _slope(images: Measured, axis: int) -> Measured:
    weights, places = _window(images, _FACE), _places(images.shape[axis], axis)
    slope: Measured = (images * (weights * places)).sum(axis=(1, 2))
    slope /= (weights * places**2).sum()
    return slope


def _background(images: Measured) -> Measured:
    _, rows, columns = images.shape
    edge = max(1, columns // 8)
    upper = _standard(images)[:, : -(-2 * rows // 3)]
    sides = (upper[..., :edge].mean(axis=(1, 2)), upper[..., -edge:].mean(axis=(1, 2)))
    mean: Measured = (sides[0] + sides[1]) / 2
    return mean


def _features(images: Measured) -> Measured:
    side = images.shape[2]
    return _blurred(images, side / 48) - _blurred(images, side / 8)


def _symmetry_axis(images: Measured) -> Measured:
    features, size = _features(images), images.shape[2]
    up = _places(images.shape[1], axis=1)
    rows = np.exp(-((up / 0.6) ** 2) / 2)
    # of each column with each other one, (n, W, W)
    products = features.transpose(0, 2, 1) @ (rows * features)

    def fit(shift: int) -> Measured:
        """Of the features mirrored at the middle + shift / 2."""
        here = np.arange(max(0, shift), min(size, size + shift))
        there = size - 1 + shift - here
        aside = (here - (size - 1 + shift) / 2) / (size / 4)
        weights = np.exp(-(aside**2) / 2)
        return ratio(
            products[:, here, there] @ weights, products[:, here, here] @ weights
        )

    return _best_place(fit, size) / 2


def _height(images: Measured) -> Measured:
    size = images.shape[1]
    across = np.exp(-((_places(images.shape[2], axis=2) / 0.4) ** 2) / 2)
    profile = (_features(_standard(images)) * across).sum(axis=2)
    length = np.linalg.norm(profile, axis=1)
    up = _places(size, axis=1)[:, 0]

    def fit(shift: int) -> Measured:
        """Of a face that is higher by that many pixels."""
        at = up - 2 * shift / size
        rows = sum(b * np.exp(-(((at - p) / d) ** 2)) for p, d, b in _FACE_ROWS)
        return ratio(profile @ rows, length * np.linalg.norm(rows))

    return _best_place(fit, size)


def _best_place(fit: Callable[[int], Measured], size: int) -> Measured:
    """The mean shift, in half-frames, weighed by how well each fits (n,)."""
    reach = int(_FURTHEST * size / 2)
    shifts = np.arange(-reach, reach + 1)
    places = 2 * shifts / size
    logits = _SHARPNESS * np.stack([fit(int(shift)) for shift in shifts], axis=1)
    weights = np.exp(logits - (places / _EXPECTED) ** 2 / 2)
    mean: Measured = weights @ places / weights.sum(axis=1)
    return mean


def _width(images: Measured) -> Measured:
    features = _features(images)
    window = _window(images, _FACE)
    down, right = (
        (np.gradient(features, axis=axis) ** 2 * window).sum(axis=(1, 2))
        for axis in (1, 2)
    )
    stretch: Measured = 0.5 * (np.log(down + _LEAST) - np.log(right + _LEAST))
    return stretch


def _blurred(images: Measured, deviation: float) -> Measured:
    """Convolved with a Gaussian of that many pixels, edges repeated."""
    for axis in (1, 2):
        images = np.moveaxis(
            np.tensordot(images, _kernel(images.shape[axis], deviation), (axis, 0)),
            -1,
            axis,
        )
    return images


def _kernel(size: int, deviation: float) -> NDArray[np.float64]:
    """The convolution along one axis as a matrix (from, to)."""
    reach = int(np.ceil(3 * deviation))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-((offsets / deviation) ** 2) / 2)
    matrix = np.zeros((size, size))
    for offset, weight in zip(offsets, weights / weights.sum(), strict=True):
        to = np.arange(size)
        matrix[np.clip(to + offset, 0, size - 1), to] += weight
    return matrix
