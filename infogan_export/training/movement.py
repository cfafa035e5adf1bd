"""Slight random movements of images: rotation, scale, shear, shift, thickness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infogan_export.evaluation.strokes import thickness
from infogan_export.training.config import Consistency


@dataclass(frozen=True)
class Moved:
    """Moved images, and how far they lean.

    Attributes:
        images: of the same shape as those that were moved.
        lean: float32, (n,): of an upright stroke to the right, after all movements
            together, in pixels across for each pixel upwards.
    """

    images: Tensor
    lean: Tensor


def move(images: Tensor, size: Consistency, rng: np.random.Generator) -> Moved:
    """Each image moved a little, by its own draw; what enters is black.

    Args:
        images: float32 in 0..1, (n, channels, height, width).
        size: how far; see ``Consistency``.
        rng: source of the draws.

    Returns:
        images sampled bilinearly, and their lean.
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
    moved = F.grid_sample(images, grid, align_corners=False)
    if size.thickening:
        amount = size.thickening * rng.uniform(-1.0, 1.0, n).astype(np.float32)
        moved = thicken(moved, torch.from_numpy(amount).to(images.device))
    upright = np.linalg.inv(linear)[:, :, 1]  # linear tells where a pixel comes from
    lean = (-upright[:, 0] / upright[:, 1]).astype(np.float32)
    return Moved(moved, torch.from_numpy(lean).to(images.device))


def steered_by(still: Tensor, moved: Moved) -> Tensor:
    """What the uniform codes are to follow, (n, 2): lean, and gain in thickness.

    The gain is measured, in pixels: movements thicken strokes in several ways, by
    scale as well.  A measured slant would mix in what else a movement does to the
    shape of a digit.

    Args:
        still: bright strokes on black in 0..1, (n, channels, height, width).
        moved: the same images, moved.
    """
    before, after = (
        thickness((255 * images.mean(dim=1)).round().byte().cpu().numpy())
        for images in (still, moved.images)
    )
    return torch.stack([moved.lean, torch.from_numpy(after - before).to(still)], dim=1)


def hide(images: Tensor, part: float, rng: np.random.Generator) -> Tensor:
    """Each image with a band along one of its sides hidden, by its own draw.

    Args:
        images: (n, channels, height, width).
        part: how wide the widest band is, of the image's height or width.
        rng: source of the draws.
    """
    n, _, height, width = images.shape
    side, depth = rng.integers(4, size=n), rng.uniform(0.0, part, n)
    down, right = np.meshgrid(
        *((np.arange(size) + 0.5) / size for size in (height, width)), indexing="ij"
    )
    from_side = np.stack([1.0 - down, down, 1.0 - right, right])
    shown = from_side[side] >= depth[:, None, None]
    return images * torch.from_numpy(shown)[:, None].to(images.device)


def thicken(images: Tensor, amount: Tensor) -> Tensor:
    """Strokes made thicker, or thinner: mixed with their dilation or erosion.

    Args:
        images: bright strokes on black, (n, channels, height, width).
        amount: (n,); 1 is the grey dilation by 3x3 pixels, -1 the erosion.
    """
    part = amount[:, None, None, None]
    dilated = F.max_pool2d(images, 3, stride=1, padding=1)
    eroded = -F.max_pool2d(-images, 3, stride=1, padding=1)
    return images.lerp(torch.where(part > 0, dilated, eroded), part.abs())
