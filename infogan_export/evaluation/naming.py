"""Names for what a model found out by itself: categories and uniform codes.

Labels and measurements come in after training, to give the codes names; they
never train a model, nor choose between models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import DataError
from infogan_export.evaluation.association import (
    Matching,
    rank_correlation_by_group,
    rank_correlation_by_row,
)
from infogan_export.evaluation.properties import FAMILIES, Properties, as_grey
from infogan_export.latent import Latents, LatentSpec, UniformCode
from infogan_export.traversal import traverse

Draw = Callable[[Latents], NDArray[np.uint8]]
Integers = NDArray[np.int64]

WEAKEST_NAME = 0.6  # |rho| below which a code is not called after a property
LEAST_SHIFT = 1.0  # standard deviations of real images, the same for a shift
KEPT = 0.5  # of the named property's shift: what all others stay below

# What a slanted stroke is also wider by, and a thick one brighter: of two
# properties that fit a code almost alike, these are the ones people would say.
_PREFERENCE = {"slant": 0.05, "thickness": 0.05}


@dataclass(frozen=True)
class CategoryOrder:
    """How to renumber a categorical code so that value k is class k.

    Attributes:
        order: value k is to be what category ``order[k]`` was.
        labels: what each value is called; one with "?" is a category whose
            images are mostly of some other class, or of none.
    """

    order: tuple[int, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class CodeEvidence:
    """What a uniform code changes, and the name that this gives it.

    Attributes:
        code: its name in the model.
        name: the property it is called after, or `code` where none fits.
        sign: -1 where the property falls as the code rises, else 1.
        correlations: Spearman's rho with each property, the mean over categories.
        by_category: the same in each category of the first categorical code.
        shifts: how far each property moves from one end of the code's sweep range
            to the other, all else held fixed, in standard deviations of real
            images; empty where there were none to measure.
    """

    code: str
    name: str
    sign: int
    correlations: Mapping[str, float]
    by_category: Mapping[str, tuple[float, ...]]
    shifts: Mapping[str, float] = field(default_factory=dict)

    @property
    def strongest(self) -> str:
        """The property that moves most: by its shift, or else its correlation."""
        found = self.shifts or self.correlations
        return max(found, key=lambda name: abs(found[name]))

    @property
    def others(self) -> float:
        """The greatest shift of another property than the strongest, over its own."""
        size = {name: abs(shift) for name, shift in self.shifts.items()}
        most = size.pop(self.strongest)
        return max(size.values(), default=0.0) / most if most else math.inf


def order_categories(matching: Matching, *, names: Sequence[str] = ()) -> CategoryOrder:
    """The order and labels in which categories stand for classes 0, 1, ...

    Args:
        matching: of the categories that Q reads in labelled images.
        names: what class 0, 1, ... is called; by default its number.

    Raises:
        DataError: a number of names that is not that of the categories.
    """
    size = len(matching.label_of)
    if names and len(names) != size:
        raise DataError(f"{size} categories need {size} names, got {len(names)}")
    order = np.argsort(matching.label_of)
    confusion = matching.confusion[:, order]  # column k: what value k will be
    sure = confusion.diagonal() == confusion.max(axis=0)
    sure &= confusion.diagonal() > 0
    called = names or [str(k) for k in range(size)]
    return CategoryOrder(
        order=tuple(order.tolist()),
        labels=tuple(
            name if certain else f"{name}?"
            for name, certain in zip(called, sure, strict=True)
        ),
    )


def describe_uniform_codes(
    draw: Draw,
    spec: LatentSpec,
    *,
    properties: Properties = FAMILIES["strokes"].measures,
    deviations: Mapping[str, float] | None = None,
    seed: int = 0,
    count: int = 2000,
    steps: int | None = None,
) -> list[CodeEvidence]:
    """Measure what each uniform code changes, and name it after that.

    Each code goes through its sweep range over `count` images.  Without `steps`,
    noise and other codes are drawn anew for each image, so that a correlation of
    1 means a code which decides the property alone.  With it, they are held fixed
    along sweeps of that many images, and a category's correlation is the mean
    over its sweeps: 1 means that the property always rises with the code.

    Among all ways to give codes different properties, the names are those with
    the greatest sum of ``|rho|``.  With `deviations`, the shifts along the sweeps
    decide instead: see `names_by_shift`.

    Args:
        draw: latents to uint8 images, such as ``model.draw``.
        spec: the latent layout.
        properties: what is measured, by name.
        deviations: the standard deviation of each property in real images; only
            with `steps`.
        seed: of the latents.
        count: images for each code.
        steps: images in a sweep.

    Returns:
        one for each uniform code, in order.

    Raises:
        DataError: fewer draws, or sweeps, than there are categories.
    """
    assert deviations is None or steps is not None
    measured = []
    shifts: list[dict[str, float]] = []
    for code in spec.uniform:
        if steps is None:
            found = _correlations(draw, spec, code, properties, count, seed=seed)
            moved: dict[str, float] = {}
        else:
            found, moved = _along_sweeps(
                draw, spec, code, properties, count // steps, steps, seed=seed
            )
        measured.append(found)
        known = deviations or {}
        shifts.append({p: moved[p] / s if s else 0.0 for p, s in known.items()})
    means = [{p: float(np.mean(rho)) for p, rho in found.items()} for found in measured]
    codes = [code.name for code in spec.uniform]
    names = (
        assign_names(codes, means)
        if deviations is None
        else names_by_shift(codes, means, shifts)
    )
    return [
        CodeEvidence(
            code=code,
            name=name,
            sign=-1 if (shift or mean).get(name, 0.0) < 0 else 1,
            correlations=mean,
            by_category=found,
            shifts=shift,
        )
        for code, name, mean, found, shift in zip(
            codes, names, means, measured, shifts, strict=True
        )
    ]


def assign_names(
    codes: Sequence[str], correlations: Sequence[Mapping[str, float]]
) -> list[str]:
    """A different property for each code, or its own name where none fits.

    Args:
        codes: their names now.
        correlations: of each code, rho with each property.
    """
    from scipy.optimize import linear_sum_assignment

    names = list(codes)
    if not names:
        return names
    properties = list(correlations[0])
    rho = np.abs([[found[p] for p in properties] for found in correlations])
    score = rho + [_PREFERENCE.get(p, 0.0) for p in properties]
    score[rho < WEAKEST_NAME] = 0
    for code, column in zip(*linear_sum_assignment(score, maximize=True), strict=True):
        if score[code, column] > 0:
            names[code] = properties[column]
    return names


def names_by_shift(
    codes: Sequence[str],
    correlations: Sequence[Mapping[str, float]],
    shifts: Sequence[Mapping[str, float]],
) -> list[str]:
    """The property that each code moves most, or its own name where none is clear.

    Clear is a shift of at least `LEAST_SHIFT` that goes one way along the sweep,
    ``|rho|`` at least `WEAKEST_NAME`.  Of codes that move the same property most,
    the one that moves it furthest is called after it.

    Args:
        codes: their names now.
        correlations: of each code, rho with each property along sweeps.
        shifts: of each code, how far each property moves, in standard deviations.
    """
    names = list(codes)
    furthest: dict[str, float] = {}
    for index, (rho, shift) in enumerate(zip(correlations, shifts, strict=True)):
        most = max(shift, key=lambda name: abs(shift[name]))
        size = abs(shift[most])
        if size < LEAST_SHIFT or abs(rho[most]) < WEAKEST_NAME:
            continue
        if size > furthest.get(most, 0.0):
            names = [
                own if name == most else name
                for own, name in zip(codes, names, strict=True)
            ]
            names[index], furthest[most] = most, size
    return names


def _base(spec: LatentSpec, count: int, seed: int) -> tuple[Latents, Integers]:
    """Latents from the prior, but as many of each category, and the categories."""
    latents = spec.sample(count, seed=seed)
    if not spec.categorical:
        return latents, np.zeros(count, dtype=np.int64)
    code = spec.categorical[0]
    if count < code.size:
        raise DataError(
            f"code {code.name!r} has {code.size} categories: at least as many images "
            f"or sweeps are needed, got {count}"
        )
    categories = np.arange(count) % code.size
    return spec.assign(latents, {code.name: categories}), categories


def _correlations(
    draw: Draw,
    spec: LatentSpec,
    code: UniformCode,
    properties: Properties,
    count: int,
    *,
    seed: int,
) -> dict[str, tuple[float, ...]]:
    """Rho of a code with each property, by category."""
    latents, groups = _base(spec, count, seed)
    # The latents are independent draws already: the values may go in order.
    values = code.sweep(count)
    images = as_grey(draw(spec.assign(latents, {code.name: values})))
    return {
        name: tuple(rank_correlation_by_group(values, measure(images), groups).values())
        for name, measure in properties.items()
    }


def _along_sweeps(
    draw: Draw,
    spec: LatentSpec,
    code: UniformCode,
    properties: Properties,
    rows: int,
    steps: int,
    *,
    seed: int,
) -> tuple[dict[str, tuple[float, ...]], dict[str, float]]:
    """Of each property: rho along each sweep, the mean by category; the mean shift."""
    base, groups = _base(spec, rows, seed)
    values = code.sweep(steps)
    images = as_grey(draw(traverse(base, spec, code.name, values)))
    found, shift = {}, {}
    for name, measure in properties.items():
        measured = measure(images).reshape(rows, steps)
        rho = rank_correlation_by_row(values, measured)
        found[name] = tuple(
            float(rho[groups == group].mean()) for group in np.unique(groups)
        )
        shift[name] = float((measured[:, -1] - measured[:, 0]).mean())
    return found, shift
