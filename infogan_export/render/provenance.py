"""How a file was made, carried in the file itself or in a JSON file beside it.

The record is a JSON object.  PNG and APNG hold it in a tEXt chunk with the
keyword ``infogan-export``; a GIF in its comment, JPEG and WebP in the Exif image
description and MP4 in the comment tag, each as ``{"infogan-export": {...}}``; an
``.npz`` in the entry ``provenance``.  Everything else has ``NAME.json`` beside it.
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from infogan_export.atomic import atomic_writer
from infogan_export.errors import OutputError, UsageError, first_line
from infogan_export.render.mp4 import read_comment

KEY = "infogan-export"
NPZ_ENTRY = "provenance"

_IMAGE_DESCRIPTION = 0x010E  # Exif tag
_PICTURES = {b"\x89PNG": "PNG", b"GIF8": "GIF", b"\xff\xd8": "JPEG", b"WEBP": "WEBP"}
_BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def to_json(provenance: Mapping[str, object]) -> str:
    """The record as one line of ASCII, the same for the same record.

    Arrays become lists; float32 keeps the fewest digits that restore it.

    Raises:
        UsageError: a value that JSON has no notation for.
    """
    try:
        return json.dumps(
            dict(provenance), default=_plain, allow_nan=False, separators=(",", ":")
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"provenance cannot be written as JSON: {error}") from error


def to_comment(provenance: Mapping[str, object]) -> str:
    """The record under its key, for places that hold anybody's comment."""
    return f'{{"{KEY}":{to_json(provenance)}}}'


def to_exif(provenance: Mapping[str, object]) -> bytes:
    """An Exif block that holds the record as the image description."""
    from PIL import Image

    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = to_comment(provenance)
    return exif.tobytes()


def sidecar_path(target: str | os.PathLike[str]) -> Path:
    """Where the record of a file or folder that cannot hold it is: NAME.json."""
    target = Path(target)
    if target.name in ("", ".."):  # of "." and the like, the folder's own name
        target = target.resolve()
    return target.parent / f"{target.name}.json"


def write_sidecar(
    target: str | os.PathLike[str], provenance: Mapping[str, object]
) -> Path:
    """Write the record beside ``target`` and say where.

    Raises:
        OutputError: the sidecar cannot be written, or something else has its name.
    """
    path = sidecar_path(target)
    require_own(path)
    with atomic_writer(path) as file:
        file.write(to_comment(provenance).encode() + b"\n")
    return path


def require_own(path: Path) -> None:
    """See to it that a record replaces no file but another record.

    Raises:
        OutputError: something else is there.
    """
    if path.is_file() and _under_key(path.read_bytes()) is None:
        raise OutputError(
            f"cannot write {path}: that file is none of infogan-gen's; move it away, "
            f"or choose another name"
        )


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """How a file was made, from the file itself or from its sidecar.

    The file's content decides what it is, not its ending.

    Raises:
        UsageError: no such file, an unreadable one, or one without a record.
    """
    path = Path(path)
    try:
        found = None if path.is_dir() else _embedded(path)
        if found is None and sidecar_path(path).is_file():
            found = _under_key(sidecar_path(path).read_bytes())
        elif found is None:
            path.stat()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot read {path}: {reason.lower()}") from error
    if found is None:
        raise UsageError(
            f"{path} was not made by infogan-gen, or its metadata was stripped"
        )
    return found


def _embedded(path: Path) -> dict[str, Any] | None:
    with path.open("rb") as file:
        head = file.read(12)
    if head[:2] == b"PK":
        return _from_npz(path)
    if head[4:8] == b"ftyp":
        return _under_key(read_comment(path))
    for start, form in _PICTURES.items():
        if head.startswith(start) or head[8:] == start:
            return _from_picture(path, form)
    return None


def _from_picture(path: Path, form: str) -> dict[str, Any] | None:
    from PIL import Image

    Image.preinit()
    if form not in Image.OPEN:  # WebP's plugin is among those that come later
        Image.init()
    # By its own class: Image.open refuses many pixels, and none is unpacked here.
    opener: Any = Image.OPEN[form][0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a foreign file's Exif
            with opener(path) as image:
                if image.format == "PNG":
                    return _record(image.info.get(KEY))
                if image.format == "GIF":
                    return _under_key(image.info.get("comment"))
                return _under_key(image.getexif().get(_IMAGE_DESCRIPTION))
    except Exception as error:  # on damaged files Pillow's plugins raise anything
        raise UsageError(f"{path} is damaged: {first_line(error)}") from error


def _from_npz(path: Path) -> dict[str, Any] | None:
    try:
        # Opened here, since numpy leaves a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return _record(str(archive[NPZ_ENTRY])) if NPZ_ENTRY in archive else None
    except (*_BAD_ARCHIVE, ValueError, EOFError) as error:
        raise UsageError(f"{path} is damaged: {first_line(error)}") from error


def _under_key(comment: bytes | str | None) -> dict[str, Any] | None:
    whole = _record(comment)
    inner = None if whole is None else whole.get(KEY)
    return inner if isinstance(inner, dict) else None


def _record(text: bytes | str | None) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "null")
    except (TypeError, ValueError, RecursionError):  # somebody else's comment
        return None
    return value if isinstance(value, dict) else None


def _plain(value: object) -> object:
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype == np.float32:
            return value.astype(str).astype(np.float64).tolist()
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
