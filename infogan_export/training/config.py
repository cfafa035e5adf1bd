"""What a training run is: every number that decides its result, and the presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from infogan_export.errors import TrainingError, UsageError, unknown
from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode
from infogan_export.philox import MAX_SEED
from infogan_export.training.networks import Architecture

_NOT_NEGATIVE, _PART = (0.0, math.inf), (0.0, 1.0)


def _check(owner: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a field outside its range, ends included; NaN and infinity always."""
    for name, (low, high) in ranges.items():
        value = getattr(owner, name)
        if not (low <= value <= high and value < math.inf):
            rule = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
            raise UsageError(f"{name.replace('_', ' ')} must be {rule}, got {value}")


@dataclass(frozen=True)
class Consistency:
    """Agreement of Q's category between a real image and a slightly moved one.

    ``weight`` is reached linearly between ``start`` and ``start + ramp`` steps.
    Movements are drawn uniformly, both ways.

    Attributes:
        weight: of the cross-entropy in nats, beside L_I.
        start: the last step without it.
        ramp: steps from there to the full weight.
        temperature: of the targets; below 1 sharpens them.
        rotation: degrees.
        scale: relative, width and height apart.
        shift: as a part of the image's size.
        shear: pixels across for each pixel down.
        thickening: of strokes, as a part of the way to their dilation or erosion.
        steering: weight, from the first step on, of the first uniform code
            following the shear (lean to the right) and the second the thickening.

    Raises:
        UsageError: a number is out of its range.
    """

    weight: float = 0.0
    start: int = 1000
    ramp: int = 500
    temperature: float = 0.7
    rotation: float = 15.0
    scale: float = 0.2
    shift: float = 0.1
    shear: float = 0.3
    thickening: float = 0.0
    steering: float = 0.0

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "weight": _NOT_NEGATIVE,
                "temperature": (0.01, math.inf),
                "thickening": _PART,
                "steering": _NOT_NEGATIVE,
            },
        )

    def moves_at(self, step: int) -> bool:
        """Whether real images are moved at a step."""
        return self.steering > 0 or self.weight_at(step) > 0

    def weight_at(self, step: int) -> float:
        """The weight in force at a step."""
        risen = (step - self.start) / max(self.ramp, 1)
        return self.weight * min(max(risen, 0.0), 1.0)


@dataclass(frozen=True)
class TrainingConfig:
    """Every number that decides a run's result, but for the data themselves.

    Learning rates are constant up to ``decay_start`` (a part of ``steps``), then
    fall linearly to ``decay_to`` of themselves.

    Attributes:
        spec: the latents.
        architecture: the widths of the networks.
        seed: of weights, latents, order and movements; 0 to 2^64 - 1.
        steps: in all, each a descent of D and Q and one of G.
        batch_size: images of a step over all processes.
        generator_rate: Adam's learning rate for G.
        discriminator_rate: the same for the trunk, D's head and Q's head.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the mean squared gradient.
        decay_start: where the rates begin to fall.
        decay_to: where they end.
        lambda_categorical: weight of L_I of each categorical code.
        lambda_uniform: weight of L_I of each uniform code.
        ema_decay: of the averaged weights, per step.
        consistency: Q's agreement on real images.
        collapse_after: the first step at which a code that is dead stops the run.

    Raises:
        UsageError: a number is out of its range.
    """

    spec: LatentSpec
    architecture: Architecture = field(default_factory=Architecture)
    seed: int = 0
    steps: int = 6000
    batch_size: int = 128
    generator_rate: float = 1e-3
    discriminator_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    decay_start: float = 0.5
    decay_to: float = 0.05
    lambda_categorical: float = 1.0
    lambda_uniform: float = 0.6
    ema_decay: float = 0.999
    consistency: Consistency = field(default_factory=Consistency)
    collapse_after: int = 2000

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "seed": (0, MAX_SEED),
                "steps": (1, math.inf),
                "batch_size": (2, math.inf),
                "generator_rate": _NOT_NEGATIVE,
                "discriminator_rate": _NOT_NEGATIVE,
                "lambda_categorical": _NOT_NEGATIVE,
                "lambda_uniform": _NOT_NEGATIVE,
                "decay_start": _PART,
                "decay_to": _PART,
                "ema_decay": _PART,
            },
        )

    def weights(self) -> dict[str, float]:
        """The lambda of each code, by name."""
        return {
            c.name: self.lambda_categorical
            if isinstance(c, CategoricalCode)
            else self.lambda_uniform
            for c in self.spec.codes
        }

    def watched(self) -> frozenset[str]:
        """Codes with lambda = 0: Q reads them, nothing else learns of them."""
        return frozenset(n for n, weight in self.weights().items() if weight == 0)

    def rate_at(self, step: int) -> float:
        """The factor on both learning rates at a step."""
        first = self.decay_start * self.steps
        fallen = max(step - first, 0.0) / max(self.steps - first, 1.0)
        return 1.0 - (1.0 - self.decay_to) * min(fallen, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self) | {"spec": self.spec.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainingConfig:
        """The inverse of ``to_dict``.

        Raises:
            TrainingError: a key is missing or unknown.
            UsageError: a number is out of its range.
        """
        try:
            known = dict(data)
            architecture = dict(known.pop("architecture"))
            architecture["widths"] = tuple(architecture["widths"])
            return cls(
                spec=LatentSpec.from_dict(known.pop("spec")),
                architecture=Architecture(**architecture),
                consistency=Consistency(**known.pop("consistency")),
                **known,
            )
        except (KeyError, TypeError) as error:
            raise TrainingError(f"not a training configuration: {error}") from None

    def difference(self, other: TrainingConfig) -> list[str]:
        """The names of the fields in which two configurations differ."""
        return [
            f.name
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        ]


# The paper's MNIST latents: 62 noise variables, a ten-way code, two uniform ones.
# The wider prior is what keeps traversals from -2 to 2 free of broken strokes.
_DIGITS = LatentSpec(
    Noise(62),
    (
        CategoricalCode("cat1", 10),
        UniformCode("cont1", -1.5, 1.5, -2, 2),
        UniformCode("cont2", -1.5, 1.5, -2, 2),
    ),
)
_PAPER = LatentSpec(
    Noise(62),
    (CategoricalCode("cat1", 10), UniformCode("cont1"), UniformCode("cont2")),
)
_MNIST = TrainingConfig(
    _DIGITS,
    consistency=Consistency(
        weight=3.0, start=1500, ramp=1500, thickening=0.6, steering=0.5
    ),
)

PRESETS: dict[str, TrainingConfig] = {
    "mnist": _MNIST,
    "mnist-gan": replace(
        _MNIST,
        lambda_categorical=0.0,
        lambda_uniform=0.0,
        consistency=Consistency(weight=0.0),
    ),
    "mnist-paper": TrainingConfig(
        _PAPER, decay_to=1.0, ema_decay=0.0, lambda_uniform=0.6
    ),
}


def preset(name: str) -> TrainingConfig:
    """A named configuration.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in PRESETS:
        raise UsageError(unknown("preset", name, PRESETS))
    return PRESETS[name]
