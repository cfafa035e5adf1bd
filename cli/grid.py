"""``infogan-gen grid``."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import (
    PICTURE_FILE,
    From,
    ModelName,
    Padding,
    Prepare,
    Ranges,
    Scale,
    Seed,
    Settings,
    Show,
    Start,
    Vary,
    output_option,
    parse_ranges,
    parse_settings,
)
from .output import chosen_output, save, show_picture
from .subjects import read_from


def grid(
    model: ModelName = "mnist",
    vary: Vary = None,
    ranges: Ranges = None,
    steps: Annotated[
        list[int] | None,
        typer.Option(
            help="Values in a sweep; once, or once for each code.",
            show_default="11, or all categories",
            metavar="N",
        ),
    ] = None,
    settings: Settings = None,
    rows: Annotated[
        int | None,
        typer.Option(
            help="Rows, each with other noise, when one code varies.",
            show_default="10",
        ),
    ] = None,
    images: From = None,
    prepare: Prepare = True,
    seed: Seed = 0,
    start: Start = 0,
    scale: Scale = None,
    padding: Padding = 2,
    labels: Annotated[
        bool,
        typer.Option("--labels", help="Write the values along the axes."),
    ] = False,
    output: Annotated[str | None, output_option(PICTURE_FILE, "grid.png")] = None,
    show: Show = False,
) -> None:
    """Draw a sheet: columns sweep a code, rows are other draws.

    All but the code is held fixed along a row.  With two codes to vary, the first
    goes down, the second across, and all else is one draw.  With --from, the draws
    are images of your own, read into latents.

    Example: infogan-gen grid --vary digit --vary slant --labels -o grid.png
    """
    from infogan_export.pictures import grid_sheet
    from infogan_export.render.files import IMAGE_ENDINGS
    from infogan_export.runtime import load

    target = chosen_output(output, "grid.png", show=show, endings=IMAGE_ENDINGS)
    loaded = load(model)
    sheet = grid_sheet(
        loaded,
        vary or (),
        ranges=parse_ranges(ranges),
        steps=steps or (),
        codes=parse_settings(settings),
        rows=rows,
        seed=seed,
        start=start,
        scale=scale,
        padding=padding,
        labels=labels,
        subjects=read_from(loaded, images, prepare=prepare) if images else None,
    )
    if show:
        show_picture(sheet.image)
    save(sheet.save, target, sheet.summary)
