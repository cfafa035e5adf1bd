"""A torch module as one self-contained ONNX graph."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import torch
from onnxscript import optimizer
from torch import Tensor, nn

# onnxruntime 1.17 reads both, and so does every later one.
OPSET, IR_VERSION = 18, 8
# What is computed of more numbers is left in the graph: of a weight, for instance,
# whose name is what a file is read back by.  The least kernel has nine.
_FOLDED_UP_TO = 8


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
            optimize=False,  # below, with a limit
            external_data=False,
            verbose=False,
        )
    assert program is not None
    optimizer.optimize(program.model, input_size_limit=_FOLDED_UP_TO)
    model: onnx.ModelProto = program.model_proto
    model.ir_version = IR_VERSION
    _forget_source(model.graph)
    return model


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
