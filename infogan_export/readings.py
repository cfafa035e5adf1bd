"""Image files to a recognition network, and what it reads as plain JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infogan_export.errors import UsageError
from infogan_export.preparation import in_colour, open_picture
from infogan_export.runtime import Categories, Gaussian, Images, Model, Recognition


def read_image_files(
    paths: Sequence[Path], model: Model, *, resize: bool = False
) -> Images:
    """Image files as a model reads them: its channels, its size.

    Args:
        paths: files of any kind that Pillow reads.
        model: which is to read them.
        resize: bring images of another size to the model's, whatever their
            aspect ratio, rather than refuse them.

    Returns:
        uint8, (n, height, width) or (n, height, width, 3).

    Raises:
        DataError: a file that is no image, or a damaged one.
        UsageError: an image of another size, or a coloured one where the model
            reads grey.
    """
    from PIL.Image import Resampling

    channels, height, width = model.image_shape
    images = []
    for path in paths:
        picture = open_picture(path)
        if channels == 1 and in_colour(picture):
            raise UsageError(
                f"{path} is in colour, and {model.name!r} reads grey; --prepare "
                f"makes it so"
            )
        picture = picture.convert("L" if channels == 1 else "RGB")
        if resize and picture.size != (width, height):
            picture = picture.resize((width, height), Resampling.LANCZOS)
        if picture.size != (width, height):
            raise UsageError(
                f"{path} has {picture.width} x {picture.height} pixels, and "
                f"{model.name!r} reads {width} x {height}; --prepare brings it there"
            )
        images.append(np.asarray(picture))
    return np.stack(images)


def to_rows(recognition: Recognition, names: Sequence[str]) -> list[dict[str, Any]]:
    """A dictionary for each image: its name, Q of each code, and D's logit."""
    rows: list[dict[str, Any]] = [
        {"image": name, "logit": float(logit)}
        for name, logit in zip(names, recognition.logit, strict=True)
    ]
    for code, found in recognition.codes.items():
        for index, row in enumerate(rows):
            row[code] = _reading(found, index)
    return rows


def _reading(found: Categories | Gaussian, index: int) -> dict[str, Any]:
    if not isinstance(found, Categories):
        return {
            "mean": float(found.mean[index]),
            "deviation": float(found.deviation[index]),
        }
    best = int(found.category[index])
    chances = found.probabilities[index]
    return {
        "category": best,
        "label": found.labels[best],
        "probability": float(chances[best]),
        "probabilities": dict(zip(found.labels, chances.tolist(), strict=True)),
    }
