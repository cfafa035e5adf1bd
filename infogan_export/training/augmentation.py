"""Differentiable changes of what D sees, the same for real and generated images.

Source: Zhao et al. (2020), Differentiable Augmentation for Data-Efficient GAN
Training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from infogan_export.training.config import Augmentation

_GREY = 0.5  # of what comes in from outside, and of what is cut out


def augment(images: Tensor, size: Augmentation, rng: torch.Generator) -> Tensor:
    """Each image shifted, made brighter or darker, and partly covered.

    Every image takes its own draws.  Gradients pass to all that is still seen.

    Args:
        images: float32 in [0, 1], (n, channels, height, width).
        size: how far; see ``Augmentation``.
        rng: source of the draws, on the images' device.
    """
    if not size.active:
        return images
    changed = images - _GREY
    if size.brightness:
        by = _uniform(changed, (len(images), 1, 1, 1), rng)
        changed = changed + size.brightness * by
    if size.translation:
        changed = _shifted(changed, size.translation, rng)
    if size.cutout:
        changed = changed * _kept(changed, size.cutout, rng)
    return changed + _GREY


def _shifted(images: Tensor, part: float, rng: torch.Generator) -> Tensor:
    """Whole pixels, up to a part of the size each way: a product with 0s and 1s."""
    down, across = (
        _moves(images, axis, part, rng).to(images.dtype)[:, None] for axis in (2, 3)
    )
    return down @ images @ across.transpose(2, 3)


def _moves(images: Tensor, axis: int, part: float, rng: torch.Generator) -> Tensor:
    """Matrices (n, pixels, pixels) that take each pixel from its neighbour."""
    pixels = images.shape[axis]
    most = round(part * pixels)
    by = _integers(images, -most, most, rng)
    place = torch.arange(pixels, device=images.device)
    return place[:, None] + by[:, None, None] == place


def _kept(images: Tensor, part: float, rng: torch.Generator) -> Tensor:
    """1 outside a box of a part of height and width anywhere, 0 in it; (n, 1, H, W)."""
    inside = []
    for axis in (2, 3):
        pixels = images.shape[axis]
        side = round(part * pixels)
        middle = _integers(images, 0, pixels - 1, rng)
        place = torch.arange(pixels, device=images.device)
        first = middle[:, None] - side // 2
        inside.append((place >= first) & (place < first + side))
    covered = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return (~covered).to(images.dtype)


def _integers(images: Tensor, low: int, high: int, rng: torch.Generator) -> Tensor:
    return torch.randint(
        low, high + 1, (len(images),), generator=rng, device=images.device
    )


def _uniform(like: Tensor, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Between -1 and 1."""
    return 2 * torch.rand(shape, generator=rng, device=like.device) - 1
