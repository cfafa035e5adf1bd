"""``infogan-gen train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infogan_export.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from infogan_export.datasets import ImageSet
    from infogan_export.training.config import TrainingConfig
    from infogan_export.training.loop import Progress

_RESULT = "What decides the result"
_DATA = "Data"
_ENGINE = "Engine"


def train(
    preset: Annotated[
        str, typer.Option(help="Recipe to start from: mnist, mnist-gan, mnist-paper.")
    ] = "mnist",
    run_dir: Annotated[
        Path, typer.Option(help="Folder of the runs; each gets PRESET-SEED in it.")
    ] = Path("runs"),
    data: Annotated[
        str | None,
        typer.Option(
            help="Download a data set: mnist, fashion-mnist.", rich_help_panel=_DATA
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Read IDX files, an image folder or an .npz instead.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Resize the images, HEIGHTxWIDTH, e.g. 32x32.", rich_help_panel=_DATA
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            help="Convert the images to grey (1) or colour (3).", rich_help_panel=_DATA
        ),
    ] = None,
    skip_broken: Annotated[
        bool,
        typer.Option(
            help="Leave out files that cannot be read, and say how many.",
            rich_help_panel=_DATA,
        ),
    ] = False,
    seeds: Annotated[
        str,
        typer.Option(
            help="One seed, or several: 0..4 or 1,5,7.", rich_help_panel=_RESULT
        ),
    ] = "0",
    steps: Annotated[
        int | None, typer.Option(help="Steps in all.", rich_help_panel=_RESULT)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images a step.", rich_help_panel=_RESULT)
    ] = None,
    lambda_cat: Annotated[
        float | None,
        typer.Option(
            help="lambda of categorical codes; 0 for a regular GAN.",
            rich_help_panel=_RESULT,
        ),
    ] = None,
    lambda_cont: Annotated[
        float | None,
        typer.Option(
            help="lambda of uniform codes; 0 for a regular GAN.",
            rich_help_panel=_RESULT,
        ),
    ] = None,
    consistency: Annotated[
        float | None,
        typer.Option(
            help="Weight of Q's agreement between real images and moved ones.",
            rich_help_panel=_RESULT,
        ),
    ] = None,
    rate_g: Annotated[
        float | None,
        typer.Option(help="Learning rate of G.", rich_help_panel=_RESULT),
    ] = None,
    rate_d: Annotated[
        float | None,
        typer.Option(help="Learning rate of D and Q.", rich_help_panel=_RESULT),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from each run's last checkpoint.")
    ] = False,
    checkpoint_every: Annotated[
        int, typer.Option(help="Steps between checkpoints.", min=1)
    ] = 500,
    accelerator: Annotated[
        str, typer.Option(help="auto, cpu, cuda, mps.", rich_help_panel=_ENGINE)
    ] = "auto",
    devices: Annotated[
        int,
        typer.Option(
            help="How many; on a CPU, processes.", rich_help_panel=_ENGINE, min=1
        ),
    ] = 1,
    precision: Annotated[
        str,
        typer.Option(
            help="auto (bf16 where it is fast), 32-true, bf16-mixed, 16-mixed.",
            rich_help_panel=_ENGINE,
        ),
    ] = "auto",
) -> None:
    """Train an InfoGAN, or the regular GAN of the same structure.

    Example: infogan-gen train --preset mnist --data mnist --seeds 0..4
    """
    from dataclasses import replace

    images = _images(data, data_dir, size, channels, skip_broken)
    try:
        from infogan_export.training.config import preset as named
        from infogan_export.training.engine import build_fabric
        from infogan_export.training.loop import train as run
    except ImportError as error:
        raise MissingExtraError("training", "train") from error

    recipe = named(preset)
    weight = recipe.consistency.weight if consistency is None else consistency
    given = {
        "steps": steps,
        "batch_size": batch_size,
        "lambda_categorical": lambda_cat,
        "lambda_uniform": lambda_cont,
        "generator_rate": rate_g,
        "discriminator_rate": rate_d,
        "consistency": replace(recipe.consistency, weight=weight),
    }
    recipe = replace(recipe, **{k: v for k, v in given.items() if v is not None})
    fabric = build_fabric(accelerator=accelerator, devices=devices, precision=precision)
    for seed in parse_seeds(seeds):
        folder = run_dir / f"{preset}-{seed}"
        with _ProgressLine(folder.name, recipe) as line:
            run(
                replace(recipe, seed=seed),
                images,
                folder,
                fabric=fabric,
                resume=resume,
                checkpoint_every=checkpoint_every,
                on_progress=line.update if fabric.is_global_zero else None,
            )
        if fabric.is_global_zero:
            print(f"{folder}: trained; next: infogan-gen export {folder}")


def parse_seeds(text: str) -> list[int]:
    """``3``, ``0..4`` or ``1,5,7`` as a list of seeds.

    Raises:
        UsageError: none of these forms.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dots, last = part.partition("..")
        if not first.isdecimal() or (dots and not last.isdecimal()):
            raise UsageError(f"seeds are numbers like 3, 0..4 or 1,5,7, got {text!r}")
        seeds += range(int(first), int(last if dots else first) + 1)
    if not seeds:
        raise UsageError(f"no seed in {text!r}; the first must not be above the last")
    return seeds


def _images(
    data: str | None,
    data_dir: Path | None,
    size: str | None,
    channels: int | None,
    skip_broken: bool,
) -> ImageSet:
    from infogan_export.datasets import load_dataset, read_images

    if (data is None) == (data_dir is None):
        raise UsageError("give either --data NAME or --data-dir DIR")
    if data is not None:
        return load_dataset(data)
    assert data_dir is not None
    if channels not in (None, 1, 3):
        raise UsageError(f"--channels is 1 or 3, got {channels}")
    return read_images(
        data_dir,
        size=_parse_size(size),
        channels=channels,  # type: ignore[arg-type]
        on_error="skip" if skip_broken else "stop",
    )


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise UsageError(f"--size is HEIGHTxWIDTH, for instance 32x32, got {text!r}")
    return int(height), int(width)


class _ProgressLine:
    """A rich progress bar with a run's figures."""

    def __init__(self, name: str, config: TrainingConfig) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn(name),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(name, total=config.steps, figures="")

    def __enter__(self) -> _ProgressLine:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Show a step's figures."""
        information = " ".join(
            f"{name} {value:.2f}" for name, value in progress.information.items()
        )
        figures = (
            f"{progress.images_per_second:.0f} images/s  "
            f"D {progress.losses['loss_D']:.2f} G {progress.losses['loss_G']:.2f}  "
            f"L_I {information} nats"
        )
        self._bar.update(self._task, completed=progress.step, figures=figures)
