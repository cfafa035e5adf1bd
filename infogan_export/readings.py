"""Image files to a recognition network, and what it reads as plain JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infogan_export.datasets import _open_image as open_image
from infogan_export.errors import UsageError
from infogan_export.runtime import Categories, Gaussian, Images, Model, Recognition


def read_image_files(
    paths: Sequence[Path], model: Model, *, resize: bool = False
) -> Images:
    """Image files as a model reads them: its channels, its size.

    Args:
        paths: files of any kind that Pillow reads.
        model: whose recognition network is to read them.
        resize: bring images of another size to the model's, whatever their
            aspect ratio, rather than refuse them.

    Returns:
        uint8, (n, height, width) or (n, height, width, 3).

    Raises:
        DataError: a file that is no image, or a damaged one.
        UsageError: an image of another size.
    """
    channels, height, width = model.image_shape
    images = []
    for path in paths:
        image = open_image(path, (height, width) if resize else None, channels)
        if image.shape[:2] != (height, width):
            raise UsageError(
                f"{path} has {image.shape[1]} x {image.shape[0]} pixels, and "
                f"{model.name!r} reads {width} x {height}; --resize brings it there"
            )
        images.append(image[..., 0] if channels == 1 else image)
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
