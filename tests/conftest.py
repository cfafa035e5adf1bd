"""What several tests share: small models, and what the page is tested with."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode
from infogan_export.metadata import KEY, ModelMetadata
from infogan_export.web.site import ORT_FILES, ORT_VERSION

AXE_VERSION = "4.14.1"


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The generator of the tiny model; make_tiny_model.py made it."""
    return Path(__file__).parent / "data" / "tiny" / "generator.onnx"


@pytest.fixture(scope="session")
def encoded(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model with an encoder, and of a stranger's beside it."""
    script = tiny.parents[2] / "make_tiny_model.py"
    spec = importlib.util.spec_from_file_location("make_tiny_model", script)
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    digest = hashlib.sha256(tiny.read_bytes()).hexdigest()
    parent = tmp_path_factory.mktemp("encoded")
    for name, inverts in (("encoded", digest), ("stranger", "0" * 64)):
        shutil.copytree(tiny.parent, parent / name)
        onnx.save(maker.encoder(inverts), parent / name / "encoder.onnx")
    return parent / "encoded"


@pytest.fixture(scope="session")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generator of a model of 8x12 colour images, normal noise, and no Q."""
    spec = LatentSpec(
        Noise(5, "normal"),
        (CategoricalCode("hue", 3, labels=("red", "green", "blue")), UniformCode("x")),
    )
    weights = np.random.default_rng(0).normal(size=(spec.dim, 3, 8, 12))
    weights[5:8] = 6 * np.eye(3)[:, :, None, None]
    constants = {
        "W": weights.reshape(spec.dim, -1).astype(np.float32),
        "b": np.full(3 * 8 * 12, -3, np.float32),
        "size": np.array([-1, 3, 8, 12]),
    }
    nodes = [
        helper.make_node("Concat", ["noise", "code"], ["latent"], axis=1),
        helper.make_node("Gemm", ["latent", "W", "b"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["pixels"]),
        helper.make_node("Reshape", ["pixels", "size"], ["image"]),
    ]
    shapes = {"noise": [5], "code": [4], "image": [3, 8, 12]}
    noise, code, image = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        for name, shape in shapes.items()
    )
    stored = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", [noise, code], [image], initializer=stored)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    metadata = ModelMetadata(
        name="colour",
        role="generator",
        image_shape=(3, 8, 12),
        spec=spec,
        training={},
        data={},
        metrics={},
        description="Coloured noise.",
    )
    helper.set_model_props(model, {KEY: metadata.to_json()})
    path = tmp_path_factory.mktemp("colour", numbered=False) / "generator.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def require() -> Callable[[object, str], None]:
    """``need``, for tests: they cannot import this file."""
    return need


def need(present: object, what: str) -> None:
    """Skip a test for want of a tool; in CI, where nothing may be missing, fail."""
    if not present:
        outcome = pytest.fail if os.environ.get("INFOGAN_EXPORT_CI") else pytest.skip
        outcome(f"needs {what}")


def npm_package(name: str, folder: Path) -> Path:
    """A package of the npm registry, unpacked into a folder that is kept."""
    target = folder / name
    if not (target / "package").is_dir():
        need(shutil.which("npm"), "npm")
        target.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(
            ["npm", "pack", name, "--silent", "--pack-destination", str(target)],
            capture_output=True,
            text=True,
            check=False,
        )
        need(packed.returncode == 0, f"the npm package {name}")
        archive = target / packed.stdout.split()[-1]
        shutil.unpack_archive(archive, target, filter="data")
        archive.unlink()
    return target / "package"


@pytest.fixture(scope="session")
def ort_web(pytestconfig: pytest.Config) -> Path:
    """A folder with onnxruntime-web's files: ONNXRUNTIME_WEB, or from npm."""
    named = os.environ.get("ONNXRUNTIME_WEB")
    cache = Path(pytestconfig.cache.mkdir("npm"))
    package = f"onnxruntime-web@{ORT_VERSION}"
    folder = Path(named) if named else npm_package(package, cache) / "dist"
    assert all((folder / name).is_file() for name in ORT_FILES.values())
    return folder


@pytest.fixture(scope="session")
def axe(pytestconfig: pytest.Config) -> Path:
    """The script of axe-core, which finds what shuts people out."""
    cache = Path(pytestconfig.cache.mkdir("npm"))
    return npm_package(f"axe-core@{AXE_VERSION}", cache) / "axe.min.js"
