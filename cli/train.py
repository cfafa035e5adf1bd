"""``infogan-gen train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infogan_export.errors import (
    InfoganError,
    MissingExtraError,
    TrainingError,
    UsageError,
    unknown,
)

from .data import AS_THEY_ARE, CHANNELS, SIZE, SKIP_BROKEN, read_split
from .output import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lightning_fabric import Fabric

    from infogan_export.datasets import ImageSet
    from infogan_export.training.config import TrainingConfig
    from infogan_export.training.encoder import EncoderConfig
    from infogan_export.training.loop import Progress
    from infogan_export.training.selection import Score

_MAX_SEEDS = 1000
_STAGES = ("gan", "encoder")
_PRESET = "the preset's"


def _option(
    text: str, panel: str, *names: str, default: str | None = None, **more: Any
) -> Any:
    """An option's help; ``default`` says in words what leaving it out means."""
    shown = True if default is None else default
    return typer.Option(
        *names, help=text, rich_help_panel=panel, show_default=shown, **more
    )


_DATA, _RUN, _ENGINE = "Data", "Run", "Engine"
_RESULT = "What decides the result"


def train(
    data: Annotated[
        str | None, _option("Data set to download: mnist or fashion-mnist.", _DATA)
    ] = None,
    data_dir: Annotated[
        Path | None,
        _option("Folder of IDX files or images, or an .npz.", _DATA),
    ] = None,
    size: Annotated[
        str | None,
        _option(SIZE, _DATA, default=AS_THEY_ARE),
    ] = None,
    channels: Annotated[
        int | None,
        _option(CHANNELS, _DATA, default=AS_THEY_ARE),
    ] = None,
    skip_broken: Annotated[
        bool,
        _option(SKIP_BROKEN, _DATA, "--skip-broken"),
    ] = False,
    stage: Annotated[
        str,
        _option(
            "What to train: gan, or the encoder of an exported model (--from).",
            _RESULT,
        ),
    ] = "gan",
    source: Annotated[
        str | None,
        _option(
            "Model that the encoder is to invert, or that a GAN begins with, with its "
            "recognition network; or the run whose averaged weights that begins with.",
            _RESULT,
            "--from",
            metavar="NAME|PATH",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        _option(
            "Recipe to start from: mnist, mnist-gan, mnist-paper, faces; or the "
            "paper's tables: faces-paper, svhn-paper, celeba-paper, chairs-paper.",
            _RESULT,
            default="mnist",
        ),
    ] = None,
    seeds: Annotated[
        str, _option("One seed, or a run for each of 0..4 or 1,5,7.", _RESULT)
    ] = "0",
    steps: Annotated[
        int | None,
        _option("Steps, of a GAN's game or an encoder.", _RESULT, default=_PRESET),
    ] = None,
    refine_steps: Annotated[
        int | None,
        _option(
            "Steps after the game, in which G and Q are refined; 0 for none.",
            _RESULT,
            default=f"{_PRESET}, in proportion to --steps",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        _option("Images of a step, over all processes.", _RESULT, default=_PRESET),
    ] = None,
    lambda_cat: Annotated[
        float | None,
        _option(
            "Weight of L_I of categorical codes; 0 for a regular GAN.",
            _RESULT,
            default=_PRESET,
        ),
    ] = None,
    lambda_cont: Annotated[
        float | None,
        _option(
            "Weight of L_I of uniform codes; 0 for a regular GAN.",
            _RESULT,
            default=_PRESET,
        ),
    ] = None,
    consistency: Annotated[
        float | None,
        _option(
            "Weight of Q's agreement on real images and moved ones.",
            _RESULT,
            default=_PRESET,
        ),
    ] = None,
    consistency_start: Annotated[
        int | None,
        _option("Last step without that agreement.", _RESULT, default=_PRESET),
    ] = None,
    consistency_ramp: Annotated[
        int | None,
        _option("Steps from there to its full weight.", _RESULT, default=_PRESET),
    ] = None,
    parting: Annotated[
        bool | None,
        _option(
            "Part categories that share their images, when that weight is reached.",
            _RESULT,
            "--parting/--no-parting",
            default=_PRESET,
        ),
    ] = None,
    steering: Annotated[
        float | None,
        _option(
            "Weight of uniform codes following shear and thickening of real images.",
            _RESULT,
            default=_PRESET,
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        _option(
            "Weight of uniform codes following turns and light of generated faces.",
            _RESULT,
            default=_PRESET,
        ),
    ] = None,
    rate_g: Annotated[
        float | None, _option("Learning rate of G.", _RESULT, default=_PRESET)
    ] = None,
    rate_d: Annotated[
        float | None, _option("Learning rate of D and Q.", _RESULT, default=_PRESET)
    ] = None,
    moments: Annotated[
        bool | None,
        _option(
            "Let D also judge a batch by its features' means and deviations.",
            _RESULT,
            "--moments/--no-moments",
            default=_PRESET,
        ),
    ] = None,
    r1: Annotated[
        float | None,
        _option(
            "Gamma of R1, which keeps D from being steep; images are 0 to 1.",
            _RESULT,
            "--r1",
            default=_PRESET,
        ),
    ] = None,
    decay_to: Annotated[
        float | None,
        _option(
            "Part of the learning rates that is left at the end; 1 keeps them.",
            _RESULT,
            default=_PRESET,
        ),
    ] = None,
    decay_d_to: Annotated[
        float | None,
        _option(
            "The same for D and Q alone; above 1 theirs rises.",
            _RESULT,
            default=_PRESET,
        ),
    ] = None,
    ema: Annotated[
        float | None,
        _option(
            "Decay per step of the averaged weights; 0 takes the last ones.",
            _RESULT,
            default=_PRESET,
        ),
    ] = None,
    ema_warm_up: Annotated[
        bool | None,
        _option(
            "Let a young average forget its start; not where that is good already.",
            _RESULT,
            "--ema-warm-up/--no-ema-warm-up",
            default=_PRESET,
        ),
    ] = None,
    run_dir: Annotated[
        Path,
        _option(
            "Folder in which each run gets PRESET-SEED, or MODEL-encoder-SEED.", _RUN
        ),
    ] = Path("runs"),
    resume: Annotated[
        bool, _option("Go on from the last checkpoint, if any.", _RUN, "--resume")
    ] = False,
    checkpoint_every: Annotated[
        int, _option("Steps between checkpoints.", _RUN, min=1)
    ] = 500,
    accelerator: Annotated[
        str, _option("Kind of device: auto, cpu, cuda, mps.", _ENGINE)
    ] = "auto",
    devices: Annotated[
        int, _option("How many devices; on a CPU, processes.", _ENGINE, min=1)
    ] = 1,
    precision: Annotated[
        str,
        _option(
            "auto (bf16-mixed where it is fast), 32-true, bf16-mixed, 16-mixed.",
            _ENGINE,
        ),
    ] = "auto",
) -> None:
    """Train an InfoGAN, the regular GAN of the same structure, or an encoder.

    Example: infogan-gen train --preset mnist --data mnist --seeds 0..4
    """
    _check_stage(
        stage,
        source,
        of_gan={
            "--preset": preset,
            "--lambda-cat": lambda_cat,
            "--lambda-cont": lambda_cont,
            "--consistency": consistency,
            "--consistency-start": consistency_start,
            "--consistency-ramp": consistency_ramp,
            "--parting": parting,
            "--steering": steering,
            "--guidance": guidance,
            "--rate-g": rate_g,
            "--rate-d": rate_d,
            "--moments": moments,
            "--r1": r1,
            "--refine-steps": refine_steps,
            "--decay-to": decay_to,
            "--decay-d-to": decay_d_to,
            "--ema": ema,
            "--ema-warm-up": ema_warm_up,
        },
    )
    try:
        from infogan_export.training.engine import build_fabric
    except ImportError as error:
        raise MissingExtraError("training", "train") from error

    numbers = parse_seeds(seeds)
    lengths = _given(steps=steps, batch_size=batch_size)
    trained: Callable[..., Any]
    recipes: list[TrainingConfig] | list[EncoderConfig]
    if stage == "encoder":
        assert source is not None
        called, trained, recipes = _encoder(source, numbers, lengths)
    else:
        called, trained, recipes = _gan(
            preset or "mnist",
            numbers,
            lengths
            | _given(
                lambda_categorical=lambda_cat,
                lambda_uniform=lambda_cont,
                gradient_penalty=r1,
                generator_rate=rate_g,
                discriminator_rate=rate_d,
                decay_to=decay_to,
                discriminator_decay_to=decay_d_to,
                ema_decay=ema,
                ema_warm_up=ema_warm_up,
            ),
            source,
            consistency=_given(
                weight=consistency,
                start=consistency_start,
                ramp=consistency_ramp,
                parting=parting,
                steering=steering,
            ),
            architecture=_given(moments=moments),
            guidance=_given(weight=guidance),
            refinement=_given(steps=refine_steps),
        )
    images = read_split(
        data,
        data_dir,
        size=size,
        channels=channels,
        skip_broken=skip_broken,
        aloud=False,
    )
    fabric = build_fabric(accelerator=accelerator, devices=devices, precision=precision)
    leads = fabric.is_global_zero
    if leads and images.skipped:
        tell(f"left out {images.skipped} broken files")
    if leads and (late := _late_agreement(recipes[0])):
        tell(late)
    try:
        _train_all(
            {run_dir / f"{called}-{one.seed}": one for one in recipes},
            trained,
            images=images,
            fabric=fabric,
            resume=resume,
            checkpoint_every=checkpoint_every,
            next_step="infogan-gen export {}"
            + (" -o FOLDER-OF-THE-MODEL" if stage == "encoder" else ""),
            scored=stage == "gan",
        )
    except (InfoganError, KeyboardInterrupt):
        if leads:
            raise
        raise typer.Exit(1) from None  # the first process speaks for all


def _train_all(
    runs: Mapping[Path, TrainingConfig | EncoderConfig],
    trained: Callable[..., Any],
    *,
    images: ImageSet,
    fabric: Fabric,
    resume: bool,
    checkpoint_every: int,
    next_step: str,
    scored: bool,
) -> None:
    """One run after another, by folder; those that fail leave the others alone."""
    from infogan_export.training.checkpoint import CHECKPOINT_NAME
    from infogan_export.training.loop import is_resumed

    for folder in runs:  # told before the first of the runs, not hours later
        is_resumed(folder / CHECKPOINT_NAME, resume=resume)
    leads, several = fabric.is_global_zero, len(runs) > 1
    scores: dict[str, Score] = {}
    failed = 0
    for folder, config in runs.items():
        try:
            with _ProgressLine(folder.name, shown=leads) as line:
                last = trained(
                    config,
                    images=images,
                    folder=folder,
                    fabric=fabric,
                    resume=resume,
                    checkpoint_every=checkpoint_every,
                    on_progress=line.update if leads else None,
                )
        except TrainingError as error:
            if not several:
                raise
            failed += 1
            if leads:
                tell(f"{folder}: {error}")
            continue
        if leads:
            print(f"{folder}: trained; next: {next_step.format(folder)}")
        if leads and scored and several:
            from infogan_export.training.selection import score

            scores[folder.name] = score(last, images)
    if scores:
        from .tables import print_scores

        print_scores(scores)
    if failed:
        raise TrainingError(f"{failed} of {len(runs)} runs failed")


def _check_stage(
    stage: str, source: str | None, *, of_gan: Mapping[str, object]
) -> None:
    if stage not in _STAGES:
        raise UsageError(unknown("stage", stage, _STAGES))
    if stage == "encoder" and source is None:
        raise UsageError(
            "--stage encoder needs --from MODEL, the exported model to invert"
        )
    for option, value in of_gan.items():
        if stage == "encoder" and value is not None:
            raise UsageError(f"{option} is of --stage gan; an encoder has no such")


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _gan(
    preset: str,
    seeds: list[int],
    changes: dict[str, Any],
    source: str | None,
    **parts: dict[str, Any],
) -> tuple[str, Callable[..., Any], list[TrainingConfig]]:
    from dataclasses import replace

    try:
        from infogan_export.training.config import preset as named
        from infogan_export.training.loop import train as train_gan
    except ImportError as error:
        raise MissingExtraError("training", "train") from error

    trained: Callable[..., Any] = train_gan
    if source is not None:
        trained = _beginning_with(source, train_gan)
    recipe = named(preset)
    refinement = parts["refinement"]
    if changes.get("steps", 0) > 0 and "steps" not in refinement:
        part = recipe.refinement.steps / recipe.steps
        refinement["steps"] = round(part * changes["steps"])
    changed = {part: replace(getattr(recipe, part), **d) for part, d in parts.items()}
    recipe = replace(recipe, **changed, **changes)
    return preset, trained, [replace(recipe, seed=seed) for seed in seeds]


def _beginning_with(source: str, train: Callable[..., Any]) -> Callable[..., Any]:
    """A training that begins with a run, or with an exported model."""
    from functools import partial

    from infogan_export.training.checkpoint import checkpoint_path, load_checkpoint

    path = Path(source)
    if path.is_file() or checkpoint_path(path).is_file():
        return partial(train, start=load_checkpoint(checkpoint_path(path)))
    from infogan_export.catalog import find
    from infogan_export.export.reopen import reopen

    try:
        files = find(source)
    except UsageError as error:
        raise UsageError(
            f"--from is a model, or the folder of a run, and there is no {source} "
            f"with a checkpoint: {error}"
        ) from None

    def begun(config: TrainingConfig, *, images: ImageSet, **options: Any) -> Any:
        return train(config, images=images, start=reopen(files, images), **options)

    return begun


def _late_agreement(config: TrainingConfig | EncoderConfig) -> str:
    """What to know of a game that ends before its categories must agree in full."""
    movement = getattr(config, "consistency", None)
    if not movement or not movement.weight or movement.full_at < config.steps:
        return ""
    return (
        f"note: categories must agree in full from step {movement.full_at:,} on, and "
        f"this game has {config.steps:,}; see --consistency-start, --consistency-ramp"
    )


def _encoder(
    source: str, seeds: list[int], changes: dict[str, Any]
) -> tuple[str, Callable[..., Any], list[EncoderConfig]]:
    from functools import partial

    try:
        from infogan_export.export.rebuild import rebuild
        from infogan_export.training.encoder import EncoderConfig
        from infogan_export.training.encoding import train_encoder
    except ImportError as error:
        raise MissingExtraError("training", "train") from error
    from infogan_export.catalog import find

    target = rebuild(find(source))
    recipes = [EncoderConfig(seed=seed, flip=target.flip, **changes) for seed in seeds]
    return f"{target.name}-encoder", partial(train_encoder, target=target), recipes


def parse_seeds(text: str) -> list[int]:
    """``3``, ``0..4`` or ``1,5,7`` as a list of seeds.

    Raises:
        UsageError: none of these forms, or far too many.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dots, last = part.partition("..")
        if not first.isdecimal() or (dots and not last.isdecimal()):
            raise UsageError(f"seeds are numbers like 3, 0..4 or 1,5,7, got {text!r}")
        several = range(int(first), int(last if dots else first) + 1)
        if len(several[: _MAX_SEEDS + 1]) > _MAX_SEEDS:
            raise UsageError(f"{text!r} are more than {_MAX_SEEDS} seeds")
        if not several:
            raise UsageError(f"in {part!r} the first seed is above the last")
        seeds |= dict.fromkeys(several)
    return list(seeds)


class _ProgressLine:
    """A rich progress bar with a run's figures."""

    def __init__(self, name: str, *, shown: bool) -> None:
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
            disable=not shown,
        )
        self._task = self._bar.add_task(name, total=None, figures="")
        self._began = False

    def __enter__(self) -> _ProgressLine:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Show a step's figures."""
        figures = f"{progress.images_per_second:.0f} images/s  {_figures(progress)}"
        if not self._began:  # the steps before a resume say nothing of the speed
            self._bar.reset(self._task, total=progress.steps, completed=progress.step)
            self._began = True
        self._bar.update(self._task, completed=progress.step, figures=figures)


def _figures(progress: Progress) -> str:
    losses = progress.losses
    if "reconstruction" in losses:
        return (
            f"error {losses['reconstruction']:.4f} real "
            f"{losses['redrawn']:.4f} generated"
        )
    information = " ".join(f"{n} {v:.2f}" for n, v in progress.information.items())
    game = {"D": "loss_D", "G": "loss_G", "Frechet": "frechet"}
    shown = " ".join(f"{k} {losses[v]:.2f}" for k, v in game.items() if v in losses)
    return f"{shown}  L_I {information} nats"
