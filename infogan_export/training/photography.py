"""Changes of photographs of faces: turned, lit from a side or above, exposed."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infogan_export.training.config import Guidance

_FACE = 0.7  # deviation of the Gaussian in which a face turns, in half-frames


def rephotograph(
    images: Tensor, size: Guidance, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Each image changed in every way that has a size, by its own draws.

    Args:
        images: float32 in 0..1, (n, channels, height, width).
        size: how far; see ``Guidance``.
        rng: source of the draws.

    Returns:
        images in 0..1, and (n, K) draws from -1 to 1 of the ``size.changes``.
    """
    drawn = rng.uniform(-1.0, 1.0, (len(images), len(size.changes)))
    amounts = torch.from_numpy(drawn.astype(np.float32)).to(images.device)
    by = {
        name: getattr(size, name) * amount[:, None, None, None]
        for name, amount in zip(size.changes, amounts.T, strict=True)
    }
    if "turn" in by:
        images = turn(images, by["turn"])
    right, up = _places(images)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    light = by.get("lighting", 0) * right + by.get("toplight", 0) * up
    exposed = (images - mean) * (1 + by.get("contrast", 0)) + mean
    exposed = exposed + by.get("brightness", 0) + light
    return exposed.clamp(0, 1), amounts


def turn(images: Tensor, by: Tensor) -> Tensor:
    """What is in the middle moved to the right, as a head that turns moves its face.

    Args:
        images: (n, channels, height, width).
        by: (n, 1, 1, 1), how far, as a part of the width; the edges stay.
    """
    right, up = _places(images)
    near = torch.exp(-(right**2 + up**2) / (2 * _FACE**2))
    across = right - 2 * by[:, 0] * near  # where a pixel comes from; (n, H, W)
    grid = torch.stack([across, -up.expand_as(across)], dim=3)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _places(images: Tensor) -> tuple[Tensor, Tensor]:
    """Half-frames from the middle, to the right (1, W) and upwards (H, 1)."""
    up, right = (
        (2 * torch.arange(size, device=images.device) + 1) / size - 1
        for size in images.shape[2:]
    )
    return right[None, :], -up[:, None]
