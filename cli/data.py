"""Which images a command learns from or measures against: options and reading."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from infogan_export.errors import UsageError

from .output import tell

if TYPE_CHECKING:
    from infogan_export.datasets import ImageSet, Split

SIZE = "Resize the images to HEIGHTxWIDTH."
CHANNELS = "Convert the images to grey (1) or colour (3)."
SKIP_BROKEN = "Leave out image files that cannot be read, and say how many."
AS_THEY_ARE = "as they are"


def read_split(
    data: str | None,
    data_dir: Path | None,
    *,
    split: Split = "train",
    size: str | None = None,
    channels: int | None = None,
    skip_broken: bool = False,
    aloud: bool = True,
) -> ImageSet:
    """The images of --data or --data-dir, and a line on stderr about any left out.

    Raises:
        UsageError: neither or both of these two, or another option that is none.
        DataError: as `datasets.read_images`.
    """
    from infogan_export.datasets import load_dataset, read_images

    if (data is None) == (data_dir is None):
        raise UsageError("give either --data NAME or --data-dir DIR")
    if channels not in (None, 1, 3):
        raise UsageError(f"--channels is 1 or 3, got {channels}")
    wanted: dict[str, Any] = {"size": parse_size(size), "channels": channels}
    if data_dir is None:
        assert data is not None
        return load_dataset(data, split=split, **wanted)
    broken: Literal["skip", "stop"] = "skip" if skip_broken else "stop"
    found = read_images(data_dir, split=split, on_error=broken, **wanted)
    if found.skipped and aloud:
        tell(f"left out {found.skipped} broken files of the {split} images")
    return found


def parse_size(text: str | None) -> tuple[int, int] | None:
    """``32x48`` as height and width.

    Raises:
        UsageError: not such a size.
    """
    if text is None:
        return None
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise UsageError(f"--size is HEIGHTxWIDTH, for instance 32x32, got {text!r}")
    return int(height), int(width)
