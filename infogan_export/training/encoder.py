"""The encoder E, and every number that decides its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from infogan_export.errors import TrainingError
from infogan_export.latent import CategoricalCode, LatentSpec
from infogan_export.philox import MAX_SEED
from infogan_export.training.config import check_ranges, decayed
from infogan_export.training.networks import ImageShape

_INNERMOST = 4  # pixels of a side, at most
_FIRST = 12  # channels of the full size, where they cost most
_LEAK = 0.1


@dataclass(frozen=True)
class EncoderConfig:
    """Every number that decides an encoder, but for its model and the images.

    Attributes:
        seed: of weights, latents and order; 0 to 2^64 - 1.
        steps: in all.
        batch_size: real images of a step over all processes, and generated ones
            half as many.
        rate: Adam's learning rate; constant up to ``decay_start`` (a part of
            ``steps``), then falls linearly to ``decay_to`` of itself.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the mean squared gradient.
        decay_start: where the rate begins to fall.
        decay_to: where it ends.
        flip: whether each real image is shown as it is or mirrored, by its draw.
        pixel: weight of the squared error of the pixels, real and generated, in
            terms of the images' variance around their mean.
        feature: weight of the same of D's features of real images.
        category: weight of the cross-entropy of a generated image's categories.
        code: weight of the squared error of its uniform codes, scaled to -1..1.
        noise: weight of the squared error of its noise, by the prior's variance.
        agreement: weight of the cross-entropy of a real image's categories under
            those that Q finds the likeliest.
        certainty: weight of the entropy of a real image's categories.

    Raises:
        UsageError: a number is out of its range.
    """

    seed: int = 0
    steps: int = 3000
    batch_size: int = 128
    rate: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    decay_start: float = 0.3
    decay_to: float = 0.05
    flip: bool = False
    pixel: float = 3.0
    feature: float = 0.3
    category: float = 0.3
    code: float = 0.3
    noise: float = 0.3
    agreement: float = 0.1
    certainty: float = 0.03

    def __post_init__(self) -> None:
        part, positive = (0.0, 1.0), (0.0, math.inf)
        weights = ("pixel", "feature", "category", "code", "noise")
        check_ranges(
            self,
            {
                "seed": (0, MAX_SEED),
                "steps": (1, math.inf),
                "batch_size": (2, math.inf),
                "decay_start": part,
                "decay_to": part,
                **dict.fromkeys(("rate", *weights), positive),
                **dict.fromkeys(("agreement", "certainty"), positive),
            },
        )

    def images_at(self, step: int) -> int:
        """Real images of the steps before a step, over all processes."""
        return step * self.batch_size

    def rate_at(self, step: int) -> float:
        """The learning rate at a step."""
        return self.rate * decayed(step, self.steps, self.decay_start, self.decay_to)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EncoderConfig:
        """The inverse of ``to_dict``.

        Raises:
            TrainingError: an unknown key.
            UsageError: a number is out of its range.
        """
        try:
            return cls(**data)
        except TypeError as error:
            raise TrainingError(f"not an encoder's configuration: {error}") from None


class Encoder(nn.Module):
    """E: images (n, channels, height, width) in [0, 1] to statistics (n, Z + C).

    ``as_latents`` makes latents of them.  A 3x3 convolution, then 4x4 ones that
    halve the image until no side is longer than 4 pixels, then a hidden layer of
    half as many units again as there are statistics; each with batch norm.  For 28x28
    pixels and the latents of MNIST, 153,000 weights.
    """

    def __init__(self, spec: LatentSpec, shape: ImageShape) -> None:
        super().__init__()
        channels, height, width = shape
        halvings = 0
        while max(height, width) >> halvings > _INNERMOST:
            halvings += 1
        if min(height, width) >> halvings < 1:
            raise TrainingError(
                f"an encoder reads images that are no more than {_INNERMOST} times "
                f"as long as they are wide, got {height}x{width}"
            )
        widths = [_FIRST, *(32 + 16 * stage for stage in range(halvings))]
        layers = _rectified(nn.Conv2d(channels, _FIRST, 3, padding=1, bias=False))
        for before, after in pairwise(widths):
            layers += _rectified(
                nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)
            )
        features = widths[-1] * (height >> halvings) * (width >> halvings)
        hidden = 3 * spec.dim // 2
        self.layers = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(features, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(_LEAK, inplace=True),
            nn.Linear(hidden, spec.dim),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, channels, height, width) to statistics (n, Z + C)."""
        statistics: Tensor = self.layers(images)
        return statistics


def _rectified(convolution: nn.Conv2d) -> list[nn.Module]:
    norm = nn.BatchNorm2d(convolution.out_channels)
    return [convolution, norm, nn.LeakyReLU(_LEAK, inplace=True)]


def as_latents(statistics: Tensor, spec: LatentSpec) -> Tensor:
    """Statistics (n, Z + C) as latents of the same shape, for G as they are.

    Uniform noise is held inside its prior and a uniform code inside its sweep,
    by tanh; normal noise is free; a categorical code's columns are probabilities.
    """
    noise = statistics[:, : spec.noise_dim]
    parts = [torch.tanh(noise) if spec.noise.distribution == "uniform" else noise]
    for code in spec.codes:
        read = statistics[:, spec.columns(code.name)]
        if isinstance(code, CategoricalCode):
            parts.append(torch.softmax(read, dim=1))
        else:
            low, high = code.sweep_range
            parts.append((low + high) / 2 + (high - low) / 2 * torch.tanh(read))
    return torch.cat(parts, dim=1)
