"""The objective of an encoder, a line of mathematics each.

E learns to invert a trained G, which stays as it is, on images whose latents are
known and on real ones, whose latents are not:

    x' = G(z, c)  with  (z, c) ~ P(z) P(c),      (z^, c^) = E(x')

    min_E   w_category  E[-log c^_k]  +  w_code E[((c - c^) / half width)^2]
          + w_noise     E[(z - z^)^2] / Var z
          + w_pixel     E|x' - G(E(x'))|^2 / V
          + w_pixel     E|x  - G(E(x)) |^2 / V
          + w_feature   E|f(x) - f(G(E(x)))|^2 / E|f(x) - mean f|^2
          + w_agreement E[-log c^_q(x)]   +  w_certainty H(c^(x))

with k the category drawn, q the one that Q finds the likeliest in x, f the
representation that D and Q share, and V = E|x - mean x|^2 of the real images at
hand.  Real images alone are what E is for, but their pixels do not tell which of
several latents G was trained on: the known ones keep z inside the prior and hold
the category to what G draws by it.  The last two terms keep c^ near one-hot, as G
has never seen a mixture.

Source: the reconstruction in pixels and D's features as in Dosovitskiy and Brox
(2016); a frozen G with a learned encoder as in Zhu et al. (2016), iGAN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infogan_export.latent import CategoricalCode, LatentSpec
from infogan_export.training.encoder import EncoderConfig, as_latents
from infogan_export.training.networks import ImageShape


class Reader(Protocol):
    """D's trunk with Q's head, as far as an encoder learns from them."""

    def to(self, device: torch.device) -> object:
        """Bring it to a device."""

    def features(self, images: Tensor) -> Tensor:
        """What D judges images by: (n, F)."""

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and Q's logits and means (n, C), by the codes' columns."""


@dataclass(frozen=True)
class Target:
    """A trained model that an encoder is to invert, its networks frozen.

    Attributes:
        name: of the model.
        generator_sha256: digest of the file that G came from.
        spec: the latents.
        shape: channels, height, width of the images.
        G: noise (n, Z) and codes (n, C) to images (n, channels, height, width).
        Q: the reader of images.
        flip: whether it was trained on mirrored images too.
    """

    name: str
    generator_sha256: str
    spec: LatentSpec
    shape: ImageShape
    G: nn.Module
    Q: Reader
    flip: bool

    def draw(self, latents: Tensor) -> Tensor:
        """Latents (n, Z + C) to images (n, channels, height, width)."""
        z = self.spec.noise_dim
        images: Tensor = self.G(latents[:, :z], latents[:, z:])
        return images


def inversion_loss(
    x: Tensor, latents: Tensor, E: nn.Module, target: Target, config: EncoderConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective of the module's docstring, on a batch.

    Args:
        x: real images in [0, 1], (n, channels, height, width).
        latents: drawn from the prior, (m, Z + C).
        E: the encoder.
        target: what it is to invert.
        config: the weights.

    Returns:
        a scalar to descend, and the terms by name: errors of pixels as mean
        squares, entropies in nats, all others as in the objective.
    """
    spec, Q = target.spec, target.Q
    with torch.no_grad():
        x_drawn = target.draw(latents)
        features, likeliest = Q.read(x)
    images = torch.cat([x_drawn, x])
    statistics = E(images).float()
    back = target.draw(as_latents(statistics, spec)).float()
    m = len(latents)
    drawn, real = statistics[:m], statistics[m:]
    redrawn, again = back[:m], back[m:]
    variance = (x - x.mean(dim=0)).square().mean()
    spread = (features - features.mean(dim=0)).square().mean()
    terms = {
        "reconstruction": (x - again).square().mean(),
        "redrawn": (x_drawn - redrawn).square().mean(),
        "features": (features - Q.features(again)).square().mean() / spread,
        **latent_errors(spec, drawn, latents),
        **_categories(spec, real, likeliest),
    }
    weights: dict[str, Tensor | float] = {
        "reconstruction": config.pixel / variance,
        "redrawn": config.pixel / variance,
        "features": config.feature,
        "category": config.category,
        "code": config.code,
        "noise": config.noise,
        "agreement": config.agreement,
        "entropy": config.certainty,
    }
    loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return loss, terms


def latent_errors(
    spec: LatentSpec, statistics: Tensor, latents: Tensor
) -> dict[str, Tensor]:
    """How far an encoder is from the latents (n, Z + C) of generated images.

    Returns:
        ``noise``: the squared error by the prior's variance, 1 for a guess of the
        mean; ``category``: the cross-entropy in nats, summed over the codes;
        ``code``: the squared error of uniform codes scaled to -1..1, summed.
    """
    found = as_latents(statistics, spec)
    z = spec.columns("noise")
    variance = 1 / 3 if spec.noise.distribution == "uniform" else 1.0
    noise = (found[:, z] - latents[:, z]).square().mean() / variance
    category = code = torch.zeros_like(noise)
    for c in spec.codes:
        columns = spec.columns(c.name)
        if isinstance(c, CategoricalCode):
            log = F.log_softmax(statistics[:, columns], dim=1)
            category = category - (latents[:, columns] * log).sum(dim=1).mean()
        else:
            error = (found[:, columns] - latents[:, columns]) / ((c.high - c.low) / 2)
            code = code + error.square().mean()
    return {"noise": noise, "category": category, "code": code}


def _categories(
    spec: LatentSpec, statistics: Tensor, likeliest: Tensor
) -> dict[str, Tensor]:
    """Cross-entropy under Q's choice, and entropy, in nats, summed over codes."""
    agreement = entropy = statistics.new_zeros(())
    for c in spec.categorical:
        log = F.log_softmax(statistics[:, spec.columns(c.name)], dim=1)
        choice = likeliest[:, spec.code_columns(c.name)].argmax(dim=1)
        agreement = agreement + F.nll_loss(log, choice)
        entropy = entropy - (log.exp() * log).sum(dim=1).mean()
    return {"agreement": agreement, "entropy": entropy}
