"""Whether an ONNX file keeps weights in other files, told from its bytes alone.

onnxruntime follows such paths by itself: from the working directory when a model
comes from memory, and in many of its versions out of that folder.  So a graph
that has any is refused before onnxruntime sees it; for that it is enough to walk
through those messages of the protobuf that can hold a tensor.
"""

from __future__ import annotations

from collections.abc import Iterator

# Field numbers of onnx.proto: which message stands in which field of another.
_HOLDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        **{5: "TensorProto", 10: "TensorProto"},
        **{6: "GraphProto", 11: "GraphProto"},
        **{22: "SparseTensorProto", 23: "SparseTensorProto"},
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
_EXTERNAL_DATA = 13  # the field of a TensorProto that says where its values are

_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES = 0, 1, 2, 5


def has_external_data(content: bytes) -> bool:
    """Whether any tensor of an ONNX file, used or not, lies in another file.

    Raises:
        ValueError: the bytes are no protobuf message: cut off, or not ONNX.
    """
    pending = [("ModelProto", memoryview(content))]
    while pending:
        kind, message = pending.pop()
        for number, part in _parts(message):
            if kind == "TensorProto" and number == _EXTERNAL_DATA:
                return True
            if number in _HOLDS[kind]:
                pending.append((_HOLDS[kind][number], part))
    return False


def _parts(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields that have a length (messages, texts, arrays), by number."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        tag &= 0xFFFFFFFF  # as protobuf's own reader does
        wire_type, size = tag & 7, 0
        if wire_type in (_VARINT, _DELIMITED):
            value, at = _varint(message, at)
            size = value if wire_type == _DELIMITED else 0
        elif wire_type in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if wire_type == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"no field begins with the byte {tag & 0xFF:#04x}")
        if size > len(message) - at:
            raise ValueError("it ends too early")
        if wire_type == _DELIMITED:
            yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it ends too early")
        byte, at = message[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number in it has no end")
