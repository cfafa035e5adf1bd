"""Any picture a person has, brought to what a model was trained on.

A model of strokes on black (MNIST) gets what its data got: one bright digit,
20 of 28 pixels high or wide, centred by mass.  So a picture's light and shadow are
divided out, ink is told from paper, the strokes that form the digit are picked, and
those are cropped, scaled and centred.  For all other models a picture is cropped to
the model's aspect ratio around its centre, and scaled.

Source of the first: LeCun, Cortes and Burges, "The MNIST database".
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import DataError, UsageError
from infogan_export.evaluation.strokes import thickness

if TYPE_CHECKING:
    from PIL import Image

    from infogan_export.runtime import Images, Model

Grey = NDArray[np.float32]
"""(height, width), 0 to 1."""

MAX_PIXELS = 64_000_000
"""Of a picture as it is decoded: a JPEG may be 8 times wider and higher."""

_REDUCED = "infogan-export reduced"  # a picture's info: how much smaller it was decoded
_MIN_SIDE = 8  # pixels: less shows nothing
_WORKING = 960  # pixels: the longer side at which a picture is looked at
_BLACK = 0.05  # mean level of a border that is black
_BOX = 20 / 28  # of an image's side: MNIST's box around the digit
_LIGHT_SIDE = 64  # pixels: the side at which light and shadow are told from ink
_STRONGEST = 0.999  # the quantile that is the strength of the ink
_LEAST_CONTRAST = 0.12  # of the paper's own brightness: fainter marks are no ink
_NOISES = 6.0  # deviations of the paper's grain: what is less is grain
_INK = 0.45  # of the ink's strength: where it begins
_LABEL_SIDE = 240  # cells: the side at which strokes are told apart
_DUST, _SPECK = 0.02, 0.15  # of the largest mark's area: what is smaller is dirt
_JOINED = 0.12  # of the larger mark's side: closer ones are one digit
_WIDEST = 1.6  # width / height that no digit has
_THINNEST = 1.8 / 20  # of the box: MNIST's thinnest strokes


@dataclass(frozen=True)
class Prepared:
    """A picture as a model sees it.

    Attributes:
        image: uint8, (height, width) or (height, width, 3).
        said: what was understood and done, in half a line; '' for nothing.
    """

    image: Images
    said: str = ""


@dataclass(frozen=True)
class _Mark:
    """A connected piece of ink, or several that form a digit, in label pixels."""

    top: int
    left: int
    bottom: int
    right: int
    area: int
    labels: tuple[int, ...]

    @property
    def side(self) -> int:
        return max(self.bottom - self.top, self.right - self.left)

    def gap(self, other: _Mark) -> int:
        """Pixels between the boxes, along the axis in which they are further apart."""
        return max(
            self.top - other.bottom,
            other.top - self.bottom,
            self.left - other.right,
            other.left - self.right,
            0,
        )

    def joined(self, other: _Mark) -> _Mark:
        return _Mark(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
            self.area + other.area,
            self.labels + other.labels,
        )


def prepare_files(
    paths: Sequence[str | os.PathLike[str]], model: Model
) -> list[Prepared]:
    """Image files of any kind as a model sees them.

    Args:
        paths: files that Pillow reads: colour, CMYK, 16-bit and transparent ones
            too, with Exif's rotation.
        model: whose data they should look like.

    Raises:
        DataError: no such file, no image, or a damaged, huge or animated one.
        UsageError: a picture that is too small, shows no digit, or several.
    """
    strokes = draws_strokes(model)
    prepared = []
    for path in paths:
        picture = open_picture(path)
        try:
            prepared.append(prepare(picture, model, strokes=strokes))
        except UsageError as error:
            raise UsageError(f"{os.fspath(path)} {error}") from None
    return prepared


def draws_strokes(model: Model) -> bool:
    """Whether a model draws bright strokes on black, told by its own samples."""
    return model.image_shape[0] == 1 and _has_black_border(model.sample(16))


def prepare(picture: Image.Image, model: Model, *, strokes: bool) -> Prepared:
    """A picture of mode L or RGB as a model sees it.

    One that already looks like the model's data stays as it is, byte for byte.

    Raises:
        UsageError: too small, no digit, or several.
    """
    channels, height, width = model.image_shape
    made_grey = "made grey" if channels == 1 and in_colour(picture) else ""
    picture = picture.convert("L" if channels == 1 else "RGB")
    pixels: Images = np.asarray(picture)
    fits = picture.size == (width, height)
    if fits and not (strokes and not _has_black_border(pixels[None])):
        if strokes and not pixels.any():
            raise UsageError("shows nothing: it is black all over")
        return Prepared(pixels, made_grey)
    if min(picture.size) < _MIN_SIDE:
        raise UsageError(
            f"has {picture.width} x {picture.height} pixels, too few to show "
            f"anything; at least {_MIN_SIDE} x {_MIN_SIDE} are needed"
        )
    prepared = (
        _stroke_image(picture, side=height)
        if strokes and height == width
        else _photograph(picture, (width, height))
    )
    said = ", ".join(filter(None, (made_grey, prepared.said)))
    return Prepared(prepared.image, said)


def in_colour(picture: Image.Image) -> bool:
    """Whether a picture of mode L or RGB has a pixel that is not grey."""
    levels = np.asarray(picture)
    return levels.ndim == 3 and bool((levels != levels[..., :1]).any())


def open_picture(path: str | os.PathLike[str]) -> Image.Image:
    """A still picture, turned as Exif says, of mode L or RGB.

    What is transparent lies on white paper; 16 bits become 8.  A large JPEG is
    decoded at a part of its size.

    Raises:
        DataError: no such file, no image, or a damaged, huge or animated one.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the one error below is enough
            with Image.open(path) as opened:
                # A phone's MPO holds a second picture, but is no animation.
                frames = getattr(opened, "n_frames", 1)
                if frames > 1 and opened.format != "MPO":
                    raise ValueError(f"it has {frames} frames; save one of them")
                width = opened.width
                opened.draft(None, (_WORKING, _WORKING))
                reduced = round(width / opened.width)
                if opened.width * opened.height > MAX_PIXELS:
                    raise ValueError(_too_large(opened.width, opened.height))
                opened.load()
                picture = ImageOps.exif_transpose(opened)
            picture = _as_grey_or_colour(picture)
            picture.info[_REDUCED] = reduced
            return picture
    except Image.DecompressionBombError:
        raise DataError(f"cannot read image {path}: {_too_large()}") from None
    except UnidentifiedImageError:
        raise DataError(f"cannot read image {path}: it is no image inside") from None
    except Exception as error:  # on damaged files Pillow's decoders raise anything
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"cannot read image {path}: {' '.join(str(reason).split()).lower()}"
        ) from None


