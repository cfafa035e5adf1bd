"""Pictures in the terminal: two pixels in each character cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from infogan_export.render.pictures import Picture, as_picture, to_pillow

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment

_RAMP = " .:-=+*#%@"


def show(array: ArrayLike, console: Console, *, height: int | None = None) -> None:
    """Draw a picture with half blocks, shrunk to the console's width.

    A console without colour, or whose encoding has no half block, gets grey
    levels as characters.

    Args:
        array: uint8, (H, W) or (H, W, 3).
        console: where to draw.
        height: lines that it may take; by default as many as it needs.

    Raises:
        UsageError: not a picture.
    """
    from rich.segment import Segment, Segments

    picture = _shrunk(as_picture(array), console.width, height)
    colour = console.color_system is not None and console.encoding.startswith("utf")
    draw = _half_blocks if colour else _characters
    console.print(Segments(Segment.simplify(draw(picture))), end="")


def _shrunk(picture: Picture, width: int, lines: int | None) -> Picture:
    """RGB, an even height, of so many columns and lines at most, not distorted."""
    from PIL import Image

    image = to_pillow(picture).convert("RGB")
    share = min(1.0, width / image.width)
    if lines is not None:
        share = min(share, 2 * lines / image.height)
    if share < 1:
        size = (round(share * side) for side in image.size)
        across, down = (max(1, side) for side in size)
        image = image.resize((across, down), Image.Resampling.BOX)
    pixels = np.asarray(image)
    return np.pad(pixels, ((0, len(pixels) % 2), (0, 0), (0, 0)), mode="edge")


def _half_blocks(picture: Picture) -> Iterator[Segment]:
    from rich.color import Color
    from rich.segment import Segment
    from rich.style import Style

    for upper, lower in zip(picture[::2], picture[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
            yield Segment("▀", style)
        yield Segment.line()


def _characters(picture: Picture) -> Iterator[Segment]:
    from rich.segment import Segment

    grey = picture.mean(axis=2)
    levels = (grey[::2] + grey[1::2]) / 2.0 * (len(_RAMP) - 1) / 255.0
    for line in np.rint(levels).astype(int):
        yield Segment("".join(_RAMP[level] for level in line))
        yield Segment.line()
