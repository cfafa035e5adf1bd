"""A picture of vector arithmetic: its terms, their means, and the result.

>>> from infogan_export import load
>>> from infogan_export.equations import arithmetic_sheet
>>> arithmetic_sheet(load("mnist"), plus=[[1, 5], [7]], minus=[[2]]).save("a.png")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from infogan_export import arithmetic
from infogan_export.latent import Latents
from infogan_export.pictures import Sheet, fitting_scale, require_picture
from infogan_export.record import make_record
from infogan_export.render.pictures import Picture
from infogan_export.render.sheet import contact_sheet
from infogan_export.runtime import Model

_WIDTH = 960  # pixels, what the picture is enlarged to unless told otherwise
_SIDE = 3  # of the square of results
_BLANK = 255

T = TypeVar("T")


def arithmetic_sheet(
    model: Model,
    plus: Sequence[Sequence[int]],
    minus: Sequence[Sequence[int]],
    *,
    codes: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    noise: float = arithmetic.NOISE,
    scale: int | None = None,
    padding: int = 2,
) -> Sheet:
    """mean(A) - mean(B) + mean(C) as a picture, each term a column over its mean.

    On their right the result, in the middle of eight others with a little noise
    around it.  With `codes`, one more column holds the images of the last term to
    add, and their mean, drawn again with these codes set: the same change in one
    step.

    Args:
        model: what draws.
        plus: the images of each term to add, by their index in the seed.
        minus: those of each term to take away.
        codes: codes to set in the last column, by name.
        seed: of all images, and of the noise.
        noise: each column of z moves by Unif(-noise, noise) around the result.
        scale: whole factor of enlargement; by default to about 960 pixels.
        padding: pixels around each image.

    Returns:
        the sheet; its latents are column by column, each mean after its images,
        then the results in rows.

    Raises:
        UsageError: terms or options that do not fit, an unknown code, or a picture
            too large for memory.

    Source: Radford et al. (2016), figure 7.
    """
    spec = model.spec
    spec.require_single(codes or {})
    tallest = max([0, *map(len, chain(plus, minus))])
    rows = max(tallest + 1, _SIDE)
    across = len(plus) + len(minus) + 1 + _SIDE + (2 if codes else 0)
    enlarged = fitting_scale(model, across, _WIDTH) if scale is None else scale
    require_picture(model, rows, across, enlarged, padding)

    added = [arithmetic.pick(spec, term, seed=seed) for term in plus]
    taken = [arithmetic.pick(spec, term, seed=seed) for term in minus]
    result = arithmetic.combine(added, taken, spec)
    terms = [
        np.concatenate([term, arithmetic.mean_latent(term, spec)[None]])
        for term in _in_turn(added, taken)
    ]
    square = arithmetic.around(
        result, spec, count=_SIDE**2, noise=noise, seed=seed
    ).reshape(_SIDE, _SIDE, spec.dim)
    sheet = _Cells(model, rows, across)
    for column, (term, sign) in enumerate(
        zip(terms, _in_turn(["plus"] * len(plus), ["minus"] * len(minus)), strict=True)
    ):
        sheet.put(term[:-1], 0, column, sign)
        sheet.put(term[-1:], tallest, column)
    for k in range(_SIDE):
        label = "result" if k == _SIDE // 2 else ""
        sheet.put(square[:, k], 0, len(terms) + 1 + k, label)
    if codes:
        again = spec.assign(terms[-1], codes)
        label = ", ".join(f"{spec[n].name}={_value(v)}" for n, v in codes.items())
        sheet.put(again[:-1], 0, across - 1, label)
        sheet.put(again[-1:], tallest, across - 1)
    image = contact_sheet(
        sheet.cells,
        columns=across,
        scale=enlarged,
        padding=padding,
        row_labels=["mean" if row == tallest else "" for row in range(rows)],
        column_labels=sheet.labels,
        title=_written(plus, minus),
    )
    options = {
        "plus": [_joined(term) for term in plus],
        "minus": [_joined(term) for term in minus],
        "set": dict(codes or {}),
        "noise": noise,
        "scale": enlarged,
        "padding": padding,
    }
    latents = np.concatenate(sheet.drawn)
    record = make_record(
        "arithmetic", model, seed=seed, options=options, latents=latents
    )
    return Sheet(image, latents, record)


class _Cells:
    """Images in rows and columns, blank where nothing was put."""

    def __init__(self, model: Model, rows: int, columns: int) -> None:
        channels, height, width = model.image_shape
        colour = () if channels == 1 else (channels,)
        shape = (rows, columns, height, width, *colour)
        self._grid: Picture = np.full(shape, _BLANK, np.uint8)
        self._model = model
        self.labels = [""] * columns
        self.drawn: list[Latents] = []

    def put(self, latents: Latents, top: int, column: int, label: str = "") -> None:
        """Draw latents (n, dim) down a column."""
        self._grid[top : top + len(latents), column] = self._model.draw(latents)
        self.drawn.append(latents)
        self.labels[column] = label or self.labels[column]

    @property
    def cells(self) -> Picture:
        """uint8, (n, H, W) or (n, H, W, 3), one row after another."""
        return self._grid.reshape(-1, *self._grid.shape[2:])


def _in_turn(plus: Sequence[T], minus: Sequence[T]) -> list[T]:
    """A, B, C: the first to add, the first to take away, the second to add, ..."""
    pairs = zip_longest(plus, minus)
    return [term for term in chain.from_iterable(pairs) if term is not None]


def _value(value: ArrayLike) -> str:
    """A code's value for a label: a mixture is too long for one."""
    return "mixture" if np.ndim(value) else str(value)


def _joined(images: Sequence[int]) -> str:
    return ",".join(map(str, images))


def _written(plus: Sequence[Sequence[int]], minus: Sequence[Sequence[int]]) -> str:
    """``(0,4) - (2,5) + (7)``."""
    signs = _in_turn(["+"] * len(plus), ["-"] * len(minus))
    terms = _in_turn(plus, minus)
    pairs = zip(signs, terms, strict=True)
    return " ".join(f"{sign} ({_joined(t)})" for sign, t in pairs).removeprefix("+ ")
