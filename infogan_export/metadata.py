"""What a model file says of itself: JSON under one key of the ONNX metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from infogan_export.errors import ModelError
from infogan_export.latent import LatentSpec

KEY = "infogan-export"
FORMAT_VERSION = 1

Role = Literal["generator", "recognition", "encoder"]
ImageShape: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True)
class ModelMetadata:
    """Everything that the runtime and a reader need to know of a graph.

    Attributes:
        name: the model's name, as in ``load(name)``.
        role: which of a model's networks the file holds.
        image_shape: channels, height, width.
        spec: the latent layout, with names and labels.
        training: the recipe: seed, steps, images seen, version, commit, ...
        data: name, number, SHA-256 and licence of the training images.
        metrics: measured figures, by name.
        export: storage of the weights, and the difference from torch.
        description: a sentence or two for a reader.
        notice: what whoever uses the model should know: of the people in its
            training images, of its terms, of what it gets wrong.
    """

    name: str
    role: Role
    image_shape: ImageShape
    spec: LatentSpec
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    export: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    notice: str = ""

    def to_json(self) -> str:
        """The text stored in the file."""
        content = asdict(self) | {
            "format_version": FORMAT_VERSION,
            "spec": self.spec.to_dict(),
        }
        return json.dumps(content, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> ModelMetadata:
        """The inverse of ``to_json``; unknown keys are left out.

        Args:
            text: the JSON.
            source: the file, for messages.

        Raises:
            ModelError: not this format, a later one, or incomplete.
        """
        try:
            content = json.loads(text)
            version = content["format_version"]
        except (ValueError, KeyError, TypeError):
            raise ModelError(f"{source}: its {KEY} metadata is not readable") from None
        if version != FORMAT_VERSION:
            raise ModelError(
                f"{source}: is of format version {version!r}, this package reads "
                f"{FORMAT_VERSION}; upgrade infogan-export"
            )
        known = {f.name for f in fields(cls)}
        content = {k: v for k, v in content.items() if k in known}
        try:
            channels, height, width = map(int, content["image_shape"])
            content["image_shape"] = (channels, height, width)
            content["spec"] = LatentSpec.from_dict(content["spec"])
            result = cls(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{source}: incomplete metadata: {error}") from None
        if result.role not in get_args(Role):
            raise ModelError(f"{source}: unknown role {result.role!r}")
        return result
