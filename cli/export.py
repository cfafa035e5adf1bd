"""``infogan-gen export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infogan_export.errors import MissingExtraError, UsageError

from .data import AS_THEY_ARE, CHANNELS, SIZE, SKIP_BROKEN, read_split
from .options import parse_numbers
from .output import say, tell

if TYPE_CHECKING:
    from infogan_export.datasets import ImageSet


def export(
    run: Annotated[
        Path,
        typer.Argument(
            help="A run's folder, or its checkpoint; or the folder of a model that an "
            "older version exported.",
            metavar="RUN",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write; the name's by default, a model's own. An encoder's "
            "is that of the model that it inverts.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name; the run's by default.")
    ] = None,
    label_data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled images that order and name the categories, and measure "
            "recognition on their test split."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help=SIZE, show_default=AS_THEY_ARE)
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help=CHANNELS, show_default=AS_THEY_ARE)
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help=SKIP_BROKEN)
    ] = False,
    category_name: Annotated[
        str | None,
        typer.Option(
            help="What the labelled categories are, e.g. digit.",
            show_default="category",
        ),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(help="Classifier (.onnx) that says what a picture shows."),
    ] = None,
    storage: Annotated[
        str, typer.Option(help="How weights are stored: int16 or float32.")
    ] = "int16",
    description: Annotated[
        str, typer.Option(help="A sentence that `info` shows.")
    ] = "",
    licence: Annotated[
        str, typer.Option(help="Licence of the training images, for `info`.")
    ] = "",
    notice: Annotated[
        str,
        typer.Option(
            help="What users should know, of the people in the images for instance; "
            "a text or a file of one.",
            metavar="TEXT|FILE",
        ),
    ] = "",
    properties: Annotated[
        str | None,
        typer.Option(
            help="What uniform codes are measured by and named after: strokes, or "
            "photographs (of faces; with --label-data).",
            show_default="strokes",
        ),
    ] = None,
    reach: Annotated[
        list[str] | None,
        typer.Option(
            help="Let the traversals of a uniform code (cont1, as training calls it) "
            "end where training had it at VALUE, by stretching its values.",
            metavar="CODE=VALUE",
        ),
    ] = None,
) -> None:
    """Convert a trained run to ONNX, its codes named by measurement.

    An encoder's run adds encoder.onnx to its model's folder. A model's folder is
    written anew: the same weights, as this version computes with them.

    Example: infogan-gen export runs/mnist-0 -o models/mnist --label-data mnist/
    """
    if storage not in ("int16", "float32"):
        raise UsageError(f"--storage is int16 or float32, got {storage!r}")
    stretch = parse_numbers(reach, "--reach", "cont2=1.6")
    try:
        from infogan_export.export.encoder_file import export_encoder
        from infogan_export.export.exporter import ExportOptions, export_checkpoint
        from infogan_export.export.renewal import renew
        from infogan_export.training.checkpoint import (
            EncoderCheckpoint,
            checkpoint_path,
            load_any,
        )
    except ImportError as error:
        raise MissingExtraError("exporting", "train") from error
    from rich.console import Console

    from infogan_export.catalog import GENERATOR, find
    from infogan_export.evaluation.judge import Judge
    from infogan_export.evaluation.properties import family
    from infogan_export.pictures import write_golden

    fitted: dict[str, Any] = {
        "size": size,
        "channels": channels,
        "skip_broken": skip_broken,
    }
    of_gan: dict[str, object] = {
        "--name": name,
        "--judge": judge,
        "--reach": reach,
        "--notice": notice,
        "--category-name": category_name,
        "--properties": properties,
    }
    if run.is_dir() and (run / GENERATOR).is_file():
        _refuse(
            {
                **of_gan,
                "--label-data": label_data,
                "--description": description,
                "--licence": licence,
                "--storage": storage != "int16",
            },
            "a run, and this is a model's folder",
        )
        folder = output or run
        with Console(stderr=True).status("converting and comparing"):
            about = renew(find(run.resolve()), folder)
        write_golden(folder)
        _update_manifest(folder)
        say(f"{folder}: {about.name}, its weights as they were")
        return
    path = checkpoint_path(run)
    checkpoint = load_any(path)
    if isinstance(checkpoint, EncoderCheckpoint):
        if output is None:
            raise UsageError(
                "this run is an encoder's: give the folder of the model that it "
                "inverts, -o FOLDER"
            )
        _refuse(of_gan, "a GAN's run, and this is an encoder's")
        with Console(stderr=True).status("") as status:
            about = export_encoder(
                checkpoint,
                output,
                storage=storage,  # type: ignore[arg-type]
                description=description,
                licence=licence,
                test=_test_split(label_data, **fitted),
                on_stage=status.update,
            )
        _update_manifest(output)
        mse = about.metrics.get("reconstruction_mse")
        told = "" if mse is None else f", mean squared error {mse:.4f}"
        say(f"{output}: encoder of {about.name}{told}")
        return
    labelled = read_split(None, label_data, **fitted) if label_data else None
    called = name or path.resolve().parent.name
    folder = output or Path(called)
    with Console(stderr=True).status("") as status:
        exported = export_checkpoint(
            checkpoint,
            folder,
            ExportOptions(
                called,
                storage=storage,  # type: ignore[arg-type]
                description=description,
                category_name=category_name or "category",
                licence=licence,
                properties=family(properties or "strokes").name,
                notice=read_notice(notice),
                reach=stretch,
            ),
            labelled=labelled,
            test=_test_split(label_data, **fitted),
            judge=Judge(judge) if judge else None,
            on_stage=status.update,
        )
    write_golden(folder)
    _update_manifest(folder)
    say(f"{folder}: {', '.join(c.name for c in exported.metadata.spec.codes)}")


def _test_split(source: Path | None, **options: Any) -> ImageSet | None:
    """The test images of the labelled ones, where there are any."""
    from infogan_export.datasets import MissingSplitError

    if source is None:
        return None
    try:
        return read_split(None, source, split="test", **options)
    except MissingSplitError as error:
        tell(f"left out figures on test images: {error}")
        return None


def read_notice(given: str) -> str:
    """A text, or what is in the file of that name.

    Raises:
        UsageError: it names a file that is missing or is no text.
    """
    path = Path(given)
    if " " in given or not path.suffix:
        return given
    try:
        return " ".join(path.read_text("utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(f"--notice: cannot read {given}: {why}") from None


def _refuse(options: dict[str, object], where: str) -> None:
    for option, value in options.items():
        if value:
            raise UsageError(f"{option} is for {where}")


def _update_manifest(folder: Path) -> None:
    from infogan_export.export.manifest import MANIFEST, write_manifest

    parent = folder.resolve().parent
    if (parent / MANIFEST).exists():
        write_manifest(parent)
