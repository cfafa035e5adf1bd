"""MP4 through ffmpeg, and its comment tag without ffmpeg."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from infogan_export.errors import MissingExtraError, OutputError
from infogan_export.render.pictures import Picture

_MAX_COMMENT = 100_000  # bytes; Linux gives one argument of ffmpeg 128 KiB


def require_ffmpeg() -> None:
    """Say what to install when MP4 cannot be written.

    Raises:
        MissingExtraError: imageio's ffmpeg plugin is absent.
    """
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise MissingExtraError("writing MP4", "video")


def write_mp4(
    frames: Iterable[Picture], path: Path, *, fps: float, comment: str
) -> None:
    """Write H.264 that every player shows: 4:2:0, even sides, moov in front.

    Odd sides grow by one pixel, a copy of the edge.  One thread, because the
    number of threads changes the bytes.

    Args:
        frames: uint8, each (H, W) or (H, W, 3), all of one shape.
        path: where to, whatever its ending.
        fps: frames per second.
        comment: text to carry, "" for none.

    Raises:
        OutputError: the comment is too long.
        OSError: ffmpeg could not write the file.
    """
    import imageio.v2 as imageio

    if len(comment) > _MAX_COMMENT:
        raise OutputError(
            f"MP4 takes at most {_MAX_COMMENT // 1000} KB of metadata, "
            f"got {len(comment) // 1000} KB; take .gif or .apng"
        )
    options = ["-crf", "16", "-preset", "slow", "-threads", "1", "-f", "mp4"]
    options += ["-movflags", "+faststart"]
    options += ["-fflags", "+bitexact", "-flags:v", "+bitexact"]  # no versions
    if comment:
        options += ["-metadata", f"comment={comment}"]
    video: Any = imageio.get_writer(
        path,
        format="FFMPEG",
        mode="I",
        fps=fps,
        codec="libx264",
        pixelformat="yuv420p",
        quality=None,
        macro_block_size=1,
        ffmpeg_log_level="quiet",
        output_params=options,
    )
    # Its own `with` leaves ffmpeg writing when a frame raises.
    with contextlib.closing(video):
        for frame in frames:
            odd = [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)]
            even = np.pad(frame, odd[: frame.ndim], mode="edge")
            try:
                video.append_data(even)
            except OSError as error:  # its own text is ffmpeg's whole command
                raise OSError("ffmpeg stopped; is the disk full?") from error
    data = path.read_bytes()
    if _find_box(data, b"moov", 0, len(data)) is None:
        raise OSError("ffmpeg left an unfinished file; is the disk full?")


def read_comment(path: Path) -> bytes | None:
    """The comment tag of an MP4 file, None without one.

    Source: ISO/IEC 14496-12 (boxes); Apple's metadata list (``ilst``).
    """
    data = path.read_bytes()
    start, end = 0, len(data)
    for name in (b"moov", b"udta", b"meta", b"ilst", b"\xa9cmt", b"data"):
        box = _find_box(data, name, start, end)
        if box is None:
            return None
        start, end = box
        start += {b"meta": 4, b"data": 8}.get(name, 0)  # version; type and locale
    return data[start:end]


def _find_box(data: bytes, name: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Where the body of the first box of that name starts and ends."""
    while start + 8 <= end:
        size, header = int.from_bytes(data[start : start + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        if size < header or start + size > end:
            return None
        if data[start + 4 : start + 8] == name:
            return start + header, start + size
        start += size
    return None
