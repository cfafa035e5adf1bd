"""The real images of each step, a function of the seed and the step alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from infogan_export.datasets import ImageSet
from infogan_export.errors import TrainingError

# Beside the seed, what a draw is for; 2 and 4 are the step's own.
_ORDER, _FLIP = 1, 3


class Recipe(Protocol):
    """What of a configuration decides the real images of a step."""

    @property
    def seed(self) -> int:
        """Of the order and the flips."""

    @property
    def batch_size(self) -> int:
        """Images of a step over all processes."""

    @property
    def flip(self) -> bool:
        """Whether each is shown as it is or mirrored, by its draw."""


class Batches:
    """Every epoch shows each image once, in an order of its own.

    The images that do not fill an epoch's last batch wait for the next one.
    All images stay on the device, as bytes.
    """

    def __init__(self, images: ImageSet, config: Recipe, fabric: Fabric) -> None:
        """Bring the images to the device.

        Raises:
            TrainingError: the batch does not divide over the processes, or is
                larger than the data set; or that is a single image.
        """
        self._seed, self._size = config.seed, config.batch_size
        self._flip = config.flip
        self._rank, self._share = fabric.global_rank, self._size // fabric.world_size
        if self._size % fabric.world_size or self._share < 2:
            raise TrainingError(
                f"a batch of {self._size} does not divide over {fabric.world_size} "
                f"processes with 2 or more images each"
            )
        if len(images) < 2:
            raise TrainingError(f"a run needs at least 2 images, got {len(images)}")
        if len(images) < self._size:
            raise TrainingError(
                f"{len(images)} images are fewer than a batch of {self._size}; "
                f"lower the batch size"
            )
        self._pixels = torch.from_numpy(images.images).to(fabric.device)

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return len(self._pixels) // self._size

    def at(self, step: int) -> Tensor:
        """This process's images of a step: float32 in 0..1, (n, channels, H, W)."""
        epoch, position = divmod(step, self.epoch)
        first = position * self._size + self._rank * self._share
        order = _order(self._seed, epoch, len(self._pixels))
        mine = torch.from_numpy(order[first : first + self._share])
        x = as_input(self._pixels[mine.to(self._pixels.device)])
        if self._flip:
            rng = np.random.default_rng([self._seed, _FLIP, step, self._rank])
            turned = torch.from_numpy(rng.random(len(x)) < 0.5).to(x.device)
            x = torch.where(turned[:, None, None, None], x.flip(3), x)
        return x.contiguous(memory_format=torch.channels_last)


def as_input(pixels: Tensor) -> Tensor:
    """Bytes (n, H, W, channels) as networks see them: 0..1, (n, channels, H, W)."""
    return pixels.permute(0, 3, 1, 2).float() / 255


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)
