"""``infogan-gen recognize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, ModelName
from .output import print_json


def recognize(
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files of any kind.", metavar="IMAGE"),
    ],
    model: ModelName = "mnist",
    resize: Annotated[
        bool,
        typer.Option("--resize", help="Bring images of another size to the model's."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read the codes of images: the recognition network's Q(c|x).

    Example: infogan-gen recognize seven.png --json
    """
    from infogan_export.readings import read_image_files, to_rows
    from infogan_export.runtime import load

    loaded = load(model)
    read = loaded.recognize(read_image_files(images, loaded, resize=resize))
    rows = to_rows(read, [str(path) for path in images])
    if as_json:
        print_json(rows)
        return
    from .tables import print_readings

    print_readings(rows)
