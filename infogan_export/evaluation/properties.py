"""The families of properties that images are measured by, and codes named after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import UsageError, unknown
from infogan_export.evaluation import photographs, strokes
from infogan_export.evaluation.judge import Judge
from infogan_export.evaluation.strokes import Images, Measured

Measure: TypeAlias = Callable[[Images], Measured]
Properties: TypeAlias = Mapping[str, Measure]
FamilyName = Literal["strokes", "photographs"]

HAPPY = "happy"  # the class of a judge that `smile` is the probability of


@dataclass(frozen=True)
class Family:
    """Properties that belong together.

    Attributes:
        name: of the family.
        measures: uint8 grey images (n, H, W) to float64 (n,), by property.
        by_shift: whether a code is called after what it moves most, in standard
            deviations of real images; else after what it correlates with most.
            Strokes of one class have no spread that would be a measure for others.
    """

    name: FamilyName
    measures: Properties
    by_shift: bool

    def with_smile(self, judge: object) -> Family:
        """The same with ``smile``, where a judge of grey images knows who is happy.

        Args:
            judge: a `Judge`; anything else leaves the family as it is.
        """
        if not (self.by_shift and isinstance(judge, Judge)):
            return self
        report = judge.report
        if HAPPY not in report.labels or report.image_shape[2] != 1:
            return self
        happy = report.labels.index(HAPPY)

        def smile(images: Images) -> Measured:
            """The probability that a face is happy, as a judge sees it."""
            logits = judge.logits(images).astype(np.float64)
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            share: Measured = odds[:, happy] / odds.sum(axis=1)
            return share

        return replace(self, measures={**self.measures, "smile": smile})

    def deviations(self, images: Images) -> dict[str, float]:
        """The standard deviation of each property in real images (n, H, W[, C])."""
        grey = as_grey(images)
        return {p: float(measure(grey).std()) for p, measure in self.measures.items()}


FAMILIES: Mapping[str, Family] = {
    "strokes": Family("strokes", strokes.PROPERTIES, by_shift=False),
    "photographs": Family("photographs", photographs.PROPERTIES, by_shift=True),
}


def family(name: str) -> Family:
    """A family by name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in FAMILIES:
        raise UsageError(unknown("family of properties", name, FAMILIES))
    return FAMILIES[name]


def as_grey(images: NDArray[np.uint8]) -> Images:
    """Images (n, H, W[, C]) as grey ones (n, H, W), colours by their mean."""
    if images.ndim == 3:
        return images
    grey: Images = np.rint(images.mean(axis=3)).astype(np.uint8)
    return grey
