"""``infogan-gen sample``."""

from __future__ import annotations

from typing import Annotated

import typer

from infogan_export.errors import UsageError

from .options import (
    ModelName,
    Padding,
    Scale,
    Seed,
    Settings,
    Show,
    Start,
    output_option,
    parse_settings,
)
from .output import STDOUT, ProgressBar, chosen_output, save, say, show_picture


def sample(
    model: ModelName = "mnist",
    count: Annotated[
        int, typer.Option("--count", "-n", help="How many images to draw.")
    ] = 64,
    settings: Settings = None,
    seed: Seed = 0,
    start: Start = 0,
    columns: Annotated[
        int | None,
        typer.Option(
            help="Images in a row of the sheet.",
            show_default="a square",
        ),
    ] = None,
    scale: Scale = None,
    padding: Padding = 2,
    labels: Annotated[
        bool,
        typer.Option("--labels", help="Write the images' indices along the axes."),
    ] = False,
    output: Annotated[
        str | None,
        output_option(
            "A sheet (.png, .jpg, .webp; - is stdout), a FOLDER/ of PNGs, .npz "
            "with images and latents, or .npy, a stream of any length.",
            "sample.png",
        ),
    ] = None,
    show: Show = False,
) -> None:
    """Draw samples: a sheet, files in a folder, or an array.

    Example: infogan-gen sample --count 100000 --set digit=7 -o sevens.npy
    """
    from infogan_export.pictures import sample_sheet
    from infogan_export.runtime import load
    from infogan_export.sample_files import ENDINGS, stream_writer

    if output == "":
        raise UsageError("-o names no file")
    codes = parse_settings(settings)
    write = None if output in (None, STDOUT) else stream_writer(str(output))
    if write is not None:
        if show or labels or (columns, scale, padding) != (None, None, 2):
            raise UsageError(
                "--show, --columns, --scale, --padding and --labels are for a sheet "
                "(.png)"
            )
        with ProgressBar(count, str(output)) as advance:
            write(
                load(model),
                str(output),
                count,
                codes=codes,
                seed=seed,
                start=start,
                on_progress=advance,
            )
        say(f"{output}: {count:,} images")
        return
    target = chosen_output(output, "sample.png", show=show, endings=ENDINGS)
    sheet = sample_sheet(
        load(model),
        count,
        codes=codes,
        seed=seed,
        start=start,
        columns=columns,
        scale=scale,
        padding=padding,
        labels=labels,
    )
    if show:
        show_picture(sheet.image)
    save(sheet.save, target, sheet.summary)
