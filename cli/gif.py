"""``infogan-gen gif``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from infogan_export.errors import UsageError

from .options import (
    ANIMATION_FILE,
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
from .output import ProgressBar, chosen_output, play, save
from .subjects import read_from

if TYPE_CHECKING:
    from infogan_export.render.files import Target


def gif(
    model: ModelName = "mnist",
    vary: Vary = None,
    walk: Annotated[
        bool,
        typer.Option(
            "--walk",
            help="Walk through latent space instead of varying codes.",
        ),
    ] = False,
    stops: Annotated[
        int | None,
        typer.Option(
            help="Draws that a walk goes through.",
            show_default="5",
        ),
    ] = None,
    ranges: Ranges = None,
    settings: Settings = None,
    rows: Annotated[
        int | None,
        typer.Option(help="Rows of samples in a frame.", show_default="3"),
    ] = None,
    columns: Annotated[
        int | None,
        typer.Option(help="Columns of samples in a frame.", show_default="3"),
    ] = None,
    images: From = None,
    prepare: Prepare = True,
    seed: Seed = 0,
    start: Start = 0,
    loop: Annotated[
        str,
        typer.Option(
            help="`seamless` ends where it began, `ping-pong` runs there and back.",
            metavar="seamless|ping-pong",
        ),
    ] = "seamless",
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 20,
    seconds: Annotated[
        float,
        typer.Option(help="Length of the whole loop."),
    ] = 4,
    scale: Scale = None,
    padding: Padding = 2,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels",
            help="Write the moving code and its value below.",
        ),
    ] = False,
    output: Annotated[
        str | None, output_option(ANIMATION_FILE, "traversal.gif, or walk.gif")
    ] = None,
    show: Show = False,
) -> None:
    """Animate a grid of samples: codes that move in turn, or a walk.

    Example: infogan-gen gif --vary digit --vary slant --seconds 8 -o digits.gif
    """
    from infogan_export.animations import Film, traversal_animation, walk_animation
    from infogan_export.render.files import ANIMATION_ENDINGS
    from infogan_export.runtime import load

    default = "walk.gif" if walk else "traversal.gif"
    target = chosen_output(output, default, show=show, endings=ANIMATION_ENDINGS)
    codes, varied = parse_settings(settings), parse_ranges(ranges)
    across = len(images) if images else 3
    film = Film(
        (1 if images else 3) if rows is None else rows,
        across if columns is None else columns,
        loop,
        fps,
        seconds,
        scale,
        padding,
    )
    if walk:
        if images:
            raise UsageError("--walk goes through draws: no --from; see `morph`")
        if vary or varied or labels:
            raise UsageError("--walk moves all codes: no --vary, --range or --labels")
        animation = walk_animation(
            load(model),
            stops=5 if stops is None else stops,
            codes=codes,
            seed=seed,
            start=start,
            film=film,
        )
    else:
        if stops is not None:
            raise UsageError("--stops are those of a walk; add --walk")
        loaded = load(model)
        animation = traversal_animation(
            loaded,
            vary or (),
            ranges=varied,
            codes=codes,
            seed=seed,
            start=start,
            labels=labels,
            film=film,
            subjects=read_from(loaded, images, prepare=prepare) if images else None,
        )
    if show:
        play(animation.frames, fps=fps)

    def write(file: Target) -> None:
        with ProgressBar(animation.count, "frames") as advance:
            animation.save(file, on_frame=advance)

    save(write, target, animation.summary)
