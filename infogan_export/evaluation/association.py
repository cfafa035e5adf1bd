"""How well codes go with labels and with measured properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import DataError

Integers = NDArray[np.integer[Any]]
Reals = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Matching:
    """The one-to-one naming of categories by labels that agrees most often.

    Attributes:
        label_of: int64, (size,); category k stands for label ``label_of[k]``.
        accuracy: share of images whose category stands for their label.
        confusion: int64, (size, size); images of label i in category j.
    """

    label_of: NDArray[np.int64]
    accuracy: float
    confusion: NDArray[np.int64]


def match_categories(predicted: Integers, labels: Integers, size: int) -> Matching:
    """Name categories by labels so that as many images as possible agree.

    Args:
        predicted: (n,), categories 0..size-1.
        labels: (n,), labels 0..size-1.
        size: how many categories there are.

    Raises:
        DataError: no images, or a category or label out of range.

    Source: Kuhn (1955), by ``scipy.optimize.linear_sum_assignment``.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(labels) or len(predicted) != len(labels):
        raise DataError(
            f"matching needs a category and a label for each image, "
            f"got {len(predicted)} and {len(labels)}"
        )
    for what, values in (("category", predicted), ("label", labels)):
        if values.min() < 0 or values.max() >= size:
            wrong = values.min() if values.min() < 0 else values.max()
            raise DataError(f"{what} {wrong} is out of range: 0 to {size - 1}")
    confusion = np.zeros((size, size), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    _, label_of = linear_sum_assignment(confusion.T, maximize=True)
    agreeing = confusion[label_of, np.arange(size)].sum()
    return Matching(
        label_of=label_of.astype(np.int64),
        accuracy=float(agreeing / len(labels)),
        confusion=confusion,
    )


def normalized_mutual_information(predicted: Integers, labels: Integers) -> float:
    """NMI with the arithmetic mean of both entropies: 0 to 1."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(labels, predicted))


def adjusted_rand_index(predicted: Integers, labels: Integers) -> float:
    """Rand index, 0 for chance and 1 for a perfect clustering (Hubert 1985)."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(labels, predicted))


def rank_correlation(x: Reals, y: Reals) -> float:
    """Spearman's rho, -1 to 1; 0 where x or y never changes."""
    return float(rank_correlation_by_row(x, y[None])[0])


def rank_correlation_by_row(x: Reals, rows: Reals) -> NDArray[np.float64]:
    """The same of x (n,) with each row of (m, n): (m,)."""
    from scipy.stats import rankdata

    one, many = (rankdata(values, axis=-1) for values in (x, rows))
    one, many = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (one, many))
    scale = np.sqrt((one @ one) * (many**2).sum(axis=1))
    rho = np.zeros(len(rows))
    np.divide(many @ one, scale, out=rho, where=scale > 0)
    return rho


def rank_correlation_by_group(
    values: Reals, measured: Reals, groups: Integers
) -> dict[int, float]:
    """Spearman's rho within each group (each digit), by group in order."""
    return {
        int(group): rank_correlation(values[groups == group], measured[groups == group])
        for group in np.unique(groups)
    }
