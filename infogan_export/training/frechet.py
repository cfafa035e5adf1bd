"""How far generated images are from real ones, as something to descend."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

from infogan_export.training.networks import Discriminator

Moments: TypeAlias = tuple[Tensor, Tensor]  # first (k,), second (k, k)

_LEAST_VARIANCE = 1e-12


def frechet_distance(mean: Tensor, covariance: Tensor, variance: Tensor) -> Tensor:
    """Of N(mean, covariance) to N(0, diag(variance)), squared as is the custom.

    |mean|^2 + tr(S + V - 2 (V^(1/2) S V^(1/2))^(1/2))

    Args:
        mean: (k,).
        covariance: S, (k, k).
        variance: the diagonal of V, (k,).

    Source: Dowson and Landau (1982).
    """
    root = variance.sqrt()
    overlap = torch.linalg.eigvalsh(root[:, None] * covariance * root)
    overlap = overlap.clamp_min(_LEAST_VARIANCE).sqrt()
    traces = covariance.diagonal().sum() + variance.sum()
    distance: Tensor = mean.square().sum() + traces - 2 * overlap.sum()
    return distance


class Measure(nn.Module):
    """D and Q as the game left them, and the moments of D's features.

    The features are those of the trunk and of Q's hidden layer, with as much variance
    over real images in the one as in the other, projected on the directions in which
    they vary most.  The trunk knows of style, and Q how much of its category an image
    is: G must not draw what is surer than real images are.  A batch is far too small
    for their covariance: the moments of generated images are averaged over the batches
    so far.
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, D: Discriminator, directions: int) -> None:
        """Of a network that is to stay as it is, in at most so many directions."""
        super().__init__()
        self.D = D.requires_grad_(False).eval()
        features = D.features + D.recognized
        k = min(features, directions)
        for name, shape in (
            ("mean", (features,)),
            ("basis", (features, k)),
            ("variance", (k,)),
            ("first", (k,)),
            ("second", (k, k)),
        ):
            self.register_buffer(name, torch.zeros(shape))

    def calibrate(self, real: Tensor, weights: Tensor, generated: Tensor) -> None:
        """Take the moments of real images, and those to begin with of generated ones.

        Args:
            real: features of real images, (n, F + R), two or more.
            weights: of these images, (n,), with a mean of 1.
            generated: features of generated images, (m, F + R).
        """
        real, generated = real.float(), generated.float()
        with _exact(real):
            self.mean.copy_((weights[:, None] * real).mean(dim=0))
            centred = weights.sqrt()[:, None] * (real - self.mean)
            scale = self._balance(centred.square().mean(dim=0))
            centred *= scale
            variance, basis = torch.linalg.eigh(centred.T @ centred / len(centred))
            k = self.variance.numel()
            self.variance.copy_(variance[-k:].clamp_min(0))
            self.basis.copy_(scale[:, None] * basis[:, -k:])
            self.remember(*self._moments(generated))

    def forward(self, features: Tensor, memory: float) -> tuple[Tensor, Moments]:
        """The Frechet distance with a batch among the generated images.

        Args:
            features: that D and Q know generated images by, (n, F + R).
            memory: of the moments so far beside those of the batch.

        Returns:
            the distance, and the moments to go on with.
        """
        features = features.float()
        with _exact(features):
            batch = self._moments(features)
            first, second = (
                so_far.lerp(now, 1 - memory)
                for so_far, now in zip((self.first, self.second), batch, strict=True)
            )
            covariance = second - torch.outer(first, first)
            distance = frechet_distance(first, covariance, self.variance)
        return distance, (first.detach(), second.detach())

    def remember(self, first: Tensor, second: Tensor) -> None:
        """Go on with these moments of generated images."""
        self.first.copy_(first)
        self.second.copy_(second)

    def _balance(self, variance: Tensor) -> Tensor:
        """Factors, (F + R,), with which Q's features vary as much as the trunk's."""
        of_trunk, of_Q = variance[: self.D.features], variance[self.D.features :]
        factor = (of_trunk.sum() / of_Q.sum().clamp_min(_LEAST_VARIANCE)).sqrt()
        return torch.cat([torch.ones_like(of_trunk), torch.ones_like(of_Q) * factor])

    def _moments(self, features: Tensor) -> Moments:
        projected = (features - self.mean) @ self.basis
        return projected.mean(dim=0), projected.T @ projected / len(projected)


def _exact(like: Tensor) -> torch.autocast:
    """Products in float32: bfloat16 leaves nothing of a difference of moments."""
    return torch.autocast(like.device.type, enabled=False)
