"""What is known of a model or of a file made with one, as plain JSON values."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infogan_export.catalog import GENERATOR, ModelFiles, find, installed
from infogan_export.errors import InfoganError
from infogan_export.metadata import ModelMetadata
from infogan_export.record import command_line, record_latents
from infogan_export.render.provenance import read_provenance
from infogan_export.runtime import load


def is_output(target: str | os.PathLike[str]) -> bool:
    """Whether a target names a file that a model made, rather than a model."""
    path = Path(target)
    try:
        there = path.exists()
    except OSError:  # a name too long, for instance
        return False
    if not there or os.fspath(target) in {each.name for each in installed()}:
        return False
    return path.suffix != ".onnx" and not (path / GENERATOR).exists()


def list_models() -> list[dict[str, Any]]:
    """Every named model: name, origin, image shape, codes and description.

    A damaged model is listed with its ``problem``.
    """
    rows: list[dict[str, Any]] = []
    for files in installed():
        row: dict[str, Any] = {"name": files.name, "origin": files.origin}
        try:
            metadata = load(files.name).metadata
        except InfoganError as error:
            rows.append(row | {"problem": str(error)})
            continue
        row["image_shape"] = list(metadata.image_shape)
        row["codes"] = [code.name for code in metadata.spec.codes]
        rows.append(row | {"description": metadata.description})
    return rows


def model_card(model: str | os.PathLike[str]) -> dict[str, Any]:
    """All that a model's files say: codes, metrics, training, data, digests.

    Raises:
        UsageError: no such model.
        ModelError: a file that is damaged or not of this package.
    """
    files = find(model)
    loaded = load(model)
    metadata = loaded.metadata
    return {
        "name": loaded.name,
        "origin": files.origin,
        "description": metadata.description,
        "notice": metadata.notice,
        "image_shape": list(metadata.image_shape),
        **metadata.spec.to_dict(),
        "evidence": _evidence(metadata),
        "metrics": dict(metadata.metrics),
        "training": dict(metadata.training),
        "data": dict(metadata.data),
        "export": dict(metadata.export),
        "files": [
            {"name": path.name, "bytes": path.stat().st_size, "sha256": _digest(path)}
            for path in _paths(files)
        ],
    }


def file_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """How a file was made: its record, its latents, and the command.

    Returns:
        the record, with ``latents`` as lists (None where the seed and options
        stand for them), ``command_line``, and ``note``: why that command would
        fail here, or nothing.

    Raises:
        UsageError: the file is not readable, or carries no record.
    """
    record = read_provenance(path)
    latents = record_latents(record)
    return {
        **record,
        "latents": None if latents is None else latents.tolist(),
        "command_line": command_line(record, output=os.fspath(path)),
        "note": _note(record),
    }


def _evidence(metadata: ModelMetadata) -> list[dict[str, Any]]:
    """What each measured uniform code moves, in standard deviations of real images.

    The shifts of ``shift/CODE/PROPERTY``, the strongest first.
    """
    metrics = metadata.metrics
    rows = []
    for code in metadata.spec.uniform:
        start = f"shift/{code.name}/"
        shifts = {
            k.removeprefix(start): v for k, v in metrics.items() if k.startswith(start)
        }
        if shifts:
            order = sorted(shifts, key=lambda name: -abs(shifts[name]))
            rows.append(
                {
                    "code": code.name,
                    "shifts": {name: shifts[name] for name in order},
                    "rank_correlation": metrics.get(f"rank_correlation/{code.name}"),
                    "sweep_correlation": metrics.get(f"sweep_correlation/{code.name}"),
                    "information": metrics.get(f"information/{code.name}"),
                }
            )
    return rows


def _note(record: Mapping[str, Any]) -> str:
    name, wanted = str(record["model"]), str(record.get("sha256", ""))
    try:
        found = _digest(find(name).generator)
    except InfoganError:
        found = ""
    if found == wanted:
        return ""
    state = "another version of it" if found else "no model of that name"
    return f"{state} is installed here; give --model the path of {wanted[:12]}..."


def _paths(files: ModelFiles) -> list[Path]:
    return [*files.networks, *([files.golden] if files.golden else [])]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
