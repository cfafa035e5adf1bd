"""Train an InfoGAN, or the regular GAN of the same structure.

``training_step`` is one step of the paper's algorithm; ``train`` repeats it,
with data, schedules, logging and checkpoints around.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from infogan_export.datasets import ImageSet
from infogan_export.errors import OutputError, TrainingError
from infogan_export.training import objective
from infogan_export.training.checkpoint import (
    Checkpoint,
    DataFacts,
    load_checkpoint,
    package_version,
    save_checkpoint,
    source_commit,
)
from infogan_export.training.config import TrainingConfig
from infogan_export.training.movement import move
from infogan_export.training.networks import (
    Discriminator,
    Generator,
    ImageShape,
    initialise,
)
from infogan_export.training.runlog import RunLog

CHECKPOINT_NAME = "checkpoint.pt"

# What a random draw is for; with seed, step and process it makes the draw.
_ORDER, _MOVEMENT = 1, 2
_RESIDUAL_MOMENTUM = 0.02
_CALIBRATION_BATCHES = 100
_COLLAPSED = 0.05  # a code whose L_I is below this part of its entropy is dead


@dataclass(frozen=True)
class Progress:
    """How a run stands, for whoever shows it."""

    step: int
    steps: int
    images_per_second: float
    losses: dict[str, float]
    information: dict[str, float]
    """L_I of each code, in nats."""


@dataclass
class TrainingState:
    """All that a step changes.

    ``G_optimizer`` owns G.  ``D_optimizer`` owns the trunk, D's head and Q's
    head, so that the trunk learns from both V(D, G) and L_I.
    """

    fabric: Fabric
    G: nn.Module
    D: nn.Module
    G_optimizer: Any
    D_optimizer: Any
    G_ema: AveragedModel
    D_ema: AveragedModel
    step: int = 0


def build_state(
    config: TrainingConfig, shape: ImageShape, fabric: Fabric
) -> TrainingState:
    """Fresh networks and optimizers, the same for the same seed."""
    torch.manual_seed(config.seed)
    G = Generator(config.spec, shape, config.architecture)
    D = Discriminator(config.spec, shape, config.architecture, config.watched())
    for network in (G, D):
        initialise(network)
        network.to(memory_format=torch.channels_last)
    averages = [
        AveragedModel(
            network.to(fabric.device),
            multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay),
            use_buffers=True,
        )
        for network in (G, D)
    ]
    G_module, G_optimizer = fabric.setup(G, _adam(G, config.generator_rate, config))
    D_module, D_optimizer = fabric.setup(D, _adam(D, config.discriminator_rate, config))
    return TrainingState(
        fabric, G_module, D_module, G_optimizer, D_optimizer, *averages
    )


def _adam(network: nn.Module, rate: float, config: TrainingConfig) -> torch.optim.Adam:
    betas = (config.beta1, config.beta2)
    return torch.optim.Adam(network.parameters(), lr=rate, betas=betas, fused=True)


def training_step(
    x: Tensor, state: TrainingState, config: TrainingConfig
) -> dict[str, Tensor]:
    """One descent for D and Q, then one for G.

        min_{G,Q} max_D  V(D, G) - lambda * L_I(G, Q)                   (eq. 6)

    Args:
        x: real images in [0, 1], (n, channels, height, width).
        state: networks and optimizers, changed in place.
        config: weights and schedules.

    Returns:
        the losses and, as ``L_I/name``, each code's bound in nats.
    """
    spec, fabric, G, D = config.spec, state.fabric, state.G, state.D
    first = state.step * config.batch_size + fabric.global_rank * len(x)
    drawn = spec.sample(len(x), seed=config.seed, start=first)
    latents = torch.from_numpy(drawn).to(fabric.device)
    c = latents[:, spec.noise_dim :]
    sigma = objective.training_deviation(spec).to(fabric.device)
    lam = config.weights()
    # A code with lambda = 0 still teaches Q's head, which watches: see watched().
    lam_Q = {name: weight or 1.0 for name, weight in lam.items()}

    x_fake = G(latents)

    real, still = D(x)
    fake, statistics = D(x_fake.detach())
    L_I = objective.mutual_information_lower_bound(spec, statistics, c, sigma)
    loss_D = objective.discriminator_loss(real, fake)
    loss_Q = -objective.weighted(L_I, lam_Q)
    weight = config.consistency.weight_at(state.step)
    consistency = x.new_zeros(())
    if weight > 0:
        rng = np.random.default_rng(
            [config.seed, _MOVEMENT, state.step, fabric.global_rank]
        )
        _, moved = D(move(x, config.consistency, rng))
        consistency = objective.consistency_loss(
            spec, still, moved, temperature=config.consistency.temperature
        )
    state.D_optimizer.zero_grad()
    fabric.backward(loss_D + loss_Q + weight * consistency)
    state.D_optimizer.step()

    with _frozen(D) as judge, fabric.autocast():
        fake, statistics = judge(x_fake)
    fake, statistics = fake.float(), statistics.float()
    L_I = objective.mutual_information_lower_bound(spec, statistics, c, sigma)
    loss_G = objective.generator_loss(fake)
    state.G_optimizer.zero_grad()
    fabric.backward(loss_G - objective.weighted(L_I, lam))
    state.G_optimizer.step()

    with torch.no_grad():
        fitted = objective.squared_residuals(spec, statistics, c)
        judge.residual.lerp_(fitted, _RESIDUAL_MOMENTUM)
        L_I = objective.mutual_information_lower_bound(
            spec, statistics, c, judge.residual.sqrt()
        )
    state.G_ema.update_parameters(_bare(G))
    state.D_ema.update_parameters(_bare(D))
    state.step += 1
    report = {"loss_D": loss_D, "loss_G": loss_G, "consistency": consistency}
    report |= {f"L_I/{name}": bound for name, bound in L_I.items()}
    return {name: value.detach() for name, value in report.items()}


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
        log_every: steps between rows of the CSV.
        sample_every: steps between sample grids.
        on_progress: called every ``log_every`` steps.

    Raises:
        TrainingError: the folder holds another run, the loss is no longer
            finite, or a code has collapsed.
        KeyboardInterrupt: after the step in hand is done and saved.
    """
    facts = DataFacts(images.name, len(images.images), images.sha256(), images.licence)
    _check_batch(config, facts.images, fabric)
    _make_folder(folder / "samples")
    _, height, width, channels = images.images.shape
    shape = (channels, height, width)
    state = build_state(config, shape, fabric)
    path = folder / CHECKPOINT_NAME
    spent = 0.0
    if path.exists():
        if not resume:
            raise TrainingError(f"{path} exists; resume it, or name another folder")
        spent = _restore(state, load_checkpoint(path), config, facts)
    leads = fabric.global_rank == 0
    log = RunLog(folder, config.spec, resumed_at=state.step) if leads else None
    pixels = torch.from_numpy(images.images).to(fabric.device)
    clock = _Clock(state.step, config.batch_size, spent)
    recent: list[dict[str, Tensor]] = []
    metrics: dict[str, float] = {}

    with _deferred_interrupt() as interrupted:
        while state.step < config.steps:
            _set_rates(state, config)
            x = _batch(pixels, state.step, config, fabric)
            recent.append(training_step(x, state, config))
            step, last = state.step, state.step == config.steps
            stopping = last or interrupted.is_set()
            saving = stopping or step % checkpoint_every == 0
            if saving or step % log_every == 0:
                # Before saving, always: a state that is lost is never kept.
                metrics, recent = _means(recent), []
                _stop_if_lost(metrics, step, config)
                speed = clock.images_per_second(step)
                if log:
                    log.scalars(step, metrics | {"images_per_second": speed})
                if on_progress:
                    on_progress(_progress(step, config, speed, metrics))
            if last:
                _calibrate(state, pixels, config)
            if log and (last or step % sample_every == 0):
                log.samples(step, state.G_ema.module.eval())
            if saving:
                if leads:
                    facts_now = (config, shape, facts, metrics, clock.seconds())
                    save_checkpoint(_capture(state, *facts_now), path)
                fabric.barrier()
            if interrupted.is_set():
                raise KeyboardInterrupt
    if log:
        log.close()
    return _capture(state, config, shape, facts, metrics, clock.seconds())


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


