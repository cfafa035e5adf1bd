"""How good a finished run is, as far as can be told without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infogan_export.datasets import ImageSet
from infogan_export.latent import LatentSpec
from infogan_export.training.batches import as_input
from infogan_export.training.checkpoint import Checkpoint
from infogan_export.training.config import Consistency
from infogan_export.training.movement import move
from infogan_export.training.objective import (
    consistency_loss,
    mutual_information_lower_bound,
    squared_residuals,
)
from infogan_export.training.state import averaged_networks

_IMAGES, _GENERATED, _BATCH = 10_000, 50_000, 500


@dataclass(frozen=True)
class Score:
    """What a run is chosen by, in nats; more is better.

    Attributes:
        information: L_I of all codes, on 50,000 images of the averaged networks.
        agreement: what Q's categories of real images and of the same images,
            slightly moved, are at least known to share, summed over the
            categorical codes; at most the information of each.
    """

    information: float
    agreement: float

    @property
    def total(self) -> float:
        """The sum of both."""
        return self.information + self.agreement


def score(checkpoint: Checkpoint, images: ImageSet) -> Score:
    """Score a run on the real images that it was trained on; no label is seen.

        agreement = H(E[Q(c|x)]) - E[CE(Q(c|x), Q(c|moved x))]

    A category in which two classes meet, or a class between two categories, shows
    in it: small movements then decide for the one or the other.

    Args:
        checkpoint: of a finished run.
        images: its training images, of which up to 10,000 are looked at.

    Source: of the bound, Hu et al. (2017), "IMSAT".
    """
    spec = checkpoint.config.spec
    G, D = averaged_networks(checkpoint)
    rng = np.random.default_rng(0)
    few = np.sort(rng.permutation(len(images))[:_IMAGES])
    still, moved = [], []
    with torch.inference_mode():
        for start in range(0, len(few), _BATCH):
            x = as_input(torch.from_numpy(images.images[few[start : start + _BATCH]]))
            still.append(D(x)[1])
            moved.append(D(move(x, Consistency(), rng).images)[1])
    found = agreement(spec, torch.cat(still), torch.cat(moved))
    return Score(_information(spec, G, D), float(found))


def _information(spec: LatentSpec, G: nn.Module, D: nn.Module) -> float:
    """L_I of all codes, each uniform one's sigma fitted, in nats."""
    latents = torch.from_numpy(spec.sample(_GENERATED, seed=0))
    with torch.inference_mode():
        statistics = torch.cat([D(G(some))[1] for some in torch.split(latents, _BATCH)])
    code = latents[:, spec.noise_dim :]
    deviation = squared_residuals(spec, statistics, code).sqrt()
    bounds = mutual_information_lower_bound(spec, statistics, code, deviation)
    return float(sum(bounds.values()))


def agreement(spec: LatentSpec, still: Tensor, moved: Tensor) -> Tensor:
    """The bound of ``score``, summed over the categorical codes: a scalar, nats.

    Args:
        spec: the latent layout.
        still: (n, C), Q's statistics of images.
        moved: (n, C), Q's statistics of the same images, slightly moved.
    """
    bound = -consistency_loss(spec, still, moved, temperature=1.0)
    for c in spec.categorical:
        mean = F.softmax(still[:, spec.code_columns(c.name)], dim=1).mean(dim=0)
        bound = bound - torch.xlogy(mean, mean).sum()
    return bound
