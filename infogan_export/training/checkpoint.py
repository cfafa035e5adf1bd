"""Checkpoints that describe themselves: weights, state and what made them."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from infogan_export.atomic import atomic_writer
from infogan_export.errors import InfoganError, TrainingError
from infogan_export.latent import LatentSpec
from infogan_export.training.config import TrainingConfig
from infogan_export.training.encoder import EncoderConfig
from infogan_export.training.networks import ImageShape

FORMAT = 1
CHECKPOINT_NAME = "checkpoint.pt"


@dataclass(frozen=True)
class DataFacts:
    """What a run was trained on.

    Attributes:
        name: of the data set, or of its folder or file.
        images: how many.
        sha256: ``ImageSet.sha256``, of the pixels whatever file they came from.
        licence: the terms of the data, '' where unknown.
    """

    name: str
    images: int
    sha256: str
    licence: str


@dataclass
class Checkpoint:
    """A run at one step.

    Every random draw of a run is a function of its seed and the step, so the
    step count is the whole random state.

    Attributes:
        config: what decides the result, with the latent specification.
        shape: channels, height, width of the images.
        data: what it was trained on.
        step: steps done.
        generator: state of G as trained.
        discriminator: state of D and Q as trained.
        generator_ema: state of the averaged G, the one to export.
        discriminator_ema: state of the averaged D and Q.
        optimizers: state of Adam for ``G`` and ``D``.
        metrics: the last figures of the log, by its column names.
        measure: state of what the refinement descends, once it has begun.
        shares: of each categorical code's categories among real images, once the
            refinement is done.
        seconds: time spent on the run.
        version: of this package.
        commit: of its source tree, '' where unknown.
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
    measure: dict[str, Any] | None = None
    shares: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    version: str = ""
    commit: str = ""

    def described(self) -> str:
        """Which run this is, how far it is, a digest of its averaged G; its start."""
        digest = hashlib.sha256()
        for weights in self.generator_ema.values():
            digest.update(weights.cpu().contiguous().numpy().tobytes())
        G, before = digest.hexdigest()[:16], self.config.warm_start
        here = f"seed {self.config.seed}, step {self.step:,}, G {G}"
        return f"{here}; after {before}" if before else here


@dataclass
class EncoderCheckpoint:
    """An encoder's run at one step; its step, too, is its whole random state.

    Attributes:
        config: what decides the result.
        spec: the latents of the model that it inverts.
        shape: channels, height, width of the images.
        model: that model's name.
        generator_sha256: digest of that model's generator file.
        data: what it was trained on.
        step: steps done.
        encoder: state of E.
        optimizer: state of Adam.
        metrics: the last figures of the log, by its column names.
        seconds: time spent on the run.
        version: of this package.
        commit: of its source tree, '' where unknown.
    """

    config: EncoderConfig
    spec: LatentSpec
    shape: ImageShape
    model: str
    generator_sha256: str
    data: DataFacts
    step: int
    encoder: dict[str, Any]
    optimizer: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    version: str = ""
    commit: str = ""


def checkpoint_path(run: Path) -> Path:
    """The checkpoint of a run's folder; a file is one itself."""
    return run / CHECKPOINT_NAME if run.is_dir() else run


def save_checkpoint(checkpoint: Checkpoint | EncoderCheckpoint, path: Path) -> None:
    """Write atomically: a killed process leaves the previous checkpoint whole.

    Raises:
        OutputError: the folder is missing or closed to us, or the disk is full.
    """
    content = {k: getattr(checkpoint, k) for k in checkpoint.__dataclass_fields__}
    content |= {
        "format": FORMAT,
        "config": checkpoint.config.to_dict(),
        "data": asdict(checkpoint.data),
    }
    if isinstance(checkpoint, EncoderCheckpoint):
        content |= {"kind": "encoder", "spec": checkpoint.spec.to_dict()}
    with atomic_writer(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # in which torch buries the disk's own
            cause = error.__context__
            raise cause if isinstance(cause, OSError) else error from None


def load_checkpoint(path: Path, *, device: str = "cpu") -> Checkpoint:
    """Read a GAN's checkpoint, tensors and plain values only (no code is run).

    Raises:
        TrainingError: missing, damaged, of another format, or an encoder's.
    """
    found = load_any(path, device=device)
    if isinstance(found, EncoderCheckpoint):
        raise TrainingError(f"{path} is the checkpoint of an encoder, not of a GAN")
    return found


def load_encoder_checkpoint(path: Path, *, device: str = "cpu") -> EncoderCheckpoint:
    """Read an encoder's checkpoint; otherwise as ``load_checkpoint``."""
    found = load_any(path, device=device)
    if isinstance(found, Checkpoint):
        raise TrainingError(f"{path} is the checkpoint of a GAN, not of an encoder")
    return found


def load_any(path: Path, *, device: str = "cpu") -> Checkpoint | EncoderCheckpoint:
    """Read a checkpoint of either kind; otherwise as ``load_checkpoint``."""
    content = _read(path, device)
    if not isinstance(content, dict) or "format" not in content:
        raise TrainingError(f"{path} is not a checkpoint of this package")
    if content.pop("format") != FORMAT:
        raise TrainingError(
            f"{path} is a checkpoint of another format than {FORMAT}, which this "
            f"version of the package reads"
        )
    kind = content.pop("kind", "gan")
    try:
        content["data"] = DataFacts(**content["data"])
        content["shape"] = tuple(content["shape"])
        if kind == "encoder":
            content["config"] = EncoderConfig.from_dict(content["config"])
            content["spec"] = LatentSpec.from_dict(content["spec"])
            return EncoderCheckpoint(**content)
        content["config"] = TrainingConfig.from_dict(content["config"])
        return Checkpoint(**content)
    except (KeyError, TypeError, ValueError, InfoganError) as error:
        raise TrainingError(f"{path} is not a whole checkpoint: {error}") from None


def _read(path: Path, device: str) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not look at the checksums
        if damaged is None:
            return torch.load(path, map_location=device, weights_only=True)
        reason = f"{damaged} is damaged"
    except FileNotFoundError:
        raise TrainingError(f"no checkpoint at {path}") from None
    except zipfile.BadZipFile:
        reason = "it is truncated, or another kind of file"
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception:  # on foreign archives torch raises anything, in many lines
        reason = "it is not a file that torch reads without running code"
    raise TrainingError(f"{path} is not a readable checkpoint: {reason}")


def package_version() -> str:
    """The installed version, or 'unknown' in a bare source tree."""
    try:
        return metadata.version("infogan-export")
    except metadata.PackageNotFoundError:
        return "unknown"


@lru_cache(maxsize=1)
def source_commit() -> str:
    """The commit that this package's files are part of; '' when there is none."""
    here = Path(__file__)
    try:
        for command in (
            # An installed package may lie inside someone else's repository.
            ["git", "ls-files", "--error-unmatch", here.name],
            ["git", "rev-parse", "HEAD"],
        ):
            found = subprocess.run(
                command, cwd=here.parent, capture_output=True, text=True, check=True
            )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
