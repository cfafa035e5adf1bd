"""What this package means by a picture: uint8, (H, W) grey or (H, W, 3) RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infogan_export.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

Picture = NDArray[np.uint8]
"""uint8, (H, W) or (H, W, 3); a stack of n has one axis more in front."""


def as_picture(array: ArrayLike) -> Picture:
    """The array itself, known to be one picture.

    Raises:
        UsageError: not uint8, not (H, W) or (H, W, 3), or no pixels.
    """
    return _checked(array, stack=False)


def as_pictures(array: ArrayLike) -> Picture:
    """The array itself, known to be a stack of pictures, (n, ...) and n >= 1.

    Raises:
        UsageError: not uint8, not (n, H, W) or (n, H, W, 3), or empty.
    """
    return _checked(array, stack=True)


def to_pillow(picture: Picture) -> Image.Image:
    """The picture as a Pillow image of mode L or RGB."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(picture))


def _checked(array: ArrayLike, *, stack: bool) -> Picture:
    picture = np.asarray(array)
    grey = 3 if stack else 2
    colour = picture.ndim == grey + 1 and picture.shape[-1] == 3
    if picture.dtype != np.uint8 or not (picture.ndim == grey or colour):
        n = "n, " if stack else ""
        raise UsageError(
            f"{'pictures' if stack else 'a picture'} must be uint8, "
            f"({n}H, W) or ({n}H, W, 3), got {picture.dtype} {picture.shape}"
        )
    if picture.size == 0:
        raise UsageError(f"there is nothing to draw: the shape is {picture.shape}")
    return picture
