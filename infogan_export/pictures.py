"""Pictures of a model: sweeps along one or two codes, and plain samples.

>>> from infogan_export import load
>>> from infogan_export.pictures import grid_sheet
>>> grid_sheet(load("mnist"), ["digit", "slant"], labels=True).save("grid.png")
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infogan_export.catalog import GOLDEN
from infogan_export.errors import CodeError, UsageError
from infogan_export.latent import CategoricalCode, Code, Latents, LatentSpec
from infogan_export.limits import require_memory
from infogan_export.record import make_record, sample_record
from infogan_export.render.files import Target, save_image
from infogan_export.render.pictures import Picture
from infogan_export.render.sheet import contact_sheet
from infogan_export.runtime import Model, load
from infogan_export.traversal import sweep_values, traverse, traverse_two

if TYPE_CHECKING:
    from infogan_export.subjects import Subjects

Range = tuple[float, float]

_ROWS = 10
WIDTH = 640  # pixels, what a sheet is enlarged to unless told otherwise
_MAX_SCALE = 8
_GOLDEN_STEPS = 5


@dataclass(frozen=True)
class Sheet:
    """A picture, the latents of its images, and the record of how it was made.

    Attributes:
        image: uint8, (H, W) or (H, W, 3).
        latents: float32, (n, dim), one row of images after another.
        record: what the file will say of itself.
    """

    image: Picture
    latents: Latents
    record: Mapping[str, object]

    @property
    def summary(self) -> str:
        """What it is, in half a line."""
        height, width = self.image.shape[:2]
        count, name = len(self.latents), self.record["model"]
        return f"{count} images of {name}, {width} x {height} pixels"

    def save(self, target: Target) -> None:
        """Write it with its record; arguments and errors as `save_image`."""
        save_image(self.image, target, provenance=self.record)


@dataclass(frozen=True)
class Sweep:
    """A code to vary, and the values it goes through."""

    code: Code
    values: NDArray[Any]

    @property
    def name(self) -> str:
        """The code's own name."""
        return self.code.name

    @property
    def labels(self) -> list[str]:
        """What each value is called."""
        if isinstance(self.code, CategoricalCode):
            return [self.code.label(int(value)) for value in self.values]
        return [f"{round(float(value), 2) + 0.0:g}" for value in self.values]


def grid_sheet(
    model: Model,
    vary: Sequence[str] = (),
    *,
    ranges: Sequence[Range] = (),
    steps: Sequence[int] = (),
    codes: Mapping[str, ArrayLike] | None = None,
    rows: int | None = None,
    seed: int = 0,
    start: int = 0,
    scale: int | None = None,
    padding: int = 2,
    labels: bool = False,
    subjects: Subjects | None = None,
) -> Sheet:
    """Sweep one code across the columns, or two codes along the two axes.

    Args:
        model: what draws.
        vary: a code's name: each row is another draw of all else, each column a
            value of the code.  Two names: the first goes down, the second across,
            and all else is one draw.  Without any, the first code not set.
        ranges: where a sweep begins and ends; one, or one for each code.
        steps: values in a sweep; one, or one for each code.
        codes: other codes to set, by name.
        rows: draws of all else, 10 unless two codes vary.
        seed: of those draws.
        start: the index of the first of them.
        scale: whole factor of enlargement; by default to about 640 pixels.
        padding: pixels around each image.
        labels: write the values along the axes.
        subjects: real images that stand in for the draws, each a row.

    Raises:
        UsageError: an unknown code, an empty range, a picture too large for
            memory, or options that do not go together.

    Source: Chen et al. (2016), figure 2.
    """
    spec = model.spec
    spec.require_single(codes or {})
    names = names_to_vary(spec, vary, codes or {})
    if len(names) > 2:
        raise UsageError(
            f"a grid has two axes, got {len(names)} codes to vary; a gif takes them all"
        )
    if len(names) == 2 and rows not in (None, 1):
        raise UsageError("with two codes to vary the rows are the first code's values")
    count = 1 if len(names) == 2 else _ROWS if rows is None else rows
    if subjects is not None:
        require_subjects(subjects, 1 if len(names) == 2 else rows, seed, start)
        count = len(subjects)
    require_count("rows", count)
    for number in steps:  # before any array of that length is made
        require_picture(model, count, number, scale or 1, padding)
    sweeps = plan_sweeps(spec, names, ranges, steps)
    columns = len(sweeps[-1].values)
    down = len(sweeps[0].values) if len(sweeps) == 2 else count
    enlarged = fitting_scale(model, columns, WIDTH) if scale is None else scale
    require_picture(model, down, columns, enlarged, padding)

    base = spec.assign(
        subjects.latents if subjects else spec.sample(count, seed=seed, start=start),
        codes or {},
    )
    pairs = [(sweep.name, sweep.values) for sweep in sweeps]
    latents = (
        traverse_two(base, spec, pairs[0], pairs[1])
        if len(pairs) == 2
        else traverse(base, spec, *pairs[0])
    )
    image = contact_sheet(
        model.draw(latents),
        columns=columns,
        scale=enlarged,
        padding=padding,
        row_labels=sweeps[0].labels if labels and len(sweeps) == 2 else None,
        column_labels=sweeps[-1].labels if labels else None,
        title=_title(names) if labels else None,
    )
    options = {
        "vary": names,
        "range": [list(map(float, ends)) for ends in ranges],
        "steps": list(steps),
        "set": dict(codes or {}),
        "rows": None if len(sweeps) == 2 else count,
        "scale": enlarged,
        "padding": padding,
        "labels": labels,
        "start": start or None,
        **subject_options(subjects),
    }
    record = make_record(
        "grid",
        model,
        seed=None if subjects else seed,
        options=options,
        latents=latents,
        about=subjects.record if subjects else {},
    )
    return Sheet(image, latents, record)


