"""A graph that has been compared with torch, and the file that it becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from infogan_export.atomic import atomic_writer
from infogan_export.errors import ExportError
from infogan_export.export.onnx_file import serialize
from infogan_export.export.weights import LARGE, with_whole_weights
from infogan_export.metadata import KEY, ModelMetadata

AsRead: TypeAlias = Callable[[str, NDArray[Any]], NDArray[Any]]
Storage = Literal["float32", "int16"]

FLOAT32_LIMIT = 1e-4
INT16_LIMIT = 0.5 / 255  # half a grey level
# Weights take the first of these (bits, width) that stays inside the limit by a
# margin, since only some latents are compared.  In 12 bits, 9 would clip rows' ends.
_FORMS = ((6, 12), (7, 12), (8, 12), (None, 12), (9, 16), (10, 16), (11, 16))
_MARGIN = 0.75


@dataclass(frozen=True)
class ComparedFile:
    """A network's file before it is written.

    Attributes:
        model: the graph, which does what torch does.
        about: what the file is to say of itself.
    """

    model: onnx.ModelProto
    about: ModelMetadata

    def content(self) -> bytes:
        """Its bytes, the same for the same graph and metadata."""
        return serialize(self.model, {KEY: self.about.to_json()})

    def session(self) -> onnxruntime.InferenceSession:
        """The graph in onnxruntime, on the CPU."""
        return _session(self.model)

    def write(self, folder: Path) -> None:
        """Write it under the name of its role, whole or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        with atomic_writer(folder / f"{self.about.role}.onnx") as out:
            out.write(self.content())


def in_smallest_form(
    graph: onnx.ModelProto,
    about: ModelMetadata,
    storage: Storage,
    inputs: dict[str, NDArray[Any]],
    wanted: dict[str, NDArray[Any]],
    as_read: AsRead = lambda name, output: output,
    *,
    smallest: int = LARGE,
) -> ComparedFile:
    """The graph in the smallest form that agrees with torch.

    Args:
        graph: with float32 weights.
        about: what the file is to say of itself.
        storage: of the weights.
        inputs: many, by name.
        wanted: the outputs of torch for them, by name.
        as_read: turns outputs into what 16-bit weights are compared by, for
            logits have no scale.
        smallest: values from which a tensor is stored in 16 bits.

    Raises:
        ExportError: it differs by more than 1e-4 in float32, or half a grey level
            in int16.
    """
    plain = _difference(graph, inputs, wanted, lambda name, output: output)
    if not plain <= FLOAT32_LIMIT:
        raise ExportError(
            f"{about.name}: the {about.role} differs from torch by {plain:.2g}, "
            f"more than {FLOAT32_LIMIT:g}"
        )
    if storage == "float32":
        facts = {"storage": "float32", "difference": plain}
        return ComparedFile(graph, replace(about, export={**about.export, **facts}))
    for bits, width in _FORMS:
        small = with_whole_weights(graph, bits=bits, width=width, smallest=smallest)
        found = _difference(small, inputs, wanted, as_read)
        if found <= INT16_LIMIT * _MARGIN:
            facts = {
                "storage": "int16",
                "width": width,
                "bits": bits,
                "difference": found,
                "float32_difference": plain,
            }
            return ComparedFile(small, replace(about, export={**about.export, **facts}))
    raise ExportError(
        f"{about.name}: with 16-bit weights the {about.role} differs from torch by "
        f"{found:.2g}, near or above half a grey level; use float32 storage"
    )


def _difference(
    graph: onnx.ModelProto,
    inputs: dict[str, NDArray[Any]],
    wanted: dict[str, NDArray[Any]],
    as_read: AsRead,
) -> float:
    """The greatest difference from torch, alone and in a batch."""
    session = _session(graph)
    worst = 0.0
    for count in (1, len(next(iter(inputs.values())))):
        outputs = session.run(list(wanted), {k: v[:count] for k, v in inputs.items()})
        for (name, expected), got in zip(wanted.items(), outputs, strict=True):
            a, b = as_read(name, got), as_read(name, expected[:count])
            worst = max(worst, float(np.abs(a - b).max()))
    return worst


def _session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        serialize(graph, {}), providers=["CPUExecutionProvider"]
    )
