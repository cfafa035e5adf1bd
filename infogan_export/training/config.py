"""What a training run is: every number that decides its result, and the presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from infogan_export.errors import TrainingError, UsageError, unknown
from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode
from infogan_export.philox import MAX_SEED
from infogan_export.training.networks import Architecture

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Adversarial = Literal["non-saturating", "hinge"]

_RISE = 0.05  # of the steps of a refinement
_CHANGES = ("turn", "lighting", "toplight", "brightness", "contrast")
# Where and how far learning rates fall.
DECAY = ("steps", "decay_start", "decay_to", "discriminator_decay_to")
_NOT_NEGATIVE, _PART = (0.0, math.inf), (0.0, 1.0)


def check_ranges(
    owner: object, ranges: Mapping[str, tuple[float, float]], *, part: str = ""
) -> None:
    """Refuse a field outside its range, ends included; NaN and infinity always.

    Args:
        owner: of the fields.
        ranges: the lowest and the highest value of each.
        part: of a configuration that the owner is, for the message.
    """
    for name, (low, high) in ranges.items():
        value = getattr(owner, name)
        if not (low <= value <= high and value < math.inf):
            rule = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
            field_name = f"{part} {name}".strip().replace("_", " ")
            raise UsageError(f"{field_name} must be {rule}, got {value}")


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
            following how far the movement leans, and the second how much it
            thickens: see ``infogan_export.training.movement.steered_by``.
        parting: whether categories that share their images are parted when the
            full weight is reached: see ``infogan_export.training.parting``.

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
    parting: bool = False

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "weight": _NOT_NEGATIVE,
                "start": _NOT_NEGATIVE,
                "ramp": _NOT_NEGATIVE,
                "temperature": (0.01, math.inf),
                "thickening": _PART,
                "steering": _NOT_NEGATIVE,
            },
            part="consistency",
        )

    @property
    def active(self) -> bool:
        """Whether real images are ever moved."""
        return self.steering > 0 or self.weight > 0

    def moves_at(self, step: int) -> bool:
        """Whether real images are moved at a step."""
        return self.steering > 0 or self.weight_at(step) > 0

    @property
    def full_at(self) -> int:
        """The first step with the full weight."""
        return self.start + self.ramp

    def parts_at(self, step: int) -> bool:
        """Whether categories are parted before a step."""
        return self.parting and self.weight > 0 and step == self.full_at

    def weight_at(self, step: int) -> float:
        """The weight in force at a step."""
        risen = (step - self.start) / max(self.ramp, 1)
        return self.weight * min(max(risen, 0.0), 1.0)


@dataclass(frozen=True)
class Augmentation:
    """How far what D sees is changed; Q never sees it so.

    Attributes:
        translation: the furthest shift, as a part of the image's size.
        cutout: side of the box that is covered, as a part of the image's size.
        brightness: the most that is added or taken, of 0 to 1.

    Raises:
        UsageError: a number is out of its range.
    """

    translation: float = 0.0
    cutout: float = 0.0
    brightness: float = 0.0

    def __post_init__(self) -> None:
        names = "translation", "cutout", "brightness"
        check_ranges(self, dict.fromkeys(names, _PART), part="augmentation")

    @property
    def active(self) -> bool:
        """Whether anything is changed."""
        return bool(self.translation or self.cutout or self.brightness)


@dataclass(frozen=True)
class Guidance:
    """Changes of generated photographs of faces that uniform codes follow.

    The first codes take a change each, in the order in which they stand here: Q's
    reading of an image is to move with the change, and with no other.  So codes are
    what a photographer sets, one by one, and not mixtures of them.

    Attributes:
        weight: beside L_I.
        turn: of the face, as a part of the width.
        lighting: from the right, on grey levels of 0 to 1 at the edge.
        toplight: the same from above.
        brightness: the same everywhere.
        contrast: as a part of what it is.

    Raises:
        UsageError: a number is out of its range, or a weight has no change.
    """

    weight: float = 0.0
    turn: float = 0.0
    lighting: float = 0.0
    toplight: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(_CHANGES, _PART)
        check_ranges(self, {"weight": _NOT_NEGATIVE, **sizes}, part="guidance")
        if self.weight > 0 and not self.changes:
            raise UsageError(
                f"guidance of weight {self.weight:g} has no change to follow; it "
                f"needs one of {', '.join(_CHANGES)}, as in the preset faces"
            )

    @property
    def active(self) -> bool:
        """Whether codes follow anything."""
        return self.weight > 0

    @property
    def changes(self) -> tuple[str, ...]:
        """Those that are made, in order."""
        return tuple(name for name in _CHANGES if getattr(self, name))


@dataclass(frozen=True)
class Refinement:
    """The second part of a run: see ``infogan_export.training.refinement``.

    Both learning rates rise over the first twentieth of it, as Adam begins anew,
    and fall to zero over the second half.

    Attributes:
        steps: after those of the game, each a descent of G and one of D and Q; 0
            for no second part.
        batches: of the game that make a step's batch.
        generator_rate: Adam's learning rate for G.
        recognition_rate: the same for the trunk, D's head and Q's head.
        weight: of the Frechet distance in G's loss, beside V(D, G) and L_I.
        directions: of what D and Q know images by, in which it is taken.
        memory: of the moments so far beside those of a batch, per step.
        ends: weight of the categories' L_I where the uniform codes are at the
            ends of their traversals, beside L_I over the prior.
        hidden: of moved images, the widest band along a side that Q does not
            see, as a part of the image's height or width.

    Raises:
        UsageError: a number is out of its range.
    """

    steps: int = 0
    batches: int = 2
    generator_rate: float = 1e-4
    recognition_rate: float = 4e-4
    weight: float = 1.0
    directions: int = 384
    memory: float = 0.95
    ends: float = 1.0
    hidden: float = 0.0

    def __post_init__(self) -> None:
        not_negative = ("steps", "generator_rate", "recognition_rate", "weight", "ends")
        check_ranges(
            self,
            {
                **dict.fromkeys(not_negative, _NOT_NEGATIVE),
                "batches": (1, math.inf),
                "directions": (1, math.inf),
                "memory": (0.0, 0.9999),
                "hidden": _PART,
            },
            part="refinement",
        )

    def rates_at(self, step: int) -> tuple[float, float]:
        """The learning rates of G, and of D and Q, at a step of this part."""
        risen = min((step + 1) / max(_RISE * self.steps, 1.0), 1.0)
        factor = risen * decayed(step, self.steps, start=0.5, to=0.0)
        return self.generator_rate * factor, self.recognition_rate * factor


@dataclass(frozen=True)
class TrainingConfig:
    """Every number that decides a run's result, but for the data themselves.

    Learning rates are constant up to ``decay_start`` (a part of ``steps``), then
    move linearly to a part of themselves, G's to ``decay_to``.

    Attributes:
        spec: the latents.
        architecture: the widths of the networks.
        seed: of weights, latents, order and movements; 0 to 2^64 - 1.
        steps: of the game, each a descent of D and Q and one of G.
        batch_size: images of a step over all processes.
        generator_rate: Adam's learning rate for G.
        discriminator_rate: the same for the trunk, D's head and Q's head.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the mean squared gradient.
        decay_start: where the rates begin to fall.
        decay_to: where they end.
        discriminator_decay_to: where that of the trunk, D's head and Q's head
            ends, if elsewhere.  A D that learns faster while G slows down sees
            what G still leaves out.
        lambda_categorical: weight of L_I of each categorical code.
        lambda_uniform: weight of L_I of each uniform code.
        ema_decay: of the averaged weights, per step.
        ema_warm_up: whether the average of a young run forgets faster, so that it
            does not remember the start: at step t its decay is at most
            (1 + t) / (10 + t).
        consistency: Q's agreement on real images.
        adversarial: V(D, G): the paper's, with G's non-saturating half, or the
            hinge loss, whose D stops caring of what it tells by a margin.
        gradient_penalty: gamma of R1: half of it weighs the squared gradient of D's
            logit of a real image, of 0 to 1, by its pixels.
        augmentation: of what D sees, real and generated.
        flip: whether each real image is shown as it is or mirrored, by its draw.
        recognition_noise: deviation of normal noise on the images that Q learns
            from, of 0 to 1.
        balance: whether the codes start with as much weight as the noise in G's
            first layer.
        guidance: what Q's reading of generated photographs follows.
        collapse_after: the first step at which a code that is dead stops the run.
        refinement: what comes after the game.
        warm_start: the run whose averaged weights are the first ones, as
            ``Checkpoint.described`` has it; '' where these are drawn.

    Raises:
        UsageError: a number is out of its range, or two options that do not go
            together.
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
    discriminator_decay_to: float | None = None
    lambda_categorical: float = 1.0
    lambda_uniform: float = 0.6
    ema_decay: float = 0.999
    ema_warm_up: bool = False
    consistency: Consistency = field(default_factory=Consistency)
    collapse_after: int = 2000
    adversarial: Adversarial = "non-saturating"
    gradient_penalty: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    flip: bool = False
    recognition_noise: float = 0.0
    balance: bool = False
    guidance: Guidance = field(default_factory=Guidance)
    refinement: Refinement = field(default_factory=Refinement)
    warm_start: str = ""

    def __post_init__(self) -> None:
        check_ranges(
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
                "recognition_noise": _PART,
                "gradient_penalty": _NOT_NEGATIVE,
            },
        )
        if self.discriminator_decay_to is not None:
            check_ranges(self, {"discriminator_decay_to": _NOT_NEGATIVE})
        if self.adversarial not in get_args(Adversarial):
            kinds = " or ".join(get_args(Adversarial))
            raise UsageError(f"adversarial is {kinds}, got {self.adversarial!r}")
        if self.reads_apart and self.consistency.active:
            raise UsageError(
                "Q's agreement on real images (consistency) is for a Q that reads "
                "the images that D judges; it does not go together with blur, "
                "noise or augmentation"
            )
        if self.guidance.active and not self.reads_apart:
            raise UsageError(
                "guidance is for a Q that reads apart from D, with blur, noise or "
                "augmentation"
            )
        if len(self.guidance.changes) > len(self.spec.uniform):
            raise UsageError(
                f"guidance is for {len(self.guidance.changes)} uniform codes, "
                f"got {len(self.spec.uniform)}"
            )

    @property
    def reads_apart(self) -> bool:
        """Whether Q learns from other images than those that D judges."""
        blurred = self.architecture.blur > 1 or self.recognition_noise > 0
        return blurred or self.augmentation.active

    @property
    def steering_weight(self) -> float:
        """Of uniform codes following the movements, or the changes, of images."""
        guided = self.guidance.active
        return self.guidance.weight if guided else self.consistency.steering

    def weights(self) -> dict[str, float]:
        """The lambda of each code, by name."""
        return {
            c.name: self.lambda_categorical
            if isinstance(c, CategoricalCode)
            else self.lambda_uniform
            for c in self.spec.codes
        }

    def weights_of_Q(self) -> dict[str, float]:
        """The same for Q's own head, which learns of watched codes too."""
        return {name: weight or 1.0 for name, weight in self.weights().items()}

    def watched(self) -> frozenset[str]:
        """Codes with lambda = 0: Q reads them, nothing else learns of them."""
        return frozenset(n for n, weight in self.weights().items() if weight == 0)

    @property
    def total_steps(self) -> int:
        """Steps in all."""
        return self.steps + self.refinement.steps

    @property
    def decays_after(self) -> float:
        """The steps with the learning rates as they are given; of the game."""
        falls = self.decay_to, self.discriminator_decay_to
        constant = all(fall in (None, 1.0) for fall in falls)
        return (1.0 if constant else self.decay_start) * self.steps

    def images_at(self, step: int) -> int:
        """Real images of the steps before a step, over all processes."""
        refined = max(step - self.steps, 0)
        batches = step - refined + refined * self.refinement.batches
        return batches * self.batch_size

    def rates_at(self, step: int) -> tuple[float, float]:
        """The learning rates of G, and of D and Q, at a step."""
        if step >= self.steps and self.refinement.steps:
            return self.refinement.rates_at(step - self.steps)
        part = partial(decayed, step, self.steps, self.decay_start)
        other = self.discriminator_decay_to
        return (
            self.generator_rate * part(self.decay_to),
            self.discriminator_rate * part(self.decay_to if other is None else other),
        )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self) | {"spec": self.spec.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainingConfig:
        """The inverse of ``to_dict``; what an older version did not know is off.

        Raises:
            TrainingError: a key is missing or unknown.
            UsageError: a number is out of its range.
        """
        try:
            known = dict(data)
            return cls(
                spec=LatentSpec.from_dict(known.pop("spec")),
                architecture=Architecture.from_dict(known.pop("architecture")),
                consistency=Consistency(**known.pop("consistency")),
                augmentation=Augmentation(**known.pop("augmentation", {})),
                guidance=Guidance(**known.pop("guidance", {})),
                refinement=Refinement(**known.pop("refinement", {})),
                **known,
            )
        except (KeyError, TypeError) as error:
            raise TrainingError(f"not a training configuration: {error}") from None


def differing_fields(one: DataclassInstance, other: DataclassInstance) -> list[str]:
    """The names of the fields in which two configurations of a kind differ."""
    return [
        f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name)
    ]


