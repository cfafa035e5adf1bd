"""Slight random movements of images: rotation, scale, shear and shift."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infogan_export.training.config import Consistency


def move(images: Tensor, size: Consistency, rng: np.random.Generator) -> Tensor:
    """Each image moved a little, by its own draw; what enters is black.

    Args:
        images: float32, (n, channels, height, width).
        size: how far; see ``Consistency``.
        rng: source of the draws.

    Returns:
        images of the same shape, sampled bilinearly.
    """
    n = len(images)
    angle = np.deg2rad(rng.uniform(-size.rotation, size.rotation, n))
    scale = 1.0 + rng.uniform(-size.scale, size.scale, (2, n))
    shear = rng.uniform(-size.shear, size.shear, n)
    shift = 2.0 * rng.uniform(-size.shift, size.shift, (n, 2))  # grid spans -1..1
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(n), np.ones(n)
    rotation = np.array([[cos, -sin], [sin, cos]])
    stretch = np.array([[scale[0], zero], [zero, scale[1]]])
    slant = np.array([[one, shear], [zero, one]])
    linear = np.einsum("ijn,jkn,kln->nil", rotation, stretch, slant)
    affine = np.concatenate([linear, shift[:, :, None]], axis=2)
    theta = torch.from_numpy(affine.astype(np.float32)).to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