def _too_large(width: int = 0, height: int = 0) -> str:
    has = f"it has {width} x {height} pixels, and" if width else "it is too large:"
    return f"{has} at most {MAX_PIXELS // 10**6} million are read; scale it down"


def _as_grey_or_colour(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if picture.mode.startswith(("I", "F")):
        levels = np.asarray(picture, np.float64)
        levels = levels / (1.0 if levels.max() <= 1 else 65535.0)
        return Image.fromarray(np.rint(levels.clip(0, 1) * 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture)
    return picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")


def _has_black_border(images: Images) -> bool:
    """Of grey images (n, height, width), on the whole."""
    sides = images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]
    return bool(np.concatenate([s.ravel() for s in sides]).mean() < 255 * _BLACK)


def _photograph(picture: Image.Image, size: tuple[int, int]) -> Prepared:
    """The largest middle part of a picture that has the aspect ratio of a size."""
    from PIL.Image import Resampling

    share = min(picture.width / size[0], picture.height / size[1])
    width, height = (round(side * share) for side in size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    middle = picture.crop((left, top, left + width, top + height))
    original = _size_in_file(picture)
    scale = original[0] / picture.width
    said = f"the middle {round(scale * width)}x{round(scale * height)}"
    return Prepared(
        np.asarray(middle.resize(size, Resampling.LANCZOS)),
        f"{said} of {original[0]}x{original[1]}",
    )


def _size_in_file(picture: Image.Image) -> tuple[int, int]:
    """Width and height before `open_picture` decoded at a part of them."""
    reduced = picture.info.get(_REDUCED, 1)
    return picture.width * reduced, picture.height * reduced


def _stroke_image(picture: Image.Image, side: int) -> Prepared:
    """The one digit of a grey picture, as MNIST shows it: uint8 (side, side)."""
    from PIL import Image

    original = _size_in_file(picture)
    picture = picture.copy()
    picture.thumbnail((_WORKING, _WORKING), Image.Resampling.BOX)
    ink, dark = _ink(picture)
    strength = float(np.quantile(ink, _STRONGEST))
    grain = 1.4826 * float(np.median(abs(ink - np.median(ink))))  # a deviation
    if strength < max(_LEAST_CONTRAST, _NOISES * grain):
        raise UsageError("shows no digit: nothing stands out from the background")
    mark, labels, cell = _digit(ink > _INK * strength)
    top, left, bottom, right = (
        cell * edge for edge in (mark.top, mark.left, mark.bottom, mark.right)
    )
    own = np.isin(labels[mark.top : mark.bottom, mark.left : mark.right], mark.labels)
    own = own.repeat(cell, axis=0).repeat(cell, axis=1)
    strokes = ink[top:bottom, left:right]
    strokes = strokes * own[: strokes.shape[0], : strokes.shape[1]] / strength
    # MNIST's strokes are white through and through: only their edges are grey.
    crisp = ((strokes - (_INK - 0.15)) / 0.3).clip(0, 1)
    rows, columns = (np.flatnonzero(crisp.any(axis=axis)) for axis in (1, 0))
    crisp = crisp[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    boxed, thickened = _boxed(crisp, round(_BOX * side))
    top, left = top + rows[0], left + columns[0]
    scale = original[0] / picture.width
    width, height = (round(scale * length) for length in crisp.shape[::-1])
    said = [
        "inverted" if dark else "",
        f"cropped {width}x{height} at {round(scale * left)},{round(scale * top)}",
        "thickened" if thickened else "",
    ]
    return Prepared(_centred(boxed, side), ", ".join(filter(None, said)))


def _ink(picture: Image.Image) -> tuple[Grey, bool]:
    """How far each pixel stands out from the paper around it, and whether darker.

    The paper is the median of a wide neighbourhood: blind to strokes, but not to
    shadows.  What stands out is a share of the paper's own brightness.
    """
    from PIL import Image, ImageFilter

    small = picture.copy()
    small.thumbnail((_LIGHT_SIDE, _LIGHT_SIDE), Image.Resampling.BOX)
    window = 2 * (max(small.size) // 6) + 1
    paper = small.filter(ImageFilter.MedianFilter(window))
    paper = paper.resize(picture.size, Image.Resampling.BILINEAR)
    level, light = (np.asarray(x, np.float32) / 255 for x in (picture, paper))
    difference = level - light
    faint, bright = np.quantile(difference, [1 - _STRONGEST, _STRONGEST])
    dark = bool(-faint >= bright)
    ink = -difference / light.clip(0.1) if dark else difference / (1 - light).clip(0.1)
    return ink.clip(0, 1).astype(np.float32), dark


def _digit(mask: NDArray[np.bool_]) -> tuple[_Mark, NDArray[np.int64], int]:
    """The strokes that form the one digit of a mask.

    Returns:
        the mark, the labels of all pieces in cells, and a cell's side in pixels.
    """
    cell = -(-max(mask.shape) // _LABEL_SIDE)
    padded = np.pad(mask, [(0, -length % cell) for length in mask.shape])
    rows, columns = (length // cell for length in padded.shape)
    cells = padded.reshape(rows, cell, columns, cell).max(axis=(1, 3))
    labels = connected(cells.astype(bool))
    marks = _marks(labels)
    # Table edges and fingers come in from outside, digits stand free.
    free = [
        mark
        for mark in marks
        if min(mark.top, mark.left) > 0 and mark.bottom < rows and mark.right < columns
    ]
    digits = _grouped(free or marks)
    largest = digits[0]
    others = [mark for mark in digits[1:] if mark.area >= _SPECK * largest.area]
    height, width = largest.bottom - largest.top, largest.right - largest.left
    if others or width > _WIDEST * height:
        count = f"{1 + len(others)} digits or more" if others else "several digits"
        raise UsageError(f"shows {count}; crop it to one")
    return largest, labels, cell


def _marks(labels: NDArray[np.int64]) -> list[_Mark]:
    """The pieces with labels 1, 2, ..., the largest first, dirt left out."""
    areas = np.bincount(labels.ravel())[1:]
    rows, columns = np.nonzero(labels)
    of = labels[rows, columns] - 1
    top, left = (np.full(len(areas), labels.size) for _ in range(2))
    bottom, right = (np.zeros(len(areas), int) for _ in range(2))
    np.minimum.at(top, of, rows)
    np.minimum.at(left, of, columns)
    np.maximum.at(bottom, of, rows + 1)
    np.maximum.at(right, of, columns + 1)
    corners = zip(
        top.tolist(), left.tolist(), bottom.tolist(), right.tolist(), strict=True
    )
    marks = [
        _Mark(*corner, area, (label,))
        for label, (corner, area) in enumerate(
            zip(corners, areas.tolist(), strict=True), start=1
        )
    ]
    marks = [mark for mark in marks if mark.area >= _DUST * areas.max()]
    return sorted(marks, key=lambda mark: -mark.area)


def _grouped(marks: Sequence[_Mark]) -> list[_Mark]:
    """Pieces close enough to each other as one, the largest first."""
    groups: list[_Mark] = []
    for mark in marks:
        grown, apart = mark, groups
        while True:
            near = [
                g for g in apart if g.gap(grown) <= _JOINED * max(g.side, grown.side)
            ]
            if not near:
                break
            apart = [g for g in apart if g not in near]
            for group in near:
                grown = group.joined(grown)
        groups = [*apart, grown]
    return sorted(groups, key=lambda mark: -mark.area)


def connected(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Label the connected pieces of a mask, diagonal neighbours included.

    Returns:
        int64, of the mask's shape: 0 outside, 1, 2, ... inside.

    Source: union-find over runs, as in Wu, Otoo and Suzuki (2009).
    """
    parent: list[int] = []

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    runs: list[tuple[int, int, int]] = []  # row, first column, column after the last
    above: list[int] = []
    for row, line in enumerate(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)):
        edges = np.flatnonzero(np.diff(line)).reshape(-1, 2)
        here = []
        for first, last in edges.tolist():
            run = len(runs)
            runs.append((row, first, last))
            parent.append(run)
            here.append(run)
            for other in above:
                if runs[other][1] <= last and runs[other][2] >= first:
                    parent[root(other)] = root(run)
        above = here
    labels = np.zeros(mask.shape, np.int64)
    numbers: dict[int, int] = {}
    for run, (row, first, last) in enumerate(runs):
        labels[row, first:last] = numbers.setdefault(root(run), len(numbers) + 1)
    return labels


def _boxed(strokes: Grey, box: int) -> tuple[Grey, bool]:
    """Strokes scaled to fit a box, and whether they had to be made thicker."""
    from PIL import Image, ImageFilter

    picture = Image.fromarray(np.rint(strokes * 255).astype(np.uint8))
    least = _THINNEST * max(picture.size)
    lacking = least - float(thickness(np.asarray(picture)[None])[0])
    grow = max(0, math.ceil(lacking / 2 - 0.25))
    if grow:
        wider, higher = (side + 2 * grow for side in picture.size)
        around = Image.new("L", (wider, higher))
        around.paste(picture, (grow, grow))
        picture = around.filter(ImageFilter.MaxFilter(2 * grow + 1))
    share = box / max(picture.size)
    width, height = (max(1, round(share * side)) for side in picture.size)
    scaled = picture.resize((width, height), Image.Resampling.LANCZOS)
    levels = np.asarray(scaled, np.float32)
    return levels / levels.max(), bool(grow)


def _centred(strokes: Grey, side: int) -> Images:
    """Strokes on black with their centre of mass in the middle."""
    image = np.zeros((side, side), np.uint8)
    corner = []
    for axis, length in enumerate(strokes.shape):
        mass = strokes.sum(axis=1 - axis)
        centre = float(mass @ np.arange(length) / mass.sum())
        corner.append(int(np.clip(round(side / 2 - centre), 0, side - length)))
    top, left = corner
    height, width = strokes.shape
    image[top : top + height, left : left + width] = np.rint(strokes * 255)
    return image
