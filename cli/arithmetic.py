"""``infogan-gen arithmetic``."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import (
    PICTURE_FILE,
    ModelName,
    Padding,
    Scale,
    Seed,
    Show,
    output_option,
    parse_images,
    parse_settings,
)
from .output import chosen_output, save, show_picture


def arithmetic(
    model: ModelName = "mnist",
    plus: Annotated[
        list[str] | None,
        typer.Option(
            help="Images whose mean is added: their indices in the seed, such as "
            "1,5,7 or 0..2, as `sample` draws them; repeated.",
            metavar="IMAGES",
        ),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option(
            help="Images whose mean is taken away; one fewer than --plus.",
            metavar="IMAGES",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            help="Draw the last images added once more with this code set: the same "
            "change in one step; may be repeated.",
            metavar="CODE=VALUE",
        ),
    ] = None,
    noise: Annotated[
        float,
        typer.Option(help="Half-width of the noise on z around the result."),
    ] = 0.25,
    seed: Seed = 0,
    scale: Scale = None,
    padding: Padding = 2,
    output: Annotated[str | None, output_option(PICTURE_FILE, "arithmetic.png")] = None,
    show: Show = False,
) -> None:
    """Draw A - B + C of latents: what is in A and not in B, added to C.

    Each term is the mean of some images of the seed, and stands in a column over
    its mean; the result is in the middle of eight with a little noise around it.

    Example: infogan-gen arithmetic --plus 1,5,7 --minus 0..2 --plus 4,6,8 --seed 1
    """
    from infogan_export.equations import arithmetic_sheet
    from infogan_export.render.files import IMAGE_ENDINGS
    from infogan_export.runtime import load

    target = chosen_output(output, "arithmetic.png", show=show, endings=IMAGE_ENDINGS)
    sheet = arithmetic_sheet(
        load(model),
        [parse_images(text) for text in plus or ()],
        [parse_images(text) for text in minus or ()],
        codes=parse_settings(settings),
        seed=seed,
        noise=noise,
        scale=scale,
        padding=padding,
    )
    if show:
        show_picture(sheet.image)
    save(sheet.save, target, sheet.summary)
