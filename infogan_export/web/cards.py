"""What the page needs to know of a model, as plain JSON values."""

from __future__ import annotations

from typing import Any

from infogan_export.latent import CategoricalCode
from infogan_export.runtime import Model


def page_card(model: Model, *, recognizes: bool) -> dict[str, Any]:
    """A model's card: its image, its latent layout with every range resolved.

    Args:
        model: what is described.
        recognizes: whether it has a recognition network.
    """
    codes = []
    for code, plain in zip(
        model.spec.codes, model.spec.to_dict()["codes"], strict=True
    ):
        if isinstance(code, CategoricalCode):
            codes.append(plain)
        else:
            low, high = code.sweep_range
            codes.append({**plain, "sweep_low": low, "sweep_high": high})
    return {
        "name": model.name,
        "description": model.metadata.description,
        "notice": model.metadata.notice,
        "image_shape": list(model.image_shape),
        "noise": model.spec.to_dict()["noise"],
        "codes": codes,
        "sha256": model.sha256,
        "recognizes": recognizes,
    }
