"""Train an InfoGAN, or the regular GAN of the same structure.

``train`` repeats ``step.training_step``; ``repeat`` is what any training has
around its step: logging, pictures, checkpoints and Ctrl-C.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from infogan_export.atomic import make_folder
from infogan_export.datasets import ImageSet
from infogan_export.errors import TrainingError
from infogan_export.training import refinement
from infogan_export.training.batches import Batches
from infogan_export.training.calibration import (
    calibrate,
    calibrate_generator,
    category_shares,
)
from infogan_export.training.checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    DataFacts,
    EncoderCheckpoint,
    load_checkpoint,
    save_checkpoint,
)
from infogan_export.training.config import TrainingConfig
from infogan_export.training.health import stop_if_collapsed, stop_if_diverged
from infogan_export.training.interrupt import deferred_interrupt
from infogan_export.training.networks import ImageShape
from infogan_export.training.parting import part
from infogan_export.training.runlog import (
    PLOT_NAME,
    RunLog,
    draw_samples,
    plot_mutual_information,
    read_metrics,
)
from infogan_export.training.state import (
    TrainingState,
    build_state,
    capture,
    restore,
    set_rates,
    warm_start,
)
from infogan_export.training.step import training_step

Saved_co = TypeVar("Saved_co", Checkpoint, EncoderCheckpoint, covariant=True)


@dataclass(frozen=True)
class Progress:
    """How a run stands, for whoever shows it."""

    step: int
    steps: int
    images_per_second: float
    losses: dict[str, float]
    information: dict[str, float]
    """L_I of each code, in nats."""


def train(
    config: TrainingConfig,
    images: ImageSet,
    folder: Path,
    *,
    fabric: Fabric,
    start: Checkpoint | None = None,
    resume: bool = False,
    checkpoint_every: int = 500,
    log_every: int = 50,
    sample_every: int = 500,
    on_progress: Callable[[Progress], None] | None = None,
) -> Checkpoint:
    """Run a configuration to its end, or on from its last checkpoint.

    Args:
        config: what to train.
        images: what to train on; labels are never looked at.
        folder: the run's own folder, made if need be.
        fabric: the launched engine.
        start: a run whose averaged weights are the first ones; it may have been
            another recipe, of the same latents and networks, on other images.
        resume: go on from the folder's checkpoint, if there is one.
        checkpoint_every: steps between checkpoints.
        log_every: steps between rows of the CSV, each the mean over these steps.
        sample_every: steps between sample grids.
        on_progress: called every ``log_every`` steps.

    Returns:
        the last checkpoint, as it is in the folder.

    Raises:
        TrainingError: the images, or `start`, do not suit the networks or the
            batch, the folder holds another run, a loss is no longer finite, or a
            code has collapsed.
        OutputError: the folder cannot be written.
        KeyboardInterrupt: after the step in hand is done and saved.
    """
    _, height, width, channels = images.images.shape
    shape = (channels, height, width)
    data = data_facts(images)
    if start:
        config = replace(config, warm_start=start.described())
    state = build_state(config, shape, fabric)
    batches, refining = Batches(images, config, fabric), None
    if config.refinement.steps:
        size = config.batch_size * config.refinement.batches
        refining = Batches(images, replace(config, batch_size=size), fabric)
    path = folder / CHECKPOINT_NAME
    checkpoint = load_checkpoint(path) if is_resumed(path, resume=resume) else None
    if checkpoint:
        restore(state, checkpoint, config, data)
    elif start:
        warm_start(state, start, config, shape)
    checkpoint = repeat(
        _Run(state, config, images, batches, refining, shape, data),
        folder,
        fabric=fabric,
        saved=checkpoint,
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        sample_every=sample_every,
        on_progress=on_progress,
    )
    if fabric.is_global_zero:
        rows = {"L_I": read_metrics(folder)}
        plot_mutual_information(rows, config.spec, folder / PLOT_NAME)
    return checkpoint


@dataclass(frozen=True)
class _Run:
    """An InfoGAN's training, for ``repeat``: the game, then the refinement."""

    state: TrainingState
    config: TrainingConfig
    images: ImageSet
    batches: Batches
    refining: Batches | None
    shape: ImageShape
    data: DataFacts

    @property
    def step(self) -> int:
        return self.state.step

    @property
    def steps(self) -> int:
        return self.config.total_steps

    def advance(self) -> dict[str, Tensor]:
        state, config = self.state, self.config
        set_rates(state, config)
        if state.step < config.steps:
            noted: dict[str, Tensor] = {}
            if config.consistency.parts_at(self.step):
                parted = float(part(state, config, self.images))
                noted["parted"] = torch.tensor(parted, device=state.fabric.device)
            return noted | training_step(self.batches.at(self.step), state, config)
        assert self.refining is not None, "the game is the last part of it"
        if state.measure is None:
            refinement.begin(state, config, self.refining)
        return refinement.refinement_step(self.refining.at(self.step), state, config)

    def images_at(self, step: int) -> int:
        return self.config.images_at(step)

    def check(self, metrics: dict[str, float]) -> None:
        networks = {"G": self.state.G, "D": self.state.D}
        stop_if_diverged(metrics, networks, step=self.step)
        stop_if_collapsed(metrics, self.config, step=self.step)

    def finish(self) -> None:
        if self.state.measure is None:
            calibrate(self.state, self.batches, self.config)
            return
        assert self.refining is not None, "what is measured is being refined"
        calibrate_generator(self.state, self.config)
        self.state.shares = category_shares(self.state, self.refining, self.config)

    def picture(self) -> NDArray[np.uint8]:
        return draw_samples(self.state.G_ema.module.eval(), self.config.spec)

    def capture(self, metrics: dict[str, float], seconds: float) -> Checkpoint:
        return capture(
            self.state,
            self.config,
            self.shape,
            self.data,
            metrics=metrics,
            seconds=seconds,
        )


