"""Checkpoint in, a folder of self-contained ONNX files out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from infogan_export.atomic import make_folder
from infogan_export.datasets import ImageSet
from infogan_export.errors import DataError, UsageError
from infogan_export.evaluation.association import match_categories
from infogan_export.evaluation.judge import Judge
from infogan_export.evaluation.naming import (
    CodeEvidence,
    describe_uniform_codes,
    order_categories,
)
from infogan_export.evaluation.properties import Family, FamilyName, family
from infogan_export.export.compared import ComparedFile, Storage, in_smallest_form
from infogan_export.export.figures import measure
from infogan_export.export.inference import (
    GeneratorGraph,
    RecognitionGraph,
    for_onnxruntime,
)
from infogan_export.export.onnx_file import to_onnx
from infogan_export.export.origin import data_facts, training_facts
from infogan_export.export.relabel import Meaning, relabel
from infogan_export.latent import CategoricalCode, Code, LatentSpec, UniformCode
from infogan_export.metadata import ModelMetadata, Role
from infogan_export.runtime import Categories, Model, load
from infogan_export.training.checkpoint import Checkpoint
from infogan_export.training.networks import Discriminator, Generator
from infogan_export.training.state import averaged_networks

COMPARED = 64
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
        reach: by its name in training, the value of a uniform code at which its
            traversals are to end.  Its values are stretched: with 1.5, a code that
            training drew from -1.5..1.5 has a prior of -2..2, if it is swept there.
    """

    name: str
    storage: Storage = "int16"
    description: str = ""
    category_name: str = "category"
    licence: str = ""
    properties: FamilyName = "strokes"
    notice: str = ""
    reach: Mapping[str, float] = field(default_factory=dict)


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
        UsageError: photographs are to be measured, and no real ones are given; or
            a reach that is none.
        CodeError: a reach of a code that there is not.
        ExportError: a graph that differs from torch by more than 1e-4 (float32)
            or half a grey level (int16).
        OutputError: the folder cannot be written.
    """
    G, D = averaged_networks(checkpoint)
    spec = with_shares(checkpoint.config.spec, checkpoint.shares)
    if options.reach:
        spec = relabel(G, D, spec, Meaning(stretched(spec, options.reach)))
    about = _metadata(checkpoint, spec, options)
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
    turned = {"turned": sorted(meaning.turned)}
    about = replace(about, spec=spec, export={**about.export, **turned})
    with tempfile.TemporaryDirectory() as scratch:
        on_stage("converting and comparing with torch")
        files = _build(G, D, about, options.storage)
        _write(Path(scratch), *files)
        on_stage("measuring the exported files")
        figures = measure(load(scratch), evidence, measured, test=test, judge=judge)
    files = [replace(f, about=replace(f.about, metrics=figures)) for f in files]
    _write(folder, *files)
    return Exported(files[0].about, evidence)


def _write(folder: Path, *files: ComparedFile) -> None:
    for file in files:
        file.write(folder)


def with_shares(spec: LatentSpec, shares: Mapping[str, Sequence[float]]) -> LatentSpec:
    """The same with categories as frequent as they are among real images.

    Args:
        spec: of the run.
        shares: by code name; a code that is not in it stays as it is.
    """
    codes = (
        replace(code, shares=tuple(shares[code.name]))
        if isinstance(code, CategoricalCode) and code.name in shares
        else code
        for code in spec.codes
    )
    return replace(spec, codes=tuple(codes))


def stretched(spec: LatentSpec, reach: Mapping[str, float]) -> tuple[Code, ...]:
    """The codes, each with the prior that lets its traversals end at its reach.

    Raises:
        CodeError: a name that there is not.
        UsageError: a reach that is not positive, or of a categorical code.
    """
    reaches: dict[str, float] = {}
    for name, value in reach.items():
        if not isinstance(spec[name], UniformCode) or not 0 < value < math.inf:
            raise UsageError(
                f"a reach is that of a uniform code "
                f"({', '.join(code.name for code in spec.uniform) or 'there is none'}) "
                f"and above 0, got {name}={value:g}"
            )
        if spec[name].name in reaches:
            raise UsageError(f"uniform code {spec[name].name!r} has two reaches")
        reaches[spec[name].name] = value
    return tuple(
        _reaching(code, reaches[code.name])
        if isinstance(code, UniformCode) and code.name in reaches
        else code
        for code in spec.codes
    )


def _reaching(code: UniformCode, reach: float) -> UniformCode:
    low, high = code.sweep_range
    ratio = high / reach
    return replace(
        code,
        low=ratio * code.low,
        high=ratio * code.high,
        sweep_low=low,
        sweep_high=high,
    )


def _metadata(
    checkpoint: Checkpoint, spec: LatentSpec, options: ExportOptions
) -> ModelMetadata:
    trained = checkpoint.config.spec.uniform
    return ModelMetadata(
        name=options.name,
        role="generator",
        image_shape=checkpoint.shape,
        spec=spec,
        training=training_facts(checkpoint),
        data=data_facts(checkpoint.data, options.licence),
        export={
            "properties": options.properties,
            "drawn_in_training": [[code.low, code.high] for code in trained],
        },
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
    # Photographs may have no labels: their spread is what is needed of them.
    naming = labelled
    if measured.by_shift and labelled is not None and labelled.labels is None:
        naming = None
    codes: list[Code] = []
    order: dict[str, Sequence[int]] = {}
    turned: set[str] = set()
    for code in spec.codes:
        if isinstance(code, CategoricalCode):
            if code is spec.categorical[0] and naming is not None:
                matched, found_order = _match(model, code, naming, options)
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
        shares=tuple(code.shares[was] for was in found.order) if code.shares else (),
        description=f"found without labels; agrees with those of {share}",
    )
    return named, found.order


def _build(
    G: Generator, D: Discriminator, about: ModelMetadata, storage: Storage
) -> list[ComparedFile]:
    """Both graphs, compared with torch on batches of 1 and many."""
    spec = about.spec
    latents = torch.from_numpy(to_compare(spec))
    z, c = latents[:, : spec.noise_dim], latents[:, spec.noise_dim :]
    with torch.no_grad():
        image = G(latents)
    reader = RecognitionGraph(D, spec)
    drawer = for_onnxruntime(GeneratorGraph(G))
    plans: list[tuple[Role, nn.Module, dict[str, Tensor], list[str]]] = [
        ("generator", drawer, {"noise": z, "code": c}, ["image"]),
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
        files.append(
            in_smallest_form(
                graph, described, storage, arrays, wanted[role], partial(_as_read, spec)
            )
        )
    return files


def _as_read(spec: LatentSpec, name: str, output: NDArray[Any]) -> NDArray[Any]:
    """An output as a user reads it: probabilities in place of logits."""
    if name == "image":
        return output
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


def to_compare(spec: LatentSpec) -> NDArray[np.float32]:
    """Latents from the prior, half of them at the ends of the sweeps."""
    latents = spec.sample(COMPARED, seed=2)
    half = COMPARED // 2
    for code in spec.uniform:
        ends = np.resize(code.sweep_range, half)
        latents[half:] = spec.assign(latents[half:], {code.name: ends})
    return latents
