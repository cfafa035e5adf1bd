"""How far generated images are from real ones, in a judge's features.

All take feature arrays (n, features), one row per image, and none needs the
n x n matrix of distances in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import DataError

Features = NDArray[np.floating[Any]]
Reals = NDArray[np.float64]

_CHUNK = 500  # rows of the distance matrix at a time


@dataclass(frozen=True)
class PrecisionRecall:
    """Shares, 0 to 1, of one set inside the other's estimated manifold."""

    precision: float
    recall: float


@dataclass(frozen=True)
class DensityCoverage:
    """Density (about 1 if the sets are alike, unbounded) and coverage (0 to 1)."""

    density: float
    coverage: float


def frechet_distance(a: Features, b: Features) -> float:
    """Frechet distance, squared as is the custom, of two Gaussian fits.

    |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).  The last trace is the
    sum of the singular values of S_a^(1/2) S_b^(1/2), which stays real and
    finite for singular covariances, unlike a general matrix square root.

    Raises:
        DataError: fewer than two rows, or features of different lengths.

    Source: Dowson and Landau (1982); Heusel et al. (2017).
    """
    _check(a, b, least=2)
    mean_a, root_a, trace_a = _gaussian(a)
    mean_b, root_b, trace_b = _gaussian(b)
    shift = mean_a - mean_b
    overlap = np.linalg.svd(root_a @ root_b, compute_uv=False).sum()
    return max(0.0, float(shift @ shift + trace_a + trace_b - 2 * overlap))


def precision_recall(
    real: Features, generated: Features, *, neighbours: int = 3
) -> PrecisionRecall:
    """Improved precision and recall.

    A manifold is the union of balls around each of a set's points, out to its
    k-th nearest neighbour.  Precision: generated points in the real manifold;
    recall: real points in the generated one.

    Raises:
        DataError: no more rows than neighbours, or features of other lengths.

    Source: Kynkaanniemi et al. (2019), k = 3.
    """
    _check(real, generated, least=neighbours + 1)
    real, generated = _centred(real, generated)
    return PrecisionRecall(
        precision=float((_balls_around(generated, real, neighbours) > 0).mean()),
        recall=float((_balls_around(real, generated, neighbours) > 0).mean()),
    )


def density_coverage(
    real: Features, generated: Features, *, neighbours: int = 5
) -> DensityCoverage:
    """Density and coverage.

    Density: real balls (out to the k-th neighbour) around a generated point,
    over k.  Coverage: real balls that hold any generated point.

    Raises:
        DataError: no more rows than neighbours, or features of other lengths.

    Source: Naeem et al. (2020), k = 5.
    """
    _check(real, generated, least=neighbours + 1)
    real, generated = _centred(real, generated)
    around = _balls_around(generated, real, neighbours)
    radii = _squared_radii(real, neighbours)
    nearest = np.concatenate(
        [rows.min(axis=1) for rows in _squared_distances(real, generated)]
    )
    return DensityCoverage(
        density=float(around.mean() / neighbours),
        coverage=float((nearest <= radii).mean()),
    )


def nearest(points: Features, others: Features) -> tuple[NDArray[np.int64], Reals]:
    """Which of the others is closest to each point, and how far away it is.

    Args:
        points: (n, features).
        others: (m, features).

    Returns:
        int64 (n,) and float64 (n,).
    """
    _check(points, others, least=1)
    which, apart = [], []
    for rows in _squared_distances(points, others):
        which.append(rows.argmin(axis=1))
        apart.append(rows.min(axis=1))
    return np.concatenate(which), np.sqrt(np.concatenate(apart), dtype=np.float64)


def _gaussian(features: Features) -> tuple[Reals, Reals, float]:
    """Mean, symmetric square root of the covariance, and the latter's trace."""
    values = features.astype(np.float64)
    covariance = np.atleast_2d(np.cov(values, rowvar=False))
    eigenvalues, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(eigenvalues, 0))) @ vectors.T
    return values.mean(axis=0), root, float(np.trace(covariance))


def _balls_around(points: Reals, centres: Reals, neighbours: int) -> NDArray[np.int64]:
    """How many of the centres' balls each point is in: int64, (points,)."""
    radii = _squared_radii(centres, neighbours)
    return np.concatenate(
        [(rows <= radii).sum(axis=1) for rows in _squared_distances(points, centres)]
    )


def _squared_radii(points: Reals, neighbours: int) -> Reals:
    """Squared distance of each point to its k-th nearest other one."""
    return np.concatenate(
        [
            np.partition(rows, neighbours, axis=1)[:, neighbours]  # 0 is itself
            for rows in _squared_distances(points, points)
        ]
    )


def _squared_distances(a: Features, b: Features) -> Iterator[Features]:
    """Rows of the matrix of squared distances, a chunk at a time."""
    lengths = (b**2).sum(axis=1)
    for start in range(0, len(a), _CHUNK):
        rows = a[start : start + _CHUNK]
        squared = rows @ b.T
        squared *= -2
        squared += lengths
        squared += (rows**2).sum(axis=1)[:, None]
        yield np.maximum(squared, 0, out=squared)


def _centred(a: Features, b: Features) -> tuple[Reals, Reals]:
    """Both about one origin, so that the squares lose no digits."""
    origin = a.mean(axis=0, dtype=np.float64)
    return a - origin, b - origin


def _check(a: Features, b: Features, *, least: int) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(
            f"feature arrays must be (n, features) alike, got {a.shape} and {b.shape}"
        )
    if min(len(a), len(b)) < least:
        raise DataError(
            f"this measure needs at least {least} images on either side, "
            f"got {len(a)} and {len(b)}"
        )
