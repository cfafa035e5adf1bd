"""The judge: a classifier that says which digit an image shows, without torch.

It stands outside the model that it measures: it alone has seen labels, and its
penultimate features are the space in which distances between sets of images
are taken.  One ONNX file holds it, and inside that its own test accuracy and
the digest of the data it learned from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import DataError, ModelError, first_line
from infogan_export.graph import RuntimeOptions, start_session, written_in

METADATA_KEY = "infogan-export-judge"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class JudgeReport:
    """What a judge learned from, and how far it can be trusted.

    Attributes:
        accuracy: share of the test images it names rightly, measured through
            onnxruntime on the file itself.
        data: name of the image set.
        train_sha256, test_sha256: digests of the images used, without labels.
        labels: what class 0, 1, ... is called.
        image_shape: (height, width, channels).
        seed, epochs: of its training.
    """

    accuracy: float
    data: str
    train_sha256: str
    test_sha256: str
    labels: tuple[str, ...]
    image_shape: tuple[int, int, int]
    seed: int
    epochs: int
    format_version: int = field(default=FORMAT_VERSION)

    def to_json(self) -> str:
        """One line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> JudgeReport:
        """The report in a judge's metadata.

        Raises:
            ModelError: not such a report, or one of a later format.
        """
        try:
            found = json.loads(text)
            version = found["format_version"]
            if version != FORMAT_VERSION:
                raise ModelError(
                    f"this judge has format {version}; this version of "
                    f"infogan-export reads format {FORMAT_VERSION}"
                )
            height, width, channels = found.pop("image_shape")
            return cls(
                labels=tuple(found.pop("labels")),
                image_shape=(height, width, channels),
                **found,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the judge's metadata cannot be read: {error}") from error


class Judge:
    """A trained classifier, ready to run.

    Attributes:
        report: what it learned from and its accuracy.
        sha256: digest of its file.
    """

    def __init__(self, path: Path | str, *, batch_size: int = 500) -> None:
        """Load a judge.

        Args:
            path: its ONNX file.
            batch_size: images per run.

        Raises:
            ModelError: a missing or damaged file, or one that is no judge.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(f"no judge at {path}: {error.strerror}") from error
        session = start_session(content, Path(path), RuntimeOptions())
        metadata = written_in(session, source=str(path))
        if METADATA_KEY not in metadata:
            raise ModelError(
                f"{path} is not a judge: its metadata lacks {METADATA_KEY!r}"
            )
        self.report = JudgeReport.from_json(metadata[METADATA_KEY])
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._session = session
        self._batch_size = batch_size

    @property
    def name(self) -> str:
        """What a report calls its features."""
        return (
            f"a classifier of {self.report.data} "
            f"({self.report.accuracy:.2%} of its test images)"
        )

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Penultimate features, after their ReLU: float32, (n, features)."""
        return self._run("features", images)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Log-odds of the classes up to a constant: float32, (n, classes)."""
        return self._run("logits", images)

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The class of each image: int64, (n,)."""
        classes: NDArray[np.int64] = self.logits(images).argmax(axis=1)
        return classes

    def _run(self, output: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows: list[Any] = []
        for batch in self._batches(images):
            try:
                rows += self._session.run([output], {"image": batch})
            except Exception as error:  # onnxruntime's own classes share no base
                raise ModelError(
                    f"the judge is damaged, and failed: {first_line(error)}"
                ) from error
        return np.concatenate(rows)

    def _batches(self, images: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        shape = self.report.image_shape
        if images.ndim == 3:
            images = images[..., None]
        if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
            raise DataError(
                f"this judge sees uint8 images of height, width, channels {shape}, "
                f"got {images.dtype} of shape {images.shape}"
            )
        for start in range(0, len(images), self._batch_size):
            yield to_network(images[start : start + self._batch_size])


def to_network(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey levels (n, H, W, C) to the network's [0, 1], (n, C, H, W)."""
    scaled = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(scaled)
