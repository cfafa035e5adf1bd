"""The statistics of the averaged weights, measured at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from infogan_export.training import objective
from infogan_export.training.batches import Batches
from infogan_export.training.config import TrainingConfig
from infogan_export.training.networks import Discriminator, low_passed, settle
from infogan_export.training.state import TrainingState
from infogan_export.training.step import Disguise

_BATCHES, _FITTED = 100, 250
_LEAST = 1e-4  # of the largest direction of what is solved; less is rounding
_LEARNED, _EPOCHS, _HEAD_RATE = 2000, 8, 1e-3  # batches; passes over them; Adam's
# The batches that Q's head is fitted to begin here: its bounds are measured on the
# first latents of a seed, which may be the run's, and must not have been learned.
_UNSEEN = 2**20


def calibrate(state: TrainingState, batches: Batches, config: TrainingConfig) -> None:
    """Measure the statistics of the averaged G and D afresh, and leave G in eval.

    Averages of statistics are not the statistics of averages, and D saw its real
    and generated images in batches of their own: it is measured on both.  The
    spectral norms of averaged weights are found afresh as well.  The statistics of
    a Q that has its own are those of images without the noise of training, which are
    what it will read, and with it.  Where Q learned from other images than it will
    read, its head is fitted to those: see ``fit_head`` and ``fit_means``.

    Args:
        state: ``G_ema`` and ``D_ema`` are changed in place.
        batches: the real images.
        config: the latents, the same as in the first steps of the run.
    """
    calibrate_generator(state, config)
    G, D = state.G_ema.module, state.D_ema.module
    assert isinstance(D, Discriminator)

    def real_and_generated() -> Iterator[Tensor]:
        for step, z in enumerate(_latents(state, config)):
            yield batches.at(step)
            yield G(z)

    with torch.no_grad():
        update_bn(real_and_generated(), _Reading(D, Disguise(state, config)))
        settle(D)
    if config.reads_apart:
        fit_head(state, config)
        if config.spec.uniform:
            fit_means(state, config)


def fit_head(state: TrainingState, config: TrainingConfig) -> None:
    """Let the head of the averaged Q learn on, of images that no longer change.

    L_I is a lower bound for any Q, and the tighter the better Q is.  In the game Q
    reads a G on the move; here the averaged one, still and with the noise of
    training, by what the trunk at rest makes of its images.

    Args:
        state: ``D_ema`` is changed in place; it and ``G_ema`` are calibrated.
        config: the latents, none of which an evaluation draws.
    """
    D, spec = state.D_ema.module, config.spec
    assert isinstance(D, Discriminator)
    parts: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad(), state.fabric.autocast():
        for features, c in _watched(state, config, first=_UNSEEN, count=_LEARNED):
            parts.append((features.bfloat16(), c))
    features, codes = (torch.cat(part) for part in zip(*parts, strict=True))
    head = D.recognition.train()
    optimizer = torch.optim.Adam(head.parameters(), _HEAD_RATE)
    size, sigma = 4 * config.batch_size, objective.training_deviation(spec).to(codes)
    steps = _EPOCHS * len(codes) // size
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    order = torch.Generator().manual_seed(config.seed)
    for _ in range(steps):
        rows = torch.randint(len(codes), (size,), generator=order)
        with state.fabric.autocast():
            statistics = head(features[rows].float())
        L_I = objective.mutual_information_lower_bound(
            spec, statistics.float(), codes[rows], sigma
        )
        optimizer.zero_grad()
        (-objective.weighted(L_I, config.weights_of_Q())).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        falling.step()
    head.eval()


def fit_means(state: TrainingState, config: TrainingConfig) -> None:
    """Solve the last layer of the averaged Q for the means of the uniform codes.

    L_I is a lower bound for any Q, and the tighter the better Q is: by least squares
    on generated images, whose codes are known, without the noise of training and with
    it.  The residual is fitted as well.

    Args:
        state: ``D_ema`` is changed in place; it and ``G_ema`` are calibrated.
        config: the latents, none of which an evaluation draws.
    """
    D = state.D_ema.module
    assert isinstance(D, Discriminator)
    columns = objective.mean_columns(config.spec)
    rows: list[Tensor] = []
    codes: list[Tensor] = []
    with torch.no_grad():
        first = _UNSEEN + _LEARNED  # the residual is of images that are new to Q
        for features, code in _watched(state, config, first=first, count=_FITTED):
            rows.append(F.pad(D.recognition[:-1](features), (0, 1), value=1.0))
            codes.append(code[:, columns])
        A, c = (torch.cat(parts).double().cpu() for parts in (rows, codes))
        solution = torch.linalg.lstsq(A, c, rcond=_LEAST, driver="gelsd").solution
        last = D.recognition[-1]
        assert isinstance(last, nn.Linear)
        last.weight[columns] = solution[:-1].T.to(last.weight)
        last.bias[columns] = solution[-1].to(last.bias)
        D.residual.copy_((A @ solution - c).square().mean(dim=0))


def _watched(
    state: TrainingState, config: TrainingConfig, *, first: int, count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """What D's trunk at rest makes of batches of generated images, and their codes.

    The images of a batch are still ones and then noisy ones.
    """
    G, D = state.G_ema.module, state.D_ema.module.eval()
    assert isinstance(D, Discriminator)
    disguise = Disguise(state, config)
    size = config.batch_size
    for z in latent_batches(state, config, first=first, count=count, size=size):
        features = D.sight(_still_and_noisy(G(z), D, disguise))
        yield features, z[:, config.spec.noise_dim :].repeat(2, 1)


class _Reading(nn.Module):
    """D, and Q with what it reads; where Q is apart, once still and once noisy."""

    def __init__(self, D: Discriminator, disguise: Disguise) -> None:
        super().__init__()
        self.D, self._disguise = D, disguise

    def forward(self, images: Tensor) -> None:
        apart = self.D.apart
        seen = _still_and_noisy(images, self.D, self._disguise) if apart else None
        self.D(images, seen)


def _still_and_noisy(images: Tensor, D: Discriminator, disguise: Disguise) -> Tensor:
    """What a Q that reads apart will see, and what it learned from: (2 n, ...)."""
    noisy = disguise.for_Q(images)
    assert noisy is not None, "this Q learned from what it will read"
    return torch.cat([low_passed(images, D.blur), noisy])


def calibrate_generator(state: TrainingState, config: TrainingConfig) -> None:
    """The same of the averaged G alone.

    Args:
        state: ``G_ema`` is changed in place.
        config: the latents, the same as in the first steps of the run.
    """
    G = state.G_ema.module
    with torch.no_grad():
        update_bn(_latents(state, config), G)
    G.eval()


def category_shares(
    state: TrainingState, batches: Batches, config: TrainingConfig
) -> dict[str, list[float]]:
    """What part of the real images the averaged Q gives each category of a code.

    Args:
        state: of the run.
        batches: the real images, each of which is looked at.
        config: the latents.
    """
    D = state.D_ema.module
    assert isinstance(D, Discriminator)
    with torch.no_grad():
        read = torch.cat([D.read(batches.at(step)) for step in range(batches.epoch)])
    found = objective.category_shares(config.spec, read)
    return {name: shares.tolist() for name, shares in found.items()}


def latent_batches(
    state: TrainingState,
    config: TrainingConfig,
    *,
    first: int = 0,
    count: int,
    size: int,
) -> Iterator[Tensor]:
    """Latents of the run's seed, in batches, on its device.

    Args:
        state: of the run.
        config: the latents and the seed.
        first: the batch that they begin with; the run's own are its first ones.
        count: of batches.
        size: of each.
    """
    for step in range(first, first + count):
        z = config.spec.sample(size, seed=config.seed, start=step * size)
        yield torch.from_numpy(z).to(state.fabric.device)


def _latents(state: TrainingState, config: TrainingConfig) -> Iterator[Tensor]:
    return latent_batches(state, config, count=_BATCHES, size=config.batch_size)
