"""The figures of an evaluation in a table that fits a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from infogan_export.evaluation.figures import Evaluation, SetDistance
from infogan_export.evaluation.naming import KEPT, CodeEvidence

MANIFOLD_MEASURES = "precision", "recall", "density", "coverage"


class Row(NamedTuple):
    """A figure, what it is of, and what it is to be compared with."""

    what: str
    figure: str
    beside: str = ""


def summary(evaluation: Evaluation) -> list[Row]:
    """The main figures, one a row; parts that were skipped have none."""
    return [
        *_labels(evaluation),
        *_information(evaluation),
        *_asked(evaluation),
        *_distances(evaluation),
        *_properties(evaluation),
        *_leakage(evaluation),
        *_neighbours(evaluation),
    ]


def named_property(evidence: CodeEvidence) -> str | None:
    """The property that a code is called after, or would be."""
    known = evidence.correlations
    wanted = evidence.code if evidence.code in known else evidence.name
    return wanted if wanted in known else None


def _labels(evaluation: Evaluation) -> Iterator[Row]:
    found = evaluation.labels
    if found is None:
        return
    yield Row(
        f"Q's {found.code} = label, {found.images:,} images",
        f"{found.accuracy:.2%}",
        "best matching",
    )
    yield Row("normalised mutual information", f"{found.nmi:.4f}")
    yield Row("adjusted Rand index", f"{found.ari:.4f}")


def _information(evaluation: Evaluation) -> Iterator[Row]:
    for found in evaluation.information or ():
        bound = found.bound
        ceiling = "no ceiling" if bound.ceiling is None else "its ceiling"
        yield Row(
            f"L_I of {found.code}, nats",
            f"{bound.nats:.3f}",
            f"{bound.low:.3f} to {bound.high:.3f}; H(c) {found.entropy:.3f}, {ceiling}",
        )


def _asked(evaluation: Evaluation) -> Iterator[Row]:
    found = evaluation.asked
    if found is None:
        return
    how = "" if found.by_name else "best matching"
    for agreement in found.agreements:
        yield Row(f"drawn as asked, {agreement}", f"{agreement.share:.2%}", how)


def _distances(evaluation: Evaluation) -> Iterator[Row]:
    model, floor = evaluation.quality, evaluation.floor
    if model is None or floor is None:
        return

    def beside(tell: Callable[[SetDistance], str]) -> str:
        texts = [f"training images {tell(floor)}"]
        if evaluation.baseline is not None:
            texts.append(
                f"{evaluation.conditions.baseline} {tell(evaluation.baseline)}"
            )
        return ", ".join(texts)

    what = f"Frechet distance, mean of {model.draws} draws"
    yield Row(what, frechet(model), beside(frechet))
    if floor.frechet:
        ratio = model.frechet / floor.frechet
        yield Row("the same over the training images'", f"{ratio:.2f}")
    for name in MANIFOLD_MEASURES:
        tell = partial(_measure, name)
        yield Row(name, tell(model), beside(tell))


def frechet(distance: SetDistance) -> str:
    """The Frechet distance, and how far its draws lie apart."""
    deviation = distance.frechet_deviation
    within = "" if deviation is None else f" +- {deviation:.2g}"
    return f"{distance.frechet:.3f}{within}"


def _measure(name: str, distance: SetDistance) -> str:
    return f"{getattr(distance, name):.3f}"


def _properties(evaluation: Evaluation) -> Iterator[Row]:
    pairs = zip(evaluation.properties or (), evaluation.sweeps or (), strict=True)
    for varying, fixed in pairs:
        name = named_property(varying)
        if name is None:
            yield Row(f"{varying.code}, rank correlation", "none fits")
            continue
        what = "" if name == varying.code else f" with {name}"
        yield Row(
            f"{varying.code}, rank correlation{what}",
            f"{varying.correlations[name]:.3f}",
            f"all else held fixed {fixed.correlations[name]:.3f}",
        )
    for found in evaluation.sweeps or ():
        if found.shifts:
            yield Row(
                f"{found.code} over its sweep, {found.strongest}",
                f"{found.shifts[found.strongest]:+.2f} sd",
                f"others move {found.others:.2f} times as much at most"
                + (": kept" if found.others < KEPT else ""),
            )


def _leakage(evaluation: Evaluation) -> Iterator[Row]:
    for found in evaluation.leakage or ():
        yield Row(
            f"{found.code} {found.low:.3g}..{found.high:.3g} changes the class",
            f"{found.images:.2%}",
            f"{found.any_image:.2%} of the sweeps have a change",
        )


def _neighbours(evaluation: Evaluation) -> Iterator[Row]:
    found = evaluation.neighbours
    if found is None:
        return
    yield Row(
        "closer than 99% of test images",
        f"{found.closer:.1%}",
        "to a training image; by chance 1%",
    )
