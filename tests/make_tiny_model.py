"""Write tests/data/tiny: a model small enough to keep beside the tests.

    python tests/make_tiny_model.py [FOLDER]

It draws by hand-made templates, x = sigmoid(W [z, c] + b), so each code visibly
does what its name says, and its Q inverts that exactly.  Same bytes every run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode
from infogan_export.metadata import KEY, ModelMetadata, Role

SIDE = 8
SPEC = LatentSpec(
    Noise(4),
    (
        CategoricalCode(
            "shape", 3, labels=("bar", "dash", "cross"), description="which stroke"
        ),
        UniformCode("slant", description="leans left (-) to right (+)"),
        UniformCode("thickness", description="thin (-) to thick (+) strokes"),
    ),
)
_DOWN, _ACROSS = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]


def weights() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """W (dim, SIDE * SIDE) and b (SIDE * SIDE,), rounded to be the same anywhere."""
    rng = np.random.default_rng(0)
    bar = 5 * np.exp(-((_ACROSS / 0.35) ** 2))
    dash = 5 * np.exp(-((_DOWN / 0.35) ** 2))
    rows = [
        *rng.normal(scale=0.25, size=(SPEC.noise_dim, SIDE, SIDE)),
        bar,
        dash,
        np.maximum(bar, dash),
        -1.5 * _DOWN * _ACROSS,
        0.8 * np.exp(-(_DOWN**2 + _ACROSS**2)),
    ]
    return (
        np.stack(rows).reshape(SPEC.dim, -1).round(4).astype(np.float32),
        np.full(SIDE * SIDE, -3.0, np.float32),
    )


def generator() -> onnx.ModelProto:
    """noise, code -> image."""
    W, b = weights()
    nodes = [
        helper.make_node("Concat", ["noise", "code"], ["latent"], axis=1),
        helper.make_node("MatMul", ["latent", "W"], ["scaled"]),
        helper.make_node("Add", ["scaled", "b"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["pixels"]),
        helper.make_node("Reshape", ["pixels", "shape_of_image"], ["image"]),
    ]
    return _model(
        "generator",
        nodes,
        inputs={"noise": [SPEC.noise_dim], "code": [SPEC.code_dim]},
        outputs={"image": [1, SIDE, SIDE]},
        constants={"W": W, "b": b, "shape_of_image": np.array([-1, 1, SIDE, SIDE])},
    )


def recognition() -> onnx.ModelProto:
    """image -> what each code must have been, by the inverse of W."""
    W, b = weights()
    inverse = np.linalg.pinv(W.astype(np.float64))[:, SPEC.noise_dim :]
    constants = {
        "low": np.float32(1 / 512),
        "high": np.float32(1 - 1 / 512),
        "one": np.float32(1),
        "b": b,
        "flat": np.array([-1, SIDE * SIDE]),
        "sharpness": np.float32(20),
        "inverse": inverse.round(5).astype(np.float32),
        "no_slope": np.zeros((SIDE * SIDE, 1), np.float32),
        "deviation": np.float32(0.1),
        "brightness": np.float32(0.3),
        "widths": np.array([3, 1, 1]),
    }
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["x"]),
        helper.make_node("Clip", ["x", "low", "high"], ["clipped"]),
        helper.make_node("Sub", ["one", "clipped"], ["rest"]),
        helper.make_node("Div", ["clipped", "rest"], ["odds"]),
        helper.make_node("Log", ["odds"], ["logits"]),
        helper.make_node("Sub", ["logits", "b"], ["centred"]),
        helper.make_node("MatMul", ["centred", "inverse"], ["code"]),
        helper.make_node("Split", ["code", "widths"], ["category", "c1", "c2"], axis=1),
        helper.make_node("Mul", ["category", "sharpness"], ["shape"]),
        helper.make_node("MatMul", ["x", "no_slope"], ["zero"]),
        helper.make_node("Add", ["zero", "deviation"], ["spread"]),
        helper.make_node("Concat", ["c1", "spread"], ["slant"], axis=1),
        helper.make_node("Concat", ["c2", "spread"], ["thickness"], axis=1),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Sub", ["mean", "brightness"], ["logit"]),
    ]
    return _model(
        "recognition",
        nodes,
        inputs={"image": [1, SIDE, SIDE]},
        outputs={"shape": [3], "slant": [2], "thickness": [2], "logit": []},
        constants=constants,
    )


def encoder(generator_sha256: str) -> onnx.ModelProto:
    """image -> z and c, by the inverse of W; the category sharpened."""
    W, b = weights()
    constants = {
        "low": np.float32(1 / 512),
        "high": np.float32(1 - 1 / 512),
        "one": np.float32(1),
        "b": b,
        "flat": np.array([-1, SIDE * SIDE]),
        "sharpness": np.float32(20),
        "inverse": np.linalg.pinv(W.astype(np.float64)).round(5).astype(np.float32),
        "widths": np.array([SPEC.noise_dim, 3, 2]),
    }
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["x"]),
        helper.make_node("Clip", ["x", "low", "high"], ["clipped"]),
        helper.make_node("Sub", ["one", "clipped"], ["rest"]),
        helper.make_node("Div", ["clipped", "rest"], ["odds"]),
        helper.make_node("Log", ["odds"], ["logits"]),
        helper.make_node("Sub", ["logits", "b"], ["centred"]),
        helper.make_node("MatMul", ["centred", "inverse"], ["latent"]),
        helper.make_node("Split", ["latent", "widths"], ["noise", "k", "u"], axis=1),
        helper.make_node("Mul", ["k", "sharpness"], ["sharp"]),
        helper.make_node("Softmax", ["sharp"], ["category"], axis=1),
        helper.make_node("Concat", ["category", "u"], ["code"], axis=1),
    ]
    return _model(
        "encoder",
        nodes,
        inputs={"image": [1, SIDE, SIDE]},
        outputs={"noise": [SPEC.noise_dim], "code": [SPEC.code_dim]},
        constants=constants,
        training={"generator_sha256": generator_sha256},
        metrics={"reconstruction_mse": 1e-4},
    )


def _model(
    role: Role,
    nodes: list[onnx.NodeProto],
    *,
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
    constants: dict[str, NDArray[np.generic]],
    **about: dict[str, Any],
) -> onnx.ModelProto:
    def tensors(shapes: dict[str, list[int]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
            for name, shape in shapes.items()
        ]

    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(
        nodes, role, tensors(inputs), tensors(outputs), initializer=stored
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    usual = {
        "training": {"seed": 0, "steps": 0, "images_seen": 0},
        "data": {"name": "none", "images": 0, "licence": "CC0-1.0"},
        "metrics": {"category_accuracy": 1.0},
    }
    metadata = ModelMetadata(
        name="tiny",
        role=role,
        image_shape=(1, SIDE, SIDE),
        spec=SPEC,
        description="Three strokes of 8x8 pixels, drawn by hand for the tests.",
        **(usual | about),
    )
    helper.set_model_props(model, {KEY: metadata.to_json()})
    onnx.checker.check_model(model, full_check=True)
    return model


def main(folder: Path) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    for model in (generator(), recognition()):
        data = model.SerializeToString(deterministic=True)
        (folder / f"{model.graph.name}.onnx").write_bytes(data)


if __name__ == "__main__":
    default = Path(__file__).parent / "data" / "tiny"
    main(Path(sys.argv[1]) if sys.argv[1:] else default)
