"""A torch module as one self-contained ONNX file, small and checked."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

# onnxruntime 1.17 reads both, and so does every later one.
OPSET, IR_VERSION = 18, 8
_SMALL = 4096  # tensors below this many values stay float32: biases, mostly


def to_onnx(
    module: nn.Module,
    example: Sequence[Tensor],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """Convert a module whose inputs and outputs all have a dynamic batch axis.

    Args:
        module: in evaluation mode.
        example: one tensor for each input, with a batch of 2 or more.
        inputs: their names.
        outputs: the names of what ``forward`` returns.
    """
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(example),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in example),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    return model


def with_float16_weights(
    model: onnx.ModelProto, *, grid: int | None = None
) -> onnx.ModelProto:
    """A copy that stores large weights as float16 and casts them in the graph.

    Args:
        model: with float32 weights.
        grid: round the weights to multiples of 2^-grid first: their low bits are
            then zero, and a wheel or a web server compresses them well.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    graph = small.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _SMALL:
            continue
        if grid is not None:
            values = np.rint(values * 2.0**grid) / 2.0**grid
        name = tensor.name
        stored = numpy_helper.from_array(values.astype(np.float16), f"{name}.float16")
        tensor.CopyFrom(stored)
        casts.append(
            helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return small


def serialize(model: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    """The file's bytes, the same for the same model and metadata."""
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about itself off the user's terminal."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
