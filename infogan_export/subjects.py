"""A user's own images read into latents, and what a record says of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infogan_export.errors import UsageError
from infogan_export.inversion import Floats, Inversion, Refinement
from infogan_export.latent import CategoricalCode, Latents, LatentSpec
from infogan_export.preparation import Prepared, prepare_files
from infogan_export.readings import read_image_files
from infogan_export.runtime import Images, Model

FAR = 3.0
"""Times a real image's error: beyond that, an image is far from the model's data."""


@dataclass(frozen=True)
class Subjects:
    """Images of a user's own, and the latents that draw them again.

    Attributes:
        images: uint8, (n, height, width) or (n, height, width, 3), as the model
            sees them.
        inversion: their latents, and how well those draw them.
        paths: their files.
        said: what was understood of each file, '' for nothing.
        record: what an output's record says of them: files, digests, codes.
        options: the options that they were read with, where not the usual ones.
    """

    images: Images
    inversion: Inversion
    paths: tuple[str, ...]
    said: tuple[str, ...]
    record: dict[str, object]
    options: dict[str, object]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def latents(self) -> Latents:
        """float32, (n, dim)."""
        return self.inversion.latents


def read_subjects(
    model: Model,
    paths: Sequence[str | os.PathLike[str]],
    *,
    prepare: bool = True,
    refinement: Refinement | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Subjects:
    """Read image files, prepare them, and find their latents.

    Args:
        model: whose latents.
        paths: files of any kind that Pillow reads.
        prepare: bring each to what the model was trained on; without it, only
            images of the model's own size are taken, as they are.
        refinement: how far to go.
        on_progress: called with the number of images just finished.

    Raises:
        DataError: no such file, no image, or a damaged, huge or animated one.
        UsageError: a picture that shows no digit or several, or another size.
        ModelError: as `Model.encode`.
    """
    refinement = refinement or Refinement()
    names = tuple(os.fspath(path) for path in paths)
    prepared = (
        prepare_files(names, model)
        if prepare
        else [
            Prepared(image) for image in read_image_files(list(map(Path, names)), model)
        ]
    )
    if not prepared:
        raise UsageError("no images to read")
    images = np.stack([each.image for each in prepared])
    found = model.invert(images, **asdict(refinement), on_progress=on_progress)
    usual = asdict(Refinement())
    chosen = {k: v for k, v in asdict(refinement).items() if v != usual[k]}
    if chosen.pop("inside", True) is False:
        chosen["no-inside"] = True
    files = [{"path": name, "sha256": _digest(name)} for name in names]
    codes = codes_read(model.spec, found.latents)
    return Subjects(
        images,
        found,
        names,
        tuple(each.said for each in prepared),
        {"inputs": files, "codes": codes},
        {"no-prepare": not prepare, **chosen},
    )


def to_rows(model: Model, subjects: Subjects) -> list[dict[str, Any]]:
    """A dictionary for each image: its file, what was done, codes and errors."""
    found = subjects.inversion
    far = distances(model, found)
    return [
        {
            "image": path,
            "prepared": subjects.said[index],
            "codes": codes,
            "first_mse": float(found.first_mse[index]),
            "mse": float(found.mse[index]),
            "distance": None if far is None else float(far[index]),
        }
        for index, (path, codes) in enumerate(
            zip(subjects.paths, codes_read(model.spec, found.latents), strict=True)
        )
    ]


def codes_read(spec: LatentSpec, latents: Latents) -> list[dict[str, Any]]:
    """The codes of each latent by name: a category's label, or a number."""
    rows: list[dict[str, Any]] = [{} for _ in latents]
    for code in spec.codes:
        for row, own in zip(rows, latents[:, spec.columns(code.name)], strict=True):
            row[code.name] = (
                code.label(int(own.argmax()))
                if isinstance(code, CategoricalCode)
                else round(float(own[0]), 3)
            )
    return rows


def distances(model: Model, inversion: Inversion) -> Floats | None:
    """How far images are from a model's data: 1 is a real image's typical error.

    A real image's error is what the encoder's file tells of first guesses, and so
    those are compared.

    Returns:
        float32, (n,); None where the model does not tell.
    """
    metadata = model.encoder_metadata
    metrics = {} if metadata is None else metadata.metrics
    usual = metrics.get("reconstruction_mse", 0)
    return np.asarray(inversion.first_mse / usual, np.float32) if usual > 0 else None


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