def sample_sheet(
    model: Model,
    count: int = 64,
    *,
    codes: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    start: int = 0,
    columns: int | None = None,
    scale: int | None = None,
    padding: int = 2,
    labels: bool = False,
) -> Sheet:
    """Samples of the prior on one sheet, row after row.

    Args:
        model: what draws.
        count: how many.
        codes: codes to set, by name.
        seed: image i of a seed is the same whatever the count.
        start: the index of the first image.
        columns: images in a row; by default as many as rows, or one more.
        scale: whole factor of enlargement; by default to about 640 pixels.
        padding: pixels around each image.
        labels: write on the left the index of each row's first image, and on top
            what is to be added to it.

    Raises:
        UsageError: a count or option out of range, an unknown code, or a
            picture too large for memory.
    """
    require_count("count", count)
    model.spec.require_single(codes or {})
    across = math.isqrt(count - 1) + 1 if columns is None else columns
    require_count("columns", across)
    enlarged = fitting_scale(model, across, WIDTH) if scale is None else scale
    require_picture(model, -(-count // across), across, enlarged, padding)
    latents = model.spec.assign(
        model.spec.sample(count, seed=seed, start=start), codes or {}
    )
    firsts = range(start, start + count, across)
    image = contact_sheet(
        model.draw(latents),
        columns=across,
        scale=enlarged,
        padding=padding,
        row_labels=list(map(str, firsts)) if labels else None,
        column_labels=[f"+{k}" for k in range(across)] if labels else None,
    )
    record = sample_record(
        model,
        count,
        codes=codes or {},
        seed=seed,
        start=start,
        latents=latents,
        columns=across,
        scale=enlarged,
        padding=padding,
        labels=labels,
    )
    return Sheet(image, latents, record)


def golden_sheet(model: Model) -> Picture:
    """The fixed picture that a model is checked against.

    A row for each category of the first categorical code (or four rows, and at
    least one for each uniform code), each with its own noise of seed 0; across,
    the image itself and five values of a uniform code: these take turns.

    Returns:
        uint8, (H, W) or (H, W, 3).
    """
    spec = model.spec
    kinds = spec.categorical[:1]
    rows = max(kinds[0].size if kinds else 4, len(spec.uniform))
    categories = {c.name: np.arange(rows) % c.size for c in kinds}
    base = spec.assign(spec.sample(rows), categories)
    latents = np.repeat(base[:, None], 1 + _GOLDEN_STEPS * bool(spec.uniform), axis=1)
    for row, code in zip(range(rows), cycle(spec.uniform), strict=False):
        values = code.sweep(_GOLDEN_STEPS)
        latents[row, 1:] = traverse(base[row : row + 1], spec, code.name, values)
    images = model.draw(latents.reshape(-1, spec.dim))
    return contact_sheet(images, columns=latents.shape[1], padding=0)


def write_golden(folder: str | os.PathLike[str]) -> Path:
    """Draw the golden picture of a model's folder into it, and say where.

    Raises:
        UsageError, ModelError: the folder holds no model, or a damaged one.
        OutputError: it cannot be written.
    """
    path = Path(folder) / GOLDEN
    save_image(golden_sheet(load(folder)), path)
    return path


def names_to_vary(
    spec: LatentSpec, vary: Sequence[str], codes: Mapping[str, ArrayLike]
) -> list[str]:
    """The names of the codes to vary, without aliases.

    Args:
        spec: the model's latent layout.
        vary: as the user named them; without any, the first code that is not set.
        codes: codes that are set.

    Raises:
        CodeError: an unknown code, one named twice, one that is also set, or none.
    """
    held = {spec[name].name for name in codes}
    free = [code.name for code in spec.codes if code.name not in held]
    names = [spec[name].name for name in vary] or free[:1]
    if not names:
        raise CodeError("no code is left to vary: this model has none, or all are set")
    for name in names:
        if names.count(name) > 1:
            raise CodeError(f"code {name!r} is to be varied twice")
        if name in held:
            raise CodeError(f"code {name!r} is to be varied, and set as well")
    return names


def plan_sweeps(
    spec: LatentSpec,
    names: Sequence[str],
    ranges: Sequence[Range],
    steps: Sequence[int],
) -> list[Sweep]:
    """The values that each code goes through.

    One range (or number of steps) is for every uniform code among ``names``, or
    for all when none is; several are one for each code, in order.

    Raises:
        UsageError: too many or too few of them, or as `sweep_values`.
    """
    ends = _share_out("range", spec, names, ranges)
    numbers = _share_out("steps", spec, names, steps)
    return [
        Sweep(
            spec[name],
            sweep_values(
                spec,
                name,
                steps=number,
                low=None if end is None else end[0],
                high=None if end is None else end[1],
            ),
        )
        for name, end, number in zip(names, ends, numbers, strict=True)
    ]


def require_subjects(
    subjects: Subjects, count: int | None, seed: int, start: int
) -> None:
    """Refuse options that are for draws, where real images stand in for those.

    Raises:
        UsageError: another count of them, a seed or a start.
    """
    if count not in (None, len(subjects)):
        raise UsageError(
            f"with --from the samples are the images: {len(subjects)}, not {count}"
        )
    if seed or start:
        raise UsageError("with --from nothing is drawn by chance: no --seed or --start")


def subject_options(subjects: Subjects | None) -> dict[str, object]:
    """The options of a record that say from which real images it was made."""
    if subjects is None:
        return {}
    return {"from": list(subjects.paths), **subjects.options}


def _title(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} down, {names[1]} across"


def fitting_scale(model: Model, columns: int, width: int) -> int:
    """The whole factor that enlarges a row of images to about ``width`` pixels."""
    across = columns * model.image_shape[2]
    return min(max(1, round(width / across)), _MAX_SCALE)


def require_count(name: str, value: int) -> None:
    """Refuse a number of things below 1.

    Raises:
        UsageError: it is.
    """
    if value < 1:
        raise UsageError(f"{name} must be at least 1, got {value}")


def _share_out(
    what: str, spec: LatentSpec, names: Sequence[str], given: Sequence[Any]
) -> list[Any]:
    """One of ``given`` for each name, None where there is none for it."""
    if len(given) > 1 and len(given) != len(names):
        raise UsageError(
            f"give one {what} for all codes or one for each of the {len(names)} "
            f"to vary, got {len(given)}"
        )
    if len(given) == len(names):
        return list(given)
    if not given:
        return [None] * len(names)
    uniform = [name for name in names if not isinstance(spec[name], CategoricalCode)]
    return [given[0] if name in (uniform or names) else None for name in names]


def require_picture(
    model: Model, rows: int, columns: int, scale: int, padding: int
) -> None:
    """Refuse, before any work, a sheet that would not fit into memory.

    Raises:
        UsageError: it would not.
    """
    channels, height, width = model.image_shape
    cell = (height * scale + padding) * (width * scale + padding) * channels
    # float32 and uint8 images, latents and their copies, and the sheet twice.
    each = 5 * channels * height * width + 12 * model.spec.dim + 2 * cell
    require_memory(
        rows * columns * each,
        purpose=f"a sheet of {rows:,} x {columns:,} images",
        advice="ask for fewer, or let `infogan-gen sample -o FILE.npy` stream them",
    )
