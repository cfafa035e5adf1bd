"""Small lettering for the margins of pictures, in Pillow's built-in typeface."""

from __future__ import annotations

import functools
import math
import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from infogan_export.render.pictures import Picture

if TYPE_CHECKING:
    from PIL import ImageFont

SMALLEST = 9
"""Pixels: the least font size that still reads."""

# The typeface is Latin; these common signs it lacks have near equals.
_PLAIN = str.maketrans({"−": "-", "–": "-", "—": "-", "×": "x", "→": ">", "•": "·"})


def lettering(text: str, size: int) -> Picture:
    """One line of text as coverage, 0 (background) to 255 (ink).

    Returns:
        uint8, (h, w): h depends on the size alone, w is the ink's own width.
        Capitals and digits stand in the middle of h.
    """
    from PIL import Image, ImageDraw

    font = _font(size)
    text = _printable(text)
    left = font.getbbox(text, anchor="ls")[0]
    capital = -math.floor(font.getbbox("H0", anchor="ls")[1])
    below = math.ceil(font.getbbox("gjpy()", anchor="ls")[3])
    mask = Image.new("L", (width(text, size), capital + 2 * below))
    draw = ImageDraw.Draw(mask)
    draw.text((-left, capital + below), text, fill=255, font=font, anchor="ls")
    return np.asarray(mask)


def width(text: str, size: int) -> int:
    """Pixels that `lettering` needs for the text."""
    left, _, right, _ = _font(size).getbbox(_printable(text), anchor="ls")
    return max(1, math.ceil(right - left))


def fitting_size(texts: list[str], size: int, room: float) -> int | None:
    """The largest font size up to ``size`` at which every text fits the room.

    Returns:
        The size in pixels, or None when not even the smallest fits.
    """
    for candidate in range(size, SMALLEST - 1, -1):
        if all(width(text, candidate) <= room for text in texts):
            return candidate
    return None


def paint(canvas: Picture, mask: Picture, *, top: int, left: int) -> None:
    """Draw lettering onto a canvas in place, dark on light or light on dark."""
    height, across = mask.shape
    area = canvas[top : top + height, left : left + across]
    ink = 40.0 if area.mean() > 127 else 225.0
    cover = mask[..., None] / 255.0 if canvas.ndim == 3 else mask / 255.0
    area[:] = np.rint(area + (ink - area.astype(np.float64)) * cover)


def _printable(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(c for c in plain if c.isprintable() and not unicodedata.combining(c))


@functools.lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def blank(shape: tuple[int, ...], background: int | tuple[int, ...]) -> Picture:
    """A canvas of one colour."""
    canvas: Picture = np.empty(shape, dtype=np.uint8)
    canvas[...] = background
    return canvas
