"""``infogan-gen edit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    PICTURE_FILE,
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
    parse_edits,
)
from .output import chosen_output, save, show_picture
from .subjects import read_from


def edit(
    image: Annotated[
        Path, typer.Argument(help="Image file of any kind.", metavar="IMAGE")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            help="Set a code (digit=7, slant=-0.5), or move it from where it is "
            "(slant=+0.5, slant+=0.5, slant-=0.5); may be repeated.",
            metavar="CODE=VALUE",
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(help="Code to go through: one image for each of its values."),
    ] = None,
    model: ModelName = "mnist",
    prepare: Prepare = True,
    iterations: Iterations = 12,
    tolerance: Tolerance = 1e-3,
    inside: Inside = True,
    scale: Scale = None,
    padding: Padding = 2,
    labels: Labels = False,
    output: Annotated[str | None, output_option(PICTURE_FILE, "edit.png")] = None,
    show: Show = False,
) -> None:
    """Read an image's codes, change some, and draw it again.

    The strip shows the image as the model sees it, the same drawn again, and then
    the edited one, or one for each value.

    Example: infogan-gen edit four.jpg --every digit --set slant=+0.5 -o hand.png
    """
    from infogan_export.editing import edit_sheet
    from infogan_export.inversion import Refinement
    from infogan_export.render.files import IMAGE_ENDINGS
    from infogan_export.runtime import edited, load

    target = chosen_output(output, "edit.png", show=show, endings=IMAGE_ENDINGS)
    codes, moves = parse_edits(settings)
    refinement = Refinement(iterations, tolerance, inside)
    loaded = load(model)
    loaded.spec.require_single(codes)
    edited(loaded.spec, loaded.latents(1), codes, moves)  # refused before the work
    subject = read_from(loaded, [image], prepare=prepare, refinement=refinement)
    sheet = edit_sheet(
        loaded,
        subject,
        codes=codes,
        moves=moves,
        every=every,
        scale=scale,
        padding=padding,
        labels=labels,
    )
    if show:
        show_picture(sheet.image)
    save(sheet.save, target, sheet.summary)
