"""Weights as whole numbers: how a file keeps them small, and how they come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LARGE = 2**18  # values from which a tensor is worth storing so
_HIGH, _PAIR = "high", "pair"
_NIBBLE = 16


def with_whole_weights(
    model: onnx.ModelProto, *, bits: int | None, width: int, smallest: int = LARGE
) -> onnx.ModelProto:
    """A copy that stores large weights as whole numbers, and rebuilds them.

    A weight is a whole number times its row's step: rms(row) / 2^bits, or the
    finest that leaves room for the row's greatest.  The low bytes of the numbers
    are kept apart from the rest: mixed, as float16 would mix them, a wheel or a web
    server compresses them a sixth less.  onnxruntime folds the nodes into a float32
    constant once, when it loads the file.

    Args:
        model: with float32 weights.
        bits: how fine the steps are; the finest if None.
        width: of a number in bits, 16 or 12; what is beyond is clipped.  In 12, the
            high four bits of a number share a byte with those of another one, half
            the rows further on (in a tensor with an even number of rows).
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
        rows = values.reshape(len(values), -1)
        most = 2 ** (width - 1)
        if bits is None:
            step = np.abs(rows).max(axis=1) / (most - 1)
        else:
            step = np.sqrt(np.square(rows, dtype=np.float64).mean(axis=1)) / 2**bits
        step = np.maximum(step, np.finfo(np.float32).tiny)
        step = step.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
        whole = np.clip(np.rint(values / step), -most, most - 1).astype(np.int16)
        parts, nodes = whole_weights(tensor.name, whole, step, paired=width == 12)
        kept += parts
        built += nodes
    nodes = [*built, *graph.node]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return small


def whole_weights(
    name: str, whole: NDArray[np.int16], step: NDArray[np.float32], *, paired: bool
) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
    """The stored parts of a tensor ``whole * step``, and the nodes that rebuild it.

    Args:
        name: of the tensor.
        whole: (rows, ...).
        step: (rows, 1, ...).
        paired: whether the numbers fit 12 bits and are stored so.
    """
    high, half = whole >> 8, len(whole) // 2
    parts: dict[str, NDArray[Any]] = {
        "low": (whole & 0xFF).astype(np.uint8),
        "step": step,
        "byte": np.array(256, np.float32),
    }
    if paired and len(whole) % 2 == 0:
        nibbles = high + _NIBBLE // 2
        parts |= {
            _PAIR: (nibbles[:half] * _NIBBLE + nibbles[half:]).astype(np.uint8),
            "nibble": np.array(_NIBBLE, np.float32),
            "middle": np.array(_NIBBLE // 2, np.float32),
        }
        unpacking = [
            ("Cast", [_PAIR], "pair_float"),
            ("Div", ["pair_float", "nibble"], "quotient"),
            ("Floor", ["quotient"], "first"),
            ("Mul", ["first", "nibble"], "product"),
            ("Sub", ["pair_float", "product"], "second"),
            ("Concat", ["first", "second"], "nibbles"),
            ("Sub", ["nibbles", "middle"], "high_float"),
        ]
    else:
        parts[_HIGH] = high.astype(np.int8)
        unpacking = [("Cast", [_HIGH], "high_float")]
    built = []
    for op, inputs, output in (
        *unpacking,
        ("Cast", ["low"], "low_float"),
        ("Mul", ["high_float", "byte"], "shifted"),
        ("Add", ["shifted", "low_float"], "whole"),
        ("Mul", ["whole", "step"], ""),
    ):
        attributes: dict[str, dict[str, Any]] = {
            "Cast": {"to": TensorProto.FLOAT},
            "Concat": {"axis": 0},
        }
        result = f"{name}.{output}" if output else name
        sources = [f"{name}.{part}" for part in inputs]
        built.append(helper.make_node(op, sources, [result], **attributes.get(op, {})))
    stored = [numpy_helper.from_array(v, f"{name}.{k}") for k, v in parts.items()]
    return stored, built


def stored_as_in(file: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph that stores its large weights as a file has them.

    Args:
        file: with large weights as whole numbers, or not.
        model: with the same weights as float32, by the same names.
    """
    stored, names = file.graph.initializer, [t.name for t in model.graph.initializer]
    whole = [name for name in names if f"{name}.low" in {t.name for t in stored}]
    parts = tuple(f"{name}." for name in whole)
    same = onnx.ModelProto()
    same.CopyFrom(model)
    graph, kept = same.graph, []
    for tensor in graph.initializer:
        part = f"{tensor.name}."
        if part in parts:
            kept += [t for t in stored if t.name.startswith(part)]
        else:
            kept.append(tensor)
    nodes = [n for n in file.graph.node if f"{n.output[0]}.".startswith(parts)]
    nodes += graph.node
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return same


def read_weights(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """The float32 constants of a graph by name, those kept as whole numbers rebuilt."""
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = {n: v.copy() for n, v in stored.items() if v.dtype == np.float32}
    for part, values in stored.items():
        name, dot, last = part.rpartition(".")
        if not dot or last not in (_HIGH, _PAIR):
            continue
        high = values.astype(np.float32)
        if last == _PAIR:
            high = np.concatenate(np.divmod(high, _NIBBLE)) - _NIBBLE // 2
        whole = high * 256 + stored[f"{name}.low"].astype(np.float32)
        weights[name] = whole * stored[f"{name}.step"]
    return weights
