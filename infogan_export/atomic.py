"""Files that are whole or not there: written beside the target, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from infogan_export.errors import OutputError


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which becomes ``target`` when the block succeeds.

    The path is an empty file in the same folder, with the same ending.  When
    the block raises anything at all, it is removed and the old ``target`` stays
    as it was.  A link is followed; a device or pipe is written to directly.

    Raises:
        OutputError: the folder is missing or closed to us, the disk is full, or
            ``target`` is a folder.
    """
    target = Path(target)
    temporary = target
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if target.exists() and not target.is_file():
            yield target  # renaming over /dev/null would delete the device
            return
        final = Path(os.path.realpath(target))
        # Short enough for any file system, whatever the target's own name.
        name = f".{final.stem[:40]}-{secrets.token_hex(4)}{final.suffix[:40]}"
        temporary = final.with_name(name)
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            temporary.replace(final)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        # An error that names another file is the caller's, not the target's.
        if error.filename is not None and str(error.filename) != str(temporary):
            raise
        raise OutputError(f"cannot write {target}: {_reason(error, target)}") from error


@contextlib.contextmanager
def atomic_writer(target: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that becomes ``target`` when the block succeeds.

    Raises:
        OutputError: as for `atomic_path`.
    """
    with atomic_path(target) as path, path.open("wb") as file:
        yield file


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from None


def _reason(error: OSError, target: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no folder {target.parent}"
    if isinstance(error, NotADirectoryError):
        return f"{target.parent} is not a folder"
    text = error.strerror or (str(error).splitlines() or ["unknown error"])[0]
    return text[:1].lower() + text[1:]
