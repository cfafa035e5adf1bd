"""The figures that a model carries in its metadata, measured on the exported files."""

from __future__ import annotations

from collections.abc import Sequence

from infogan_export.datasets import ImageSet
from infogan_export.evaluation.association import match_categories
from infogan_export.evaluation.information import (
    information_by_code,
    read_with_noise,
)
from infogan_export.evaluation.judge import Judge
from infogan_export.evaluation.naming import CodeEvidence, describe_uniform_codes
from infogan_export.evaluation.properties import FAMILIES, Family
from infogan_export.runtime import Categories, Model

SAMPLES = 10_000


def measure(
    model: Model,
    evidence: Sequence[CodeEvidence],
    measured: Family = FAMILIES["strokes"],
    *,
    test: ImageSet | None = None,
    judge: Judge | None = None,
    seed: int = 1,
) -> dict[str, float]:
    """Headline figures of an exported model.

    Args:
        model: with its recognition network.
        evidence: what each uniform code was found to change.
        measured: the properties that it was found by.
        test: labelled images that the model was not trained on.
        judge: a classifier of the same classes as the first categorical code.
        seed: of the generated samples.

    Returns:
        ``information/CODE`` in nats; ``rank_correlation/CODE`` with the property
        that it is called after, all else varying, the mean over categories; of
        photographs, ``sweep_correlation/CODE``, all else held fixed, and
        ``shift/CODE/PROPERTY`` in standard deviations of real images, over the
        code's sweep range; with ``test``, ``recognition_accuracy``; with
        ``judge``, ``drawn_as_asked``.
    """
    latents = model.latents(SAMPLES, seed=seed)
    images = model.draw(latents)
    bounds = information_by_code(latents, read_with_noise(model, images, seed=seed))
    figures = {f"information/{name}": bound.nats for name, bound in bounds.items()}
    figures |= _of_codes(model, evidence, measured)
    if model.spec.categorical:
        code = model.spec.categorical[0]
        asked = latents[:, model.spec.columns(code.name)].argmax(axis=1)
        if judge is not None and len(judge.report.labels) <= code.size:
            drawn = judge.predict(images)
            matching = match_categories(asked, drawn, code.size)
            figures["drawn_as_asked"] = matching.accuracy
        if test is not None and test.labels is not None:
            read = model.recognize(test.images)[code.name]
            assert isinstance(read, Categories)
            matching = match_categories(read.category, test.labels, code.size)
            figures["recognition_accuracy"] = matching.accuracy
    return {name: round(float(value), 5) for name, value in figures.items()}


def _of_codes(
    model: Model, evidence: Sequence[CodeEvidence], measured: Family
) -> dict[str, float]:
    if not measured.by_shift:
        return {
            f"rank_correlation/{found.name}": abs(found.correlations[found.name])
            for found in evidence
            if found.name != found.code
        }
    figures: dict[str, float] = {}
    varying = describe_uniform_codes(
        model.draw, model.spec, properties=measured.measures
    )
    for found, apart in zip(evidence, varying, strict=True):
        most = found.strongest
        figures[f"rank_correlation/{found.name}"] = abs(apart.correlations[most])
        figures[f"sweep_correlation/{found.name}"] = abs(found.correlations[most])
        for name, shift in found.shifts.items():
            figures[f"shift/{found.name}/{name}"] = found.sign * shift
    return figures
