"""GIF, a frame at a time: Pillow's own ``save`` holds every frame until the end."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from infogan_export.render.pictures import Picture, to_pillow


def write_gif(
    frames: Iterable[Picture],
    file: BinaryIO,
    *,
    delays: Iterator[int],
    loop: bool,
    comment: str,
) -> None:
    """Write GIF89a: grey exactly, colour in each frame's own best 256 colours.

    Args:
        frames: uint8, each (H, W) or (H, W, 3), all of one shape.
        file: where to.
        delays: milliseconds, multiples of 10, at least as many as frames.
        loop: for ever, rather than once.
        comment: text to carry, "" for none.

    Source: the GIF89a specification; Netscape's looping extension.
    """
    from PIL import GifImagePlugin, Image

    for index, frame in enumerate(frames):
        image, colour = to_pillow(frame), frame.ndim == 3
        if index == 0:
            file.write(_header(*image.size, colour=colour, loop=loop, comment=comment))
        if colour:  # never dithered: dither crawls from frame to frame
            image = image.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)
        parts = GifImagePlugin.getdata(
            image, duration=next(delays), include_color_table=colour
        )
        file.write(b"".join(parts))
    file.write(b";")


def _header(
    width: int, height: int, *, colour: bool, loop: bool, comment: str
) -> bytes:
    # Grey has one table for all frames, in which level k is entry k.
    table = b"" if colour else bytes(level for level in range(256) for _ in "RGB")
    screen = struct.pack("<HHBBB", width, height, 0x70 if colour else 0xF7, 0, 0)
    forever = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" if loop else b""
    note = b"!\xfe" + _sub_blocks(comment.encode()) if comment else b""
    return b"GIF89a" + screen + table + forever + note


def _sub_blocks(data: bytes) -> bytes:
    chunks = (data[i : i + 255] for i in range(0, len(data), 255))
    return b"".join(bytes([len(chunk)]) + chunk for chunk in chunks) + b"\0"
