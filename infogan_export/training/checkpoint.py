"""Checkpoints that describe themselves: weights, state and what made them."""

from __future__ import annotations

import pickle
import subprocess
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from infogan_export.atomic import atomic_path
from infogan_export.errors import TrainingError
from infogan_export.training.config import TrainingConfig
from infogan_export.training.networks import ImageShape

FORMAT = 1


@dataclass(frozen=True)
class DataFacts:
    """What a run was trained on."""

    name: str
    images: int
    sha256: str
    licence: str


@dataclass
class Checkpoint:
    """A run at one step.

    Every random draw of a run is a function of its seed and the step, so the
    step count is the whole random state.
    """

    config: TrainingConfig
    shape: ImageShape
    data: DataFacts
    step: int
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    generator_ema: dict[str, Any]
    discriminator_ema: dict[str, Any]
    optimizers: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    version: str = ""
    commit: str = ""


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write atomically: a killed process leaves the previous checkpoint whole."""
    content = {k: getattr(checkpoint, k) for k in checkpoint.__dataclass_fields__}
    content |= {
        "format": FORMAT,
        "config": checkpoint.config.to_dict(),
        "data": asdict(checkpoint.data),
    }
    with atomic_path(path) as partial:
        torch.save(content, partial)


def load_checkpoint(path: Path, *, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint, tensors and plain values only (no code is run).

    Raises:
        TrainingError: missing, damaged, or of another format.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"no checkpoint at {path}") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise TrainingError(f"{path} is not a readable checkpoint: {reason}") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise TrainingError(
            f"{path} is not a checkpoint of this package's format {FORMAT}"
        )
    try:
        content["config"] = TrainingConfig.from_dict(content["config"])
        content["data"] = DataFacts(**content["data"])
        content["shape"] = tuple(content["shape"])
        return Checkpoint(**content)
    except (KeyError, TypeError) as error:
        raise TrainingError(f"{path} is not a whole checkpoint: {error}") from None


def package_version() -> str:
    """The installed version, or 'unknown' in a bare source tree."""
    try:
        return metadata.version("infogan-export")
    except metadata.PackageNotFoundError:
        return "unknown"


def source_commit() -> str:
    """The commit of the source tree that this package runs from; '' when none."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
