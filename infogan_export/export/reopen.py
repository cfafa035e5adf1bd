"""An exported model as networks that can be trained again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from infogan_export.catalog import ModelFiles
from infogan_export.datasets import ImageSet
from infogan_export.errors import InfoganError, ModelError, TrainingError
from infogan_export.export.inference import (
    GeneratorGraph,
    RecognitionGraph,
    as_convolution,
)
from infogan_export.export.rebuild import rebuild
from infogan_export.export.relabel import Meaning, relabel
from infogan_export.graph import RuntimeOptions, open_graph
from infogan_export.latent import Code, UniformCode
from infogan_export.metadata import ModelMetadata
from infogan_export.training.batches import as_input
from infogan_export.training.checkpoint import Checkpoint, DataFacts
from infogan_export.training.config import TrainingConfig
from infogan_export.training.networks import (
    Discriminator,
    Generator,
    low_passed,
    settle,
)

_IMAGES = 1024  # real ones, and as many generated ones, that batch norms are found by
_DRAWN, _GROWN = 0.02, 100  # rms of weights at first; in Adam's rates after long
_NOT_THE_RECIPE = "step", "images_seen", "seconds", "version", "commit"
_Norm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass
class ReopenedModel(Checkpoint):
    """A model's networks as a checkpoint that a run can begin with.

    Attributes:
        model: its name.
        generator_sha256: digest of the file that G came from.
    """

    model: str = ""
    generator_sha256: str = ""

    def described(self) -> str:
        """Which model this is, how far it was trained, its file; what came before."""
        before, seed = self.config.warm_start, self.config.seed
        here = (
            f"model {self.model}, seed {seed}, step {self.step:,}, "
            f"file {self.generator_sha256[:16]}"
        )
        return f"{here}; after {before}" if before else here


def reopen(files: ModelFiles, images: ImageSet) -> ReopenedModel:
    """G, D and Q of a model, batch norms and all, as the start of a run.

    A file has its batch norms merged into the layers before them.  Here each is
    found again: its scale and shift are the deviation and the mean of what the layer
    makes of images, real and generated, and the layer's own weights, free up to a
    factor then, get the size that long training gives them.  The function is the
    file's, and stays so when a batch norm takes the statistics of its batches.

    Args:
        files: of a model with a recognition network.
        images: real ones, of the model's size; the first of them are looked at.

    Returns:
        a checkpoint whose averaged weights are the model's.

    Raises:
        ModelError: no recognition network, or files that this package's export has
            not made.
        TrainingError: the images have another size or other channels.
    """
    target = rebuild(files)
    assert isinstance(target.G, GeneratorGraph)
    assert isinstance(target.Q, RecognitionGraph)
    about = open_graph(files.generator, "generator", RuntimeOptions()).metadata
    config, meaning = _config(about, files), _as_trained(about)
    x = as_input(torch.from_numpy(images.images[:_IMAGES]))
    if tuple(x.shape[1:]) != target.shape:
        raise TrainingError(
            f"model {files.name!r} draws images of {_described(target.shape)}, and "
            f"those to train on are of {_described(x.shape[1:])}"
        )
    torch.manual_seed(config.seed)
    G = Generator(target.spec, target.shape, config.architecture)
    D = Discriminator(target.spec, target.shape, config.architecture)
    latents = torch.from_numpy(target.spec.sample(len(x), seed=config.seed))
    with torch.no_grad():
        of_G, of_D = config.generator_rate, config.discriminator_rate
        x_fake = _fill_generator(G, target.G, latents, _scale(of_G))
        _fill_discriminator(D, target.Q, [x, x_fake], _scale(of_D))
    spec = relabel(G, D, target.spec, meaning)
    generator, discriminator = G.state_dict(), D.state_dict()
    return ReopenedModel(
        config=replace(config, spec=spec),
        shape=target.shape,
        data=DataFacts(**{f.name: about.data[f.name] for f in fields(DataFacts)}),
        step=int(about.training["step"]),
        generator=generator,
        discriminator=discriminator,
        generator_ema=generator,
        discriminator_ema=discriminator,
        optimizers={},
        model=files.name,
        generator_sha256=target.generator_sha256,
    )


def _config(about: ModelMetadata, files: ModelFiles) -> TrainingConfig:
    recipe = {k: v for k, v in about.training.items() if k not in _NOT_THE_RECIPE}
    try:
        return TrainingConfig.from_dict(recipe | {"spec": about.spec.to_dict()})
    except InfoganError as error:
        raise ModelError(
            f"{files.generator} does not tell how it was trained: {error}"
        ) from None


def _as_trained(about: ModelMetadata) -> Meaning:
    """The codes as they were in training: neither stretched nor turned."""
    now = [[code.low, code.high] for code in about.spec.uniform]
    drawn = iter(about.export.get("drawn_in_training", now))
    ranges = {code.name: next(drawn) for code in about.spec.uniform}
    codes: list[Code] = []
    for code in about.spec.codes:
        if isinstance(code, UniformCode):
            low, high = ranges[code.name]
            codes.append(replace(code, low=low, high=high))
        else:
            codes.append(code)
    return Meaning(tuple(codes), turned=frozenset(about.export.get("turned", ())))


def _scale(rate: float) -> float:
    """Of the weights before a batch norm: a step of Adam's must be a small part."""
    return max(_DRAWN, _GROWN * rate)


