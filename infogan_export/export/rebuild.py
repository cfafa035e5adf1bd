"""The exported files as torch networks again: what is shipped is what is inverted."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch
from torch import nn

from infogan_export.catalog import RECOGNITION, ModelFiles
from infogan_export.errors import InfoganError, ModelError
from infogan_export.export.inference import GeneratorGraph, RecognitionGraph
from infogan_export.export.weights import read_weights
from infogan_export.graph import Graph, RuntimeOptions, open_graph
from infogan_export.training.inversion import Target
from infogan_export.training.networks import (
    Architecture,
    Discriminator,
    Generator,
    without_spectral_norm,
)

LIMIT = 1e-4  # the greatest difference from onnxruntime, relative above 1
_COMPARED = 16

Network = TypeVar("Network", bound=nn.Module)


def rebuild(files: ModelFiles) -> Target:
    """A model's networks in torch, frozen, from its files alone.

    They hold the numbers that the files hold, batch norms merged and spectral
    norms divided out, and are compared with onnxruntime.

    Args:
        files: of a model with a recognition network.

    Raises:
        ModelError: no recognition network, or files that this package's export
            has not made, or that make other images in torch.
    """
    if files.recognition is None:
        raise ModelError(
            f"model {files.name!r} has no recognition network, of which an encoder "
            f"learns; put its {RECOGNITION} beside its generator"
        )
    options = RuntimeOptions()
    generator = open_graph(
        files.generator, "generator", options, sha256=files.digest("generator")
    )
    recognition = open_graph(
        files.recognition, "recognition", options, sha256=files.digest("recognition")
    )
    about = generator.metadata
    spec, shape = about.spec, about.image_shape
    try:
        arch = Architecture.from_dict(about.training["architecture"])
        G_trained = Generator(spec, shape, arch).eval()
        D = without_spectral_norm(Discriminator(spec, shape, arch)).eval()
    except (KeyError, TypeError, ValueError, InfoganError) as error:
        raise ModelError(
            f"{files.generator} does not tell the architecture of its networks "
            f"({error}); export it with infogan-gen export"
        ) from None
    G = _filled(GeneratorGraph(G_trained), files.generator)
    Q = _filled(RecognitionGraph(D, spec), files.recognition)
    _compare(G, Q, generator, recognition)
    for network in (G, Q):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    flip = bool(about.training.get("flip"))
    return Target(files.name, generator.sha256, spec, shape, G, Q, flip)


def _filled(network: Network, path: Path) -> Network:
    """The network with the weights of a file, by their names, and fixed."""
    stored = read_weights(onnx.load(path))
    weights = {name: torch.from_numpy(value) for name, value in stored.items()}
    try:
        weights = {
            # The exporter leaves a bias of nothing but zeros out.
            name: weights[name] if name in weights or "bias" not in name else like * 0
            for name, like in network.state_dict().items()
        }
        network.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:  # a missing weight, another shape
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(
            f"{path} does not hold the weights of its architecture: {reason}"
        ) from None
    return network.eval().requires_grad_(False)


def _compare(
    G: GeneratorGraph, Q: RecognitionGraph, generator: Graph, recognition: Graph
) -> None:
    """Refuse networks that do not do in torch what their files do."""
    spec = generator.metadata.spec
    latents = spec.sample(_COMPARED, seed=2)
    z, c = map(np.ascontiguousarray, spec.split(latents))
    wanted = generator.run({"noise": z, "code": c})
    wanted |= recognition.run({"image": wanted["image"]})
    with torch.no_grad():
        images = G(torch.from_numpy(z), torch.from_numpy(c))
        read = Q(torch.from_numpy(wanted["image"]))
    found = dict(zip(Q.output_names(), read, strict=True)) | {"image": images}
    for code in spec.uniform:  # its deviation is no weight, and no one's business
        found[code.name], wanted[code.name] = (
            each[code.name][:, :1] for each in (found, wanted)
        )
    for name, tensor in found.items():
        gap = np.abs(tensor.numpy() - wanted[name])
        worst = float((gap / np.maximum(np.abs(wanted[name]), 1)).max())
        if not worst <= LIMIT:
            raise ModelError(
                f"{generator.metadata.name}: rebuilt in torch, {name!r} differs from "
                f"the file's by {worst:.2g}, more than {LIMIT:g}"
            )
