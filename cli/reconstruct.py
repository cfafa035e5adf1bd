"""``infogan-gen reconstruct``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infogan_export.errors import UsageError

from .options import (
    PICTURE_FILE,
    AsJson,
    Inside,
    Iterations,
    Labels,
    ModelName,
    Padding,
    Prepare,
    Scale,
    Show,
    Tolerance,
    output_option,
)
from .output import STDOUT, chosen_output, print_json, save, show_picture
from .subjects import read_from


def reconstruct(
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files of any kind.", metavar="IMAGE"),
    ],
    model: ModelName = "mnist",
    prepare: Prepare = True,
    iterations: Iterations = 12,
    tolerance: Tolerance = 1e-3,
    inside: Inside = True,
    scale: Scale = None,
    padding: Padding = 2,
    labels: Labels = False,
    as_json: AsJson = False,
    output: Annotated[
        str | None, output_option(PICTURE_FILE, "reconstruct.png")
    ] = None,
    show: Show = False,
) -> None:
    """Draw images again from latents, and tell how well that went.

    A row for each: the image as the model sees it, the first guess, and that
    refined.  The error is the mean squared one, of pixels from 0 to 1.

    Example: infogan-gen reconstruct four.jpg seven.png -o again.png
    """
    from infogan_export.editing import reconstruction_sheet
    from infogan_export.inversion import Refinement
    from infogan_export.render.files import IMAGE_ENDINGS
    from infogan_export.runtime import load
    from infogan_export.subjects import to_rows

    target = chosen_output(output, "reconstruct.png", show=show, endings=IMAGE_ENDINGS)
    if as_json and (show or target == STDOUT):
        raise UsageError("--json wants stdout for itself: no --show or -o -")
    refinement = Refinement(iterations, tolerance, inside)
    loaded = load(model)
    subjects = read_from(loaded, images, prepare=prepare, refinement=refinement)
    sheet = reconstruction_sheet(
        loaded, subjects, scale=scale, padding=padding, labels=labels
    )
    if show:
        show_picture(sheet.image)
    rows = to_rows(loaded, subjects)
    if as_json:
        assert target is not None
        sheet.save(target)
        print_json(rows)
        return
    save(sheet.save, target, sheet.summary)
    if target != STDOUT:
        from .tables import print_reconstructions

        print_reconstructions(rows)