class Task(Protocol[Saved_co]):
    """What ``repeat`` repeats: a step, and what surrounds it."""

    @property
    def step(self) -> int:
        """Steps done."""

    @property
    def steps(self) -> int:
        """Steps in all."""

    def images_at(self, step: int) -> int:
        """Images of the steps before a step, over all processes."""

    def advance(self) -> dict[str, Tensor]:
        """Take a step, and report scalars of this process's images by name."""

    def check(self, metrics: dict[str, float]) -> None:
        """Stop a run that is lost.

        Raises:
            TrainingError: with what to try.
        """

    def finish(self) -> None:
        """What is done once, after the last step."""

    def picture(self) -> NDArray[np.uint8]:
        """What can be done by now, to look at: (height, width[, 3])."""

    def capture(self, metrics: dict[str, float], seconds: float) -> Saved_co:
        """All that the run needs to go on from here."""


def repeat(
    task: Task[Saved_co],
    folder: Path,
    *,
    fabric: Fabric,
    saved: Saved_co | None,
    checkpoint_every: int,
    log_every: int,
    sample_every: int,
    on_progress: Callable[[Progress], None] | None,
) -> Saved_co:
    """Take a task's steps up to its last one, logged and saved; see ``train``.

    Args:
        task: at the step that it is to go on from.
        folder: the run's own folder, made if need be.
        fabric: the launched engine.
        saved: the checkpoint that the task goes on from.
        checkpoint_every: steps between checkpoints.
        log_every: steps between rows of the CSV.
        sample_every: steps between pictures.
        on_progress: called every ``log_every`` steps.

    Returns:
        the last checkpoint, as it is in the folder.

    Raises:
        TrainingError: the task's ``check`` found the run lost.
        OutputError: the folder cannot be written.
        KeyboardInterrupt: after the step in hand is done and saved.
    """
    make_folder(folder / "samples")
    steps, path = task.steps, folder / CHECKPOINT_NAME
    spent = saved.seconds if saved else 0.0
    clock = _Clock(task.images_at(task.step), spent)
    recent: list[dict[str, Tensor]] = []
    leads = fabric.is_global_zero
    run_log = RunLog(folder, resumed_at=task.step) if leads else None

    with run_log or nullcontext() as log, deferred_interrupt(fabric) as interrupted:
        while task.step < steps:
            recent.append(task.advance())
            step, last = task.step, task.step == steps
            stopping = interrupted()
            saving = last or stopping or step % checkpoint_every == 0
            if saving or step % log_every == 0:
                metrics, recent = _means(recent, fabric), []
                task.check(metrics)
                speed = clock.images_per_second(task.images_at(step))
                if log:
                    log.scalars(step, metrics | {"images_per_second": speed})
                if on_progress:
                    on_progress(_progress(step, steps, speed, metrics))
            if last:
                task.finish()
            if log and (last or step % sample_every == 0):
                log.samples(step, task.picture())
            if saving:
                saved = task.capture(metrics, clock.seconds())
                if leads:
                    save_checkpoint(saved, path)
                fabric.barrier()
            if stopping:
                raise KeyboardInterrupt
        if interrupted():  # while the last step was saved
            raise KeyboardInterrupt
    assert saved, "a run has one step or more, and the last one is saved"
    return saved


@dataclass(frozen=True)
class _Clock:
    """Time spent on a run, this time and before."""

    images_before: int
    spent_before: float
    began: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        return self.spent_before + time.perf_counter() - self.began

    def images_per_second(self, images: int) -> float:
        images -= self.images_before
        return images / (time.perf_counter() - self.began)


def data_facts(images: ImageSet) -> DataFacts:
    """What a checkpoint says of its images."""
    return DataFacts(images.name, len(images), images.sha256(), images.licence)


def is_resumed(path: Path, *, resume: bool) -> bool:
    """Whether a run goes on from a checkpoint.

    Raises:
        TrainingError: there is one, and nobody asked to go on from it.
    """
    if path.exists() and not resume:
        raise TrainingError(
            f"{path} exists; go on from it with --resume, or name another folder"
        )
    return path.exists()


def _means(reports: Sequence[dict[str, Tensor]], fabric: Fabric) -> dict[str, float]:
    """Each figure's mean over steps and processes, the same in every process."""
    means = {}
    for name in dict.fromkeys(name for report in reports for name in report):
        mean = torch.stack([r[name] for r in reports if name in r]).mean()
        means[name] = float(fabric.all_reduce(mean))  # type: ignore[arg-type]
    return means


def _progress(
    step: int, steps: int, speed: float, metrics: dict[str, float]
) -> Progress:
    information = {
        name.removeprefix("L_I/"): value
        for name, value in metrics.items()
        if name.startswith("L_I/")
    }
    losses = {k: v for k, v in metrics.items() if not k.startswith("L_I/")}
    return Progress(step, steps, speed, losses, information)
