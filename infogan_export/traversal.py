"""Latents that move along one or two codes while all else is held fixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infogan_export.errors import CodeError
from infogan_export.latent import CategoricalCode, Latents, LatentSpec


def sweep_values(
    spec: LatentSpec,
    name: str,
    *,
    steps: int | None = None,
    low: float | None = None,
    high: float | None = None,
) -> NDArray[Any]:
    """The values that a sweep of a code goes through.

    A categorical code goes through its categories, or those from ``low`` to
    ``high``; a uniform one through ``steps`` (11 by default) even values.

    Raises:
        CodeError: no such code, an empty range, a category out of range.
    """
    code = spec[name]
    if not isinstance(code, CategoricalCode):
        return code.sweep(11 if steps is None else steps, low=low, high=high)
    first = 0 if low is None else low
    last = code.size - 1 if high is None else high
    if not (float(first).is_integer() and float(last).is_integer() and first <= last):
        raise CodeError(
            f"code {code.name!r}: a range of categories is two whole numbers, the "
            f"lower first, got {first:g} to {last:g}"
        )
    for end in (first, last):
        code.encode(end)  # refuses a category that does not exist
    values = np.arange(int(first), int(last) + 1)
    if steps is not None and steps != len(values):
        raise CodeError(
            f"code {code.name!r}: categories {first:g} to {last:g} make "
            f"{len(values)} steps, not {steps}; leave the steps out"
        )
    return values


def traverse(base: Latents, spec: LatentSpec, name: str, values: ArrayLike) -> Latents:
    """Each base latent with one code set to each value in turn.

    Args:
        base: float32, (rows, dim): what is held fixed along each row.
        spec: the model's latent layout.
        name: the code to vary.
        values: (steps,) for a uniform code or categories, (steps, size) mixtures.

    Returns:
        float32, (rows * steps, dim), one row of images after another.

    Raises:
        CodeError: no such code, or a value it cannot take.

    Source: Chen et al. (2016), figure 2.
    """
    row = np.asarray(values)
    latents = np.repeat(base, len(row), axis=0)
    across = np.tile(row, (len(base), *[1] * (row.ndim - 1)))
    return spec.assign(latents, {name: across})


def traverse_two(
    base: Latents,
    spec: LatentSpec,
    down: tuple[str, ArrayLike],
    across: tuple[str, ArrayLike],
) -> Latents:
    """One latent with a code along each axis of the sheet.

    Args:
        base: float32, (1, dim).
        spec: the model's latent layout.
        down: name and values of the code that changes from row to row.
        across: name and values of the code that changes from column to column.

    Returns:
        float32, (rows * columns, dim), one row of images after another.

    Raises:
        CodeError: as ``traverse``, or the same code twice.
    """
    if spec[down[0]] is spec[across[0]]:
        raise CodeError(f"code {spec[down[0]].name!r} cannot vary along both axes")
    return traverse(traverse(base, spec, *down), spec, *across)


def interpolate(
    first: ArrayLike, last: ArrayLike, spec: LatentSpec, weights: ArrayLike
) -> Latents:
    """Latents on the way from one to another.

    Noise that is normal is turned along the sphere on which it lies, since a
    straight line would pass through norms that the generator never saw; uniform
    noise and all codes go straight.

    Args:
        first: float32, (dim,) where weight is 0.
        last: float32, (dim,) where weight is 1.
        spec: the model's latent layout.
        weights: (steps,), 0 to 1.

    Returns:
        float32, (steps, dim).

    Raises:
        CodeError: an end is not one latent of this model.

    Source: White (2016), "Sampling generative networks", for the sphere.
    """
    ends = [spec.validate(end) for end in (first, last)]
    if any(len(end) != 1 for end in ends):
        told = " and ".join(str(len(end)) for end in ends)
        raise CodeError(f"each end of an interpolation is one latent, got {told}")
    a, b = (end[0].astype(np.float64) for end in ends)
    t = np.asarray(weights, dtype=np.float64)[:, None]
    path = (1 - t) * a + t * b
    if spec.noise.distribution == "normal":
        z = spec.columns("noise")
        path[:, z] = _slerp(a[z], b[z], t)
    latents: Latents = path.astype(np.float32)
    return latents


def _slerp(
    a: NDArray[np.float64], b: NDArray[np.float64], t: NDArray[np.float64]
) -> NDArray[np.float64]:
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b / norms, -1.0, 1.0)) if norms > 0 else 0.0
    if np.sin(angle) < 1e-6:  # one direction, opposite ones, or none: no one arc
        return (1 - t) * a + t * b
    arc: NDArray[np.float64] = (
        np.sin((1 - t) * angle) * a + np.sin(t * angle) * b
    ) / np.sin(angle)
    return arc
