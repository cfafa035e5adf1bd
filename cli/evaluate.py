"""``infogan-gen evaluate``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infogan_export.errors import OutputError

from .data import AS_THEY_ARE, CHANNELS, SIZE, SKIP_BROKEN, read_split
from .output import say

if TYPE_CHECKING:
    from rich.table import Table

    from infogan_export.datasets import ImageSet
    from infogan_export.evaluation.figures import Evaluation

_AGAINST, _RESULT = "What it is measured against", "What is written"

Size = Annotated[
    str | None,
    typer.Option(help=SIZE, rich_help_panel=_AGAINST, show_default=AS_THEY_ARE),
]
Channels = Annotated[
    int | None,
    typer.Option(help=CHANNELS, rich_help_panel=_AGAINST, show_default=AS_THEY_ARE),
]
SkipBroken = Annotated[
    bool,
    typer.Option("--skip-broken", help=SKIP_BROKEN, rich_help_panel=_AGAINST),
]


def evaluate(
    model: Annotated[
        str, typer.Argument(help="Name or path of a model.", metavar="MODEL")
    ],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="IDX files, image folder or .npz with a train and a test split.",
            rich_help_panel=_AGAINST,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Download them instead: mnist, fashion-mnist.",
            rich_help_panel=_AGAINST,
        ),
    ] = None,
    size: Size = None,
    channels: Channels = None,
    skip_broken: SkipBroken = False,
    judge: Annotated[
        Path | None,
        typer.Option(
            help="Classifier of such images; `train-judge` makes one.",
            rich_help_panel=_AGAINST,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Model whose distances stand beside, such as mnist-gan.",
            rich_help_panel=_AGAINST,
        ),
    ] = None,
    inception: Annotated[
        bool,
        typer.Option(
            "--inception",
            help="Take distances in Inception's features, not the judge's (slow; "
            "needs torch-fidelity).",
            rich_help_panel=_AGAINST,
        ),
    ] = False,
    samples: Annotated[
        int, typer.Option(help="Images to generate for each figure.")
    ] = 10_000,
    draws: Annotated[
        int,
        typer.Option(
            help="Draws of so many images, for the mean of their Frechet distances."
        ),
    ] = 5,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same figures.", min=0)
    ] = 0,
    json: Annotated[
        Path | None,
        typer.Option(help="File for all figures.", rich_help_panel=_RESULT),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="File for a report with pictures.", rich_help_panel=_RESULT),
    ] = None,
) -> None:
    """Measure a model against real images.

    Example: infogan-gen evaluate mnist --data mnist --judge judge.onnx --html out.html
    """
    from rich.console import Console

    from infogan_export.atomic import atomic_writer
    from infogan_export.evaluation.evaluate import evaluate as measure
    from infogan_export.evaluation.evaluate import require_extra
    from infogan_export.evaluation.inception import Inception
    from infogan_export.evaluation.judge import Judge
    from infogan_export.runtime import load

    for path in (json, html):
        require_room(path)
    if html is not None:
        require_extra("matplotlib")
    generator = load(model)
    train, test = read_splits(data, data_dir, size, channels, skip_broken)
    with progress_bar() as bar:
        found = measure(
            generator,
            test=test,
            train=train,
            judge=None if judge is None else Judge(judge),
            features=Inception() if inception else None,
            baseline=None if baseline is None else load(baseline),
            seed=seed,
            samples=samples,
            draws=draws,
            progress=bar,
        )
    if json is not None:
        with atomic_writer(json) as file:
            file.write(found.to_json().encode())
    if html is not None:
        from infogan_export.evaluation.report import render_report

        with atomic_writer(html) as file:
            file.write(render_report(found, model=generator, train=train).encode())
    Console(highlight=False).print(_table(found))
    for part, why in found.skipped.items():
        say(f"left out {part}: {why}")
    for path in (json, html):
        if path is not None:
            say(f"{path}: written")


def read_splits(
    data: str | None,
    data_dir: Path | None,
    size: str | None,
    channels: int | None,
    skip_broken: bool,
) -> tuple[ImageSet, ImageSet]:
    """The training and the test images of a data set; errors as `read_split`."""
    read = partial(
        read_split,
        data,
        data_dir,
        size=size,
        channels=channels,
        skip_broken=skip_broken,
    )
    return read(split="train"), read(split="test")


def require_room(path: Path | None) -> None:
    """See to it that a file can be written, before the minutes of work, not after.

    Raises:
        OutputError: it is a folder, or is in one that is missing or closed to us.
    """
    if path is None:
        return
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: permission denied")


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr, told of (parts done, parts in all, what begins)."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def update(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield update


def _table(found: Evaluation) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from infogan_export.evaluation.summary import summary

    table = Table(box=None, pad_edge=False)
    # In 80 columns, as in a pipe, the longest texts break, and no value does.
    table.add_column("figure")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("beside it")
    for row in summary(found):
        # A model's name comes from a file, which should not steer the terminal.
        table.add_row(*(escape("".join(filter(str.isprintable, c))) for c in row))
    return table