def _check_batch(config: TrainingConfig, images: int, fabric: Fabric) -> None:
    if config.batch_size % fabric.world_size:
        raise TrainingError(
            f"a batch of {config.batch_size} does not divide over "
            f"{fabric.world_size} processes"
        )
    if images < config.batch_size:
        raise TrainingError(
            f"{images} images are fewer than a batch of {config.batch_size}; "
            f"lower the batch size"
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from None


def _bare(module: nn.Module) -> nn.Module:
    """The network itself, without the engine's wrappers."""
    inner = getattr(module, "module", module)
    return inner if inner is module else _bare(inner)


@contextmanager
def _frozen(D: nn.Module) -> Iterator[Any]:
    """D as a fixed function: gradients pass through it and leave none in it."""
    bare = _bare(D).requires_grad_(False)
    try:
        yield bare
    finally:
        bare.requires_grad_(True)


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C into a flag, so that a step is never cut in two."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def on_signal(number: int, frame: object) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


def _set_rates(state: TrainingState, config: TrainingConfig) -> None:
    factor = config.rate_at(state.step)
    for optimizer, rate in (
        (state.G_optimizer, config.generator_rate),
        (state.D_optimizer, config.discriminator_rate),
    ):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor


def _batch(pixels: Tensor, step: int, config: TrainingConfig, fabric: Fabric) -> Tensor:
    """This process's share of a step's images, in [0, 1]; each epoch in new order."""
    local = config.batch_size // fabric.world_size
    per_epoch = len(pixels) // config.batch_size
    epoch, position = divmod(step, per_epoch)
    first = position * config.batch_size + fabric.global_rank * local
    mine = _order(config.seed, epoch, len(pixels))[first : first + local]
    chosen = pixels[torch.from_numpy(mine).to(pixels.device)]
    x = chosen.permute(0, 3, 1, 2).float() / 255
    return x.contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)