def decayed(step: int, steps: int, start: float, to: float) -> float:
    """The factor on a rate: 1, then from a part of the steps on linearly to ``to``."""
    first = start * steps
    fallen = max(step - first, 0.0) / max(steps - first, 1.0)
    return 1.0 - (1.0 - to) * min(fallen, 1.0)


def _latents(noise: Noise, *, categorical: int, size: int, uniform: int) -> LatentSpec:
    """Noise with categories of one size and uniform codes from -1 to 1."""
    return LatentSpec(
        noise,
        (
            *(CategoricalCode(f"cat{k}", size) for k in range(1, categorical + 1)),
            *(UniformCode(f"cont{k}") for k in range(1, uniform + 1)),
        ),
    )


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
_PAPER = TrainingConfig(  # table 1, nothing added
    _latents(Noise(62), categorical=1, size=10, uniform=2),
    decay_to=1.0,
    ema_decay=0.0,
)
_MNIST = TrainingConfig(
    _DIGITS,
    steps=7_500,
    discriminator_decay_to=2.0,
    consistency=Consistency(
        weight=3.0,
        start=1500,
        ramp=1500,
        thickening=0.6,
        steering=0.5,
        parting=True,
    ),
    refinement=Refinement(steps=1000, hidden=0.35),
)


# The paper's networks for the other data sets, but that each of G's stages has a
# batch norm, and that the images are from 0 to 1.  lambda weighs the squared error
# of a uniform code.
_HOUSE_NUMBERS = replace(  # table 2: 32x32, colour
    _PAPER,
    spec=_latents(Noise(124), categorical=4, size=10, uniform=4),
    architecture=Architecture(
        widths=(64, 128, 256), generator=(448, 256, 128, 64), dense=0
    ),
    lambda_uniform=1.0,
)

