"""The trained networks as they are exported: averaged, folded, two inputs for G."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from infogan_export.latent import CategoricalCode, LatentSpec
from infogan_export.training.networks import (
    Discriminator,
    DoublingConv2d,
    Generator,
    low_passed,
)


class GeneratorGraph(nn.Module):
    """G(z, c): ``noise`` (n, Z) and ``code`` (n, C) to ``image`` in [0, 1]."""

    def __init__(self, G: Generator) -> None:
        super().__init__()
        self.dense = fold_batch_norm(G.dense)
        self.upsample = fold_batch_norm(G.upsample)
        to_image = self.upsample[-2]
        if isinstance(to_image, nn.Conv2d):
            self.upsample[-2] = _transposed(to_image)

    def forward(self, noise: Tensor, code: Tensor) -> Tensor:
        """Draw: (n, Z) and (n, C) to (n, channels, height, width)."""
        latents = torch.cat([noise, code], dim=1)
        image: Tensor = self.upsample(self.dense(latents))
        return image


def for_onnxruntime(graph: GeneratorGraph) -> GeneratorGraph:
    """The graph itself, its doublings changed to what onnxruntime computes faster."""
    for place, layer in enumerate(graph.upsample):
        if isinstance(layer, DoublingConv2d):
            graph.upsample[place] = PooledDoublingConv2d(layer)
    return graph


class PooledDoublingConv2d(DoublingConv2d):
    """The same function, in nine products a pixel for sixteen.

    The nearest neighbour of twice the size is each pixel among zeros, then sums of
    two by two; and these may as well follow the convolution: as means, of four times
    the kernel.  onnxruntime is a quarter faster so, torch with gradients half as fast.
    """

    def __init__(self, layer: DoublingConv2d) -> None:
        super().__init__(layer.in_channels, layer.out_channels)
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, images: Tensor) -> Tensor:
        """Maps (n, before, H, W) to (n, after, 2 H, 2 W)."""
        kernel = 4 * self.weight.flip(2, 3).transpose(0, 1)
        spread = F.conv_transpose2d(images, kernel, self.bias, stride=2)
        return F.avg_pool2d(spread, 2, stride=1)


class RecognitionGraph(nn.Module):
    """Q(c|x) and D(x): ``image`` to the statistics of each code, and D's logit.

    A categorical code's are its logits (n, size); a uniform one's the mean and
    the fitted deviation of its Gaussian (n, 2).
    """

    def __init__(self, D: Discriminator, spec: LatentSpec) -> None:
        super().__init__()
        self.trunk = fold_batch_norm(D.trunk)
        self.stem = D.stem
        self.sight = fold_batch_norm(nn.Sequential(*list(D.sight)[self.stem :]))
        self.real = D.real
        self.recognition = fold_batch_norm(D.recognition)
        self.blur = D.blur
        self.spec = spec
        self.deviation = [float(variance) ** 0.5 for variance in D.residual]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Read: one output for each code of the specification, then the logit."""
        hidden, statistics = self.read(image)
        outputs: list[Tensor] = []
        deviations = iter(self.deviation)
        for code in self.spec.codes:
            read = statistics[:, self.spec.code_columns(code.name)]
            if not isinstance(code, CategoricalCode):
                read = torch.cat(
                    [read, torch.ones_like(read) * next(deviations)], dim=1
                )
            outputs.append(read)
        return (*outputs, self.real(hidden).squeeze(1))

    def features(self, images: Tensor) -> Tensor:
        """What D judges images by: (n, F)."""
        hidden: Tensor = self.trunk(images)
        return hidden

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and Q's logits and means (n, C), by the codes' columns."""
        hidden = self.features(images)
        seen = hidden
        if self.blur > 1:
            seen = self.sight(self.trunk[: self.stem](low_passed(images, self.blur)))
        statistics: Tensor = self.recognition(seen)
        return hidden, statistics

    def output_names(self) -> list[str]:
        """The names of the outputs, in order."""
        return [*(code.name for code in self.spec.codes), "logit"]


def fold_batch_norm(layers: nn.Sequential) -> nn.Sequential:
    """The same function with each batch norm merged into the layer before it."""
    folded: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d) and isinstance(folded[-1], nn.Linear):
            folded[-1] = fuse_linear_bn_eval(folded[-1], layer)
        elif isinstance(layer, nn.BatchNorm2d) and isinstance(
            folded[-1], nn.Conv2d | nn.ConvTranspose2d
        ):
            transposed = isinstance(folded[-1], nn.ConvTranspose2d)
            folded[-1] = fuse_conv_bn_eval(folded[-1], layer, transpose=transposed)
        else:
            folded.append(layer)
    return nn.Sequential(*folded).eval()


def _transposed(layer: nn.Conv2d) -> nn.ConvTranspose2d:
    """The same function of stride 1: for one channel, a third of the time.

    onnxruntime computes a convolution's channels by eights, a transposed one's
    by matrix products.
    """
    size = layer.weight.shape[-1]
    same = nn.ConvTranspose2d(
        layer.in_channels, layer.out_channels, size, padding=size // 2
    )
    _exchange(layer, same)
    return same


def as_convolution(layer: nn.Module) -> nn.Conv2d:
    """The inverse of ``_transposed``.

    Raises:
        TypeError: a layer that is not of its making.
    """
    if not isinstance(layer, nn.ConvTranspose2d):
        raise TypeError(f"no transposed convolution: {layer}")
    size = layer.kernel_size[0]
    same = nn.Conv2d(layer.in_channels, layer.out_channels, size, padding=size // 2)
    _exchange(layer, same)
    return same


def _exchange(
    layer: nn.Conv2d | nn.ConvTranspose2d, same: nn.Conv2d | nn.ConvTranspose2d
) -> None:
    """Give a convolution of the one kind the weights of one of the other kind."""
    same.weight.data = layer.weight.data.flip(2, 3).transpose(0, 1).contiguous()
    same.bias = layer.bias
    same.train(layer.training)
