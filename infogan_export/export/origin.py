"""What a model's file says of where it comes from."""

from __future__ import annotations

from typing import Any

from infogan_export.training.checkpoint import Checkpoint, DataFacts, EncoderCheckpoint


def training_facts(checkpoint: Checkpoint | EncoderCheckpoint) -> dict[str, Any]:
    """How a network was trained: its recipe, how far, and by which code."""
    config = checkpoint.config
    recipe = {k: v for k, v in config.to_dict().items() if k != "spec"}
    return recipe | {
        "step": checkpoint.step,
        "images_seen": config.images_at(checkpoint.step),
        "seconds": round(checkpoint.seconds),
        "version": checkpoint.version,
        "commit": checkpoint.commit,
    }


def data_facts(data: DataFacts, licence: str) -> dict[str, Any]:
    """What a network was trained on.

    Args:
        data: the images.
        licence: theirs, where the data set did not tell.
    """
    return {
        "name": data.name,
        "images": data.images,
        "sha256": data.sha256,
        "licence": licence or data.licence,
    }
