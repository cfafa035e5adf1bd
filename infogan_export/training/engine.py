"""Devices, precision and processes: Lightning Fabric with this project's defaults."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy


def build_fabric(
    *, accelerator: str = "auto", devices: int = 1, precision: str = "auto"
) -> Fabric:
    """The engine that a run stands on, launched.

    Args:
        accelerator: ``auto``, ``cpu``, ``cuda``, ``mps`` ...
        devices: how many of them; on a CPU, how many processes.
        precision: ``auto``, ``32-true``, ``bf16-mixed``, ``16-mixed``.
    """
    if precision == "auto":
        precision = "bf16-mixed" if bf16_is_fast(accelerator) else "32-true"
    options: dict[str, Any] = {"accelerator": accelerator, "devices": devices}
    if devices > 1:
        # Each process keeps its own batch norm statistics between reductions;
        # broadcasting them would change buffers that a backward pass still needs.
        options["strategy"] = DDPStrategy(broadcast_buffers=False)
    fabric = Fabric(precision=precision, **options)
    fabric.launch()
    return fabric


def bf16_is_fast(accelerator: str = "auto") -> bool:
    """Whether bfloat16 has its own instructions here, or would be emulated."""
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if accelerator not in ("auto", "cpu"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
