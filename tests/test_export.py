"""Laws of the export: the files say and draw what the trained networks do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from infogan_export.cli import main  # noqa: E402

from infogan_export import load  # noqa: E402
from infogan_export.datasets import ImageSet  # noqa: E402
from infogan_export.errors import ExportError, UsageError  # noqa: E402
from infogan_export.export import exporter, figures  # noqa: E402
from infogan_export.export.exporter import (  # noqa: E402
    ExportOptions,
    export_checkpoint,
)
from infogan_export.export.relabel import Meaning, relabel  # noqa: E402
from infogan_export.latent import (  # noqa: E402
    CategoricalCode,
    LatentSpec,
    Noise,
    UniformCode,
)
from infogan_export.training.checkpoint import (  # noqa: E402
    Checkpoint,
    save_checkpoint,
)
from infogan_export.training.config import (  # noqa: E402
    PRESETS,
    Guidance,
    Refinement,
    TrainingConfig,
)
from infogan_export.training.engine import build_fabric  # noqa: E402
from infogan_export.training.loop import train  # noqa: E402
from infogan_export.training.networks import Architecture  # noqa: E402
from infogan_export.training.state import averaged_networks  # noqa: E402

SPEC = LatentSpec(
    Noise(4, "normal"),
    (CategoricalCode("cat1", 3), UniformCode("cont1"), UniformCode("cont2", 0, 5)),
)
CONFIG = TrainingConfig(
    SPEC,
    Architecture(widths=(8, 16), dense=64, recognition=16),
    steps=6,
    batch_size=8,
    ema_decay=0.5,
)
# As the faces preset, but for the spectral norm.
FACES = replace(
    PRESETS["faces"],
    spec=SPEC,
    architecture=replace(
        PRESETS["faces"].architecture,
        widths=(8, 16),
        generator=(16, 8, 8),
        normalisation="spectral",
        apart=False,
    ),
    steps=6,
    batch_size=8,
    guidance=Guidance(weight=0.5, lighting=0.3),
    refinement=Refinement(),
)
APART = replace(
    FACES,
    architecture=replace(FACES.architecture, normalisation="batch", apart=True),
)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 12, 8, 3), dtype=np.uint8)
    return ImageSet(pixels, rng.integers(0, 3, 24), "noise", "public domain")


@pytest.fixture(scope="module", autouse=True)
def few_samples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "SAMPLES", 200)
        yield


@pytest.fixture(scope="module")
def checkpoint(
    images: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    fabric = build_fabric(accelerator="cpu", precision="32-true")
    return train(CONFIG, images, tmp_path_factory.mktemp("run"), fabric=fabric)


@pytest.fixture(scope="module")
def faces(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    fabric = build_fabric(accelerator="cpu", precision="32-true")
    return train(FACES, images, tmp_path_factory.mktemp("faces"), fabric=fabric)


@pytest.fixture(scope="module")
def apart(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    fabric = build_fabric(accelerator="cpu", precision="32-true")
    return train(APART, images, tmp_path_factory.mktemp("apart"), fabric=fabric)


@pytest.mark.parametrize("family", ["checkpoint", "faces", "apart"])
@pytest.mark.parametrize(
    ("storage", "limit"), [("float32", 1e-4), ("int16", 0.5 / 255)]
)
def test_exported_files_agree_with_torch_alone_and_in_batches(
    family: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    storage: str,
    limit: float,
) -> None:
    checkpoint: Checkpoint = request.getfixturevalue(family)
    options = ExportOptions("toy", storage=storage)  # type: ignore[arg-type]
    evidence = export_checkpoint(checkpoint, tmp_path, options).evidence
    sign = {found.code: found.sign for found in evidence}["cont1"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "generator.onnx",
        "recognition.onnx",
    ]
    model = load(tmp_path)
    G, D = averaged_networks(checkpoint)
    for count in (1, 64):
        latents = SPEC.sample(count, seed=3)
        trained = SPEC.assign(latents, {"cont1": sign * latents[:, 7]})
        with torch.no_grad():
            expected = G(torch.from_numpy(trained))
            logit, statistics = D(expected)
        drawn = model.draw(latents, dtype="float32")
        assert np.abs(drawn - expected.permute(0, 2, 3, 1).numpy()).max() <= limit
        read = model.recognize(expected.permute(0, 2, 3, 1).numpy())
        probabilities = torch.softmax(statistics[:, :3], dim=1).numpy()
        assert np.abs(read["cat1"].probabilities - probabilities).max() <= limit
        assert np.abs(read["cont2"].mean - statistics[:, 4].numpy()).max() <= 1e-2
        assert np.abs(read.logit - logit.numpy()).max() <= 1e-2


def test_metadata_says_how_the_model_was_made(
    checkpoint: Checkpoint, images: ImageSet, tmp_path: Path
) -> None:
    exported = export_checkpoint(
        checkpoint, tmp_path, ExportOptions("toy", description="a toy"), test=images
    )
    about = load(tmp_path).metadata
    assert about.to_json() == exported.metadata.to_json()
    assert about.training["seed"] == CONFIG.seed
    assert about.training["step"] == CONFIG.steps
    assert about.training["images_seen"] == CONFIG.steps * CONFIG.batch_size
    assert about.data["sha256"] == images.sha256()
    assert about.data["licence"] == "public domain"
    assert {"recognition_accuracy", "information/cat1"} <= set(about.metrics)
    assert about.export["difference"] <= 0.5 / 255


@pytest.mark.parametrize("high", [1.0, 1.25])
def test_relabelling_changes_names_but_no_image_and_no_reading(
    checkpoint: Checkpoint, high: float
) -> None:
    order = [2, 0, 1]
    before, after = averaged_networks(checkpoint), averaged_networks(checkpoint)
    slanted = UniformCode("slant", -high, high)
    codes = (CategoricalCode("digit", 3), slanted, SPEC.codes[2])
    meaning = Meaning(codes, {"digit": order}, frozenset({"slant"}))
    spec = relabel(*after, SPEC, meaning)
    old = SPEC.sample(5, seed=1)
    new = old.copy()
    digit, slant = spec.columns("digit"), spec.columns("slant")
    new[:, digit] = old[:, digit][:, order]
    new[:, slant] *= -high
    with torch.no_grad():
        image = before[0](torch.from_numpy(old))
        torch.testing.assert_close(after[0](torch.from_numpy(new)), image)
        was, now = before[1](image)[1], after[1](image)[1]
    torch.testing.assert_close(now[:, :3], was[:, order])
    torch.testing.assert_close(now[:, 3], -high * was[:, 3])
    torch.testing.assert_close(now[:, 4], was[:, 4])
    deviation = [after[1].residual[k] / before[1].residual[k] for k in (0, 1)]
    assert deviation == pytest.approx([high**2, 1])


def test_a_sign_turns_only_in_a_symmetric_prior(checkpoint: Checkpoint) -> None:
    networks = averaged_networks(checkpoint)
    with pytest.raises(ExportError, match="from 0 to 5"):
        relabel(*networks, SPEC, Meaning(SPEC.codes, turned=frozenset({"cont2"})))


@pytest.mark.parametrize("called", ["cont1", "cont"])
def test_a_reach_is_where_traversals_end(
    checkpoint: Checkpoint, tmp_path: Path, called: str
) -> None:
    plain, reaching = (tmp_path / name for name in ("plain", "reaching"))
    export_checkpoint(checkpoint, plain, ExportOptions("toy", storage="float32"))
    options = ExportOptions("toy", storage="float32", reach={called: 1.25})
    about = export_checkpoint(checkpoint, reaching, options).metadata
    old, new = load(plain), load(reaching)
    was, now = old.spec.uniform[0], new.spec.uniform[0]
    assert (now.low, now.high, now.sweep_range) == (-1.6, 1.6, was.sweep_range)
    assert about.export["drawn_in_training"] == [[-1, 1], [0, 5]]
    ends = old.sample(4, **{was.name: 1.25}), new.sample(4, **{now.name: 2})
    assert np.abs(np.subtract(*ends, dtype=int)).max() <= 1
    information = [m.metadata.metrics[f"information/{now.name}"] for m in (old, new)]
    assert information[0] == pytest.approx(information[1], abs=0.05)


@pytest.mark.parametrize(
    "reach",
    [
        {"cat1": 1.0},
        {"cont1": 0.0},
        {"cont1": math.nan},
        {"cont": 1.0, "cont1": 1.5},
    ],
)
def test_a_reach_is_a_uniform_code_s_and_positive(
    checkpoint: Checkpoint, tmp_path: Path, reach: dict[str, float]
) -> None:
    with pytest.raises(UsageError, match="uniform code"):
        export_checkpoint(checkpoint, tmp_path, ExportOptions("toy", reach=reach))


def test_labels_without_test_images_name_and_order_all_the_same(
    checkpoint: Checkpoint,
    images: ImageSet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_checkpoint(checkpoint, tmp_path / "checkpoint.pt")
    np.savez(tmp_path / "all.npz", images=images.images, labels=images.labels)
    given = ["--label-data", str(tmp_path / "all.npz"), "-o", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["export", str(tmp_path), *given])
    assert ended.value.code == 0
    assert "no test split" in capsys.readouterr().err
    assert (tmp_path / "out" / "generator.onnx").exists()


@pytest.mark.parametrize("given", ["cont1", "cont1=wide", "cont1=1=2"])
def test_a_reach_that_is_no_number_is_one_line(
    checkpoint: Checkpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: str,
) -> None:
    save_checkpoint(checkpoint, tmp_path / "checkpoint.pt")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(tmp_path), "-o", str(tmp_path / "out"), "--reach", given])
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert given in said and "cont2=1.6" in said
    assert not (tmp_path / "out").exists()


def test_a_graph_that_disagrees_is_refused_and_nothing_is_written(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(
        checkpoint,
        generator_ema={k: v.clone() for k, v in checkpoint.generator_ema.items()},
    )
    folding = exporter.GeneratorGraph

    def forgetful(G: object) -> object:
        graph = folding(G)  # type: ignore[arg-type]
        torch.nn.init.zeros_(graph.upsample[-2].bias)
        torch.nn.init.ones_(graph.upsample[-2].weight)
        return graph

    monkeypatch.setattr(exporter, "GeneratorGraph", forgetful)
    with pytest.raises(ExportError, match="generator differs from torch"):
        export_checkpoint(wrong, tmp_path, ExportOptions("toy"))
    assert not list(tmp_path.iterdir())


def test_the_same_checkpoint_makes_the_same_bytes(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        export_checkpoint(checkpoint, folder, ExportOptions("toy"))
        made.append((folder / "generator.onnx").read_bytes())
    assert made[0] == made[1]


def test_files_do_not_tell_where_they_were_made(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    export_checkpoint(checkpoint, tmp_path, ExportOptions("toy"))
    source = str(Path(exporter.__file__).parent.parent).encode()
    for path in tmp_path.iterdir():
        assert source not in path.read_bytes()
        assert b"inference.py" not in path.read_bytes()
