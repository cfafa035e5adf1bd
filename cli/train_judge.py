"""``infogan-gen train-judge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infogan_export.errors import MissingExtraError

from .evaluate import (
    Channels,
    Size,
    SkipBroken,
    progress_bar,
    read_splits,
    require_room,
)
from .output import say


def train_judge(
    output: Annotated[Path, typer.Option("--output", "-o", help="ONNX file to write.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Labelled IDX files, image folder or .npz, with a train and a test "
            "split."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Download them instead: mnist, fashion-mnist."),
    ] = None,
    size: Size = None,
    channels: Channels = None,
    skip_broken: SkipBroken = False,
    epochs: Annotated[
        int, typer.Option(help="Passes over the training images.", min=1)
    ] = 10,
    flip: Annotated[
        bool,
        typer.Option(
            "--flip", help="Learn from mirrored images too: for faces, not for digits."
        ),
    ] = False,
    labels: Annotated[
        str,
        typer.Option(
            help="What the classes are called, in order; one called `happy` measures "
            "smiles.",
            metavar="NAME,NAME,...",
            show_default="their numbers",
        ),
    ] = "",
    seed: Annotated[int, typer.Option(help="Of weights and order.", min=0)] = 0,
) -> None:
    """Train the classifier that `evaluate` measures with.

    Example: infogan-gen train-judge --data mnist -o judge.onnx
    """
    try:
        from infogan_export.evaluation.train_judge import train_judge as train
    except ImportError as error:
        raise MissingExtraError("training a judge", "train") from error

    require_room(output)
    images, test = read_splits(data, data_dir, size, channels, skip_broken)
    with progress_bar() as bar:
        report = train(
            images,
            test,
            out=output,
            seed=seed,
            epochs=epochs,
            flip=flip,
            labels=[name.strip() for name in labels.split(",")] if labels else (),
            progress=lambda done, total: bar(done, total, "steps"),
        )
    say(f"{output}: right on {report.accuracy:.2%} of {len(test):,} test images")
