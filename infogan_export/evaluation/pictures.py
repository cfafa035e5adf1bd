"""The pictures of a report, each as the bytes of a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import MissingExtraError
from infogan_export.evaluation.figures import LabelAgreement
from infogan_export.evaluation.naming import CodeEvidence
from infogan_export.latent import UniformCode
from infogan_export.render import contact_sheet, save_image
from infogan_export.runtime import Model
from infogan_export.traversal import traverse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Images = NDArray[np.uint8]

_SAMPLE_ROWS = 8
_COLUMNS = 10  # where no code says how many
_CELL, _DPI = 56, 160


def samples_sheet(model: Model, *, seed: int) -> bytes:
    """Samples, one category a column where there is a categorical code."""
    if not model.spec.categorical:
        return _sheet(model.sample(_SAMPLE_ROWS * _COLUMNS, seed=seed), _COLUMNS)
    code = model.spec.categorical[0]
    latents = model.latents(_SAMPLE_ROWS * code.size, seed=seed)
    categories = np.arange(len(latents)) % code.size
    images = model.draw(model.spec.assign(latents, {code.name: categories}))
    labels = [code.label(k) for k in range(code.size)]
    return _sheet(images, code.size, column_labels=labels)


def traversal_sheet(model: Model, code: UniformCode, *, seed: int) -> bytes:
    """A sweep of a uniform code, one category a row."""
    spec = model.spec
    labels: list[str] | None = None
    base = model.latents(_SAMPLE_ROWS, seed=seed)
    if spec.categorical:
        by_class = spec.categorical[0]
        labels = [by_class.label(k) for k in range(by_class.size)]
        base = spec.sample(by_class.size, seed=seed)
        base = spec.assign(base, {by_class.name: np.arange(by_class.size)})
    values = code.sweep(9)
    images = model.draw(traverse(base, spec, code.name, values))
    return _sheet(
        images,
        len(values),
        row_labels=labels,
        column_labels=[f"{value:g}" for value in values],
    )


def neighbours_sheet(
    model: Model, train: Images, pairs: Sequence[tuple[int, int]], *, seed: int
) -> bytes:
    """Samples, each above its closest training image.

    Args:
        model: drew the samples.
        train: uint8, (n, H, W[, 3]).
        pairs: (sample, training image) as in `figures.Neighbours`.
        seed: of the samples.
    """
    columns = min(_COLUMNS, len(pairs))
    pairs = pairs[: len(pairs) // columns * columns]
    last = max(sample for sample, _ in pairs)
    latents = model.latents(last + 1, seed=seed)
    drawn = model.draw(latents[[sample for sample, _ in pairs]])
    known = train[[image for _, image in pairs]]
    blocks = range(0, len(pairs), columns)
    rows = [part[i : i + columns] for i in blocks for part in (drawn, known)]
    labels = ["generated", "training"] * len(blocks)
    return _sheet(np.concatenate(rows), columns, row_labels=labels)


def confusion_picture(found: LabelAgreement, labels: Sequence[str]) -> bytes:
    """Images of each label by category, categories in the order of their labels."""
    size = len(found.label_of)
    order = np.argsort(found.label_of)
    counts = np.array(found.confusion)[:, order]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, (axes,) = _figure(1, width=6.2, height=5.4)
    # The root lets few among many be seen.
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    _write_cells(axes, counts, "{:,}", dark=np.sqrt(share) > 0.6)
    _tick(axes, [labels[k] for k in order], [str(k) for k in range(size)])
    axes.set_xlabel(f"{found.code} that Q reads")
    axes.set_ylabel("label of the test image")
    return _figure_png(figure)


def correlation_picture(
    evidence: Sequence[CodeEvidence], categories: Sequence[str]
) -> bytes:
    """Heat maps of rho, one for each code: properties by categories."""
    rows = len(categories)
    figure, all_axes = _figure(
        len(evidence), width=1.2 + 3.1 * len(evidence), height=1.2 + 0.32 * rows
    )
    for axes, found in zip(all_axes, evidence, strict=True):
        rho = np.array(list(found.by_category.values())).T
        axes.imshow(rho, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        _write_cells(axes, rho, "{:.2f}", dark=abs(rho) > 0.7)
        _tick(axes, list(found.by_category), categories)
        axes.set_title(found.code, fontsize=10)
    return _figure_png(figure)


def _figure(count: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of its own, which no backend or global state knows of."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("the report's charts", "evaluate") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _write_cells(
    axes: Axes, values: NDArray[Any], form: str, *, dark: NDArray[np.bool_]
) -> None:
    for (row, column), value in np.ndenumerate(values):
        if not value:
            continue
        colour = "white" if dark[row, column] else "black"
        text = form.format(value)
        axes.text(column, row, text, ha="center", va="center", color=colour, size=7)


def _tick(axes: Axes, across: Sequence[str], down: Sequence[str]) -> None:
    axes.set_xticks(range(len(across)), across, fontsize=8)
    axes.set_yticks(range(len(down)), down, fontsize=8)
    axes.tick_params(length=0)


def _figure_png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()


def _sheet(
    images: Images,
    columns: int,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> bytes:
    """A contact sheet with cells of at least some 50 pixels."""
    sheet = contact_sheet(
        images,
        columns=columns,
        scale=max(1, round(_CELL / images.shape[1])),
        row_labels=row_labels,
        column_labels=column_labels,
    )
    file = BytesIO()
    save_image(sheet, file)
    return file.getvalue()
