"""Controllable images from pretrained InfoGAN generators, without torch.

>>> import infogan_export
>>> model = infogan_export.load("mnist")
>>> images = model.sample(16, seed=1, digit=7, slant=0.5)  # uint8, (16, 28, 28)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infogan_export.errors import (
        CodeError,
        DataError,
        ExportError,
        InfoganError,
        MissingExtraError,
        ModelError,
        OutputError,
        ProviderError,
        TrainingError,
        UsageError,
    )
    from infogan_export.inversion import Inversion
    from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode
    from infogan_export.runtime import (
        Categories,
        Gaussian,
        Model,
        Recognition,
        load,
    )

# Where each public name lives.  They are imported when first used, so that
# `infogan-gen --help` loads neither numpy nor onnxruntime.
_HOMES = {
    "errors": (
        "CodeError",
        "DataError",
        "ExportError",
        "InfoganError",
        "MissingExtraError",
        "ModelError",
        "OutputError",
        "ProviderError",
        "TrainingError",
        "UsageError",
    ),
    "inversion": ("Inversion",),
    "latent": ("CategoricalCode", "LatentSpec", "Noise", "UniformCode"),
    "runtime": ("Categories", "Gaussian", "Model", "Recognition", "load"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CategoricalCode",
    "Categories",
    "CodeError",
    "DataError",
    "ExportError",
    "Gaussian",
    "InfoganError",
    "Inversion",
    "LatentSpec",
    "MissingExtraError",
    "Model",
    "ModelError",
    "Noise",
    "OutputError",
    "ProviderError",
    "Recognition",
    "TrainingError",
    "UniformCode",
    "UsageError",
    "load",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
