"""Train an InfoGAN, or the regular GAN of the same structure.

``train`` repeats ``step.training_step``, with data, schedules, logging and
checkpoints around.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from infogan_export.atomic import make_folder
from infogan_export.datasets import ImageSet
from infogan_export.errors import TrainingError
from infogan_export.training.batches import Batches
from infogan_export.training.calibration import calibrate
from infogan_export.training.checkpoint import (
    Checkpoint,
    DataFacts,
    load_checkpoint,
    save_checkpoint,
)
from infogan_export.training.config import TrainingConfig
from infogan_export.training.health import stop_if_collapsed, stop_if_diverged
from infogan_export.training.interrupt import deferred_interrupt
from infogan_export.training.runlog import RunLog
from infogan_export.training.state import build_state, capture, restore, set_rates
from infogan_export.training.step import training_step

CHECKPOINT_NAME = "checkpoint.pt"


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
        resume: go on from the folder's checkpoint, if there is one.
        checkpoint_every: steps between checkpoints.
        log_every: steps between rows of the CSV, each the mean over these steps.
        sample_every: steps between sample grids.
        on_progress: called every ``log_every`` steps.

    Returns:
        the last checkpoint, as it is in the folder.

    Raises:
        TrainingError: the images do not suit the networks or the batch, the
            folder holds another run, a loss is no longer finite, or a code has
            collapsed.
        OutputError: the folder cannot be written.
        KeyboardInterrupt: after the step in hand is done and saved.
    """
    _, height, width, channels = images.images.shape
    shape = (channels, height, width)
    data = DataFacts(images.name, len(images), images.sha256(), images.licence)
    state = build_state(config, shape, fabric)
    batches = Batches(images, config, fabric)
    make_folder(folder / "samples")
    path = folder / CHECKPOINT_NAME
    checkpoint = _find(path, resume=resume)
    if checkpoint:
        restore(state, checkpoint, config, data)
    spent = checkpoint.seconds if checkpoint else 0.0
    clock = _Clock(state.step, config.batch_size, spent)
    recent: list[dict[str, Tensor]] = []
    leads = fabric.is_global_zero
    run_log = RunLog(folder, config.spec, resumed_at=state.step) if leads else None

    with run_log or nullcontext() as log, deferred_interrupt(fabric) as interrupted:
        while state.step < config.steps:
            set_rates(state, config)
            recent.append(training_step(batches.at(state.step), state, config))
            step, last = state.step, state.step == config.steps
            stopping = interrupted()
            saving = last or stopping or step % checkpoint_every == 0
            if saving or step % log_every == 0:
                metrics, recent = _means(recent, fabric), []
                stop_if_diverged(metrics, state)
                stop_if_collapsed(metrics, config, step=step)
                speed = clock.images_per_second(step)
                if log:
                    log.scalars(step, metrics | {"images_per_second": speed})
                if on_progress:
                    on_progress(_progress(step, config.steps, speed, metrics))
            if last:
                calibrate(state, batches, config)
            if log and (last or step % sample_every == 0):
                log.samples(step, state.G_ema.module.eval())
            if saving:
                checkpoint = capture(
                    state, config, shape, data, metrics=metrics, seconds=clock.seconds()
                )
                if leads:
                    save_checkpoint(checkpoint, path)
                fabric.barrier()
            if stopping:
                raise KeyboardInterrupt
    assert checkpoint, "a run has one step or more, and the last one is saved"
    return checkpoint


@dataclass(frozen=True)
class _Clock:
    """Time spent on a run, this time and before."""

    first_step: int
    batch_size: int
    spent_before: float
    began: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        return self.spent_before + time.perf_counter() - self.began

    def images_per_second(self, step: int) -> float:
        images = (step - self.first_step) * self.batch_size
        return images / (time.perf_counter() - self.began)


def _find(path: Path, *, resume: bool) -> Checkpoint | None:
    if not path.exists():
        return None
    if not resume:
        raise TrainingError(
            f"{path} exists; go on from it with --resume, or name another folder"
        )
    return load_checkpoint(path)


def _means(reports: Sequence[dict[str, Tensor]], fabric: Fabric) -> dict[str, float]:
    """Each figure's mean over steps and processes, the same in every process."""
    means = {}
    for name in reports[0]:
        mean = torch.stack([report[name] for report in reports]).mean()
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
