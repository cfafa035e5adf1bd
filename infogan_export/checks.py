"""Is a model what it should be: its digests, and one picture drawn again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infogan_export.catalog import ModelFiles
from infogan_export.errors import InfoganError, ModelError
from infogan_export.pictures import golden_sheet
from infogan_export.runtime import Model, load

_TOLERANCE = 1  # grey levels: other CPUs round the last bit otherwise


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        name: the model's name.
        sha256: the digest of each of its files, by file name.
        difference: grey levels by which the golden picture differs at most; None
            for a model that came without one.
        problem: what is wrong; empty for a sound model.
    """

    name: str
    sha256: dict[str, str]
    difference: int | None = None
    problem: str = ""


def check_model(files: ModelFiles) -> Check:
    """Verify a model's files and draw its golden picture again, offline."""
    digests: dict[str, str] = {}
    try:
        for name in sorted({*files.sha256, *(p.name for p in files.networks)}):
            digests[name] = _digest(files.folder / name, files.sha256.get(name))
        model = load(files.name if files.origin == "embedded" else files.generator)
        if files.recognition is not None:
            model.recognize(model.sample(1))
        if files.encoder is not None:
            model.encode(model.sample(1))
        difference = None if files.golden is None else _difference(model, files.golden)
    except InfoganError as error:
        return Check(files.name, digests, problem=str(error))
    return Check(files.name, digests, difference)


def _digest(path: Path, wanted: str | None) -> str:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    if wanted is not None and digest != wanted:
        raise ModelError(
            f"{path.name} is damaged: its SHA-256 is {digest[:12]}..., not "
            f"{wanted[:12]}...; reinstall it"
        )
    return digest


def _difference(model: Model, path: Path) -> int:
    from PIL import Image

    try:
        with Image.open(path) as image:
            golden = np.asarray(image).astype(np.int16)
    except (OSError, SyntaxError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from None
    drawn = golden_sheet(model).astype(np.int16)
    if golden.shape != drawn.shape:
        raise ModelError(f"{path.name} is {golden.shape}, drawn again {drawn.shape}")
    difference = int(abs(golden - drawn).max())
    if difference > _TOLERANCE:
        raise ModelError(
            f"draws otherwise than {path.name}: {difference} grey levels apart, "
            f"{_TOLERANCE} is allowed"
        )
    return difference
