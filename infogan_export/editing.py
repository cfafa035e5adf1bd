"""Sheets of real images: drawn again, and with other codes.

>>> from infogan_export import load
>>> from infogan_export.editing import edit_sheet
>>> from infogan_export.subjects import read_subjects
>>> model = load("mnist")
>>> four = read_subjects(model, ["four.jpg"])
>>> edit_sheet(model, four, every="digit").save("hand.png")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from infogan_export.errors import CodeError, UsageError
from infogan_export.pictures import (
    WIDTH,
    Sheet,
    fitting_scale,
    plan_sweeps,
    require_picture,
)
from infogan_export.record import make_record
from infogan_export.render.sheet import contact_sheet
from infogan_export.runtime import Model, edited
from infogan_export.subjects import Subjects
from infogan_export.traversal import traverse


def edit_sheet(
    model: Model,
    subject: Subjects,
    *,
    codes: Mapping[str, ArrayLike] | None = None,
    moves: Mapping[str, float] | None = None,
    every: str | None = None,
    scale: int | None = None,
    padding: int = 2,
    labels: bool = False,
) -> Sheet:
    """A strip: the image, the same drawn again, and with other codes.

    Args:
        model: what draws.
        subject: one image.
        codes: codes to set, by name.
        moves: amounts by which to move uniform codes, by name.
        every: a code to go through: an image for each of its values.
        scale: whole factor of enlargement; by default to about 640 pixels.
        padding: pixels around each image.
        labels: write above each image what it is.

    Raises:
        UsageError: several images, an unknown code, a bad value, nothing to edit,
            or a picture too large for memory.
    """
    codes, moves, spec = codes or {}, moves or {}, model.spec
    if len(subject) != 1:
        raise UsageError(f"an edit is of one image, got {len(subject)}")
    if not (codes or moves or every):
        raise UsageError("nothing to edit: --set a code, or go through --every value")
    spec.require_single(codes)
    spec.require_single(moves)
    latents = edited(spec, subject.latents, codes, moves)
    names = ["edited"]
    if every is not None:
        sweep = plan_sweeps(spec, [every], (), ())[0]
        if sweep.name in {spec[name].name for name in (*codes, *moves)}:
            raise CodeError(f"code {every!r} goes through its values, and is set too")
        latents = traverse(latents, spec, every, sweep.values)
        names, every = sweep.labels, sweep.name
    latents = np.concatenate([subject.latents, latents])
    options = {
        "set": {**codes, **{f"{name}+": amount for name, amount in moves.items()}},
        "every": every,
    }
    return _sheet(
        model,
        subject,
        "edit",
        latents,
        ["image", "again", *names],
        options,
        scale=scale,
        padding=padding,
        labels=labels,
    )


def reconstruction_sheet(
    model: Model,
    subjects: Subjects,
    *,
    scale: int | None = None,
    padding: int = 2,
    labels: bool = False,
) -> Sheet:
    """A row for each image: itself, the first guess, and that refined.

    Raises:
        UsageError: an option out of range, or a picture too large for memory.
    """
    found = subjects.inversion
    latents = np.stack([found.first_latents, found.latents], axis=1)
    return _sheet(
        model,
        subjects,
        "reconstruct",
        latents.reshape(-1, model.spec.dim),
        ["image", "first guess", "refined"],
        {},
        scale=scale,
        padding=padding,
        labels=labels,
    )


def _sheet(
    model: Model,
    subjects: Subjects,
    command: str,
    latents: Any,
    names: list[str],
    options: Mapping[str, object],
    *,
    scale: int | None,
    padding: int,
    labels: bool,
) -> Sheet:
    """A row for each subject: its image, and what its latents draw."""
    rows, columns = len(subjects), len(names)
    enlarged = fitting_scale(model, columns, WIDTH) if scale is None else scale
    require_picture(model, rows, columns, enlarged, padding)
    drawn = model.draw(latents)
    drawn = drawn.reshape(rows, columns - 1, *drawn.shape[1:])
    cells = np.concatenate([subjects.images[:, None], drawn], axis=1)
    image = contact_sheet(
        cells.reshape(-1, *cells.shape[2:]),
        columns=columns,
        scale=enlarged,
        padding=padding,
        column_labels=names if labels else None,
    )
    options = {
        **options,
        **subjects.options,
        "scale": enlarged,
        "padding": padding,
        "labels": labels,
    }
    record = make_record(
        command,
        model,
        seed=None,
        options=options,
        latents=latents,
        arguments=subjects.paths,
        about=subjects.record,
    )
    return Sheet(image, latents, record)
