"""The three networks, sized from a latent specification and an image shape.

Generator G, and a discriminator D that shares its trunk with the recognition
network Q: Q is a head on D's last representation.  The defaults are table 1 of
Chen et al. (2016); other data sets are other rows, not other classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, nn

from infogan_export.errors import TrainingError
from infogan_export.latent import LatentSpec

ImageShape: TypeAlias = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class Architecture:
    """Widths of the networks.

    Attributes:
        widths: D's channels from the image inwards, each stage halving the
            image; G runs through them backwards.
        dense: units of the fully connected layer that both have.
        recognition: units of the one in Q's head.
        leak: slope of D's and Q's rectifiers below zero.

    Source: Chen et al. (2016), table 1; its leak is 0.1.
    """

    widths: tuple[int, ...] = (64, 128)
    dense: int = 1024
    recognition: int = 128
    leak: float = 0.1

    def inner_size(self, shape: ImageShape) -> tuple[int, int]:
        """Height and width of the innermost feature map.

        Args:
            shape: channels, height, width of the images, in pixels.

        Raises:
            TrainingError: the image does not halve that often, or its channels
                are neither grey nor colour.
        """
        channels, height, width = shape
        factor = 2 ** len(self.widths)
        if height % factor or width % factor or min(height, width) < factor:
            near = "x".join(str(max(factor, n // factor * factor)) for n in shape[1:])
            raise TrainingError(
                f"these networks need a height and width divisible by {factor}, "
                f"got {height}x{width}; resize the images, for example to {near}"
            )
        if channels not in (1, 3):
            raise TrainingError(f"images have 1 or 3 channels, got {channels}")
        return height // factor, width // factor


class Generator(nn.Module):
    """G: latents (n, Z + C) to images (n, channels, height, width) in [0, 1]."""

    def __init__(self, spec: LatentSpec, shape: ImageShape, arch: Architecture) -> None:
        super().__init__()
        height, width = arch.inner_size(shape)
        inner = arch.widths[-1]
        outward = [*reversed(arch.widths), shape[0]]
        self.dense = nn.Sequential(
            nn.Linear(spec.dim, arch.dense, bias=False),
            nn.BatchNorm1d(arch.dense),
            nn.ReLU(inplace=True),
            nn.Linear(arch.dense, inner * height * width, bias=False),
            nn.BatchNorm1d(inner * height * width),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (inner, height, width)),
        )
        layers: list[nn.Module] = []
        for before, after in pairwise(outward[:-1]):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(outward[-2], outward[-1], 4, stride=2, padding=1)]
        self.upsample = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (n, Z + C) to images (n, channels, height, width)."""
        images: Tensor = self.upsample(self.dense(latents))
        return images


class Discriminator(nn.Module):
    """D and Q on one trunk: images to D's logit and the statistics of Q(c|x).

    The statistics have the columns of the codes: logits of a categorical code,
    the mean of a uniform one.  A code in ``watched`` is read from the trunk
    without teaching it: its gradient stops there.
    """

    residual: Tensor
    watched: Tensor

    def __init__(
        self,
        spec: LatentSpec,
        shape: ImageShape,
        arch: Architecture,
        watched: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        height, width = arch.inner_size(shape)
        layers: list[nn.Module] = []
        for stage, (before, after) in enumerate(
            zip((shape[0], *arch.widths), arch.widths, strict=False)
        ):
            first = stage == 0  # as in DCGAN, no batch norm next to the image
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=first)]
            layers += [] if first else [nn.BatchNorm2d(after)]
            layers += [nn.LeakyReLU(arch.leak, inplace=True)]
        self.trunk = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(arch.widths[-1] * height * width, arch.dense, bias=False),
            nn.BatchNorm1d(arch.dense),
            nn.LeakyReLU(arch.leak, inplace=True),
        )
        self.real = nn.Linear(arch.dense, 1)
        self.recognition = nn.Sequential(
            nn.Linear(arch.dense, arch.recognition, bias=False),
            nn.BatchNorm1d(arch.recognition),
            nn.LeakyReLU(arch.leak, inplace=True),
            nn.Linear(arch.recognition, spec.code_dim),
        )
        # Mean squared error of each uniform code's mean: Q's fitted variance.
        self.register_buffer("residual", torch.ones(len(spec.uniform)))
        mask = torch.zeros(spec.code_dim, dtype=torch.bool)
        for name in watched:
            mask[spec.code_columns(name)] = True
        self.register_buffer("watched", mask, persistent=False)
        self._watches = "all" if mask.all() else "some" if mask.any() else "none"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, channels, height, width) to logit (n,) and statistics (n, C)."""
        hidden = self.trunk(images)
        logit = self.real(hidden).squeeze(1)
        if self._watches == "all":
            return logit, self.recognition(hidden.detach())
        statistics = self.recognition(hidden)
        if self._watches == "some":
            aside = self.recognition(hidden.detach())
            statistics = torch.where(self.watched, aside, statistics)
        return logit, statistics


def initialise(module: nn.Module) -> None:
    """DCGAN's weights: N(0, 0.02), batch norm scales N(1, 0.02), biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)
