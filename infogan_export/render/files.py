"""The one place that encodes pictures and animations into files.

The same frames, options and provenance give the same bytes: no time stamps, no
versions, no dithering.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from numpy.typing import ArrayLike

from infogan_export.atomic import atomic_path, atomic_writer
from infogan_export.errors import OutputError, UsageError
from infogan_export.render.gif import write_gif
from infogan_export.render.mp4 import require_ffmpeg, write_mp4
from infogan_export.render.pictures import Picture, as_picture, to_pillow
from infogan_export.render.provenance import KEY, to_comment, to_exif, to_json

Target = str | os.PathLike[str] | BinaryIO
Provenance = Mapping[str, object]


class _Still(NamedTuple):
    format: str
    max_side: int  # pixels


class _Animated(NamedTuple):
    format: str
    max_side: int  # pixels
    tick: int  # milliseconds; a frame's delay is a multiple of it
    max_fps: int  # browsers slow down what is faster


_STILL = {
    ".png": _Still("PNG", 2**31 - 1),
    ".jpg": _Still("JPEG", 65500),
    ".jpeg": _Still("JPEG", 65500),
    ".webp": _Still("WEBP", 16383),
}
_ANIMATED = {
    ".gif": _Animated("GIF", 65535, tick=10, max_fps=50),
    ".webp": _Animated("WEBP", 16383, tick=1, max_fps=60),
    ".apng": _Animated("PNG", 2**31 - 1, tick=1, max_fps=60),
    ".png": _Animated("PNG", 2**31 - 1, tick=1, max_fps=60),
    ".mp4": _Animated("MP4", 16384, tick=1, max_fps=240),
}
_MIN_FPS = 0.1

IMAGE_ENDINGS = tuple(_STILL)
ANIMATION_ENDINGS = tuple(_ANIMATED)


def require_ending(target: str | os.PathLike[str], endings: tuple[str, ...]) -> str:
    """The target's ending, in lower case.

    Raises:
        UsageError: it is none of ``endings``, which the message lists.
    """
    ending = Path(target).suffix.lower()
    if ending not in endings:
        raise UsageError(
            f"cannot tell the format of {os.fspath(target)!r}: "
            f"the ending must be one of {', '.join(endings)}"
        )
    return ending


def save_image(
    array: ArrayLike, target: Target, *, provenance: Provenance | None = None
) -> None:
    """Write one picture, whole or not at all.

    Args:
        array: uint8, (H, W) or (H, W, 3).
        target: a path that ends in one of `IMAGE_ENDINGS`, or an open binary
            file, which gets PNG.  All but JPEG are lossless.
        provenance: how it was made, for `read_provenance`.

    Raises:
        UsageError: not a picture, or an unknown ending.
        OutputError: it cannot be written, or the format cannot hold it.
        BrokenPipeError: the reader of an open file has gone.
    """
    path = target if isinstance(target, (str, os.PathLike)) else None
    kind = _STILL[".png" if path is None else require_ending(path, IMAGE_ENDINGS)]
    picture = as_picture(array)
    _require_room(picture, kind.format, kind.max_side)
    encoded = BytesIO()
    to_pillow(picture).save(
        encoded,
        kind.format,
        **_fidelity(kind.format),
        **_record(kind.format, provenance),
    )
    _write(encoded, target)


def save_animation(
    frames: Iterable[Picture],
    target: Target,
    *,
    fps: float,
    loop: bool = True,
    provenance: Provenance | None = None,
) -> None:
    """Write an animation, whole or not at all.

    Grey GIF, WebP and APNG are lossless; a GIF in colour has the best 256
    colours of each frame.  GIF and MP4 take frames one by one in bounded memory;
    WebP and APNG need all of them at once.

    Args:
        frames: uint8, each (H, W) or (H, W, 3), all of one shape.
        target: a path that ends in one of `ANIMATION_ENDINGS`, or an open
            binary file, which gets a GIF.
        fps: frames per second, from 0.1 to what players of the format show: 50
            for GIF, 60 for WebP and APNG, 240 for MP4.
        loop: for ever, rather than once.  MP4 leaves it to the player.
        provenance: how it was made, for `read_provenance`.

    Raises:
        UsageError: no frames, unequal frames, a bad rate, an unknown ending.
        OutputError: it cannot be written, or the format cannot hold it.
        MissingExtraError: MP4 without the ``video`` extra.
        BrokenPipeError: the reader of an open file has gone.
    """
    path = target if isinstance(target, (str, os.PathLike)) else None
    ending = ".gif" if path is None else require_ending(path, ANIMATION_ENDINGS)
    kind = _ANIMATED[ending]
    if not _MIN_FPS <= fps <= kind.max_fps:
        raise UsageError(
            f"{ending} plays {_MIN_FPS:g} to {kind.max_fps} frames per second, "
            f"got {fps:g}"
        )
    equal = _equal_frames(frames, kind)
    comment = "" if provenance is None else to_comment(provenance)
    delays = frame_delays(fps, tick=kind.tick)
    if path is None:
        encoded = BytesIO()
        write_gif(equal, encoded, delays=delays, loop=loop, comment=comment)
        _write(encoded, target)
    elif kind.format == "GIF":
        with atomic_writer(path) as file:
            write_gif(equal, file, delays=delays, loop=loop, comment=comment)
    elif kind.format == "MP4":
        require_ffmpeg()
        with atomic_path(path) as beside:
            write_mp4(equal, beside, fps=fps, comment=comment)
    else:
        # Opened first, so that a missing folder costs no one any frames.
        with atomic_writer(path) as file:
            first, *rest = [to_pillow(frame) for frame in equal]
            encoded = BytesIO()  # Pillow would report a full disk as its own error
            first.save(
                encoded,
                kind.format,
                save_all=True,
                append_images=rest,
                duration=list(itertools.islice(delays, 1 + len(rest))),
                loop=0 if loop else 1,
                **_fidelity(kind.format),
                **_record(kind.format, provenance),
            )
            file.write(encoded.getbuffer())


def frame_delays(fps: float, *, tick: int) -> Iterator[int]:
    """Delays in milliseconds, multiples of ``tick``, whose mean is 1000 / fps.

    Frame i begins at i / fps rounded to the tick, so the error never adds up:
    30 fps in ticks of 10 ms is 30, 40, 30, 30, 40, 30, ...
    """
    starts = (math.floor(i * 1000.0 / fps / tick + 0.5) for i in itertools.count())
    return (tick * (end - start) for start, end in itertools.pairwise(starts))


def _equal_frames(frames: Iterable[Picture], kind: _Animated) -> Iterator[Picture]:
    shape: tuple[int, ...] | None = None
    for index, frame in enumerate(map(as_picture, frames)):
        if shape is None:
            shape = frame.shape
            _require_room(frame, kind.format, kind.max_side)
        elif frame.shape != shape:
            raise UsageError(
                f"all frames must have the shape of the first, {shape}, "
                f"got {frame.shape} for frame {index}"
            )
        yield frame
    if shape is None:
        raise UsageError("an animation needs at least one frame, got none")


def _require_room(picture: Picture, name: str, max_side: int) -> None:
    height, width = picture.shape[:2]
    if max(height, width) > max_side:
        raise OutputError(
            f"{name} holds at most {max_side} pixels a side, got {width} x {height}; "
            "take fewer images, a smaller scale, or PNG"
        )


def _fidelity(name: str) -> dict[str, Any]:
    if name == "JPEG":
        return {"quality": 95, "subsampling": 0}
    return {"lossless": True} if name == "WEBP" else {}


def _record(name: str, provenance: Provenance | None) -> dict[str, Any]:
    """Options that make Pillow store the record in the format."""
    from PIL.PngImagePlugin import PngInfo

    if provenance is None:
        return {}
    if name == "PNG":
        info = PngInfo()
        info.add_text(KEY, to_json(provenance))
        return {"pnginfo": info}
    exif = to_exif(provenance)
    if name == "JPEG" and len(exif) > 65533:  # one segment
        raise OutputError(
            f"JPEG holds at most 65 KB of metadata, got {len(exif) // 1000} KB; "
            "take PNG or WebP"
        )
    return {"exif": exif}


def _write(encoded: BytesIO, target: Target) -> None:
    if isinstance(target, (str, os.PathLike)):
        with atomic_writer(target) as file:
            file.write(encoded.getbuffer())
        return
    try:
        target.write(encoded.getbuffer())
        target.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to the stream: {error.strerror}") from error
