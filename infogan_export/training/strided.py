"""Convolutions of 4x4 kernels and stride 2, their gradients as matrix products.

In bfloat16 a processor may multiply matrices many times faster than its library
finds the gradient of a kernel: with AMX 750 GFLOP/s for 70, where channels are many
and maps are small.  The functions are torch's, and so are their gradients, up to
rounding; what is in another precision, or on another device, is torch's own.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_KERNEL, _STRIDE = 4, 2
_CHANNELS = 64  # of the larger map, for fewer of which there is nothing to gain


class HalvingConv2d(nn.Conv2d):
    """A 4x4 convolution of stride 2 and padding 1."""

    def __init__(self, before: int, after: int, *, bias: bool = True) -> None:
        super().__init__(before, after, _KERNEL, _STRIDE, padding=1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Maps (n, before, H, W) to (n, after, H / 2, W / 2)."""
        if self.bias is None and _by_products(images, self.in_channels):
            halved: Tensor = _Halved.apply(images, self.weight.to(images.dtype))  # type: ignore[no-untyped-call]
            return halved
        return super().forward(images)


def doubled(images: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """The transposed 4x4 convolution of stride 2 and padding 1.

    Args:
        images: maps (n, before, H, W).
        kernel: (before, after, 4, 4).
        bias: (after,).

    Returns:
        (n, after, 2 H, 2 W).
    """
    if bias is None and _by_products(images, kernel.shape[1]):
        twice: Tensor = _Doubled.apply(images, kernel.to(images.dtype))  # type: ignore[no-untyped-call]
        return twice
    return F.conv_transpose2d(images, kernel, bias, stride=_STRIDE, padding=1)


def _by_products(images: Tensor, channels: int) -> bool:
    """Whether products are faster, with so many channels in the larger map."""
    fast = images.dtype == torch.bfloat16 and images.device.type == "cpu"
    return fast and channels >= _CHANNELS


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(images, kernel)
        return _maps(_windows(images) @ _rows(kernel), images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        images, kernel = ctx.saved_tensors
        to_images = to_kernel = None
        if ctx.needs_input_grad[0]:
            to_images = F.conv_transpose2d(gradient, kernel, stride=_STRIDE, padding=1)
        if ctx.needs_input_grad[1]:
            to_kernel = _kernel(_windows(images), gradient)
        return to_images, to_kernel


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(images, kernel)
        return F.conv_transpose2d(images, kernel, stride=_STRIDE, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        images, kernel = ctx.saved_tensors
        windows = _windows(gradient)
        to_images = to_kernel = None
        if ctx.needs_input_grad[0]:
            to_images = _maps(windows @ _rows(kernel), gradient)
        if ctx.needs_input_grad[1]:
            to_kernel = _kernel(windows, images)
        return to_images, to_kernel


def _windows(large: Tensor) -> Tensor:
    """Maps (n, C, H, W) to what the kernel sees of them, (n H / 2 W / 2, 16 C)."""
    framed = F.pad(large.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    windows = framed.unfold(1, _KERNEL, _STRIDE).unfold(2, _KERNEL, _STRIDE)
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)


def _rows(kernel: Tensor) -> Tensor:
    """A kernel (K, C, 4, 4) as what windows are multiplied by, (16 C, K)."""
    return kernel.permute(2, 3, 1, 0).flatten(0, 2)


def _maps(pixels: Tensor, large: Tensor) -> Tensor:
    """Pixels (n H / 2 W / 2, K) as maps (n, K, H / 2, W / 2)."""
    n, _, height, width = large.shape
    return pixels.view(n, height // 2, width // 2, -1).permute(0, 3, 1, 2)


def _kernel(windows: Tensor, small: Tensor) -> Tensor:
    """The gradient of a kernel (K, C, 4, 4), from maps (n, K, H / 2, W / 2)."""
    rows = windows.T @ small.permute(0, 2, 3, 1).flatten(0, 2)
    return rows.view(_KERNEL, _KERNEL, -1, small.shape[1]).permute(3, 2, 0, 1)