def _described(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{width}x{height} pixels and {channels} channel{'s' * (channels != 1)}"


def _fill_generator(
    G: Generator, folded: GeneratorGraph, latents: Tensor, scale: float
) -> Tensor:
    """Give G the weights of the file, and return the images that it draws."""
    upsample = nn.Sequential(*folded.upsample)
    if isinstance(G.upsample[-2], nn.Conv2d):
        upsample[-2] = as_convolution(upsample[-2])
    inner = _unfold(G.dense, folded.dense, [latents], scale)
    (x_fake,) = _unfold(G.upsample, upsample, inner, scale)
    return x_fake


def _fill_discriminator(
    D: Discriminator, folded: RecognitionGraph, kinds: Sequence[Tensor], scale: float
) -> None:
    """Give D and Q the weights of the file; real and generated images are kinds."""
    _unfold(D.trunk, folded.trunk, kinds, scale)
    _set(D.real, folded.real)
    own = [norm for norm in D.trunk if isinstance(getattr(norm, "seen", None), _Norm)]
    seen = [layer for layer in folded.sight if hasattr(layer, "weight")]
    judged = [layer for layer in folded.trunk if hasattr(layer, "weight")]
    for norm, merged, other in zip(
        own, judged[len(judged) - len(seen) :], seen, strict=True
    ):
        _set_twin(norm, merged, other)
    settle(D.eval())
    watched = [D.sight(low_passed(images, D.blur)) for images in kinds]
    _unfold(D.recognition, folded.recognition, watched, scale)


def _unfold(
    layers: nn.Sequential,
    folded: nn.Sequential,
    kinds: Sequence[Tensor],
    scale: float,
) -> list[Tensor]:
    """Set a network's layers to what a file has of them.

    Args:
        layers: as they are trained; changed in place.
        folded: the same function, each batch norm merged into the layer before it.
        kinds: of inputs: a batch norm's deviation is that within a kind.
        scale: rms of the weights before a batch norm.

    Returns:
        what comes out of them.
    """
    merged = iter(folded)
    for layer, after in zip(layers, [*list(layers)[1:], None], strict=True):
        if isinstance(layer, _Norm):
            continue
        same = next(merged)
        kinds = [same(x) for x in kinds]
        if not hasattr(layer, "weight"):
            continue
        if isinstance(after, _Norm):
            _split(layer, after, same, kinds, scale)
        else:
            _set(layer, same)
    return list(kinds)


def _set(layer: nn.Module, same: nn.Module) -> None:
    own = dict(layer.named_parameters())
    weight = own.get("parametrizations.weight.original", own.get("weight"))
    assert isinstance(weight, Tensor)
    weight.copy_(same.get_parameter("weight"))
    own["bias"].copy_(same.get_parameter("bias"))


def _split(
    layer: nn.Module,
    norm: _Norm,
    merged: nn.Module,
    outputs: Sequence[Tensor],
    scale: float,
) -> None:
    """Share a merged layer among a layer without bias and the batch norm after it.

    Args:
        layer: changed in place.
        norm: changed in place.
        merged: what both are together.
        outputs: of it, a batch of each kind.
        scale: rms of the layer's weights.
    """
    others = [d for d in range(outputs[0].ndim) if d != 1]
    mean = torch.stack([y.mean(others) for y in outputs]).mean(0)
    variance = torch.stack([y.var(others, correction=0) for y in outputs]).mean(0)
    weight, bias = merged.get_parameter("weight"), merged.get_parameter("bias")
    channel = 1 if isinstance(merged, nn.ConvTranspose2d) else 0
    rows = weight.movedim(channel, 0).flatten(1)
    factor = scale / _rms(rows)
    scaled = (rows.T * factor).T.reshape(weight.movedim(channel, 0).shape)
    layer.get_parameter("weight").copy_(scaled.movedim(0, channel))
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(factor * (mean - bias))
    norm.running_var.copy_(factor.square() * variance)
    norm.weight.copy_((norm.running_var + norm.eps).sqrt() / factor)
    norm.bias.copy_(mean)


def _set_twin(norm: nn.Module, merged: nn.Module, seen: nn.Module) -> None:
    """Find the statistics of a batch norm's twin: those by which it was merged.

    Args:
        norm: with its own statistics; its twin is changed in place.
        merged: the layer before it, with it.
        seen: the same layer, with its twin.
    """
    twin = norm.seen
    assert isinstance(norm, _Norm) and isinstance(twin, _Norm)
    assert norm.running_var is not None
    assert twin.running_mean is not None and twin.running_var is not None
    ratio = _rms(merged.get_parameter("weight").flatten(1)) / _rms(
        seen.get_parameter("weight").flatten(1)
    )
    deviation = ratio * (norm.running_var + norm.eps).sqrt()
    away = norm.bias - seen.get_parameter("bias")
    twin.running_var.copy_((deviation.square() - twin.eps).clamp_min(0))
    twin.running_mean.copy_(away * deviation / norm.weight)


def _rms(rows: Tensor) -> Tensor:
    return rows.square().mean(1).sqrt().clamp_min(torch.finfo(rows.dtype).tiny)
