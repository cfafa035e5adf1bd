"""A trained encoder as ``encoder.onnx`` beside the generator that it inverts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from infogan_export.batches import BATCH
from infogan_export.catalog import GENERATOR
from infogan_export.datasets import ImageSet
from infogan_export.errors import ExportError
from infogan_export.evaluation.association import match_categories
from infogan_export.export.compared import ComparedFile, Storage, in_smallest_form
from infogan_export.export.exporter import to_compare
from infogan_export.export.inference import fold_batch_norm
from infogan_export.export.onnx_file import to_onnx
from infogan_export.export.origin import data_facts, training_facts
from infogan_export.latent import LatentSpec
from infogan_export.metadata import ImageShape, ModelMetadata
from infogan_export.runtime import Model, load
from infogan_export.training.checkpoint import EncoderCheckpoint
from infogan_export.training.encoder import Encoder, as_latents

# Of an encoder's weights hardly any tensor is large, but together they are.
_SMALLEST = 2**12
_OUTPUTS = ("noise", "code")


def export_encoder(
    checkpoint: EncoderCheckpoint,
    folder: Path,
    *,
    storage: Storage = "int16",
    description: str = "",
    licence: str = "",
    test: ImageSet | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> ModelMetadata:
    """Write ``encoder.onnx``; no other file of the model changes.

    Args:
        checkpoint: the trained run.
        folder: of the model, with the generator that the encoder inverts.
        storage: of the weights; int16 is turned into float32 in the graph.
        description: a sentence or two for a reader.
        licence: of the training images, where the data set did not tell.
        test: images that it was not trained on, for ``reconstruction_mse``, and
            with labels for ``recognition_accuracy``.
        on_stage: told what is being done.

    Returns:
        what the file says of itself.

    Raises:
        ExportError: the folder holds no generator or another one, or the graph
            differs from torch by more than 1e-4 (float32) or half a grey level
            (int16).
        OutputError: the folder cannot be written.
    """
    model = _generator(checkpoint, folder)
    spec = model.spec
    E = Encoder(spec, checkpoint.shape)
    E.load_state_dict(checkpoint.encoder)
    on_stage("converting and comparing with torch")
    x = _as_input(model.draw(to_compare(spec), dtype="float32"), checkpoint.shape)
    with torch.no_grad():
        latents = as_latents(E.eval()(torch.from_numpy(x)), spec).numpy()
    file = in_smallest_form(
        to_onnx(
            EncoderGraph(E, spec),
            [torch.from_numpy(x[:2])],
            inputs=["image"],
            outputs=list(_OUTPUTS),
        ),
        _metadata(checkpoint, model.metadata, description, licence),
        storage,
        {"image": x},
        dict(zip(_OUTPUTS, spec.split(latents), strict=True)),
        smallest=_SMALLEST,
    )
    if test is not None:
        on_stage("measuring the exported file")
        figures = measure_encoder(file, model, test)
        file = replace(file, about=replace(file.about, metrics=figures))
    file.write(folder)
    return file.about


class EncoderGraph(nn.Module):
    """E(x): ``image`` to ``noise`` (n, Z) and ``code`` (n, C), as G takes them."""

    def __init__(self, E: Encoder, spec: LatentSpec) -> None:
        super().__init__()
        self.layers = fold_batch_norm(E.layers)
        self.spec = spec

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode: (n, channels, height, width) to (n, Z) and (n, C)."""
        latents = as_latents(self.layers(image), self.spec)
        return latents[:, : self.spec.noise_dim], latents[:, self.spec.noise_dim :]


def measure_encoder(
    file: ComparedFile, model: Model, test: ImageSet
) -> dict[str, float]:
    """How well images come back from an encoder's latents, as they are.

    Args:
        file: the encoder.
        model: the generator that it inverts.
        test: images that it was not trained on.

    Returns:
        ``reconstruction_mse``, of pixels from 0 to 1; with labels, where the
        model's categories are known to be those, ``recognition_accuracy``.
    """
    session, spec = file.session(), model.spec
    error = 0.0
    categories = []
    for first in range(0, len(test), BATCH):
        x = test.images[first : first + BATCH].astype(np.float32)
        x /= 255
        found = session.run(_OUTPUTS, {"image": _as_input(x, model.image_shape)})
        latents = np.concatenate(found, axis=1)
        drawn = model.draw(latents, dtype="float32")
        error += float(np.square(x - drawn.reshape(x.shape), dtype=np.float64).sum())
        if spec.categorical:
            of_first = spec.columns(spec.categorical[0].name)
            categories.append(latents[:, of_first].argmax(axis=1))
    figures = {"reconstruction_mse": error / test.images.size}
    if test.labels is not None and "recognition_accuracy" in model.metadata.metrics:
        read, size = np.concatenate(categories), spec.categorical[0].size
        matching = match_categories(read, test.labels, size)
        figures["recognition_accuracy"] = matching.accuracy
    return {name: round(float(value), 5) for name, value in figures.items()}


def _generator(checkpoint: EncoderCheckpoint, folder: Path) -> Model:
    """The model of a folder, if it is the one that the encoder was trained on."""
    path = folder / GENERATOR
    if not path.is_file():
        raise ExportError(
            f"{folder} holds no {GENERATOR}; an encoder is written beside the one "
            f"that it inverts, of {checkpoint.model}"
        )
    model = load(path)
    if model.sha256 != checkpoint.generator_sha256:
        raise ExportError(
            f"{path} is another generator than the one that this encoder inverts: "
            f"its SHA-256 is {model.sha256[:12]}..., not "
            f"{checkpoint.generator_sha256[:12]}... of {checkpoint.model}"
        )
    return model


def _metadata(
    checkpoint: EncoderCheckpoint, model: ModelMetadata, description: str, licence: str
) -> ModelMetadata:
    return ModelMetadata(
        name=model.name,
        role="encoder",
        image_shape=model.image_shape,
        spec=model.spec,
        training=training_facts(checkpoint)
        | {"generator_sha256": checkpoint.generator_sha256},
        data=data_facts(checkpoint.data, licence),
        description=description,
    )


def _as_input(images: NDArray[np.float32], shape: ImageShape) -> NDArray[np.float32]:
    """Grey or colour images (n, height, width[, channels]) as a graph takes them."""
    channels, height, width = shape
    whole = images.reshape(-1, height, width, channels)
    return np.ascontiguousarray(whole.transpose(0, 3, 1, 2))
