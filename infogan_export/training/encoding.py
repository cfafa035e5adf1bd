"""Train an encoder of a model that is trained already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from infogan_export.datasets import ImageSet
from infogan_export.errors import TrainingError
from infogan_export.training.batches import Batches
from infogan_export.training.checkpoint import (
    CHECKPOINT_NAME,
    DataFacts,
    EncoderCheckpoint,
    load_encoder_checkpoint,
    package_version,
    source_commit,
)
from infogan_export.training.config import differing_fields
from infogan_export.training.encoder import Encoder, EncoderConfig, as_latents
from infogan_export.training.health import stop_if_diverged
from infogan_export.training.inversion import Target, inversion_loss
from infogan_export.training.loop import (
    Progress,
    data_facts,
    is_resumed,
    repeat,
)
from infogan_export.training.runlog import sheet_of
from infogan_export.training.state import (
    adam,
    bare,
    may_go_on,
    require_same_images,
    require_same_options,
)

_SHOWN = 40  # real images of a picture, each above what comes back
_COLUMNS = 10


def train_encoder(
    config: EncoderConfig,
    target: Target,
    images: ImageSet,
    folder: Path,
    *,
    fabric: Fabric,
    resume: bool = False,
    checkpoint_every: int = 500,
    log_every: int = 50,
    sample_every: int = 500,
    on_progress: Callable[[Progress], None] | None = None,
) -> EncoderCheckpoint:
    """Run a configuration to its end, or on from its last checkpoint.

    Args:
        config: what to train.
        target: the model to invert; its networks move to the engine's device.
        images: real ones; labels are never looked at.
        folder: the run's own folder, made if need be.
        fabric: the launched engine.
        resume: go on from the folder's checkpoint, if there is one.
        checkpoint_every: steps between checkpoints.
        log_every: steps between rows of the CSV, each the mean over these steps.
        sample_every: steps between pictures of reconstructions.
        on_progress: called every ``log_every`` steps.

    Returns:
        the last checkpoint, as it is in the folder.

    Raises:
        TrainingError: the images do not suit the model or the batch, the folder
            holds another run, or a loss is no longer finite.
        OutputError: the folder cannot be written.
        KeyboardInterrupt: after the step in hand is done and saved.
    """
    _, height, width, channels = images.images.shape
    if (channels, height, width) != target.shape:
        wanted, given = (
            f"{h}x{w} with {c} channel(s)"
            for c, h, w in (target.shape, (channels, height, width))
        )
        raise TrainingError(f"{target.name} draws images of {wanted}, got {given}")
    for network in (target.G, target.Q):
        network.to(fabric.device)
    batches = Batches(images, config, fabric)
    task = _Encoding(config, target, batches, data_facts(images), fabric)
    path = folder / CHECKPOINT_NAME
    saved = None
    if is_resumed(path, resume=resume):
        saved = load_encoder_checkpoint(path)
        task.restore(saved)
    return repeat(
        task,
        folder,
        fabric=fabric,
        saved=saved,
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        sample_every=sample_every,
        on_progress=on_progress,
    )


class _Encoding:
    """An encoder's training, for ``repeat``."""

    def __init__(
        self,
        config: EncoderConfig,
        target: Target,
        batches: Batches,
        data: DataFacts,
        fabric: Fabric,
    ) -> None:
        self.config, self.step, self.steps = config, 0, config.steps
        self._target, self._batches, self._data = target, batches, data
        self._fabric = fabric
        torch.manual_seed(config.seed)
        E = Encoder(target.spec, target.shape)
        E.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        E.to(fabric.device)
        betas = config.beta1, config.beta2
        self._E: nn.Module
        self._optimizer: Any
        self._E, self._optimizer = fabric.setup(E, adam(E, config.rate, betas))

    def images_at(self, step: int) -> int:
        return self.config.images_at(step)

    def advance(self) -> dict[str, Tensor]:
        """One descent of E."""
        config, fabric = self.config, self._fabric
        x = self._batches.at(self.step)
        count = len(x) // 2
        first = (self.step * fabric.world_size + fabric.global_rank) * count
        drawn = self._target.spec.sample(count, seed=config.seed, start=first)
        latents = torch.from_numpy(drawn).to(fabric.device)
        for group in self._optimizer.param_groups:
            group["lr"] = config.rate_at(self.step)
        self._E.train()
        with fabric.autocast():
            loss, terms = inversion_loss(x, latents, self._E, self._target, config)
        self._optimizer.zero_grad()
        fabric.backward(loss)
        self._optimizer.step()
        self.step += 1
        return {name: term.detach() for name, term in terms.items()}

    def check(self, metrics: dict[str, float]) -> None:
        stop_if_diverged(metrics, {"E": self._E}, step=self.step)

    def finish(self) -> None:
        """The falling rate has settled E: nothing is left to do."""

    def picture(self) -> NDArray[np.uint8]:
        """Rows of real images, each above a row of what comes back."""
        x = self._batches.at(0)[:_SHOWN]
        x = x[: len(x) // _COLUMNS * _COLUMNS or None]
        E = bare(self._E).eval()
        with torch.inference_mode():
            back = self._target.draw(as_latents(E(x), self._target.spec))
        columns = min(_COLUMNS, len(x))
        rows = [t.reshape(-1, columns, *t.shape[1:]) for t in (x, back)]
        return sheet_of(torch.stack(rows, dim=1).flatten(0, 2), columns=columns)

    def capture(self, metrics: dict[str, float], seconds: float) -> EncoderCheckpoint:
        target = self._target
        return EncoderCheckpoint(
            config=self.config,
            spec=target.spec,
            shape=target.shape,
            model=target.name,
            generator_sha256=target.generator_sha256,
            data=self._data,
            step=self.step,
            encoder=bare(self._E).state_dict(),
            optimizer=self._optimizer.state_dict(),
            metrics=dict(metrics),
            seconds=seconds,
            version=package_version(),
            commit=source_commit(),
        )

    def restore(self, saved: EncoderCheckpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            TrainingError: of another model, other options or other images.
        """
        if saved.generator_sha256 != self._target.generator_sha256:
            raise TrainingError(
                f"the checkpoint is of an encoder for {saved.model} "
                f"{saved.generator_sha256[:12]}, not for {self._target.name} "
                f"{self._target.generator_sha256[:12]}"
            )
        config = saved.config
        if may_go_on(saved.step, config.steps, self.config.steps):
            config = replace(config, steps=self.config.steps)
        require_same_options(differing_fields(config, self.config))
        require_same_images(saved.data, self._data)
        bare(self._E).load_state_dict(saved.encoder)
        self._optimizer.load_state_dict(saved.optimizer)
        self.step = saved.step
