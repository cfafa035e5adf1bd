"""Devices, precision and processes: Lightning Fabric with this project's defaults."""

from __future__ import annotations

import ctypes
import sys
from inspect import signature
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from infogan_export.errors import TrainingError, UsageError, unknown

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


def build_fabric(
    *, accelerator: str = "auto", devices: int = 1, precision: str = "auto"
) -> Fabric:
    """The engine that a run stands on, launched.

    With several devices, every process but the first is started here and runs
    the same program from its beginning.

    Args:
        accelerator: ``auto``, or one of ``accelerators()``.
        devices: how many of them; on a CPU, how many processes.
        precision: one of ``PRECISIONS``; ``auto`` is ``bf16-mixed`` where that
            is fast, else ``32-true``.

    Raises:
        UsageError: an accelerator that is not here, or an unknown precision.
        TrainingError: the engine cannot have that many devices.
    """
    here = ("auto", *accelerators())
    if accelerator not in here:
        raise UsageError(unknown("accelerator", accelerator, here))
    if precision not in PRECISIONS:
        raise UsageError(unknown("precision", precision, PRECISIONS))
    if precision == "auto":
        precision = "bf16-mixed" if bf16_is_fast(accelerator) else "32-true"
    options: dict[str, Any] = {
        "accelerator": accelerator,
        "devices": devices,
        "precision": precision,
    }
    if devices > 1:
        options["strategy"] = _data_parallel()
    _keep_freed_memory()
    try:
        fabric = Fabric(**options)
        fabric.launch()
    except Exception as error:  # the engine has exceptions of many kinds
        raise TrainingError(
            f"cannot train on {devices} x {accelerator!r} in {precision}: {error}"
        ) from error
    return fabric


def _keep_freed_memory() -> None:
    """Have malloc hand freed memory out again instead of giving it back.

    A step frees and takes some hundred MB; new pages for them cost up to an
    eighth of its time.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the most that glibc takes
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _data_parallel() -> DDPStrategy:
    """Each process keeps its own batch norm statistics.

    Sending the first one's round before each forward pass would change buffers
    that a backward pass still needs.
    """
    known = signature(DistributedDataParallel).parameters
    new = "forward_sync_buffers"  # the option's name in later versions of torch
    name = new if new in known else "broadcast_buffers"
    options: dict[str, Any] = {name: False}
    return DDPStrategy(**options)


def accelerators() -> tuple[str, ...]:
    """The kinds of device that this machine has, the one that is taken last."""
    found = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    return tuple(name for name, available in found.items() if available)


def bf16_is_fast(accelerator: str = "auto") -> bool:
    """Whether bfloat16 has its own instructions here, or would be emulated."""
    device = accelerators()[-1] if accelerator == "auto" else accelerator
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        # Before torch 2.11 or so there is no such function, and no answer.
        asked = getattr(torch.cpu, "get_capabilities", dict)
        capabilities: dict[str, object] = asked()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
