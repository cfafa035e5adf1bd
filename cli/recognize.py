"""``infogan-gen recognize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infogan_export.errors import UsageError

from .options import AsJson, ModelName
from .output import print_json, tell


def recognize(
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files of any kind.", metavar="IMAGE"),
    ],
    model: ModelName = "mnist",
    resize: Annotated[
        bool,
        typer.Option(
            "--resize", help="Stretch images to the model's size, and do no more."
        ),
    ] = False,
    prepare: Annotated[
        bool | None,
        typer.Option(
            "--prepare/--no-prepare",
            help="Bring a picture to what the model knows, as `edit` does.",
            show_default="unless --resize",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read the codes of images: the recognition network's Q(c|x).

    Example: infogan-gen recognize seven.png --json
    """
    from infogan_export.preparation import prepare_files
    from infogan_export.readings import read_image_files, to_rows
    from infogan_export.runtime import load

    if resize and prepare:
        raise UsageError("--resize stretches, --prepare crops; give one of them")
    loaded = load(model)
    if resize or prepare is False:
        read = loaded.recognize(read_image_files(images, loaded, resize=resize))
    else:
        prepared = prepare_files(images, loaded)
        for path, each in zip(images, prepared, strict=True):
            if each.said:
                tell(f"{path}: {each.said}")
        read = loaded.recognize([each.image for each in prepared])
    rows = to_rows(read, [str(path) for path in images])
    if as_json:
        print_json(rows)
        return
    from .tables import print_readings

    print_readings(rows)
