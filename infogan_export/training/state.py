"""All that a training step changes, and its way into a checkpoint and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from infogan_export.errors import TrainingError
from infogan_export.latent import CategoricalCode, LatentSpec, UniformCode
from infogan_export.training.checkpoint import (
    Checkpoint,
    DataFacts,
    package_version,
    source_commit,
)
from infogan_export.training.config import DECAY, TrainingConfig, differing_fields
from infogan_export.training.frechet import Measure
from infogan_export.training.networks import (
    Discriminator,
    Generator,
    ImageShape,
    balance,
    initialise,
    settle,
    without_spectral_norm,
)

_SAME_TO_START = "spec", "architecture"
_FUSED_ADAM = ("cpu", "cuda", "mps", "xpu")


@dataclass
class TrainingState:
    """Networks, their optimizers and their averages, at a step.

    ``G_optimizer`` owns G.  ``D_optimizer`` owns the trunk, D's head and Q's
    head, so that the trunk learns from both V(D, G) and L_I.  ``measure`` is
    what the game leaves to be descended; there is none before its end.  ``shares``
    are those of the categories among real images, known at the end of a refinement.
    """

    fabric: Fabric
    G: nn.Module
    D: nn.Module
    G_optimizer: Any
    D_optimizer: Any
    G_ema: AveragedModel
    D_ema: AveragedModel
    step: int = 0
    measure: Measure | None = None
    shares: dict[str, list[float]] = field(default_factory=dict)


def build_state(
    config: TrainingConfig, shape: ImageShape, fabric: Fabric
) -> TrainingState:
    """Fresh networks and optimizers, the same for the same seed.

    Raises:
        TrainingError: the networks cannot make images of that shape.
    """
    torch.manual_seed(config.seed)
    G = Generator(config.spec, shape, config.architecture)
    D = Discriminator(config.spec, shape, config.architecture, config.watched())
    for network in (G, D):
        initialise(network)
    if config.balance:
        balance(G, config.spec)
    for network in (G, D):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.to(fabric.device)
    G_ema, D_ema = (_average(network, config) for network in (G, D))
    betas = config.beta1, config.beta2
    G_module, G_optimizer = fabric.setup(G, adam(G, config.generator_rate, betas))
    D_module, D_optimizer = fabric.setup(D, adam(D, config.discriminator_rate, betas))
    return TrainingState(
        fabric, G_module, D_module, G_optimizer, D_optimizer, G_ema, D_ema
    )


def restart(state: TrainingState, config: TrainingConfig) -> Measure:
    """Let both networks go on from their averages, as if they were new.

    With fresh optimizers, and fresh averages that forget their start; batch norms
    do not look at the batch, unless they are told to.

    Returns:
        the state's measure, of D as it is now, not yet calibrated.
    """
    averaging = replace(config, ema_warm_up=True)
    G, D = bare(state.G), bare(state.D)
    for network, average in ((G, state.G_ema), (D, state.D_ema)):
        network.load_state_dict(average.module.state_dict())
        network.eval()
    for optimizer in (state.G_optimizer, state.D_optimizer):
        optimizer.state.clear()
    state.G_ema, state.D_ema = (_average(network, averaging) for network in (G, D))
    assert isinstance(D, Discriminator)
    state.measure = Measure(deepcopy(D), config.refinement.directions)
    state.measure.to(state.fabric.device)
    return state.measure


def _average(network: nn.Module, config: TrainingConfig) -> AveragedModel:
    decay, warm_up = config.ema_decay, config.ema_warm_up

    def update(averaged: Any, current: Any, count: Tensor | int) -> None:
        t = int(count)
        now = min(decay, (1 + t) / (10 + t)) if warm_up else decay
        get_ema_multi_avg_fn(now)(averaged, current, count)  # type: ignore[no-untyped-call]

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def adam(
    network: nn.Module, rate: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """Adam of a network's parameters, fused where the device has it so."""
    device = next(network.parameters()).device
    return torch.optim.Adam(
        network.parameters(),
        lr=rate,
        betas=betas,
        fused=device.type in _FUSED_ADAM,
    )


