"""Checkpoint in, a folder of self-contained ONNX files out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from infogan_export.atomic import atomic_writer, make_folder
from infogan_export.catalog import GENERATOR, RECOGNITION
from infogan_export.datasets import ImageSet
from infogan_export.errors import DataError, ExportError, UsageError
from infogan_export.evaluation.association import match_categories
from infogan_export.evaluation.judge import Judge
from infogan_export.evaluation.naming import (
    CodeEvidence,
    describe_uniform_codes,
    order_categories,
)
from infogan_export.evaluation.properties import Family, FamilyName, family
from infogan_export.export.figures import measure
from infogan_export.export.inference import (
    GeneratorGraph,
    RecognitionGraph,
    averaged_networks,
)
from infogan_export.export.onnx_file import serialize, to_onnx, with_int16_weights
from infogan_export.export.relabel import Meaning, relabel
from infogan_export.latent import CategoricalCode, Code, LatentSpec
from infogan_export.metadata import KEY, ModelMetadata, Role
from infogan_export.runtime import Categories, Model, load
from infogan_export.training.checkpoint import Checkpoint
from infogan_export.training.networks import Discriminator, Generator

Storage = Literal["float32", "int16"]

FLOAT32_LIMIT = 1e-4
INT16_LIMIT = 0.5 / 255  # half a grey level
# 16-bit weights take the coarsest of these steps that stays inside the limit by a
# margin, since only some latents are compared.  Finer ones would clip rows' ends.
_BITS = (6, 7, 8, 9, 10, 11)
_MARGIN = 0.75
_COMPARED = 64
_SWEEP_STEPS, _REAL = 11, 5000  # of shifts: images in a sweep, and real images
_NAMED_FROM = 0.5  # accuracy below which categories stand for no classes


@dataclass(frozen=True)
class ExportOptions:
    """How a checkpoint becomes a model.

    Attributes:
        name: the model's name, as in ``load(name)``.
        storage: of the weights; int16 is turned into float32 in the graph.
        description: a sentence or two for a reader.
        category_name: what the first categorical code is called where its
            categories can be matched with the labels, ``digit`` for instance.
        licence: of the training images, where the data set did not tell.
        properties: the family that uniform codes are measured by and named after.
        notice: what whoever uses the model should know of the people in it.
    """

    name: str
    storage: Storage = "int16"
    description: str = ""
    category_name: str = "category"
    licence: str = ""
    properties: FamilyName = "strokes"
    notice: str = ""


@dataclass(frozen=True)
class Exported:
    """What was written: its metadata, and the evidence for the codes' names."""

    metadata: ModelMetadata
    evidence: Sequence[CodeEvidence] = field(default_factory=tuple)


