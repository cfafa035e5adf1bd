"""``infogan-gen web``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import say


def web(
    out: Annotated[Path, typer.Argument(help="Folder to write.", metavar="OUT")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Model, by name or path; may be repeated.",
            show_default="mnist",
            metavar="NAME|PATH",
        ),
    ] = None,
    ort: Annotated[
        Path | None,
        typer.Option(
            help="Folder with onnxruntime-web's files, to copy for use offline.",
            show_default="a public CDN",
            metavar="DIR",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write into a folder that is not empty."),
    ] = False,
) -> None:
    """Write the explorer as static files: the model runs in the visitor's browser.

    Any web server can give them away; there is nothing to run on it.

    Example: infogan-gen web site/ --model mnist
    """
    from infogan_export.limits import readable
    from infogan_export.web.site import write_site

    size = write_site(out, model or ["mnist"], ort=ort, force=force)
    say(f"{out}: a site of {readable(size)}")
