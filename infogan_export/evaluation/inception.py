"""Inception's features, for those who have torch-fidelity: as papers report them.

Slow on a CPU, and blind to much of what matters in small grey images; the judge's
features are the default for a reason.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import MissingExtraError, ModelError

_BATCH = 64


class Inception:
    """Inception v3's 2048 pooled features, through torch-fidelity.

    Its weights are downloaded once, by torch-fidelity, into torch's cache.
    """

    name = "Inception v3 (torch-fidelity, 2048 pooled features)"

    def __init__(self) -> None:
        """Load the network.

        Raises:
            MissingExtraError: torch-fidelity is not installed.
            ModelError: its weights can be neither found nor downloaded.
        """
        try:
            module = import_module("torch_fidelity.feature_extractor_inceptionv3")
        except ImportError as error:
            raise MissingExtraError("Inception", "inception") from error
        try:
            self._network: Any = module.FeatureExtractorInceptionV3(
                "inception", ["2048"]
            )
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"cannot load Inception's weights: {reason}") from error

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images (n, H, W[, 3]), grey ones in all three channels, to (n, 2048)."""
        import torch

        if images.ndim == 3:
            images = np.repeat(images[..., None], 3, axis=3)
        channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        rows = []
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                batch = torch.from_numpy(channels_first[start : start + _BATCH])
                (found,) = self._network(batch)
                rows.append(found.numpy())
        return np.concatenate(rows)
