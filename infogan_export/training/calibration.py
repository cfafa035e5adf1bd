"""The statistics of the averaged weights, measured at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from infogan_export.training.batches import Batches
from infogan_export.training.config import TrainingConfig
from infogan_export.training.networks import settle
from infogan_export.training.state import TrainingState

_BATCHES = 100


def calibrate(state: TrainingState, batches: Batches, config: TrainingConfig) -> None:
    """Measure the statistics of the averaged G and D afresh, and leave G in eval.

    Averages of statistics are not the statistics of averages, and D saw its real
    and generated images in batches of their own: it is measured on both.  The
    spectral norms of averaged weights are found afresh as well.

    Args:
        state: ``G_ema`` and ``D_ema`` are changed in place.
        batches: the real images.
        config: the latents, the same as in the first steps of the run.
    """
    calibrate_generator(state, config)
    G, D = state.G_ema.module, state.D_ema.module

    def real_and_generated() -> Iterator[Tensor]:
        for step, z in enumerate(_latents(state, config)):
            yield batches.at(step)
            yield G(z)

    with torch.no_grad():
        update_bn(real_and_generated(), D)
        settle(D)


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


def _latents(state: TrainingState, config: TrainingConfig) -> Iterator[Tensor]:
    for step in range(_BATCHES):
        z = config.spec.sample(
            config.batch_size, seed=config.seed, start=step * config.batch_size
        )
        yield torch.from_numpy(z).to(state.fabric.device)
