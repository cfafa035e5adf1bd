"""``infogan-gen morph``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    ANIMATION_FILE,
    Inside,
    Iterations,
    ModelName,
    Padding,
    Prepare,
    Scale,
    Show,
    Tolerance,
    output_option,
)
from .output import ProgressBar, chosen_output, play, save
from .subjects import read_from

if TYPE_CHECKING:
    from infogan_export.render.files import Target


def morph(
    first: Annotated[Path, typer.Argument(help="Image to begin with.", metavar="A")],
    last: Annotated[Path, typer.Argument(help="Image to end with.", metavar="B")],
    loop: Annotated[
        bool,
        typer.Option("--loop", help="There and back without a seam, for ever."),
    ] = False,
    model: ModelName = "mnist",
    prepare: Prepare = True,
    iterations: Iterations = 12,
    tolerance: Tolerance = 1e-3,
    inside: Inside = True,
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 20,
    seconds: Annotated[float, typer.Option(help="Length of it all.")] = 3,
    scale: Scale = None,
    padding: Padding = 2,
    output: Annotated[str | None, output_option(ANIMATION_FILE, "morph.gif")] = None,
    show: Show = False,
) -> None:
    """Turn one image into another, through latent space.

    Example: infogan-gen morph four.jpg seven.png --loop -o morph.gif
    """
    from infogan_export.animations import Film, morph_animation
    from infogan_export.inversion import Refinement
    from infogan_export.render.files import ANIMATION_ENDINGS
    from infogan_export.runtime import load

    target = chosen_output(output, "morph.gif", show=show, endings=ANIMATION_ENDINGS)
    film = Film(fps=fps, seconds=seconds, scale=scale, padding=padding)
    refinement = Refinement(iterations, tolerance, inside)
    loaded = load(model)
    ends = read_from(loaded, [first, last], prepare=prepare, refinement=refinement)
    animation = morph_animation(loaded, ends, loop=loop, film=film)
    if show:
        play(animation.frames, fps=fps)

    def write(file: Target) -> None:
        with ProgressBar(animation.count, "frames") as advance:
            animation.save(file, on_frame=advance)

    save(write, target, animation.summary)
