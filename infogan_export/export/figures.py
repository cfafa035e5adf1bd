"""The figures that a model carries in its metadata, measured on the exported files."""

from __future__ import annotations

from collections.abc import Sequence

from infogan_export.datasets import ImageSet
from infogan_export.evaluation.association import match_categories
from infogan_export.evaluation.information import information_by_code
from infogan_export.evaluation.judge import Judge
from infogan_export.evaluation.naming import CodeEvidence
from infogan_export.runtime import Categories, Model

SAMPLES = 10_000


def measure(
    model: Model,
    evidence: Sequence[CodeEvidence],
    *,
    test: ImageSet | None = None,
    judge: Judge | None = None,
    seed: int = 1,
) -> dict[str, float]:
    """Headline figures of an exported model.

    Args:
        model: with its recognition network.
        evidence: what each uniform code was found to change.
        test: labelled images that the model was not trained on.
        judge: a classifier of the same classes as the first categorical code.
        seed: of the generated samples.

    Returns:
        ``information/CODE`` in nats; ``rank_correlation/CODE``, the mean over
        categories; with ``test``, ``recognition_accuracy``; with ``judge``,
        ``drawn_as_asked``.
    """
    latents = model.latents(SAMPLES, seed=seed)
    images = model.draw(latents)
    bounds = information_by_code(latents, model.recognize(images))
    figures = {f"information/{name}": bound.nats for name, bound in bounds.items()}
    for found in evidence:
        rho = abs(found.correlations.get(found.name, 0.0))
        if found.name != found.code:
            figures[f"rank_correlation/{found.name}"] = rho
    if model.spec.categorical:
        code = model.spec.categorical[0]
        asked = latents[:, model.spec.columns(code.name)].argmax(axis=1)
        if judge is not None:
            drawn = judge.predict(images)
            matching = match_categories(asked, drawn, code.size)
            figures["drawn_as_asked"] = matching.accuracy
        if test is not None and test.labels is not None:
            read = model.recognize(test.images)[code.name]
            assert isinstance(read, Categories)
            matching = match_categories(read.category, test.labels, code.size)
            figures["recognition_accuracy"] = matching.accuracy
    return {name: round(float(value), 5) for name, value in figures.items()}