def set_rates(state: TrainingState, config: TrainingConfig) -> None:
    """Give both optimizers the learning rates of the state's step."""
    optimizers = state.G_optimizer, state.D_optimizer
    for optimizer, rate in zip(optimizers, config.rates_at(state.step), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate


def bare(module: nn.Module) -> nn.Module:
    """The network itself, without the engine's wrappers."""
    inner = getattr(module, "module", module)
    return inner if inner is module else bare(inner)


@contextmanager
def frozen(network: nn.Module) -> Iterator[Any]:
    """A network as a fixed function: gradients pass through it and leave none in it."""
    fixed = bare(network).requires_grad_(False)
    try:
        yield fixed
    finally:
        fixed.requires_grad_(True)


def capture(
    state: TrainingState,
    config: TrainingConfig,
    shape: ImageShape,
    data: DataFacts,
    *,
    metrics: dict[str, float],
    seconds: float,
) -> Checkpoint:
    """The state as a checkpoint; its tensors are the state's own, not copies.

    Args:
        state: what to keep.
        config: how it was trained.
        shape: channels, height, width of the images.
        data: what it was trained on.
        metrics: the last figures of the log.
        seconds: time spent on the run so far.
    """
    return Checkpoint(
        config=config,
        shape=shape,
        data=data,
        step=state.step,
        generator=bare(state.G).state_dict(),
        discriminator=bare(state.D).state_dict(),
        generator_ema=state.G_ema.module.state_dict(),
        discriminator_ema=state.D_ema.module.state_dict(),
        optimizers={
            "G": state.G_optimizer.state_dict(),
            "D": state.D_optimizer.state_dict(),
        },
        metrics=dict(metrics),
        measure=None if state.measure is None else state.measure.state_dict(),
        shares=state.shares,
        seconds=seconds,
        version=package_version(),
        commit=source_commit(),
    )


def may_go_on(step: int, steps: int, wanted: int) -> bool:
    """Whether a run of some steps may become one of more: when it is at its end.

    Before, its schedules would change under it.
    """
    return step == steps <= wanted


def require_same_options(changed: list[str]) -> None:
    """Refuse to resume with options that changed.

    Raises:
        TrainingError: naming them.
    """
    if changed:
        raise TrainingError(
            f"the checkpoint was trained with another {', '.join(changed)}; resume "
            f"with the same options, or name another folder"
        )


def require_same_images(saved: DataFacts, given: DataFacts) -> None:
    """Refuse to resume on other images than a checkpoint's.

    Raises:
        TrainingError: naming both.
    """
    if saved.sha256 != given.sha256:
        raise TrainingError(
            f"the checkpoint was trained on other images: {saved.name} "
            f"{saved.sha256[:12]}, not {given.name} {given.sha256[:12]}"
        )


def restore(
    state: TrainingState, saved: Checkpoint, config: TrainingConfig, data: DataFacts
) -> None:
    """Put a checkpoint into a fresh state.

    Raises:
        TrainingError: it was made with other options or other images.
    """
    # A longer game of the same recipe may go on from a shorter one's end, and what
    # comes at its middle or after it may change before it has begun: so may the
    # length, while no rate has fallen by either.
    comparable = saved.config
    if saved.step <= config.consistency.full_at:
        parting = replace(comparable.consistency, parting=config.consistency.parting)
        comparable = replace(comparable, consistency=parting)
    if saved.measure is None:
        comparable = replace(comparable, refinement=config.refinement)
        if may_go_on(saved.step, saved.config.steps, config.steps):
            comparable = replace(comparable, steps=config.steps)
        unfallen = min(saved.config.decays_after, config.decays_after)
        if saved.step <= unfallen and saved.step < config.steps:  # it has yet to end
            falls = {name: getattr(config, name) for name in DECAY}
            comparable = replace(comparable, **falls)
    require_same_options(differing_fields(comparable, config))
    require_same_images(saved.data, data)
    if saved.measure is not None:
        restart(state, config).load_state_dict(saved.measure)
    bare(state.G).load_state_dict(saved.generator)
    bare(state.D).load_state_dict(saved.discriminator)
    state.G_ema.module.load_state_dict(saved.generator_ema)
    state.D_ema.module.load_state_dict(saved.discriminator_ema)
    began = config.steps if saved.measure is not None else 0
    for average in (state.G_ema, state.D_ema):
        average.n_averaged.fill_(saved.step - began)
    state.G_optimizer.load_state_dict(saved.optimizers["G"])
    state.D_optimizer.load_state_dict(saved.optimizers["D"])
    state.shares = saved.shares
    state.step = saved.step


def warm_start(
    state: TrainingState, run: Checkpoint, config: TrainingConfig, shape: ImageShape
) -> None:
    """Put a run's averaged weights into a fresh state, and nothing else of it.

    Args:
        state: at step 0.
        run: what to begin with.
        config: of the state.
        shape: channels, height, width of its images.

    Raises:
        TrainingError: the run has other latents, networks or images.
    """
    begun = replace(run.config, spec=layout(run.config.spec))
    wanted = replace(config, spec=layout(config.spec))
    differing = [n for n in _SAME_TO_START if n in differing_fields(begun, wanted)]
    if run.shape != shape:
        differing.append("image size")
    if differing:
        raise TrainingError(
            f"the run to begin with has another {', '.join(differing)}; its weights "
            "fit networks like its own alone"
        )
    for network, average, weights in (
        (state.G, state.G_ema, run.generator_ema),
        (state.D, state.D_ema, run.discriminator_ema),
    ):
        bare(network).load_state_dict(weights)
        average.module.load_state_dict(weights)


def layout(spec: LatentSpec) -> LatentSpec:
    """What training knows of it: no names, as an exported model has, no traversals."""
    return spec.rename(
        CategoricalCode(f"c{k}", code.size)
        if isinstance(code, CategoricalCode)
        else UniformCode(f"c{k}", code.low, code.high)
        for k, code in enumerate(spec.codes)
    )


def averaged_networks(checkpoint: Checkpoint) -> tuple[Generator, Discriminator]:
    """G and D with their averaged weights, ready to be run.

    D's spectral norms are divided out of its weights.
    """
    config, shape = checkpoint.config, checkpoint.shape
    G = Generator(config.spec, shape, config.architecture)
    D = Discriminator(config.spec, shape, config.architecture)
    G.load_state_dict(checkpoint.generator_ema)
    D.load_state_dict(checkpoint.discriminator_ema)
    settle(D)
    return G.eval(), without_spectral_norm(D).eval()
