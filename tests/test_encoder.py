"""Laws of the encoder: it inverts what is shipped, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import onnxruntime  # noqa: E402
from infogan_export.cli import main  # noqa: E402
from lightning_fabric import Fabric  # noqa: E402

from infogan_export import catalog, load  # noqa: E402
from infogan_export.datasets import ImageSet  # noqa: E402
from infogan_export.errors import (  # noqa: E402
    ExportError,
    ModelError,
    TrainingError,
)
from infogan_export.export import exporter, figures, rebuild  # noqa: E402
from infogan_export.export.encoder_file import export_encoder  # noqa: E402
from infogan_export.export.exporter import (  # noqa: E402
    ExportOptions,
    export_checkpoint,
)
from infogan_export.export.manifest import write_manifest  # noqa: E402
from infogan_export.export.relabel import Meaning  # noqa: E402
from infogan_export.export.reopen import reopen  # noqa: E402
from infogan_export.export.weights import (  # noqa: E402
    read_weights,
    stored_as_in,
    with_whole_weights,
)
from infogan_export.latent import (  # noqa: E402
    CategoricalCode,
    LatentSpec,
    Noise,
    UniformCode,
)
from infogan_export.metadata import KEY, ModelMetadata  # noqa: E402
from infogan_export.runtime import Model  # noqa: E402
from infogan_export.training import encoding  # noqa: E402
from infogan_export.training.batches import as_input  # noqa: E402
from infogan_export.training.checkpoint import (  # noqa: E402
    CHECKPOINT_NAME,
    EncoderCheckpoint,
    load_checkpoint,
    load_encoder_checkpoint,
)
from infogan_export.training.config import (  # noqa: E402
    PRESETS,
    Guidance,
    Refinement,
    TrainingConfig,
)
from infogan_export.training.encoder import (  # noqa: E402
    Encoder,
    EncoderConfig,
    as_latents,
)
from infogan_export.training.encoding import train_encoder  # noqa: E402
from infogan_export.training.engine import build_fabric  # noqa: E402
from infogan_export.training.inversion import Target  # noqa: E402
from infogan_export.training.loop import train  # noqa: E402
from infogan_export.training.networks import Architecture  # noqa: E402
from infogan_export.training.runlog import read_metrics  # noqa: E402
from infogan_export.training.state import averaged_networks  # noqa: E402

SPEC = LatentSpec(
    Noise(4), (CategoricalCode("cat1", 3), UniformCode("cont1", -1.5, 1.5, -2, 2))
)
FREE = LatentSpec(Noise(5, "normal"), (UniformCode("cont1", 0, 5),))
GAN = TrainingConfig(
    SPEC,
    Architecture(widths=(8, 16), dense=64, recognition=16),
    steps=6,
    batch_size=8,
)
# As the faces preset, but for the spectral norm.
FACES = replace(
    PRESETS["faces"],
    spec=FREE,
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
TOY = EncoderConfig(steps=6, batch_size=8)
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 12, 8, 3), np.uint8)
IMAGES = ImageSet(PIXELS, None, "noise", "public domain")
_INVERT = ["--stage", "encoder", "--from"]


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return build_fabric(accelerator="cpu", precision="32-true")


@pytest.fixture(scope="module", autouse=True)
def few_samples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "SAMPLES", 100)
        yield


def exported(config: TrainingConfig, folder: Path, fabric: Fabric) -> Path:
    checkpoint = train(config, IMAGES, folder / "run", fabric=fabric)
    export_checkpoint(checkpoint, folder / "toy", ExportOptions("toy"))
    return folder / "toy"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, fabric: Fabric) -> Path:
    return exported(GAN, tmp_path_factory.mktemp("digits"), fabric)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, fabric: Fabric) -> Path:
    return exported(FACES, tmp_path_factory.mktemp("faces"), fabric)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, fabric: Fabric) -> Path:
    return exported(APART, tmp_path_factory.mktemp("apart"), fabric)


@pytest.fixture
def target(digits: Path) -> Target:
    return rebuild.rebuild(catalog.find(digits))


@pytest.fixture
def run(
    fabric: Fabric, target: Target, tmp_path: Path
) -> Callable[..., EncoderCheckpoint]:
    def run(config: EncoderConfig = TOY, **options: Any) -> EncoderCheckpoint:
        options = {"folder": tmp_path / "run", "images": IMAGES} | options
        options = {"log_every": 1, "target": target} | options
        return train_encoder(config, fabric=fabric, **options)

    return run


def assert_same(a: EncoderCheckpoint, b: EncoderCheckpoint) -> None:
    assert a.step == b.step
    assert [k for k, v in a.encoder.items() if not torch.equal(v, b.encoder[k])] == []
    for k, state in a.optimizer["state"].items():
        for name, value in state.items():
            assert torch.equal(value, b.optimizer["state"][k][name])


# --- what is shipped, in torch again -------------------------------------------


@pytest.mark.parametrize("family", ["digits", "faces", "apart"])
def test_rebuilt_networks_do_what_the_files_do(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    model, target = load(folder), rebuild.rebuild(catalog.find(folder))
    assert target.generator_sha256 == model.sha256
    latents = model.spec.sample(20, seed=5)
    images = model.draw(latents, dtype="float32")
    drawn = target.draw(torch.from_numpy(latents))
    assert not drawn.requires_grad
    assert np.abs(drawn.permute(0, 2, 3, 1).numpy() - images).max() < 1e-4
    features, statistics = target.Q.read(drawn)
    assert torch.equal(features, target.Q.features(drawn))
    read = model.recognize(images)["cont1"].mean
    column = model.spec.code_columns("cont1").start
    assert np.abs(statistics[:, column].numpy() - read).max() < 1e-4


@pytest.mark.parametrize(
    ("bits", "width", "part", "error"),
    [(7, 16, "high", 2**-7), (7, 12, "pair", 2**-7), (None, 12, "pair", 2**-9)],
)
def test_whole_weights_are_read_as_onnxruntime_rebuilds_them(
    digits: Path, bits: int | None, width: int, part: str, error: float
) -> None:
    plain = onnx.load(digits / "generator.onnx")
    name = "dense.0.weight"
    small = with_whole_weights(plain, bits=bits, width=width, smallest=64)
    assert f"{name}.{part}" in {t.name for t in small.graph.initializer}
    weights = read_weights(small)[name]
    rms = np.sqrt(np.square(weights).mean(axis=1, keepdims=True))
    assert (np.abs(weights - read_weights(plain)[name]) / rms).max() < error
    small.graph.output.append(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    )
    session = onnxruntime.InferenceSession(small.SerializeToString())
    z_c = {"noise": np.zeros((1, 4), np.float32), "code": np.zeros((1, 4), np.float32)}
    assert np.array_equal(session.run([name], z_c)[0], weights)


def test_networks_that_do_not_fit_their_file_are_refused(
    digits: Path, tiny: Path, colour: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="does not tell the architecture"):
        rebuild.rebuild(catalog.find(tiny))
    with pytest.raises(ModelError, match=r"no recognition.*put its recognition\.onnx"):
        rebuild.rebuild(catalog.find(colour))

    def wrong(model: object) -> dict[str, Any]:
        weights = read_weights(model)
        return {name: np.asarray(value * 1.01) for name, value in weights.items()}

    monkeypatch.setattr(rebuild, "read_weights", wrong)
    with pytest.raises(ModelError, match=r"differs from the file's by"):
        rebuild.rebuild(catalog.find(digits))
    monkeypatch.setattr(rebuild, "read_weights", lambda model: {})
    with pytest.raises(ModelError, match="does not hold the weights"):
        rebuild.rebuild(catalog.find(digits))


# --- what is shipped, trained on --------------------------------------------------


@pytest.mark.parametrize("family", ["digits", "faces", "apart"])
def test_a_reopened_model_does_what_its_files_do(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    target = rebuild.rebuild(catalog.find(folder))
    reopened = reopen(catalog.find(folder), IMAGES)
    G, D = averaged_networks(reopened)
    z = torch.from_numpy(target.spec.sample(24, seed=5))
    x = as_input(torch.from_numpy(PIXELS))
    with torch.no_grad():
        features, statistics = target.Q.read(x)
        assert torch.allclose(G(z), target.draw(z), atol=1e-4)
        assert torch.allclose(D.read(x), statistics, atol=1e-4)
        assert torch.allclose(D.trunk(x), features, atol=1e-4)
        # In training a batch norm looks at its batch, and finds what it expects.
        z = torch.from_numpy(target.spec.sample(24, seed=reopened.config.seed))
        assert torch.allclose(G.train()(z), target.draw(z), atol=1e-3)


def test_a_reopened_model_has_the_codes_of_its_training(
    digits: Path, fabric: Fabric, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained = load_checkpoint(digits.parent / "run" / CHECKPOINT_NAME)
    turned = frozenset({"slant"})

    def meaning(model: Model, *rest: object) -> tuple[Meaning, list[Any]]:
        code = replace(model.spec["cont1"], name="slant")
        return Meaning((model.spec.codes[0], code), {}, turned), []

    monkeypatch.setattr(exporter, "_find_meaning", meaning)
    options = ExportOptions("toy", reach={"cont1": 1.0})
    about = export_checkpoint(trained, tmp_path / "toy", options).metadata
    assert about.spec["slant"].high == 3 and about.export["turned"] == ["slant"]
    reopened = reopen(catalog.find(tmp_path / "toy"), IMAGES)
    z = torch.from_numpy(SPEC.sample(24, seed=5))
    with torch.no_grad():
        drawn, again = (averaged_networks(c)[0](z) for c in (trained, reopened))
    assert torch.allclose(drawn, again, atol=2e-3)  # as exact as the file is


def test_a_model_is_trained_on_whatever_its_codes_are_called(
    digits: Path, fabric: Fabric, tmp_path: Path
) -> None:
    files = catalog.find(digits)
    begun = reopen(files, IMAGES)
    spec = begun.config.spec
    named = [replace(code, name=f"{code.name}_named") for code in spec.codes]
    begun.config = replace(begun.config, spec=spec.rename(named))
    still = replace(GAN, steps=2, generator_rate=0.0, discriminator_rate=0.0)
    run = train(still, IMAGES, tmp_path / "run", fabric=fabric, start=begun)
    assert torch.equal(
        run.generator["dense.0.weight"], begun.generator["dense.0.weight"]
    )
    assert run.config.spec == GAN.spec
    assert f"file {load(digits).sha256[:16]}" in run.described()
    wider = ImageSet(np.zeros((24, 12, 16, 3), np.uint8), None, "wider")
    with pytest.raises(TrainingError, match=r"8x12 pixels and 3.*are of 16x12"):
        reopen(files, wider)


def test_one_command_trains_an_exported_model_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    np.savez(tmp_path / "digits.npz", x_train=np.zeros((128, 28, 28), np.uint8))
    words = ["train", "--from", "mnist", "--steps", "1", "--refine-steps", "0"]
    words += ["--data-dir", str(tmp_path / "digits.npz"), "--run-dir", str(tmp_path)]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    capsys.readouterr()
    start = load_checkpoint(tmp_path / "mnist-0" / CHECKPOINT_NAME).config.warm_start
    assert start.startswith("model mnist, seed ")
    assert load("mnist").sha256[:16] in start


# --- the network ----------------------------------------------------------------


@pytest.mark.parametrize(("shape", "most"), [((1, 28, 28), 160e3), ((1, 48, 48), 5e5)])
def test_an_encoder_is_small(shape: tuple[int, int, int], most: float) -> None:
    spec = PRESETS["mnist" if shape[1] == 28 else "faces"].spec
    assert sum(p.numel() for p in Encoder(spec, shape).parameters()) <= most


@pytest.mark.parametrize("spec", [SPEC, FREE], ids=["uniform", "normal"])
def test_whatever_the_statistics_they_become_latents_that_g_takes(
    spec: LatentSpec,
) -> None:
    wild = 50 * torch.randn(40, spec.dim, generator=torch.Generator().manual_seed(0))
    latents = as_latents(wild, spec)
    for code in spec.uniform:
        column = latents[:, spec.columns(code.name)]
        low, high = code.sweep_range
        assert low <= float(column.min()) <= float(column.max()) <= high
    for code in spec.categorical:
        weights = latents[:, spec.columns(code.name)]
        assert bool((weights >= 0).all())
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(40))
    noise = latents[:, spec.columns("noise")]
    if spec.noise.distribution == "uniform":
        assert float(noise.abs().max()) <= 1
    else:
        assert torch.equal(noise, wild[:, : spec.noise_dim])


# --- training -------------------------------------------------------------------


def test_training_brings_images_back_and_leaves_the_model_alone(
    target: Target, run: Callable[..., EncoderCheckpoint], tmp_path: Path
) -> None:
    before = [p.clone() for p in target.G.parameters()]
    drawn = target.draw(torch.from_numpy(SPEC.sample(64, seed=4)))
    pixels = (drawn.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    result = run(
        EncoderConfig(steps=60, batch_size=16), images=ImageSet(pixels, None, "g")
    )
    rows = read_metrics(tmp_path / "run")
    assert [int(row["step"]) for row in rows] == list(range(1, 61))
    for figure in ("reconstruction", "redrawn", "noise", "category", "code"):
        early, late = (
            np.mean([float(row[figure]) for row in part])
            for part in (rows[:5], rows[-5:])
        )
        assert late < 0.8 * early, figure
    after = list(target.G.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert result.generator_sha256 == target.generator_sha256
    assert (tmp_path / "run" / "samples" / "0000060.png").exists()


def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(
    run: Callable[..., EncoderCheckpoint],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = run(folder=tmp_path / "whole")
    step, calls = encoding.inversion_loss, iter(range(1, 100))

    def killed(*args: Any) -> Any:
        if next(calls) == 4:
            raise OSError("killed")
        return step(*args)

    monkeypatch.setattr(encoding, "inversion_loss", killed)
    with pytest.raises(OSError, match="killed"):
        run(checkpoint_every=2)
    path = tmp_path / "run" / CHECKPOINT_NAME
    assert load_encoder_checkpoint(path).step == 2
    with pytest.raises(TrainingError, match="--resume"):
        run()
    resumed = run(resume=True)
    assert_same(resumed, whole)
    assert_same(load_encoder_checkpoint(path), whole)
    rows = read_metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]


def test_a_run_goes_on_only_with_its_own_model_options_and_images(
    run: Callable[..., EncoderCheckpoint], target: Target, tmp_path: Path
) -> None:
    run()
    other = ImageSet(255 - PIXELS, None, "other")
    for changed, said in (
        ({"target": replace(target, generator_sha256="0" * 64)}, "encoder for toy"),
        ({"config": replace(TOY, pixel=9.0)}, "another pixel"),
        ({"images": other}, "other images"),
    ):
        with pytest.raises(TrainingError, match=said) as error:
            run(**changed, resume=True)
        assert "\n" not in str(error.value)
    with pytest.raises(TrainingError, match="of an encoder, not of a GAN"):
        load_checkpoint(tmp_path / "run" / CHECKPOINT_NAME)
    with pytest.raises(TrainingError, match="another steps"):
        run(replace(TOY, steps=4), resume=True)
    assert run(replace(TOY, steps=8), resume=True).step == 8


def test_images_of_another_size_are_refused(
    run: Callable[..., EncoderCheckpoint],
) -> None:
    wide = ImageSet(PIXELS.repeat(2, axis=2), None, "wide")
    with pytest.raises(TrainingError, match=r"12x8 with 3 channel.*got 12x16"):
        run(images=wide)


# --- the file -------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float32", "int16"])
def test_the_file_gives_what_torch_gives_and_changes_no_other(
    run: Callable[..., EncoderCheckpoint], digits: Path, tmp_path: Path, storage: Any
) -> None:
    checkpoint = run()
    folder = tmp_path / "models" / "toy"
    folder.mkdir(parents=True)
    for path in digits.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    about = export_encoder(checkpoint, folder, storage=storage, test=IMAGES)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before | {
        "encoder.onnx": (folder / "encoder.onnx").read_bytes()
    }
    model = load(folder)
    session = onnxruntime.InferenceSession(folder / "encoder.onnx")
    told = session.get_modelmeta().custom_metadata_map[KEY]
    assert ModelMetadata.from_json(told, source="") == about
    assert about.role == "encoder"
    assert (about.name, about.spec) == (model.metadata.name, model.spec)
    assert about.training["generator_sha256"] == model.sha256
    assert about.export["storage"] == storage
    E = Encoder(SPEC, (3, 12, 8))
    E.load_state_dict(checkpoint.encoder)
    x = (PIXELS.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    latents = []
    for count in (1, len(x)):
        found = session.run(["noise", "code"], {"image": x[:count]})
        latents = np.concatenate(found, axis=1)
        with torch.no_grad():
            wanted = as_latents(E.eval()(torch.from_numpy(x[:count])), SPEC).numpy()
        limit = 1e-4 if storage == "float32" else 0.5 / 255
        assert np.abs(latents - wanted).max() <= limit
    error = np.square(model.draw(latents, dtype="float32") - PIXELS / 255).mean()
    assert about.metrics == {"reconstruction_mse": pytest.approx(error, abs=1e-5)}


def test_beside_any_other_generator_it_is_refused_and_nothing_is_written(
    run: Callable[..., EncoderCheckpoint], faces: Path, tmp_path: Path
) -> None:
    checkpoint, before = run(), sorted(faces.iterdir())
    with pytest.raises(ExportError, match=r"another generator.*SHA-256") as error:
        export_encoder(checkpoint, faces)
    assert "\n" not in str(error.value)
    assert sorted(faces.iterdir()) == before
    with pytest.raises(ExportError, match=r"holds no generator\.onnx"):
        export_encoder(checkpoint, tmp_path)


# --- what is shipped, written anew ------------------------------------------------


def test_an_older_model_is_written_anew_with_its_weights_and_its_encoder(
    run: Callable[..., EncoderCheckpoint],
    fabric: Fabric,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as older:
        older.setattr(exporter, "for_onnxruntime", lambda graph: graph)
        old = exported(APART, tmp_path / "old", fabric)
    target = rebuild.rebuild(catalog.find(old))
    export_encoder(run(target=target), old)
    new = tmp_path / "new"
    code, out, _ = command(capsys, "export", old, "-o", new)
    assert (code, out) == (0, f"{new}: toy, its weights as they were\n")
    before, after = load(old), load(new)
    assert before.metadata == after.metadata
    was, now = (onnx.load(folder / "generator.onnx") for folder in (old, new))
    assert {n.op_type for n in now.graph.node} - {n.op_type for n in was.graph.node}
    kept = read_weights(now)
    for name, weight in read_weights(was).items():
        assert np.array_equal(kept[name], weight)
    latents = before.spec.sample(30)
    images = [model.draw(latents, dtype="float32") for model in (before, after)]
    assert np.abs(images[0] - images[1]).max() < 1e-5
    assert np.array_equal(before.encode(PIXELS), after.encode(PIXELS))
    assert before.sha256 != after.sha256
    files = {p.name: p.read_bytes() for p in new.iterdir()}
    (new / "encoder.onnx").write_bytes((old / "encoder.onnx").read_bytes())
    code, _, err = command(capsys, "export", new)
    assert (code, "belongs to another generator" in err) == (1, True)
    (new / "encoder.onnx").write_bytes(files["encoder.onnx"])
    assert command(capsys, "export", new)[0] == 0
    assert {p.name: p.read_bytes() for p in new.iterdir()} == files
    for option in ("--name", "--licence", "--storage"):
        value = "float32" if option == "--storage" else "toy"
        code, _, err = command(capsys, "export", old, "-o", tmp_path, option, value)
        assert code == 2
        assert f"{option} is for a run" in err


@pytest.mark.parametrize("width", [12, 16])
def test_weights_are_stored_as_in_another_file(digits: Path, width: int) -> None:
    plain = onnx.load(digits / "generator.onnx")
    small = with_whole_weights(plain, bits=7, width=width, smallest=64)
    again = stored_as_in(small, plain)
    assert again.SerializeToString() == small.SerializeToString()
    assert stored_as_in(plain, plain).SerializeToString() == plain.SerializeToString()


# --- the command line -----------------------------------------------------------


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0), *capsys.readouterr()


def test_one_command_trains_and_one_exports(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, data = tmp_path / "models" / "toy", tmp_path / "noise.npz"
    folder.mkdir(parents=True)
    for path in faces.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_manifest(folder.parent)
    np.savez(data, images=PIXELS)
    options = ["--steps", 2, "--batch-size", 8, "--accelerator", "cpu"]
    code, out, _ = command(
        capsys, "train", "--stage", "encoder", "--from", folder, "--data-dir", data,
        "--run-dir", tmp_path, *options,
    )  # fmt: skip
    assert code == 0
    assert "toy-encoder-0" in out
    run = tmp_path / "toy-encoder-0"
    saved = load_encoder_checkpoint(run / "checkpoint.pt")
    assert saved.config.flip  # as its model was trained
    code, out, _ = command(capsys, "export", run, "-o", folder)
    assert (code, out) == (0, f"{folder}: encoder of toy\n")
    listed = json.loads((folder.parent / "manifest.json").read_text())["models"]["toy"]
    assert "encoder.onnx" in listed["sha256"]
    code, _, err = command(capsys, "export", run)
    assert code == 2
    assert "-o FOLDER" in err
    for option in ("--notice", "--category-name", "--properties"):
        code, _, err = command(capsys, "export", run, "-o", folder, option, "digit")
        assert code == 2
        assert option in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--stage", "encodr"], "did you mean 'encoder'"),
        (["--stage", "encoder"], "needs --from MODEL"),
        (["--from", "mnits"], "did you mean 'mnist'"),
        ([*_INVERT, "mnits"], "did you mean 'mnist'"),
        ([*_INVERT, "x.onnx"], "x.onnx does not exist"),
        ([*_INVERT, "mnist", "--lambda-cat", "1"], "--lambda-cat"),
        ([*_INVERT, "mnist", "--preset", "mnist"], "--preset"),
        ([*_INVERT, "mnist", "--steps", "0"], "steps must be 1"),
    ],
)
def test_a_wrong_option_is_one_line_and_code_2(
    more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = command(capsys, "train", "--data-dir", tmp_path, *more)
    assert code == 2
    assert err.count("\n") == 1
    assert said in err
