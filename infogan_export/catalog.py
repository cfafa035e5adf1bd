"""Names to model files: those installed with the package, and the user's own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from infogan_export.errors import ModelError, UsageError, unknown
from infogan_export.metadata import Role

GENERATOR, RECOGNITION = "generator.onnx", "recognition.onnx"
ENCODER, GOLDEN = "encoder.onnx", "golden.png"
MODELS_VARIABLE = "INFOGAN_EXPORT_MODELS"
DEFAULT_MODEL = "mnist"

Origin = Literal["embedded", "own", "path"]


@dataclass(frozen=True)
class ModelFiles:
    """Where a model's networks are, and the digests they must have.

    ``sha256`` maps file names to digests; empty for a model without a manifest.
    """

    name: str
    folder: Path
    origin: Origin
    sha256: dict[str, str]
    generator: Path
    recognition: Path | None
    encoder: Path | None

    def digest(self, role: Role) -> str | None:
        """The digest that a network's file must have, if it is known."""
        return self.sha256.get(f"{role}.onnx")

    @property
    def networks(self) -> list[Path]:
        """The files of the networks that it has."""
        paths = (self.generator, self.recognition, self.encoder)
        return [path for path in paths if path is not None]

    @property
    def golden(self) -> Path | None:
        """The picture that the model must reproduce, if it came with one."""
        path = self.folder / GOLDEN
        return path if path.exists() else None


def installed() -> list[ModelFiles]:
    """Every model that has a name: the embedded ones, then the user's own."""
    return [find(name) for name in _names(_own_folder())]


def find(model: str | os.PathLike[str]) -> ModelFiles:
    """A model by name, then in the user's folder, then by path.

    Args:
        model: an embedded model's name; a folder's name inside the folder that
            ``INFOGAN_EXPORT_MODELS`` names; or the path of a generator's
            ``.onnx`` file, or of a folder that holds a ``generator.onnx``.

    Raises:
        UsageError: there is none; the message lists the names there are.
        ModelError: the embedded manifest is damaged or a file is missing.
    """
    try:
        return _find(os.fspath(model))
    except OSError as error:  # a folder that may not be entered, a name too long
        raise UsageError(f"no model {str(model)[:80]!r}: {error.strerror}") from None


def _find(name: str) -> ModelFiles:
    if name in _manifest():
        return _embedded(name)
    own = _own_folder()
    if own is not None and "/" not in name and (own / name / GENERATOR).exists():
        return _in_folder(own / name, name, "own")
    path = Path(name)
    if path.is_dir() and (path / GENERATOR).exists():
        return _in_folder(path, path.resolve().name, "path")
    if path.is_file():
        others = _beside(path) if path.name == GENERATOR else (None, None)
        return ModelFiles(path.stem, path.parent, "path", {}, path, *others)
    if path.suffix == ".onnx" or path.is_dir():
        what = f"holds no {GENERATOR}" if path.is_dir() else "does not exist"
        raise UsageError(f"{path} {what}")
    raise UsageError(
        unknown("model", name, _names(own), "this installation")
        + "; or give the path of a generator's .onnx file"
    )


def _names(own: Path | None) -> list[str]:
    names = list(_manifest())
    if own is None:
        return names
    try:
        found = sorted(p.parent.name for p in own.glob(f"*/{GENERATOR}"))
    except OSError as error:
        raise ModelError(f"cannot list {own}: {error.strerror}") from None
    return names + [name for name in found if name not in names]


def _embedded(name: str) -> ModelFiles:
    folder = _pretrained() / name
    digests = dict(_manifest()[name]["sha256"])
    if not (folder / GENERATOR).is_file():
        raise ModelError(f"{folder / GENERATOR} is missing; reinstall infogan-export")
    return replace(_in_folder(folder, name, "embedded"), sha256=digests)


def _in_folder(folder: Path, name: str, origin: Origin) -> ModelFiles:
    generator = folder / GENERATOR
    return ModelFiles(name, folder, origin, {}, generator, *_beside(generator))


def _beside(generator: Path) -> tuple[Path | None, Path | None]:
    """The recognition network and the encoder next to a generator, if there."""
    paths = [generator.with_name(name) for name in (RECOGNITION, ENCODER)]
    recognition, encoder = (path if path.exists() else None for path in paths)
    return recognition, encoder


def _own_folder() -> Path | None:
    value = os.environ.get(MODELS_VARIABLE)
    if not value:
        return None
    folder = Path(value)
    if not folder.is_dir():
        raise UsageError(f"{MODELS_VARIABLE} names no folder: {value}")
    return folder


def _pretrained() -> Path:
    # An installed wheel is always unpacked, so the resources are real files.
    return Path(str(resources.files("infogan_export.pretrained")))


@cache
def _manifest() -> dict[str, Any]:
    path = _pretrained() / "manifest.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))["models"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is not readable ({type(error).__name__}); reinstall infogan-export"
        ) from None
    return content
