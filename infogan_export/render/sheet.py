"""Contact sheets: many images in rows and columns, with labels in the margins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from infogan_export.errors import UsageError
from infogan_export.render import text
from infogan_export.render.pictures import Picture, as_pictures

Colour = int | tuple[int, int, int]


def contact_sheet(
    images: ArrayLike,
    *,
    columns: int,
    scale: int = 1,
    padding: int = 2,
    background: Colour = 255,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
) -> Picture:
    """Lay images out row after row, labelled along the axes on request.

    Labels live in margins that grow to hold them: a cell's pixels are its
    image's, whatever the labels.  Column labels that are wider than a column
    shrink, then stand upright; where even a line's height is too much, every
    second (third, ...) label is drawn.

    Args:
        images: uint8, (n, H, W) or (n, H, W, 3).
        columns: images in a row.
        scale: whole factor of enlargement, by nearest neighbour.
        padding: pixels of background between and around the cells.
        background: a grey level, or RGB for colour images.
        row_labels: one label for each row, drawn on the left.
        column_labels: one label for each column, drawn on top.
        title: a line above everything.

    Returns:
        uint8, (H', W') for grey images and (H', W', 3) for colour.

    Raises:
        UsageError: images of the wrong kind, an option out of range, or labels
            that do not match the rows or columns.
    """
    cells = as_pictures(images)
    for name, value, least in (
        ("columns", columns, 1),
        ("scale", scale, 1),
        ("padding", padding, 0),
    ):
        if value < least:
            raise UsageError(f"{name} must be at least {least}, got {value}")
    if not isinstance(background, int) and cells.ndim == 3:
        raise UsageError(
            f"the background of grey images is one level 0 to 255, got {background}"
        )
    if not 0 <= np.min(background) <= np.max(background) <= 255:
        raise UsageError(f"a background is made of 0 to 255, got {background}")
    rows = -(-len(cells) // columns)
    for name, labels, count in (
        ("row", row_labels, rows),
        ("column", column_labels, columns),
    ):
        if labels is not None and len(labels) != count:
            raise UsageError(
                f"{count} {name} labels are needed, one for each {name}, "
                f"got {len(labels)}"
            )

    cells = cells.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = cells.shape[1] + padding, cells.shape[2] + padding
    shape = (rows * height + padding, columns * width + padding, *cells.shape[3:])
    grid = text.blank(shape, background)
    for index, cell in enumerate(cells):
        top = index // columns * height + padding
        left = index % columns * width + padding
        grid[top : top + len(cell), left : left + cell.shape[1]] = cell

    size = int(np.clip(0.17 * min(cells.shape[1:3]), 11, 26))
    marks: list[_Mark] = []
    if row_labels is not None:
        marks += _row_marks(row_labels, size, height, padding)
    if column_labels is not None:
        marks += _column_marks(column_labels, size, width, padding)
    if title:
        marks.append(_title_mark(title, size, grid.shape[1], marks))
    return _framed(grid, marks, size, background) if marks else grid


class _Mark(NamedTuple):
    """Lettering and where it goes, in pixels from the grid's top left corner."""

    mask: Picture
    top: int
    left: int


def _row_marks(
    labels: Sequence[str], size: int, pitch: int, padding: int
) -> list[_Mark]:
    """Labels left of the grid, right-aligned, each at the middle of its row."""
    masks = [text.lettering(label, size) for label in labels]
    step = -(-len(masks[0]) // pitch)
    middle = (pitch + padding) // 2
    return [
        _Mark(
            mask,
            top=row * pitch + middle - len(mask) // 2,
            left=-mask.shape[1] - size // 2,
        )
        for row, mask in enumerate(masks)
        if row % step == 0
    ]


def _column_marks(
    labels: Sequence[str], size: int, pitch: int, padding: int
) -> list[_Mark]:
    """Labels above the grid, each centred on its column; upright if too wide."""
    room = pitch - size // 3 if len(labels) > 1 else math.inf
    fitting = text.fitting_size(list(labels), size, room)
    masks = [text.lettering(label, fitting or size) for label in labels]
    if fitting is None:
        masks = [np.rot90(mask) for mask in masks]
    step = 1 if fitting else -(-masks[0].shape[1] // pitch)
    gap = 0 if fitting else size // 3
    middle = (pitch + padding) // 2
    return [
        _Mark(
            mask,
            top=-len(mask) - gap,
            left=column * pitch + middle - mask.shape[1] // 2,
        )
        for column, mask in enumerate(masks)
        if column % step == 0
    ]


def _title_mark(title: str, size: int, room: int, marks: list[_Mark]) -> _Mark:
    """A larger line above the column labels, centred on the grid if it fits."""
    large = round(1.3 * size)
    fitting = text.fitting_size([title], large, room) or size
    mask = text.lettering(title, fitting)
    above = min([0, *(mark.top for mark in marks)])
    return _Mark(
        mask,
        top=above - round(0.6 * size) - len(mask),
        left=max(0, (room - mask.shape[1]) // 2),
    )


def _framed(
    grid: Picture, marks: list[_Mark], size: int, background: Colour
) -> Picture:
    """The grid on a canvas large enough for every mark and an even margin."""
    edge = round(0.7 * size)
    top = min([0, *(mark.top for mark in marks)]) - edge
    left = min([0, *(mark.left for mark in marks)]) - edge
    bottom = max([grid.shape[0], *(m.top + m.mask.shape[0] for m in marks)]) + edge
    right = max([grid.shape[1], *(m.left + m.mask.shape[1] for m in marks)]) + edge
    canvas = text.blank((bottom - top, right - left, *grid.shape[2:]), background)
    canvas[-top : grid.shape[0] - top, -left : grid.shape[1] - left] = grid
    for mark in marks:
        text.paint(canvas, mark.mask, top=mark.top - top, left=mark.left - left)
    return canvas
