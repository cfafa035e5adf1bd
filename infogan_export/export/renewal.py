"""An exported model written anew: its weights as they are, in this version's graph."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch

from infogan_export.atomic import atomic_writer, make_folder
from infogan_export.catalog import ENCODER, GENERATOR, RECOGNITION, ModelFiles
from infogan_export.errors import ExportError
from infogan_export.export.compared import FLOAT32_LIMIT, ComparedFile
from infogan_export.export.exporter import to_compare
from infogan_export.export.inference import GeneratorGraph, for_onnxruntime
from infogan_export.export.onnx_file import to_onnx
from infogan_export.export.rebuild import rebuild
from infogan_export.export.weights import stored_as_in
from infogan_export.metadata import ModelMetadata
from infogan_export.runtime import load


def renew(files: ModelFiles, folder: Path) -> ModelMetadata:
    """Write a model whose generator an older version exported, for its speed.

    Its weights and metadata stay as they are, to the bit, and so do its recognition
    network and its encoder, which is told the generator's new digest.

    Args:
        files: the model, with its recognition network.
        folder: where to write; may be the model's own.

    Returns:
        what the generator's file says of itself.

    Raises:
        ModelError: as ``rebuild``, or another generator's encoder beside it.
        ExportError: the images differ from the old file's by more than 1e-4.
        OutputError: the folder cannot be written.
    """
    drawer, model = rebuild(files).G, load(files.generator)
    assert isinstance(drawer, GeneratorGraph) and files.recognition is not None
    about, its = model.metadata, model.encoder_metadata
    latents = to_compare(model.spec)
    z, c = map(np.ascontiguousarray, model.spec.split(latents))
    graph = to_onnx(
        for_onnxruntime(drawer),
        [torch.from_numpy(z[:2]), torch.from_numpy(c[:2])],
        inputs=["noise", "code"],
        outputs=["image"],
    )
    generator = ComparedFile(stored_as_in(onnx.load(files.generator), graph), about)
    (drawn,) = generator.session().run(["image"], {"noise": z, "code": c})
    wanted = model.draw(latents, dtype="float32").reshape(
        len(z), *model.image_shape[1:], -1
    )
    difference = float(np.abs(drawn.transpose(0, 2, 3, 1) - wanted).max())
    if not difference <= FLOAT32_LIMIT:
        raise ExportError(
            f"{model.name}: written anew, the images differ by {difference:.2g}, more "
            f"than {FLOAT32_LIMIT:g}"
        )
    written = {
        GENERATOR: generator.content(),
        RECOGNITION: files.recognition.read_bytes(),
    }
    if files.encoder is not None and its is not None:
        digest = hashlib.sha256(written[GENERATOR]).hexdigest()
        its = replace(its, training={**its.training, "generator_sha256": digest})
        written[ENCODER] = ComparedFile(onnx.load(files.encoder), its).content()
    make_folder(folder)
    for name, content in written.items():
        with atomic_writer(folder / name) as out:
            out.write(content)
    return about
