"""The order and the captions of an animation's frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import UsageError
from infogan_export.render import text
from infogan_export.render.pictures import Picture, as_picture


def ping_pong(count: int) -> NDArray[np.int64]:
    """Frame numbers there and back, each end once, so that a loop has no stop.

    Returns:
        int64, ``0, 1, ..., count - 1, count - 2, ..., 1``.
    """
    there = np.arange(count, dtype=np.int64)
    return np.concatenate([there, there[-2:0:-1]])


def cycle(count: int) -> NDArray[np.float64]:
    """Phases of a seamless loop: the step from last to first is like the others.

    Returns:
        float64, ``0, 1/count, ..., (count - 1)/count``.
    """
    return np.arange(count, dtype=np.float64) / count


def sway(count: int) -> NDArray[np.float64]:
    """A swing from 0 to 1 and back over a seamless loop, slow at both ends."""
    return (1.0 - np.cos(2.0 * np.pi * cycle(count))) / 2.0


def captioned(
    frames: Iterable[Picture], captions: Sequence[str], *, background: int = 255
) -> Iterator[Picture]:
    """Each frame with its caption in a strip below, every frame of one size.

    The size of the lettering and where it starts depend on the widest caption,
    so that the text stands still while a number in it runs.  A frame narrower
    than its caption is widened.

    Args:
        frames: uint8, (H, W) or (H, W, 3), all of one shape; drawn one by one.
        captions: one for each frame.
        background: grey level of the strip.

    Raises:
        UsageError: more or fewer frames than captions.
    """
    strips: Picture | None = None
    count = 0
    for count, frame in enumerate(map(as_picture, frames), start=1):
        if strips is None:
            strips = _strips(captions, frame.shape, background)
        if count > len(captions):
            break
        strip = strips[count - 1]
        sides = strip.shape[1] - frame.shape[1]
        margin = [(0, 0), (sides // 2, sides - sides // 2), (0, 0)]
        if frame.ndim == 3:
            strip = np.repeat(strip[..., None], 3, axis=2)
        wide = np.pad(frame, margin[: frame.ndim], constant_values=background)
        yield np.concatenate([wide, strip])
    if count != len(captions):
        raise UsageError(f"{len(captions)} captions do not fit {count} or more frames")


def _strips(
    captions: Sequence[str], shape: tuple[int, ...], background: int
) -> Picture:
    """uint8, (n, h, w), w at least the frame's width."""
    largest = int(np.clip(0.06 * shape[0], 11, 24))
    size = text.fitting_size(list(captions), largest, shape[1] - 4) or text.SMALLEST
    masks = [text.lettering(caption, size) for caption in captions]
    widest = max(mask.shape[1] for mask in masks)
    width = max(shape[1], widest + 4)
    gap = size // 4
    strips = text.blank((len(masks), len(masks[0]) + 2 * gap, width), background)
    for strip, mask in zip(strips, masks, strict=True):
        text.paint(strip, mask, top=gap, left=(width - widest) // 2)
    return strips