def export_checkpoint(
    checkpoint: Checkpoint,
    folder: Path,
    options: ExportOptions,
    *,
    labelled: ImageSet | None = None,
    test: ImageSet | None = None,
    judge: Judge | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Exported:
    """Write ``generator.onnx`` and ``recognition.onnx`` of a trained checkpoint.

    The codes are named by measurement on what the generator draws, and the
    categories ordered by ``labelled`` images.  Labels serve the names and the
    figures alone: training, and the choice of a checkpoint, never saw them.

    Args:
        checkpoint: the trained run; its averaged weights are exported.
        folder: where to write, made if need be.
        options: name, storage, description.
        labelled: images whose labels name the categories; photographs' spread is
            the measure of what a code moves.
        test: labelled images for the accuracy of recognition.
        judge: a classifier for whether what is asked is what is drawn, and of
            smiles where it knows who is happy.
        on_stage: told what is being done.

    Raises:
        UsageError: photographs are to be measured, and no real ones are given.
        ExportError: a graph that differs from torch by more than 1e-4 (float32)
            or half a grey level (int16).
        OutputError: the folder cannot be written.
    """
    G, D = averaged_networks(checkpoint)
    spec = checkpoint.config.spec
    about = _metadata(checkpoint, options)
    measured = family(options.properties).with_smile(judge)
    if measured.by_shift and labelled is None:
        raise UsageError(
            f"{options.properties} are measured in standard deviations of real images, "
            f"and none are given; name them with --label-data"
        )
    make_folder(folder)
    with tempfile.TemporaryDirectory() as scratch:
        on_stage("converting")
        _write(Path(scratch), *_build(G, D, about, "float32"))
        on_stage("measuring what the codes do")
        meaning, evidence = _find_meaning(load(scratch), labelled, options, measured)
    spec = relabel(G, D, spec, meaning)
    about = replace(about, spec=spec)
    with tempfile.TemporaryDirectory() as scratch:
        on_stage("converting and comparing with torch")
        files = _build(G, D, about, options.storage)
        _write(Path(scratch), *files)
        on_stage("measuring the exported files")
        figures = measure(load(scratch), evidence, measured, test=test, judge=judge)
    files = [replace(f, about=replace(f.about, metrics=figures)) for f in files]
    _write(folder, *files)
    return Exported(files[0].about, evidence)


@dataclass(frozen=True)
class _File:
    model: onnx.ModelProto
    about: ModelMetadata

    def content(self) -> bytes:
        return serialize(self.model, {KEY: self.about.to_json()})


def _write(folder: Path, *files: _File) -> None:
    names = {"generator": GENERATOR, "recognition": RECOGNITION}
    for file in files:
        with atomic_writer(folder / names[file.about.role]) as out:
            out.write(file.content())


def _metadata(checkpoint: Checkpoint, options: ExportOptions) -> ModelMetadata:
    config, data = checkpoint.config, checkpoint.data
    recipe = {k: v for k, v in config.to_dict().items() if k != "spec"}
    return ModelMetadata(
        name=options.name,
        role="generator",
        image_shape=checkpoint.shape,
        spec=config.spec,
        training={
            **recipe,
            "step": checkpoint.step,
            "images_seen": checkpoint.step * config.batch_size,
            "seconds": round(checkpoint.seconds),
            "version": checkpoint.version,
            "commit": checkpoint.commit,
        },
        data={
            "name": data.name,
            "images": data.images,
            "sha256": data.sha256,
            "licence": options.licence or data.licence,
        },
        export={"properties": options.properties},
        description=options.description,
        notice=options.notice,
    )


def _find_meaning(
    model: Model,
    labelled: ImageSet | None,
    options: ExportOptions,
    measured: Family,
) -> tuple[Meaning, list[CodeEvidence]]:
    """Names by measurement, and the order of the first code's categories."""
    spec = model.spec
    deviations = None
    if measured.by_shift and labelled is not None:
        deviations = measured.deviations(labelled.images[:_REAL])
    evidence = describe_uniform_codes(
        model.draw,
        spec,
        properties=measured.measures,
        deviations=deviations,
        steps=_SWEEP_STEPS if deviations else None,
    )
    by_code = {found.code: found for found in evidence}
    codes: list[Code] = []
    order: dict[str, Sequence[int]] = {}
    turned: set[str] = set()
    for code in spec.codes:
        if isinstance(code, CategoricalCode):
            if code is spec.categorical[0] and labelled is not None:
                matched, found_order = _match(model, code, labelled, options)
                codes.append(matched)
                order[matched.name] = found_order
            else:
                codes.append(code)
            continue
        found = by_code[code.name]
        if found.name == code.name:
            codes.append(code)
            continue
        codes.append(replace(code, name=found.name, description=_evidently(found)))
        if found.sign < 0:
            turned.add(found.name)
    return Meaning(tuple(codes), order, frozenset(turned)), evidence


def _evidently(found: CodeEvidence) -> str:
    """Why a code has its name, in half a line."""
    if found.shifts:
        return (
            f"moves measured {found.name} by {abs(found.shifts[found.name]):.1f} "
            f"deviations of the data, others {found.others:.2f} of that at most"
        )
    rho = abs(found.correlations[found.name])
    return f"rank correlation {rho:.3f} with measured {found.name}"


def _match(
    model: Model, code: CategoricalCode, labelled: ImageSet, options: ExportOptions
) -> tuple[CategoricalCode, Sequence[int]]:
    if labelled.labels is None:
        raise DataError(f"{labelled.name} has no labels to name categories by")
    read = model.recognize(labelled.images)[code.name]
    assert isinstance(read, Categories)
    matching = match_categories(read.category, labelled.labels, code.size)
    if matching.accuracy < _NAMED_FROM:
        return code, range(code.size)
    found = order_categories(matching)
    share = f"{matching.accuracy:.1%} of the {len(labelled.images)} labelled images"
    named = replace(
        code,
        name=options.category_name,
        labels=found.labels,
        description=f"found without labels; agrees with those of {share}",
    )
    return named, found.order


def _build(
    G: Generator, D: Discriminator, about: ModelMetadata, storage: Storage
) -> list[_File]:
    """Both graphs, compared with torch on batches of 1 and many."""
    spec = about.spec
    latents = torch.from_numpy(_to_compare(spec))
    z, c = latents[:, : spec.noise_dim], latents[:, spec.noise_dim :]
    with torch.no_grad():
        image = G(latents)
    reader = RecognitionGraph(D, spec)
    plans: list[tuple[Role, nn.Module, dict[str, Tensor], list[str]]] = [
        ("generator", GeneratorGraph(G), {"noise": z, "code": c}, ["image"]),
        ("recognition", reader, {"image": image}, reader.output_names()),
    ]
    with torch.no_grad():
        logit, statistics = D(image)
    wanted = {
        "generator": {"image": image.numpy()},
        "recognition": _expected(spec, statistics, logit, D.residual),
    }
    files = []
    for role, module, inputs, outputs in plans:
        graph = to_onnx(
            module, [t[:2] for t in inputs.values()], inputs=[*inputs], outputs=outputs
        )
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        described = replace(about, role=role)
        files.append(_store(graph, described, storage, arrays, wanted[role]))
    return files


def _store(
    graph: onnx.ModelProto,
    about: ModelMetadata,
    storage: Storage,
    inputs: dict[str, NDArray[Any]],
    wanted: dict[str, NDArray[Any]],
) -> _File:
    """The graph in the smallest form that agrees with torch."""
    plain = _difference(graph, inputs, wanted, about.spec, as_read=False)
    if not plain <= FLOAT32_LIMIT:
        raise ExportError(
            f"{about.name}: the {about.role} differs from torch by {plain:.2g}, "
            f"more than {FLOAT32_LIMIT:g}"
        )
    if storage == "float32":
        facts = {"storage": "float32", "difference": plain}
        return _File(graph, replace(about, export={**about.export, **facts}))
    for bits in _BITS:
        small = with_int16_weights(graph, bits=bits)
        found = _difference(small, inputs, wanted, about.spec, as_read=True)
        if found <= INT16_LIMIT * _MARGIN:
            facts = {
                "storage": "int16",
                "bits": bits,
                "difference": found,
                "float32_difference": plain,
            }
            return _File(small, replace(about, export={**about.export, **facts}))
    raise ExportError(
        f"{about.name}: with 16-bit weights the {about.role} differs from torch by "
        f"{found:.2g}, near or above half a grey level; use float32 storage"
    )


def _difference(
    graph: onnx.ModelProto,
    inputs: dict[str, NDArray[Any]],
    wanted: dict[str, NDArray[Any]],
    spec: LatentSpec,
    *,
    as_read: bool,
) -> float:
    """The greatest difference from torch, alone and in a batch.

    ``as_read`` compares probabilities in place of logits, which have no scale.
    """
    session = onnxruntime.InferenceSession(
        serialize(graph, {}), providers=["CPUExecutionProvider"]
    )
    worst = 0.0
    for count in (1, len(next(iter(inputs.values())))):
        outputs = session.run(list(wanted), {k: v[:count] for k, v in inputs.items()})
        for (name, expected), got in zip(wanted.items(), outputs, strict=True):
            a, b = got, expected[:count]
            if as_read and name != "image":
                a, b = _as_read(name, a, spec), _as_read(name, b, spec)
            worst = max(worst, float(np.abs(a - b).max()))
    return worst


def _as_read(name: str, output: NDArray[Any], spec: LatentSpec) -> NDArray[Any]:
    tensor = torch.from_numpy(np.ascontiguousarray(output))
    if name == "logit":
        return torch.sigmoid(tensor).numpy()
    if isinstance(spec[name], CategoricalCode):
        return torch.softmax(tensor, dim=1).numpy()
    return output


def _expected(
    spec: LatentSpec, statistics: Tensor, logit: Tensor, variance: Tensor
) -> dict[str, NDArray[Any]]:
    """What the recognition graph must output, from the trained network itself."""
    expected: dict[str, NDArray[Any]] = {}
    sigmas = iter(variance.sqrt())
    for code in spec.codes:
        read = statistics[:, spec.code_columns(code.name)]
        if not isinstance(code, CategoricalCode):
            read = torch.cat([read, next(sigmas).expand_as(read)], dim=1)
        expected[code.name] = read.numpy()
    return expected | {"logit": logit.numpy()}


def _to_compare(spec: LatentSpec) -> NDArray[np.float32]:
    """Latents from the prior, half of them at the ends of the sweeps."""
    latents = spec.sample(_COMPARED, seed=2)
    half = _COMPARED // 2
    for code in spec.uniform:
        ends = np.resize(code.sweep_range, half)
        latents[half:] = spec.assign(latents[half:], {code.name: ends})
    return latents
