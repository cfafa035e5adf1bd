"""How far generated images are from real ones, in a judge's features.

All take feature arrays (n, features), one row per image, and none needs the
n x n matrix of distances in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import DataError

Features = NDArray[np.floating[Any]]
Reals = NDArray[np.float64]

PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5
_CHUNK = 500  # rows of the distance matrix at a time


@dataclass(frozen=True)
class ManifoldMeasures:
    """How two sets overlap, each set's manifold being balls around its points.

    Attributes:
        precision: share of generated points in the real manifold (k = 3).
        recall: share of real points in the generated manifold (k = 3).
        density: real balls around a generated point, over k (k = 5): about 1 if
            the sets are alike, unbounded.
        coverage: share of real balls that hold a generated point (k = 5).
    """

    precision: float
    recall: float
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


class RealManifold:
    """Real features, their neighbourhoods measured once for many comparisons.

    A ball reaches from a point to its k-th nearest neighbour in its own set.

    Source: Kynkaanniemi et al. (2019), precision and recall, k = 3; Naeem et al.
    (2020), density and coverage, k = 5.
    """

    def __init__(self, real: Features) -> None:
        """Measure the neighbourhoods of real features (n, features).

        Raises:
            DataError: no more rows than neighbours.
        """
        _check(real, real, least=DENSITY_NEIGHBOURS + 1)
        # About their own mean, so that the squares lose no digits.
        self._origin = real.mean(axis=0, dtype=np.float64)
        self._real = self._centred(real)
        self._radii, self._wide_radii = _squared_radii(
            self._real, (PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS)
        )

    def compare(self, generated: Features) -> ManifoldMeasures:
        """Measure another set of features (m, features) against the real ones.

        Raises:
            DataError: no more rows than neighbours, or features of other lengths.
        """
        _check(self._real, generated, least=PRECISION_NEIGHBOURS + 1)
        points = self._centred(generated)
        (own_radii,) = _squared_radii(points, (PRECISION_NEIGHBOURS,))
        precise, recalled, covered = [], np.zeros(len(self._real), bool), np.inf
        around = 0
        for start, rows in _squared_distances(points, self._real):
            precise.append((rows <= self._radii).any(axis=1))
            recalled |= (rows <= own_radii[start : start + len(rows), None]).any(axis=0)
            around += int((rows <= self._wide_radii).sum())
            covered = np.minimum(covered, rows.min(axis=0))
        return ManifoldMeasures(
            precision=float(np.concatenate(precise).mean()),
            recall=float(recalled.mean()),
            density=around / DENSITY_NEIGHBOURS / len(points),
            coverage=float((covered <= self._wide_radii).mean()),
        )

    def _centred(self, features: Features) -> Features:
        centred: Features = (features - self._origin).astype(features.dtype)
        return centred


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
    for _, rows in _squared_distances(points, others):
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


def _squared_radii(points: Features, neighbours: Sequence[int]) -> list[Features]:
    """Squared distance of each point to its k-th nearest other one, for each k."""
    found = [
        np.partition(rows, neighbours, axis=1)[:, neighbours]  # 0 is the point itself
        for _, rows in _squared_distances(points, points)
    ]
    return list(np.concatenate(found).T)


def _squared_distances(a: Features, b: Features) -> Iterator[tuple[int, Features]]:
    """Rows of the matrix of squared distances, a chunk at a time, and their start."""
    lengths = np.einsum("ij,ij->i", b, b)
    for start in range(0, len(a), _CHUNK):
        rows = a[start : start + _CHUNK]
        squared = rows @ b.T
        squared *= -2
        squared += lengths
        squared += np.einsum("ij,ij->i", rows, rows)[:, None]
        yield start, np.maximum(squared, 0, out=squared)


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