# Faces of 48x48 pixels, from a few ten thousand photographs.  A Q that reads sharp
# images lets G write the codes into texture; blur and noise leave what can be seen.
# Five codes are guided by changes of about a deviation of the data, two are free.
_FACES = TrainingConfig(
    LatentSpec(
        Noise(128, "normal"),
        (
            CategoricalCode("cat1", 10),
            *(UniformCode(f"cont{k}", -1.5, 1.5, -2, 2) for k in range(1, 8)),
        ),
    ),
    Architecture(
        widths=(32, 64, 128, 256),
        generator=(256, 128, 64, 32),
        dense=0,
        upsampling="nearest",
        blur=3,
        apart=True,
    ),
    steps=12_500,
    batch_size=64,
    discriminator_rate=5e-4,
    discriminator_decay_to=1.0,
    lambda_categorical=0.3,
    lambda_uniform=0.5,
    ema_warm_up=True,
    collapse_after=10_000,
    augmentation=Augmentation(translation=0.125),
    flip=True,
    recognition_noise=0.1,
    balance=True,
    guidance=Guidance(
        weight=0.5,
        turn=0.12,
        lighting=0.3,
        toplight=0.25,
        brightness=0.25,
        contrast=0.5,
    ),
)

PRESETS: dict[str, TrainingConfig] = {
    "mnist": _MNIST,
    "mnist-gan": replace(
        _MNIST,
        discriminator_decay_to=None,
        lambda_categorical=0.0,
        lambda_uniform=0.0,
        consistency=Consistency(weight=0.0),
        refinement=Refinement(),
    ),
    "mnist-paper": _PAPER,
    "faces": _FACES,
    "svhn-paper": _HOUSE_NUMBERS,
    "celeba-paper": replace(  # table 3: 32x32, colour
        _HOUSE_NUMBERS, spec=_latents(Noise(128), categorical=10, size=10, uniform=0)
    ),
    "faces-paper": replace(  # 32x32, grey; the rates of its code for pose
        _PAPER,
        spec=_latents(Noise(128), categorical=0, size=10, uniform=5),
        lambda_uniform=0.2,
        generator_rate=5e-4,
    ),
    "chairs-paper": replace(  # 64x64, grey; the lambda of its code for rotation
        _PAPER,
        spec=_latents(Noise(128), categorical=3, size=20, uniform=1),
        architecture=Architecture(
            widths=(64, 128, 256), generator=(256, 128, 64), inner=2
        ),
        lambda_uniform=10.0,
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