def _calibrate(state: TrainingState, pixels: Tensor, config: TrainingConfig) -> None:
    """Measure batch norm's statistics for the averaged weights.

    Averages of statistics are not the statistics of averages, and D saw its
    real and generated images in batches of their own.
    """
    steps = range(_CALIBRATION_BATCHES)
    latents = [
        torch.from_numpy(
            config.spec.sample(
                config.batch_size, seed=config.seed, start=step * config.batch_size
            )
        ).to(pixels.device)
        for step in steps
    ]
    G, D = state.G_ema.module, state.D_ema.module
    with torch.no_grad():
        update_bn(latents, G)
        G.eval()
        real = [_batch(pixels, step, config, state.fabric) for step in steps]
        update_bn(
            (
                x
                for z, x_real in zip(latents, real, strict=True)
                for x in (x_real, G(z))
            ),
            D,
        )


def _means(reports: list[dict[str, Tensor]]) -> dict[str, float]:
    if not reports:
        return {}
    return {
        name: torch.stack([report[name] for report in reports]).mean().item()
        for name in reports[0]
    }


def _progress(
    step: int, config: TrainingConfig, speed: float, metrics: dict[str, float]
) -> Progress:
    information = {
        name.removeprefix("L_I/"): value
        for name, value in metrics.items()
        if name.startswith("L_I/")
    }
    losses = {k: v for k, v in metrics.items() if not k.startswith("L_I/")}
    return Progress(step, config.steps, speed, losses, information)


def _stop_if_lost(metrics: dict[str, float], step: int, config: TrainingConfig) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value} at step {step}: training has diverged. Try lower "
                f"learning rates, or precision 32-true; the last checkpoint is intact"
            )
    if step < config.collapse_after:
        return
    for name, weight in config.weights().items():
        bound = metrics.get(f"L_I/{name}", math.inf)
        if weight > 0 and bound < _COLLAPSED * abs(config.spec[name].entropy):
            raise TrainingError(
                f"code {name!r} has collapsed: L_I is {bound:.3f} nats at step {step}, "
                f"of at most {config.spec[name].entropy:.3f}. Try a larger lambda, "
                f"another seed, or fewer codes"
            )


def _capture(
    state: TrainingState,
    config: TrainingConfig,
    shape: ImageShape,
    facts: DataFacts,
    metrics: dict[str, float],
    seconds: float,
) -> Checkpoint:
    return Checkpoint(
        config=config,
        shape=shape,
        data=facts,
        step=state.step,
        generator=_bare(state.G).state_dict(),
        discriminator=_bare(state.D).state_dict(),
        generator_ema=state.G_ema.module.state_dict(),
        discriminator_ema=state.D_ema.module.state_dict(),
        optimizers={
            "G": state.G_optimizer.state_dict(),
            "D": state.D_optimizer.state_dict(),
        },
        metrics=dict(metrics),
        seconds=seconds,
        version=package_version(),
        commit=source_commit(),
    )


def _restore(
    state: TrainingState, saved: Checkpoint, config: TrainingConfig, facts: DataFacts
) -> float:
    """Put a checkpoint into a fresh state; returns the seconds already spent."""
    # A longer run of the same recipe may go on from a shorter one's end.
    changed = replace(saved.config, steps=config.steps).difference(config)
    if changed:
        raise TrainingError(
            f"the checkpoint was trained with another {', '.join(changed)}; resume "
            f"with the same options, or name another folder"
        )
    if saved.data.sha256 != facts.sha256:
        raise TrainingError(
            f"the checkpoint was trained on other images: {saved.data.name} "
            f"{saved.data.sha256[:12]}, not {facts.name} {facts.sha256[:12]}"
        )
    _bare(state.G).load_state_dict(saved.generator)
    _bare(state.D).load_state_dict(saved.discriminator)
    state.G_ema.module.load_state_dict(saved.generator_ema)
    state.D_ema.module.load_state_dict(saved.discriminator_ema)
    for average in (state.G_ema, state.D_ema):
        average.n_averaged.fill_(saved.step)
    state.G_optimizer.load_state_dict(saved.optimizers["G"])
    state.D_optimizer.load_state_dict(saved.optimizers["D"])
    state.step = saved.step
    return saved.seconds
