"""A torch module as one self-contained ONNX file, small and checked."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

# onnxruntime 1.17 reads both, and so does every later one.
OPSET, IR_VERSION = 18, 8
LARGE = 2**18  # values from which a tensor is worth storing in 16 bits


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
    _forget_source(model.graph)
    return model


def with_int16_weights(
    model: onnx.ModelProto, *, bits: int, smallest: int = LARGE
) -> onnx.ModelProto:
    """A copy that stores large weights in 16 bits and rebuilds them in the graph.

    A weight is a whole number times its row's step, rms(row) / 2^bits.  The high
    and the low bytes of the numbers are kept apart: mixed, as float16 would mix
    them, a wheel or a web server compresses them a sixth less.  onnxruntime
    folds the five nodes into a float32 constant once, when it loads the file.

    Args:
        model: with float32 weights.
        bits: how fine the steps are.
        smallest: values from which a tensor is stored so.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    graph = small.graph
    kept, built = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < smallest:
            kept.append(tensor)
            continue
        name, rows = tensor.name, values.reshape(len(values), -1)
        rms = np.sqrt(np.square(rows, dtype=np.float64).mean(axis=1))
        step = np.maximum(rms, np.finfo(np.float32).tiny) / 2**bits
        step = step.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
        whole = np.clip(np.rint(values / step), -(2**15), 2**15 - 1).astype(np.int16)
        parts = {
            "high": (whole >> 8).astype(np.int8),
            "low": (whole & 0xFF).astype(np.uint8),
            "step": step,
            "byte": np.array(256, np.float32),
        }
        kept += [numpy_helper.from_array(v, f"{name}.{k}") for k, v in parts.items()]
        for op, inputs, output in (
            ("Cast", ["high"], "high_float"),
            ("Cast", ["low"], "low_float"),
            ("Mul", ["high_float", "byte"], "shifted"),
            ("Add", ["shifted", "low_float"], "whole"),
            ("Mul", ["whole", "step"], ""),
        ):
            attributes: dict[str, Any] = (
                {"to": TensorProto.FLOAT} if op == "Cast" else {}
            )
            result = f"{name}.{output}" if output else name
            sources = [f"{name}.{part}" for part in inputs]
            built.append(helper.make_node(op, sources, [result], **attributes))
    nodes = [*built, *graph.node]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return small


def read_weights(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """The float32 constants of a graph by name, those kept in 16 bits rebuilt."""
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = {n: v.copy() for n, v in stored.items() if v.dtype == np.float32}
    for part in stored:
        name, dot, last = part.rpartition(".")
        if dot and last == "high":
            high, low, step = (stored[f"{name}.{k}"] for k in ("high", "low", "step"))
            whole = high.astype(np.float32) * 256 + low.astype(np.float32)
            weights[name] = whole * step
    return weights


def serialize(model: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    """The file's bytes, the same for the same model and metadata."""
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _forget_source(graph: onnx.GraphProto) -> None:
    """Drop the exporter's notes: paths and lines of the machine it ran on.

    With them, the same weights would make other bytes in another folder.
    """
    named = (graph.node, graph.input, graph.output, graph.value_info, graph.initializer)
    for part in (graph, *(entry for entries in named for entry in entries)):
        del part.metadata_props[:]
        part.doc_string = ""


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
