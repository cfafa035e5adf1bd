"""The three networks, sized from a latent specification and an image shape.

Generator G, and a discriminator D that shares its trunk with the recognition
network Q: Q is a head on D's last representation.  The defaults are table 1 of
Chen et al. (2016); other data sets are other rows, not other classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from infogan_export.errors import TrainingError
from infogan_export.latent import LatentSpec
from infogan_export.training.strided import HalvingConv2d, doubled

ImageShape: TypeAlias = tuple[int, int, int]  # channels, height, width
Upsampling = Literal["transposed", "nearest"]
Normalisation = Literal["batch", "spectral"]

_POWER_ITERATIONS = 100
_SAMPLED = 4096  # latents whose variance is taken
_MOMENTUM = 0.05  # of what a batch's moments usually are
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Architecture:
    """A row of the family: its widths, and how it scales and normalises.

    Attributes:
        widths: D's channels from the image inwards, each stage halving the
            image.
        generator: G's channels from the inside outwards; empty for ``widths``
            backwards.
        dense: units of the fully connected layer that both have; 0 for none.
        recognition: units of the one in Q's head.
        leak: slope of D's and Q's rectifiers below zero.
        upsampling: G's way from one stage to the next: a transposed convolution,
            or the nearest neighbour and a 3x3 convolution, which cannot draw a
            checkerboard; a 3x3 convolution then makes the image.
        normalisation: of D: batch norm; or the spectral norm of each layer of
            trunk and head, with no batch norm in D or Q, and images centred.
        inner: 3x3 convolutions at the innermost size, in both networks.
        blur: Q reads images averaged over squares of so many pixels; 1 is as
            they are.  A code that it then reads is no texture.
        moments: D also judges a batch as a whole, by what its last batch norm
            takes away: see ``Moments``.
        apart: what Q reads has batch norm statistics of its own in the trunk, for
            a blur: those of sharp images do not fit blurred ones.

    Raises:
        TrainingError: a kind of layer that there is not, or one that does not go
            with another.

    Source: Chen et al. (2016), table 1; its leak is 0.1.
    """

    widths: tuple[int, ...] = (64, 128)
    generator: tuple[int, ...] = ()
    dense: int = 1024
    recognition: int = 128
    leak: float = 0.1
    upsampling: Upsampling = "transposed"
    normalisation: Normalisation = "batch"
    inner: int = 0
    blur: int = 1
    moments: bool = False
    apart: bool = False

    def __post_init__(self) -> None:
        for name, kinds in (
            ("upsampling", get_args(Upsampling)),
            ("normalisation", get_args(Normalisation)),
        ):
            if getattr(self, name) not in kinds:
                raise TrainingError(
                    f"{name} is {' or '.join(kinds)}, got {getattr(self, name)!r}"
                )
        if self.moments and self.normalisation != "batch":
            raise TrainingError(
                f"moments need normalisation 'batch', got {self.normalisation!r}"
            )
        if self.apart and (self.normalisation != "batch" or self.blur == 1):
            raise TrainingError(
                "statistics apart need normalisation 'batch' and a blur above 1, got "
                f"{self.normalisation!r} and {self.blur}"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """From plain JSON values; what an older version did not know is off.

        Raises:
            TypeError: an unknown key.
            TrainingError: a kind of layer that there is not.
        """
        known = dict(data)
        for name in ("widths", "generator"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)

    @property
    def outward(self) -> tuple[int, ...]:
        """G's channels, from the inside outwards."""
        return self.generator or tuple(reversed(self.widths))

    @property
    def doublings(self) -> int:
        """How often G doubles the size."""
        return len(self.outward) - (self.upsampling == "nearest")

    def inner_size(self, shape: ImageShape) -> tuple[int, int]:
        """Height and width of D's innermost feature map.

        Args:
            shape: channels, height, width of the images, in pixels.

        Raises:
            TrainingError: the image does not halve that often, or its channels
                are neither grey nor colour.
        """
        channels, height, width = shape
        factor = 2 ** max(len(self.widths), self.doublings)
        if height % factor or width % factor or min(height, width) < factor:
            near = "x".join(str(max(factor, n // factor * factor)) for n in shape[1:])
            raise TrainingError(
                f"these networks need a height and width divisible by {factor}, "
                f"got {height}x{width}; resize the images, for example to {near}"
            )
        if channels not in (1, 3):
            raise TrainingError(f"images have 1 or 3 channels, got {channels}")
        return height // 2 ** len(self.widths), width // 2 ** len(self.widths)

    def first_size(self, shape: ImageShape) -> tuple[int, int]:
        """Height and width of G's innermost feature map.

        Raises:
            TrainingError: as ``inner_size``.
        """
        self.inner_size(shape)
        return shape[1] // 2**self.doublings, shape[2] // 2**self.doublings


class DoublingConv2d(nn.Conv2d):
    """The nearest neighbour of twice the size, then a 3x3 convolution, in one.

    Each pixel doubled and a 3x3 kernel are a 4x4 kernel transposed with stride 2,
    at four ninths of the multiplications.
    """

    def __init__(self, before: int, after: int, *, bias: bool = True) -> None:
        super().__init__(before, after, 3, padding=1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Maps (n, before, H, W) to (n, after, 2 H, 2 W)."""
        framed = F.pad(self.weight, (1, 1, 1, 1))
        across = framed[..., 1:] + framed[..., :-1]
        kernel = across[..., 1:, :] + across[..., :-1, :]
        kernel = kernel.flip(2, 3).transpose(0, 1)
        return doubled(images, kernel, self.bias)


class Generator(nn.Module):
    """G: latents (n, Z + C) to images (n, channels, height, width) in [0, 1]."""

    def __init__(self, spec: LatentSpec, shape: ImageShape, arch: Architecture) -> None:
        super().__init__()
        height, width = arch.first_size(shape)
        inner, outside = arch.outward[0], arch.outward[-1]
        features = arch.dense or spec.dim
        layers: list[nn.Module] = []
        if arch.dense:
            layers += [
                nn.Linear(spec.dim, arch.dense, bias=False),
                nn.BatchNorm1d(arch.dense),
                nn.ReLU(inplace=True),
            ]
        self.dense = nn.Sequential(
            *layers,
            nn.Linear(features, inner * height * width, bias=False),
            nn.BatchNorm1d(inner * height * width),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (inner, height, width)),
        )
        layers = []
        for _ in range(arch.inner):
            layers += _rectified(nn.Conv2d(inner, inner, 3, padding=1, bias=False))
        nearest = arch.upsampling == "nearest"
        for before, after in pairwise(arch.outward):
            layers += _rectified(
                DoublingConv2d(before, after, bias=False)
                if nearest
                else nn.ConvTranspose2d(before, after, 4, 2, padding=1, bias=False)
            )
        layers += [
            nn.Conv2d(outside, shape[0], 3, padding=1)
            if nearest
            else nn.ConvTranspose2d(outside, shape[0], 4, 2, padding=1)
        ]
        self.upsample = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (n, Z + C) to images (n, channels, height, width)."""
        inner = self.dense(latents).contiguous(memory_format=torch.channels_last)
        images: Tensor = self.upsample(inner)
        return images


def _rectified(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    channels = convolution.out_channels
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


class Centre(nn.Module):
    """Images in [0, 1] to [-1, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        """Any shape to the same."""
        return 2 * images - 1


class Discriminator(nn.Module):
    """D and Q on one trunk: images to D's logit and the statistics of Q(c|x).

    The statistics have the columns of the codes: logits of a categorical code,
    the mean of a uniform one.  A code in ``watched`` is read from the trunk
    without teaching it: its gradient stops there.

    Attributes:
        features: of the trunk, F, for each image.
        recognized: features of Q's hidden layer, R.
        stem: first layers of the trunk through which Q looks as D does.
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
        features = arch.widths[-1] * height * width
        rows = _Rows(arch)
        layers: list[nn.Module] = [] if rows.batch else [Centre()]
        for stage, (before, after) in enumerate(
            zip((shape[0], *arch.widths), arch.widths, strict=False)
        ):
            # As in DCGAN, no batch norm next to the image.
            layers += rows.halving(before, after, plain=stage == 0)
        for _ in range(arch.inner):
            layers += rows.inner(arch.widths[-1])
        layers += [nn.Flatten()]
        if arch.dense:
            layers += rows.linear(features, arch.dense)
            features = arch.dense
        self.trunk = nn.Sequential(*layers)
        self.features, self.recognized = features, arch.recognition
        norms = _batch_norms(self.trunk)
        self._norm = norms[-1] if norms else 0
        self.stem = norms[0] - 1 if arch.apart and norms else len(layers)
        self.real = rows.last(nn.Linear(features, 1))
        self.recognition = nn.Sequential(
            nn.Linear(features, arch.recognition, bias=not rows.batch),
            *([KindsBatchNorm1d(arch.recognition)] if rows.batch else []),
            nn.LeakyReLU(arch.leak, inplace=True),
            nn.Linear(arch.recognition, spec.code_dim),
        )
        self.moments = Moments(features) if arch.moments else None
        self.blur, self.apart = arch.blur, arch.apart
        self.batch_norm = rows.batch
        # Mean squared error of each uniform code's mean: Q's fitted variance.
        self.register_buffer("residual", torch.ones(len(spec.uniform)))
        mask = torch.zeros(spec.code_dim, dtype=torch.bool)
        for name in watched:
            mask[spec.code_columns(name)] = True
        self.register_buffer("watched", mask, persistent=False)
        self._watches = "all" if mask.all() else "some" if mask.any() else "none"

    @property
    def sight(self) -> nn.Sequential:
        """The trunk as Q looks through it: by the statistics of what it reads."""
        return nn.Sequential(*(getattr(layer, "seen", layer) for layer in self.trunk))

    def forward(
        self, images: Tensor, seen: Tensor | None = None, *, kinds: int = 1
    ) -> tuple[Tensor, Tensor]:
        """D's logit (n,) of images, and Q's statistics (m, C) of what it has seen.

        Args:
            images: (n, channels, height, width).
            seen: the same of m images; by default ``images``, blurred where Q
                reads them so.
            kinds: of images, in equal numbers one after the other: real and
                generated ones must not share a batch norm's statistics.  What is
                seen has kinds of the same number.
        """
        if seen is None and self.blur > 1:
            seen = low_passed(images, self.blur)
        if seen is not None and not self.batch_norm:
            both = self.trunk(torch.cat([images, seen]))
            hidden, watched = both[: len(images)], both[len(images) :]
            return self.real(hidden).squeeze(1), self._read(watched)
        self._tell_apart(kinds)
        raw = self.trunk[: self._norm](images)
        hidden = self.trunk[self._norm :](raw)
        logit = self.real(hidden).squeeze(1)
        if self.moments is not None and self.training:
            terms = [self.moments(part.flatten(1)) for part in raw.chunk(kinds)]
            logit = logit + torch.cat(terms).repeat_interleave(len(images) // kinds)
        if seen is None:
            return logit, self._read(hidden)
        self._tell_apart(max(1, len(seen) * kinds // len(images)))
        return logit, self._read(self.sight(seen))

    def judge(self, images: Tensor) -> Tensor:
        """D's logit (n,) alone, of images of one kind; without ``Moments``."""
        self._tell_apart(1)
        logit: Tensor = self.real(self.trunk(images))
        return logit.squeeze(1)

    def read(self, images: Tensor, seen: Tensor | None = None) -> Tensor:
        """Q's statistics (n, C) alone; otherwise as the call."""
        if seen is None:
            seen = low_passed(images, self.blur)
        return self._read(self.sight(seen))

    def look(self, images: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All that an image is known by, and Q's statistics (n, C); as the call.

        The former are the trunk's features and those of Q's hidden layer, one after
        the other, (n, F + R).
        """
        hidden: Tensor = self.trunk(images)
        if seen is None and self.blur > 1:
            seen = low_passed(images, self.blur)
        watched = hidden if seen is None else self.sight(seen)
        inner = self.recognition[:-1](watched)
        return torch.cat([hidden, inner], dim=1), self._read(watched)

    def _tell_apart(self, kinds: int) -> None:
        for layer in self.modules():
            if isinstance(layer, _Kinds):
                layer.kinds = kinds

    def _read(self, hidden: Tensor) -> Tensor:
        if self._watches == "all":
            return self._statistics(hidden.detach())
        statistics = self._statistics(hidden)
        if self._watches == "some":
            aside = self._statistics(hidden.detach())
            statistics = torch.where(self.watched, aside, statistics)
        return statistics

    def _statistics(self, hidden: Tensor) -> Tensor:
        statistics: Tensor = self.recognition(hidden)
        return statistics


class _Kinds(nn.Module):
    """A batch norm that takes the statistics of each kind of images apart."""

    kinds = 1

    def forward(self, x: Tensor) -> Tensor:
        """Kinds in equal numbers, one after the other, to the same."""
        norm = super().forward
        whole: Tensor
        if self.kinds == 1 or not self.training:
            whole = norm(x)
        else:
            whole = torch.cat([norm(kind) for kind in x.chunk(self.kinds)])
        return whole


class KindsBatchNorm1d(_Kinds, nn.BatchNorm1d):
    """Of features (n, C)."""


class KindsBatchNorm2d(_Kinds, nn.BatchNorm2d):
    """Of maps (n, C, height, width)."""


Norm = TypeVar("Norm", KindsBatchNorm1d, KindsBatchNorm2d)


def _with_twin(norm: Norm) -> Norm:
    """With a batch norm ``seen`` in it: the same weights, statistics of its own."""
    norm.seen = twin = type(norm)(norm.num_features)
    twin.weight, twin.bias = norm.weight, norm.bias
    return norm


def _batch_norms(layers: nn.Sequential) -> list[int]:
    """Where they are."""
    return [k for k, layer in enumerate(layers) if isinstance(layer, _Kinds)]


class Moments(nn.Module):
    """A term of D's logit for a batch: its features' means and deviations.

    Batch norm gives a batch of generated images the mean and variance of a batch
    of real ones, feature by feature, and so hides from D that they vary less.
    Here D sees both as they are, relative to what they usually are.  An image
    that is judged alone has neither: the term belongs to training.

    Source: after Mroueh et al. (2017), McGAN, and the minibatch deviation of
    Karras et al. (2018).
    """

    usual: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.judge = nn.Linear(2 * features, 1, bias=False)
        self.register_buffer("usual", torch.tensor([[0.0], [1.0]]).repeat(1, features))

    def forward(self, features: Tensor) -> Tensor:
        """Features (n, F) of a batch to the term, (1,)."""
        mean, deviation = features.float().mean(dim=0), features.float().std(dim=0)
        now = torch.stack([mean, deviation])
        if self.judge.weight.requires_grad:  # D learns, or else it is a fixed function
            self.usual.lerp_(now.detach(), _MOMENTUM)
        away = (now - self.usual) / self.usual[1].clamp_min(_LEAST_DEVIATION)
        term: Tensor = self.judge(away.flatten())
        return term


class _Rows:
    """D's layers in the normalisation of an architecture."""

    def __init__(self, arch: Architecture) -> None:
        self.batch = arch.normalisation == "batch"
        self._leak, self._apart = arch.leak, arch.apart

    def halving(
        self, before: int, after: int, *, plain: bool = False
    ) -> list[nn.Module]:
        bias = plain or not self.batch
        return self._convolution(HalvingConv2d(before, after, bias=bias))

    def inner(self, width: int) -> list[nn.Module]:
        bias = not self.batch
        return self._convolution(nn.Conv2d(width, width, 3, padding=1, bias=bias))

    def _convolution(self, layer: nn.Conv2d) -> list[nn.Module]:
        normed = layer.bias is None
        norm = [self._norm(KindsBatchNorm2d(layer.out_channels))] if normed else []
        return [self.last(layer), *norm, nn.LeakyReLU(self._leak, inplace=True)]

    def linear(self, before: int, after: int) -> list[nn.Module]:
        layer = nn.Linear(before, after, bias=not self.batch)
        norm = [self._norm(KindsBatchNorm1d(after))] if self.batch else []
        return [self.last(layer), *norm, nn.LeakyReLU(self._leak, inplace=True)]

    def _norm(self, norm: Norm) -> Norm:
        return _with_twin(norm) if self._apart else norm

    def last(self, layer: nn.Module) -> nn.Module:
        """The layer, of spectral norm 1 where that is what holds D back."""
        return layer if self.batch else spectral_norm(layer)


def low_passed(images: Tensor, pixels: int) -> Tensor:
    """Images averaged over squares, and brought back to their size smoothly.

    Args:
        images: (n, channels, height, width).
        pixels: the side of a square; 1 leaves them as they are.
    """
    if pixels == 1:
        return images
    small = F.avg_pool2d(images, pixels, ceil_mode=True, count_include_pad=False)
    return F.interpolate(
        small, size=images.shape[2:], mode="bilinear", align_corners=False
    )


def initialise(module: nn.Module) -> None:
    """DCGAN's weights: N(0, 0.02), batch norm scales N(1, 0.02), biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weights = dict(layer.named_parameters())
            own = "parametrizations.weight.original"
            nn.init.normal_(weights.get(own, layer.weight), 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)
    settle(module)


def balance(G: Generator, spec: LatentSpec) -> None:
    """Let all codes together weigh as much as the noise in G's first layer.

    For a fresh G.  A few codes among many noise variables move the images so
    little that a Q of blurred and noisy ones finds nothing to teach.
    """
    variance = torch.from_numpy(spec.sample(_SAMPLED, seed=0)).var(dim=0)
    noise, codes = variance[: spec.noise_dim], variance[spec.noise_dim :]
    first = next(layer for layer in G.dense if isinstance(layer, nn.Linear))
    with torch.no_grad():
        first.weight[:, spec.noise_dim :] *= (noise.sum() / codes.sum()).sqrt()


def settle(module: nn.Module) -> None:
    """Bring the estimates of all spectral norms to rest on the weights as they are.

    A training step moves each by one power iteration alone, and averages of
    weights and of estimates do not belong together.
    """
    training = module.training
    module.train()
    with torch.no_grad():
        for layer in module.modules():
            if is_parametrized(layer, "weight"):
                for _ in range(_POWER_ITERATIONS):
                    _ = layer.weight
    module.train(training)


def without_spectral_norm(D: Discriminator) -> Discriminator:
    """The same network, its spectral norms divided out of its weights for good."""
    for layer in D.modules():
        if is_parametrized(layer, "weight"):
            remove_parametrizations(layer, "weight")
    return D
