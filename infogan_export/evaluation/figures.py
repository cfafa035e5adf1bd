"""The figures of an evaluation: plain numbers that survive a trip through JSON."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from infogan_export.errors import DataError
from infogan_export.evaluation.information import InformationBound
from infogan_export.evaluation.judge import JudgeReport
from infogan_export.evaluation.naming import CodeEvidence

Where = Literal["inner", "prior", "end", "ends"]


@dataclass(frozen=True)
class Conditions:
    """What was measured with what.

    Attributes:
        model, model_sha256: the generator's name and the digest of its file.
        recognition_sha256: digest of its recognition network's, if any.
        baseline, baseline_sha256: the model beside it, if any, likewise.
        data: name of the image sets.
        train_images, test_images: how many there are.
        train_sha256, test_sha256: digests of their pixels.
        labels_sha256: digest of the test images' labels, if any.
        judge, judge_sha256: the classifier, and the digest of its file.
        features: the network whose features distances are taken in.
        samples: images generated for a figure.
        seed: of the latents, and of the draw of training images.
    """

    model: str
    model_sha256: str
    recognition_sha256: str | None
    baseline: str | None
    baseline_sha256: str | None
    data: str
    train_images: int
    test_images: int
    train_sha256: str
    test_sha256: str
    labels_sha256: str | None
    judge: JudgeReport | None
    judge_sha256: str | None
    features: str | None
    samples: int
    seed: int


@dataclass(frozen=True)
class LabelAgreement:
    """A categorical code, as Q reads it in real test images, against their labels.

    Attributes:
        code: its name.
        images: how many were read.
        accuracy: share whose category stands for their label, best matching.
        nmi: normalised mutual information, arithmetic mean.
        ari: adjusted Rand index.
        label_of: the label that each category stands for.
        confusion: images by label (outer) and category (inner).
    """

    code: str
    images: int
    accuracy: float
    nmi: float
    ari: float
    label_of: tuple[int, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class CodeInformation:
    """L_I of a code over generated images, and its prior's entropy, in nats."""

    code: str
    entropy: float
    bound: InformationBound


@dataclass(frozen=True)
class Agreement:
    """How often the judge takes a generated image for the class asked for.

    Attributes:
        where: the uniform codes are drawn from the "inner" half of their sweep
            ranges or from their "prior", or one of them (the "end") or each of
            them (the "ends") is at an end of its sweep range.
        ranges: the range, or the two ends, of each uniform code.
        share: of all images.
        by_category: of those asked to be of each category.
    """

    where: Where
    ranges: Mapping[str, tuple[float, float]]
    share: float
    by_category: tuple[float, ...]

    def __str__(self) -> str:
        """Where the uniform codes are, for a table."""
        form = "{:g} or {:g}" if self.where in ("end", "ends") else "{:.3g}..{:.3g}"
        told = {name: form.format(*ends) for name, ends in self.ranges.items()}
        alike = len(set(told.values())) == 1
        where = (
            next(iter(told.values()))
            if alike
            else ", ".join(f"{name} {text}" for name, text in told.items())
        )
        which = {"end": "one code at", "ends": "all codes at"}.get(
            self.where, "codes in"
        )
        return f"{which} {where}" if told else "no uniform codes"


@dataclass(frozen=True)
class AskedDrawn:
    """Whether the judge sees what was asked for.

    Attributes:
        code: the categorical code.
        by_name: whether a category must show the class of its own label; else
            categories stand for classes by the best matching.
        labels: what each category is called.
        agreements: with uniform codes in several places.
        at_low, at_high: share at either end of each uniform code, the others
            drawn from their priors.
    """

    code: str
    by_name: bool
    labels: tuple[str, ...]
    agreements: tuple[Agreement, ...]
    at_low: Mapping[str, float]
    at_high: Mapping[str, float]


@dataclass(frozen=True)
class SetDistance:
    """How far images are from the real test images.

    Attributes:
        images: of a draw; the first one's are those of the other figures.
        draws: of other images each, over which the Frechet distance is taken: ten
            thousand images leave it uncertain by a tenth.
        frechet: mean of the draws' Frechet distances.
        frechet_deviation: their standard deviation; None where there is one draw.
        precision, recall, density, coverage: of the first draw.
    """

    images: int
    draws: int
    frechet: float
    frechet_deviation: float | None
    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True)
class Leakage:
    """How much a sweep of a uniform code changes the class that the judge sees.

    Attributes:
        code: its name.
        low, high: the range of the sweep.
        sweeps, steps: how many sweeps of how many images.
        images: share of images of another class than at the code's middle.
        any_image: share of sweeps that hold such an image.
    """

    code: str
    low: float
    high: float
    sweeps: int
    steps: int
    images: float
    any_image: float


@dataclass(frozen=True)
class Neighbours:
    """Generated images and the training images closest to them in pixels.

    Distances are root mean squares of grey levels from 0 to 1.

    Attributes:
        images: how many generated images, and test images, were compared.
        median: distance of a generated image to its closest training image.
        test_median: the same for a test image, which nobody can have copied.
        closer: share of generated images closer to one than 99% of the test
            images are: about 0.01 where nothing was memorised.
        first: (sample, training image) of the first samples.
        closest: the same of the samples that are closest, of each category.
    """

    images: int
    median: float
    test_median: float
    closer: float
    first: tuple[tuple[int, int], ...]
    closest: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Evaluation:
    """All figures of a model; None where `skipped` says why.

    Attributes:
        conditions: what was measured with what.
        labels: the categorical code against labels on real images.
        information: L_I of each code.
        asked: what is asked for against what is drawn.
        quality: distances of its images from the real test images.
        floor: the same of training images drawn at random, as many; no image is
            in two draws.
        baseline: the same of the baseline model's images.
        properties: correlations of uniform codes with measured properties, noise
            and other codes varying.
        sweeps: the same along sweeps, all else held fixed.
        leakage: of each uniform code over several ranges.
        neighbours: the closest training images.
        skipped: by part, why it is missing.
    """

    conditions: Conditions
    labels: LabelAgreement | None
    information: tuple[CodeInformation, ...] | None
    asked: AskedDrawn | None
    quality: SetDistance | None
    floor: SetDistance | None
    baseline: SetDistance | None
    properties: tuple[CodeEvidence, ...] | None
    sweeps: tuple[CodeEvidence, ...] | None
    leakage: tuple[Leakage, ...] | None
    neighbours: Neighbours | None
    skipped: Mapping[str, str]

    def to_json(self) -> str:
        """The figures as indented JSON."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """The inverse of ``to_json``.

        Raises:
            DataError: not the JSON of an evaluation.
        """
        try:
            found: Evaluation = _decoded(cls, json.loads(text))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"not the figures of an evaluation: {error!r}") from error
        return found


def _decoded(kind: Any, value: Any) -> Any:
    """Plain JSON as a value of an annotated type."""
    arguments = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return None if value is None else _decoded(arguments[0], value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _decoded(hints[name], v) for name, v in value.items()})
    if get_origin(kind) is tuple:
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(_decoded(k, v) for k, v in zip(kinds, value, strict=True))
    if get_origin(kind) is Mapping:
        return {name: _decoded(arguments[1], v) for name, v in value.items()}
    return value
