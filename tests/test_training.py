from __future__ import annotations

import io
import math
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from infogan_export.cli import main
from lightning_fabric import Fabric
from torch import Tensor

from infogan_export.datasets import ImageSet
from infogan_export.errors import (
    InfoganError,
    OutputError,
    TrainingError,
    UsageError,
)
from infogan_export.evaluation import distances, strokes
from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode
from infogan_export.training import (
    calibration,
    checkpoint,
    loop,
    objective,
    parting,
)
from infogan_export.training.augmentation import augment
from infogan_export.training.batches import Batches, as_input
from infogan_export.training.calibration import calibrate, latent_batches
from infogan_export.training.checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from infogan_export.training.config import (
    PRESETS,
    Augmentation,
    Consistency,
    Guidance,
    Refinement,
    TrainingConfig,
    preset,
)
from infogan_export.training.engine import build_fabric
from infogan_export.training.frechet import Measure, frechet_distance
from infogan_export.training.loop import Progress, train
from infogan_export.training.movement import Moved, hide, move, steered_by
from infogan_export.training.networks import (
    Architecture,
    Discriminator,
    DoublingConv2d,
    Generator,
    Moments,
    low_passed,
)
from infogan_export.training.refinement import at_the_ends
from infogan_export.training.runlog import read_metrics
from infogan_export.training.selection import agreement
from infogan_export.training.state import TrainingState, bare, build_state
from infogan_export.training.step import training_step
from infogan_export.training.strided import HalvingConv2d, doubled

SPEC = LatentSpec(
    Noise(4), (CategoricalCode("kind", 5), UniformCode("tilt", -1.5, 1.5))
)
SMALL = Architecture(widths=(4, 8), dense=16, recognition=8)
TOY = TrainingConfig(
    SPEC,
    SMALL,
    steps=6,
    batch_size=8,
    consistency=Consistency(weight=1.0, start=1, ramp=2),
)
# As the faces preset, but for D's norm, loss and cutout.
FACE_TOY = replace(
    PRESETS["faces"],
    spec=SPEC,
    architecture=replace(
        PRESETS["faces"].architecture,
        widths=(4, 8),
        generator=(8, 4, 4),
        recognition=8,
        normalisation="spectral",
        apart=False,
    ),
    steps=6,
    batch_size=8,
    adversarial="hinge",
    augmentation=Augmentation(translation=0.125, cutout=0.5),
    guidance=Guidance(),
    refinement=Refinement(),
)
REFINED_TOY = replace(
    TOY, steps=2, refinement=Refinement(steps=4, directions=6, memory=0.5)
)
APART = replace(FACE_TOY.architecture, normalisation="batch", apart=True)
REFINED_FACE_TOY = replace(FACE_TOY, steps=2, refinement=REFINED_TOY.refinement)
APART_TOY = replace(REFINED_FACE_TOY, architecture=APART)
PIXELS = np.random.default_rng(0).integers(0, 256, (37, 8, 8, 1), np.uint8)
IMAGES = ImageSet(PIXELS, None, "noise")
SCRIPT = Path(sys.executable).with_name("infogan-gen")


@pytest.fixture(scope="session")
def fabric() -> Fabric:
    return build_fabric(accelerator="cpu", precision="32-true")


@pytest.fixture
def run(fabric: Fabric, tmp_path: Path) -> Callable[..., Checkpoint]:
    def run(config: TrainingConfig = TOY, **options: Any) -> Checkpoint:
        options = {"folder": tmp_path / "run", "images": IMAGES} | options
        options = {"log_every": 1, "sample_every": 1000} | options
        return train(config, fabric=fabric, **options)

    return run


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def weights(saved: Checkpoint) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, by its place."""

    def walk(name: str, value: object) -> dict[str, Tensor]:
        if isinstance(value, Tensor):
            return {name: value}
        items = value.items() if isinstance(value, dict) else ()
        return {k: t for key, v in items for k, t in walk(f"{name}.{key}", v).items()}

    parts = ("generator", "discriminator", "generator_ema", "discriminator_ema")
    return {
        k: t
        for part in (*parts, "optimizers", "measure")
        for k, t in walk(part, getattr(saved, part)).items()
    }


def assert_same(a: Checkpoint, b: Checkpoint) -> None:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def changed(before: dict[str, Tensor], module: torch.nn.Module) -> set[str]:
    """The top-level parts of a network of which any parameter moved."""
    return {
        name.split(".")[0]
        for name, value in bare(module).named_parameters()
        if not torch.equal(before[name], value)
    }


def copies(module: torch.nn.Module) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in bare(module).named_parameters()}


# --- networks ----------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.sampled_from([1, 3]),
    codes=st.lists(st.sampled_from([2, 3, 0]), max_size=3),
)
def test_networks_fit_every_shape_and_every_specification(
    height: int, width: int, channels: int, codes: list[int]
) -> None:
    spec = LatentSpec(
        Noise(3),
        tuple(
            CategoricalCode(f"c{i}", size) if size else UniformCode(f"c{i}")
            for i, size in enumerate(codes)
        ),
    )
    shape = (channels, 4 * height, 4 * width)
    images = Generator(spec, shape, SMALL)(torch.from_numpy(spec.sample(2)))
    assert images.shape == (2, *shape)
    assert images.min() >= 0
    assert images.max() <= 1
    logit, statistics = Discriminator(spec, shape, SMALL)(images)
    assert logit.shape == (2,)
    assert statistics.shape == (2, spec.code_dim)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 30, 28), "divisible by 4, got 30x28; .* 28x28"),
        ((1, 28, 2), "divisible by 4, got 28x2; .* 28x4"),
        ((2, 28, 28), "1 or 3 channels, got 2"),
    ],
)
def test_other_shapes_are_refused_with_what_would_fit(
    shape: tuple[int, int, int], said: str
) -> None:
    with pytest.raises(TrainingError, match=said) as error:
        Generator(SPEC, shape, SMALL)
    one_line(error)


SHAPES = {
    "mnist": (1, 28, 28),
    "mnist-gan": (1, 28, 28),
    "mnist-paper": (1, 28, 28),
    "faces": (1, 48, 48),
    "faces-paper": (1, 32, 32),
    "svhn-paper": (3, 32, 32),
    "celeba-paper": (3, 32, 32),
    "chairs-paper": (1, 64, 64),
}


def noise(shape: tuple[int, int, int], count: int = 8) -> ImageSet:
    channels, height, width = shape
    size = (count, height, width, channels)
    return ImageSet(
        np.random.default_rng(0).integers(0, 256, size, np.uint8), None, "noise"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_takes_a_step_on_images_of_its_size(
    fabric: Fabric, name: str
) -> None:
    config, shape = replace(PRESETS[name], batch_size=4), SHAPES[name]
    assert TrainingConfig.from_dict(config.to_dict()) == config
    state = build_state(config, shape, fabric)
    report = training_step(Batches(noise(shape), config, fabric).at(0), state, config)
    assert all(bool(value.isfinite()) for value in report.values())
    with torch.no_grad():
        images = state.G_ema.module(torch.from_numpy(config.spec.sample(2)))
        logit, statistics = state.D_ema.module(images)
    assert images.shape == (2, *shape)
    assert logit.shape == (2,)
    assert statistics.shape == (2, config.spec.code_dim)


def test_the_mnist_recipe_is_what_it_always_was(fabric: Fabric) -> None:
    """Two steps on noise: what moves these figures makes other models."""
    config = replace(PRESETS["mnist"], batch_size=8)
    state = build_state(config, (1, 28, 28), fabric)
    batches = Batches(noise((1, 28, 28), 40), config, fabric)
    for step in range(2):
        report = training_step(batches.at(step), state, config)
    found = {name: float(value) for name, value in report.items()}
    assert found == pytest.approx(
        {
            "loss_D": 1.504210,
            "loss_G": 0.911875,
            "consistency": 2.305124,
            "steering": 1.602878,
            "L_I/cat1": 0.271488,
            "L_I/cont1": -0.008955,
            "L_I/cont2": -0.072525,
        },
        abs=1e-3,  # processors differ by 2e-4
    )


def test_a_configuration_of_an_older_version_is_read_with_what_is_new_off() -> None:
    old = TOY.to_dict()
    for name in (
        *("ema_warm_up", "adversarial", "augmentation", "flip", "recognition_noise"),
        *("balance", "guidance"),
    ):
        del old[name]
    added = "generator", "upsampling", "normalisation", "inner", "blur", "apart"
    for name in added:
        del old["architecture"][name]
    assert TrainingConfig.from_dict(old) == TOY


def _halved(images: Tensor, kernel: Tensor) -> Tensor:
    layer = HalvingConv2d(kernel.shape[1], len(kernel), bias=False)
    return torch.func.functional_call(layer, {"weight": kernel}, images)  # type: ignore[no-any-return]


def test_doubling_is_the_nearest_neighbour_and_a_convolution() -> None:
    layer, images = DoublingConv2d(3, 4), torch.randn(2, 3, 5, 6)
    doubled = F.interpolate(images, scale_factor=2)
    plain = F.conv2d(doubled, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(images), plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("strided", "plain", "kernel", "images"),
    [
        (_halved, F.conv2d, (8, 64, 4, 4), (2, 64, 6, 4)),
        (doubled, F.conv_transpose2d, (8, 64, 4, 4), (2, 8, 3, 2)),
    ],
)
def test_products_of_bfloat16_are_convolutions_with_their_gradients(
    strided: Callable[..., Tensor],
    plain: Callable[..., Tensor],
    kernel: tuple[int, ...],
    images: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    drawn = [torch.randn(shape).bfloat16() for shape in (images, kernel)]
    across = torch.randn(plain(*drawn, stride=2, padding=1).shape).bfloat16()

    def found(
        convolve: Callable[..., Tensor], kind: torch.dtype, **options: int
    ) -> list[Tensor]:
        """Maps, gradients, and as R1 has it the gradient of one's square."""
        x, w = (tensor.to(kind).requires_grad_() for tensor in drawn)
        y = convolve(x, w, **options)
        of_x, of_w = torch.autograd.grad(
            (y * across.to(kind)).sum(), (x, w), create_graph=True
        )
        (again,) = torch.autograd.grad(of_x.square().sum(), w)
        return [y, of_x, of_w, again]

    exact = found(plain, torch.float64, stride=2, padding=1)
    for near, right in zip(found(strided, torch.bfloat16), exact, strict=True):
        assert (near - right).abs().max() < 0.02 * right.abs().max()


# --- what D and Q are shown ---------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    translation=st.sampled_from([0.0, 0.2]),
    cutout=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
def test_augmentation_shifts_and_covers_and_lets_gradients_through(
    translation: float, cutout: float, seed: int
) -> None:
    images = torch.rand(4, 3, 10, 15, requires_grad=True)
    size = Augmentation(translation=translation, cutout=cutout)
    changed = augment(images, size, torch.Generator().manual_seed(seed))
    changed.sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    for before, after, taught in zip(images, changed, images.grad, strict=True):
        shown = before[:, taught[0] > 0.5].flatten()
        seen = torch.isclose(after.flatten()[:, None], shown, atol=1e-6).any(1)
        grey = torch.isclose(after.flatten(), torch.tensor(0.5))
        assert bool((seen | grey).all())  # each pixel was one, or is covered
        assert set(taught.unique().tolist()) <= {0.0, 1.0}
        covered = 1 - taught[0].mean().item()
        assert covered <= 1 - (1 - translation) ** 2 + (cutout + 0.05) ** 2


def test_q_sees_blurred_fakes_and_never_an_augmented_one(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The augmented images are made white: Q must not meet one."""
    from infogan_export.training import step

    monkeypatch.setattr(step, "augment", lambda images, *_: 0 * images + 1)
    shown = []
    forward = Discriminator.forward

    def spy(self: Any, images: Tensor, seen: Tensor | None = None, **kinds: int) -> Any:
        assert bool((images == 1).all())
        assert seen is not None
        shown.append(seen.detach())
        return forward(self, images, seen, **kinds)

    monkeypatch.setattr(Discriminator, "forward", spy)
    state = build_state(FACE_TOY, (1, 8, 8), fabric)
    training_step(Batches(IMAGES, FACE_TOY, fabric).at(0), state, FACE_TOY)
    assert len(shown) == 2  # in D's descent, and in G's
    for seen in shown:
        assert bool((seen != 1).all())
        assert len(seen) == FACE_TOY.batch_size


def test_flips_mirror_some_images_and_depend_on_the_step_alone(fabric: Fabric) -> None:
    plain, flipped = (
        Batches(IMAGES, replace(FACE_TOY, flip=flip), fabric) for flip in (False, True)
    )
    turned = [
        bool((a != b).any())
        for step in range(4)
        for a, b in zip(plain.at(step), flipped.at(step), strict=True)
    ]
    assert 0 < sum(turned) < len(turned)
    for step in range(4):
        assert torch.equal(flipped.at(step), flipped.at(step))
        for a, b in zip(plain.at(step), flipped.at(step), strict=True):
            assert torch.equal(a, b) or torch.equal(a.flip(2), b)


def test_agreement_on_real_images_needs_a_q_that_sees_them() -> None:
    with pytest.raises(UsageError, match="consistency") as error:
        replace(FACE_TOY, consistency=Consistency(weight=1.0))
    one_line(error)


def test_guidance_needs_a_q_that_reads_apart_and_a_code_for_each_change() -> None:
    one, two = Guidance(weight=1.0, turn=0.1), Guidance(turn=0.1, contrast=0.5)
    assert replace(FACE_TOY, guidance=one).guidance.changes == ("turn",)
    for config, guidance, said in (
        (TOY, one, "reads apart"),
        (FACE_TOY, two, "2 uniform codes, got 1"),
    ):
        with pytest.raises(UsageError, match=said) as error:
            replace(config, guidance=guidance)
        one_line(error)
    with pytest.raises(UsageError, match="weight 2 has no change") as error:
        Guidance(weight=2.0)
    one_line(error)


def test_a_guided_code_follows_its_change_in_generated_images(fabric: Fabric) -> None:
    guided = Guidance(weight=2.0, brightness=0.4)
    last = []
    plain = replace(FACE_TOY, recognition_noise=0.0, discriminator_rate=5e-3)
    for config in (plain, replace(plain, guidance=guided)):
        state = build_state(config, (1, 8, 8), fabric)
        batches = Batches(IMAGES, config, fabric)
        for step in range(60):
            report = training_step(batches.at(step), state, config)
        last.append(float(report["steering"]))
    assert last[0] == 0
    assert 0 < last[1] < 0.5


@pytest.mark.parametrize("moments", [False, True])
def test_kinds_judged_together_are_as_if_judged_apart(moments: bool) -> None:
    D = Discriminator(SPEC, (1, 8, 8), replace(SMALL, moments=moments))
    apart = deepcopy(D)
    kinds = [torch.rand(9, 1, 8, 8) * brightness for brightness in (1.0, 0.1)]
    found = D(torch.cat(kinds), kinds=2)
    expected = zip(*map(apart, kinds), strict=True)
    for whole, parts in zip(found, expected, strict=True):
        assert torch.allclose(whole, torch.cat(parts), atol=1e-5)
    for name, buffer in apart.state_dict().items():
        assert torch.allclose(D.state_dict()[name], buffer, atol=1e-5), name
    _, statistics = D(torch.cat(kinds), torch.cat(kinds), kinds=2)
    assert torch.allclose(statistics, torch.cat([*map(apart.read, kinds)]), atol=1e-5)


def test_moments_tell_apart_what_a_batch_norm_makes_alike() -> None:
    torch.manual_seed(0)
    features, norm, moments = torch.randn(64, 8), torch.nn.BatchNorm1d(8), Moments(8)
    lively, dull = features, features / 2
    assert torch.allclose(norm(lively), norm(dull), atol=1e-3)
    torch.nn.init.ones_(moments.judge.weight).requires_grad_(False)
    assert (moments(lively) - moments(dull)).item() == pytest.approx(4, rel=0.2)


def test_an_image_judged_alone_has_no_moments() -> None:
    D = Discriminator(SPEC, (1, 8, 8), replace(SMALL, moments=True))
    plain = Discriminator(SPEC, (1, 8, 8), SMALL)
    plain.load_state_dict(D.state_dict(), strict=False)
    images = torch.rand(9, 1, 8, 8)
    assert not torch.equal(D(images)[0], plain(images)[0])
    found, expected = D.eval()(images), plain.eval()(images)
    assert all(map(torch.equal, found, expected))
    assert torch.equal(D(images[:1])[0], found[0][:1])


@pytest.mark.parametrize("name", ["faces", "mnist"])
def test_balanced_codes_move_the_first_layer_as_much_as_the_noise(
    fabric: Fabric, name: str
) -> None:
    config, side = PRESETS[name], {"faces": 48, "mnist": 28}[name]
    G = bare(build_state(replace(config, balance=True), (1, side, side), fabric).G)
    latents = torch.from_numpy(config.spec.sample(2000, seed=1))
    parts = torch.zeros(2, *latents.shape)
    parts[0, :, : config.spec.noise_dim] = latents[:, : config.spec.noise_dim]
    parts[1, :, config.spec.noise_dim :] = latents[:, config.spec.noise_dim :]
    with torch.no_grad():
        by_noise, by_codes = G.dense[0](parts).var(dim=1).mean(dim=1)
    assert by_codes / by_noise == pytest.approx(1, rel=0.1)


def test_a_young_average_forgets_the_start(fabric: Fabric) -> None:
    for warm_up in (False, True):
        config = replace(FACE_TOY, ema_warm_up=warm_up)
        state = build_state(config, (1, 8, 8), fabric)
        with torch.no_grad():
            for value in (0.0, 1.0, 1.0):
                for weight in bare(state.G).parameters():
                    weight.fill_(value)
                state.G_ema.update_parameters(bare(state.G))
        found = next(state.G_ema.module.parameters()).flatten()[0].item()
        young = 1 - 2 / 11 * 3 / 12
        assert found == pytest.approx(young if warm_up else 1 - 0.999**2, abs=1e-5)


# --- who learns from what ----------------------------------------------------


@pytest.mark.parametrize(
    ("categorical", "uniform"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.6), (1.0, 0.6)]
)
def test_only_codes_with_a_lambda_teach_the_trunk_and_the_generator(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch, categorical: float, uniform: float
) -> None:
    """With V(D, G) = 0, what still learns learns from L_I."""
    monkeypatch.setattr(objective, "discriminator_loss", lambda r, f: 0 * (r + f).sum())
    monkeypatch.setattr(objective, "generator_loss", lambda f: 0 * f.sum())
    config = replace(
        TOY,
        lambda_categorical=categorical,
        lambda_uniform=uniform,
        consistency=Consistency(),
    )
    state = build_state(config, (1, 8, 8), fabric)
    G, D = copies(state.G), copies(state.D)
    training_step(Batches(IMAGES, config, fabric).at(0), state, config)
    taught = categorical > 0 or uniform > 0
    assert changed(D, state.D) == {"recognition"} | ({"trunk"} if taught else set())
    assert bool(changed(G, state.G)) == taught


@pytest.mark.parametrize("watched", ["kind", "tilt"])
def test_a_watched_code_is_read_without_a_gradient_to_the_trunk(watched: str) -> None:
    D = Discriminator(SPEC, (1, 8, 8), SMALL, frozenset([watched]))
    _, statistics = D(torch.rand(8, 1, 8, 8))
    for code in SPEC.codes:
        columns = SPEC.columns(code.name)
        part = slice(columns.start - SPEC.noise_dim, columns.stop - SPEC.noise_dim)
        loss = statistics[:, part].square().sum()
        trunk = torch.autograd.grad(
            loss, list(D.trunk.parameters()), retain_graph=True, allow_unused=True
        )
        head = torch.autograd.grad(
            loss, list(D.recognition.parameters()), retain_graph=True
        )
        reached = any(g is not None and bool(g.any()) for g in trunk)
        assert reached == (code.name != watched)
        assert any(bool(g.any()) for g in head)


def test_each_weight_has_exactly_one_optimizer(fabric: Fabric) -> None:
    state = build_state(TOY, (1, 8, 8), fabric)
    for network, optimizer in (
        (state.G, state.G_optimizer),
        (state.D, state.D_optimizer),
    ):
        owned = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert sorted(owned) == sorted(id(p) for p in bare(network).parameters())


# --- the objective -----------------------------------------------------------


def logits_of(kinds: Tensor, *, confidence: float) -> Tensor:
    return confidence * F.one_hot(kinds, 5).float()


def test_a_perfect_q_reaches_the_entropy_of_a_category_and_a_blind_one_zero() -> None:
    kinds = torch.arange(5).repeat(10)
    code = torch.cat([logits_of(kinds, confidence=1), torch.zeros(50, 1)], dim=1)
    for confidence, expected in ((100.0, math.log(5)), (0.0, 0.0)):
        statistics = torch.cat(
            [logits_of(kinds, confidence=confidence), torch.zeros(50, 1)], dim=1
        )
        bound = objective.mutual_information_lower_bound(
            SPEC, statistics, code, torch.ones(1)
        )
        # A softmax before the logarithm would leave 0.9 nats of the entropy out.
        assert bound["kind"].item() == pytest.approx(expected, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(low=st.floats(-5, 5), width=st.floats(0.1, 10), part=st.floats(0.02, 0.5))
def test_the_bound_of_a_uniform_code_uses_the_entropy_of_its_prior(
    low: float, width: float, part: float
) -> None:
    """For mu = c + N(0, s): E[log N(c; mu, s)] + log(width), on 50,000 draws."""
    spec = LatentSpec(Noise(1), (UniformCode("tilt", low, low + width),))
    c = torch.from_numpy(spec.sample(50_000, seed=1))[:, 1:]
    sigma = part * width
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, sigma, (50_000, 1)))
    bound = objective.mutual_information_lower_bound(
        spec, (c + noise).float(), c, torch.tensor([sigma])
    )["tilt"].item()
    entropy_of_noise = 0.5 * math.log(2 * math.pi * math.e * sigma**2)
    assert bound == pytest.approx(math.log(width) - entropy_of_noise, abs=0.02)
    # I(c; mu) = h(mu) - h(noise), and h(mu) from a histogram of the same draws.
    density, edges = np.histogram((c + noise).numpy(), 200, density=True)
    kept = density[density > 0]
    entropy_of_mean = -(kept * np.log(kept)).sum() * (edges[1] - edges[0])
    assert bound <= entropy_of_mean - entropy_of_noise + 0.02


def test_perfect_logits_drive_the_losses_of_d_and_g_to_zero() -> None:
    sure = torch.full((8,), 40.0)
    assert objective.discriminator_loss(sure, -sure).item() == pytest.approx(0)
    assert objective.generator_loss(sure).item() == pytest.approx(0)
    unsure = torch.zeros(8)
    assert objective.discriminator_loss(unsure, unsure).item() == pytest.approx(
        2 * math.log(2)
    )


def test_the_penalty_is_the_squared_gradient_of_each_logit_by_its_image() -> None:
    images, weights = torch.rand(5, 1, 2, 3, requires_grad=True), torch.randn(6)
    logits = (images.flatten(1) @ weights).square() / 2
    wanted = (2 * logits * weights.square().sum()).mean()
    torch.testing.assert_close(objective.gradient_penalty(logits, images), wanted)


@pytest.mark.parametrize(("step", "due"), [(0, True), (1, False), (4, True)])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_penalty_holds_d_every_fourth_step(
    precision: str, step: int, due: bool
) -> None:
    """And nothing else: G has not moved D's images when D learns."""
    fabric, trained = build_fabric(accelerator="cpu", precision=precision), []
    for gamma in (0.0, 10.0):
        config = replace(APART_TOY, gradient_penalty=gamma)
        state = build_state(config, (1, 8, 8), fabric)
        state.step = step
        batches = Batches(IMAGES, config, fabric)
        training_step(batches.at(step), state, config)
        trained.append(copies(state.D))
    plain, held = trained
    differing = {name for name in plain if not torch.equal(plain[name], held[name])}
    assert bool(differing) == due
    assert not {name for name in differing if name.startswith("recognition")}


def test_consistency_asks_nothing_of_uniform_codes_nor_of_the_still_side() -> None:
    still = torch.randn(8, 6, requires_grad=True)
    moved = torch.randn(8, 6, requires_grad=True)
    loss = objective.consistency_loss(SPEC, still, moved, temperature=0.7)
    loss.backward()
    assert still.grad is None
    assert moved.grad is not None
    assert bool(moved.grad[:, :5].any())
    assert not bool(moved.grad[:, 5:].any())


def test_categories_that_both_readings_tell_share_all_and_else_nothing() -> None:
    sure = torch.randn(40, 6)
    sure[:, :5] = 50.0 * torch.eye(5).repeat(8, 1)
    shared = objective.shared_information
    assert shared(SPEC, sure, sure).item() == pytest.approx(math.log(5), abs=1e-5)
    renamed = sure[:, [1, 2, 3, 4, 0, 5]]
    assert shared(SPEC, sure, renamed).item() < 0.6 * math.log(5)
    for empty in (torch.zeros(40, 6), sure[:1].expand(40, 6)):
        assert shared(SPEC, empty, empty).item() == pytest.approx(0, abs=1e-5)


def test_movements_are_drawn_alike_for_a_seed_and_rest_without_a_size() -> None:
    x = torch.rand(4, 3, 8, 12)
    still = Consistency(rotation=0, scale=0, shift=0, shear=0)
    torch.testing.assert_close(move(x, still, np.random.default_rng(0)).images, x)
    size = Consistency(thickening=0.5)
    first, second = (move(x, size, np.random.default_rng(7)) for _ in "ab")
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.lean, second.lean)
    assert not torch.allclose(first.images, x)


def test_codes_follow_how_a_bar_leans_and_thickens() -> None:
    bar = torch.zeros(64, 1, 28, 28)
    bar[:, :, 5:23, 12:16] = 1.0
    size = Consistency(rotation=15, scale=0.2, shift=0, shear=0.3, thickening=0.5)
    moved = move(bar, size, np.random.default_rng(0))
    lean, thicker = steered_by(bar, moved).numpy().T
    pixels = (moved.images[:, 0] * 255).round().byte().numpy()
    np.testing.assert_allclose(strokes.slant(pixels), lean, atol=0.06)
    width = (pixels.sum(axis=(1, 2)) / 255) / (pixels.max(axis=2).sum(axis=1) / 255)
    assert np.corrcoef(width, thicker)[0, 1] > 0.9
    assert thicker.min() < -1 < 1 < thicker.max()
    colours = Moved(moved.images.expand(-1, 3, -1, -1), moved.lean)
    in_colour = steered_by(bar.expand(-1, 3, -1, -1), colours)[:, 1]
    np.testing.assert_allclose(in_colour, thicker, atol=1e-5)


def test_a_hidden_band_is_along_any_one_side_and_as_wide_as_said() -> None:
    x = torch.ones(400, 2, 20, 10)
    shown = hide(x, 0.5, np.random.default_rng(0))
    assert torch.equal(shown[:, 0], shown[:, 1])  # in all channels
    for axis, size in ((2, 20), (1, 10)):
        lines = shown[:, 0].amax(dim=axis).bool()  # of which anything is seen
        widest = (~lines).sum(dim=1).max()
        assert size // 2 - 1 <= widest <= size // 2
        inner = lines[:, size // 2 - 1 : size // 2 + 1].any(dim=1)
        assert inner.all()  # nothing is cut out of the middle
        for end in (0, -1):  # a quarter of the bands each, but for the narrowest
            assert 60 < (~lines[:, end]).sum() < 130
    assert torch.equal(hide(x, 0.0, np.random.default_rng(0)), x)


def test_steering_is_least_where_each_code_follows_its_own_movement() -> None:
    amounts = torch.randn(64, 2)
    change = torch.randn(64, SPEC.code_dim)
    columns = [SPEC.code_columns(code.name).start for code in SPEC.uniform]
    follows = change.clone()
    follows[:, columns] = 3.0 * amounts[:, : len(columns)]
    least = objective.steering_loss(SPEC, follows, amounts)
    torch.testing.assert_close(least, torch.zeros(()), atol=1e-5, rtol=0)
    assert objective.steering_loss(SPEC, change, amounts) > 0.5
    assert objective.steering_loss(SPEC, -follows, amounts) > 1.9


# --- configurations ----------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_a_round_trip(name: str) -> None:
    config = preset(name)
    assert TrainingConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch_size": 1},
        {"seed": -1},
        {"seed": 2**64},
        {"lambda_categorical": -1.0},
        {"lambda_uniform": math.nan},
        {"generator_rate": math.inf},
        {"ema_decay": 1.5},
        {"discriminator_decay_to": -1.0},
    ],
)
def test_a_number_out_of_range_is_named(wrong: dict[str, float]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=name.replace("_", " ")) as error:
        replace(TOY, **wrong)
    assert str(value) in one_line(error)


def test_a_number_of_a_part_is_named_with_the_part() -> None:
    with pytest.raises(UsageError, match="refinement memory must be 0 to"):
        Refinement(memory=1.0)
    with pytest.raises(UsageError, match="consistency start must be 0 or more"):
        Consistency(weight=1.0, start=-1)


def test_rates_fall_over_the_second_half_and_consistency_rises() -> None:
    config = replace(TOY, steps=100, decay_start=0.5, decay_to=0.1)
    G, D = config.generator_rate, config.discriminator_rate
    for step, part in ((0, 1), (50, 1), (75, 0.55), (100, 0.1)):
        assert config.rates_at(step) == pytest.approx((G * part, D * part))
    refined = replace(config, refinement=Refinement(steps=40))
    G, D = refined.refinement.generator_rate, refined.refinement.recognition_rate
    for step, part in ((100, 0.5), (101, 1), (120, 1), (130, 0.5), (140, 0)):
        assert refined.rates_at(step) == pytest.approx((G * part, D * part))
    assert refined.images_at(110) == 100 * 8 + 10 * 16
    G, D = config.generator_rate, config.discriminator_rate
    apart = replace(config, discriminator_decay_to=2.0)
    assert apart.rates_at(75) == pytest.approx((G * 0.55, D * 1.5))
    rising = Consistency(weight=3, start=10, ramp=10)
    assert [rising.weight_at(s) for s in (0, 10, 15, 20, 99)] == [0, 0, 1.5, 3, 3]


# --- refinement --------------------------------------------------------------


def test_the_distance_descended_is_the_one_evaluated() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) for _ in range(2))
    a += 1.0
    # Real images are whitened about their mean, as the measure sees them.
    variance, basis = np.linalg.eigh(np.cov(b.T))
    seen = torch.from_numpy((a - b.mean(axis=0)) @ basis)
    found = frechet_distance(
        seen.mean(dim=0), torch.cov(seen.T), torch.from_numpy(variance)
    )
    assert float(found) == pytest.approx(distances.frechet_distance(a, b))


def test_weights_make_categories_count_alike_and_rare_ones_no_more_than_fourfold() -> (
    None
):
    logits = torch.zeros(40, SPEC.code_dim)
    first = SPEC.code_columns(SPEC.categorical[0].name).start
    logits[:30, first] = logits[30:, first + 1] = 1.0
    shares = objective.category_shares(SPEC, logits)
    found = shares[SPEC.categorical[0].name]
    assert found[:2].tolist() == [0.75, 0.25]
    weights = objective.equal_shares(SPEC, logits)
    assert float(weights[:30].sum()) == pytest.approx(float(weights[30:].sum()))
    logits[30:39, first + 1], logits[30:39, first] = 0.0, 1.0
    weights = objective.equal_shares(SPEC, logits)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[-1] / weights[0]) < 39


def test_the_measure_forgets_and_a_batch_is_judged_among_those_before() -> None:
    D = Discriminator(SPEC, (1, 8, 8), SMALL)
    images = as_input(torch.from_numpy(PIXELS))
    measure = Measure(D, directions=6)
    with torch.no_grad():
        features, _ = D.look(images)
        measure.calibrate(features, torch.ones(len(images)), features[:20])
        far = float(measure(features[:20], memory=0.0)[0])
        near, moments = measure(features, memory=0.0)
        assert float(near) < 0.05 * far  # but for n - 1, nothing
        assert far == pytest.approx(float(measure(features, memory=1.0)[0]), rel=1e-4)
        measure.remember(*moments)
        assert near == pytest.approx(float(measure(features, memory=1.0)[0]))


def test_at_the_ends_only_uniform_codes_move_and_to_both_ends() -> None:
    latents = SPEC.sample(64, seed=1)
    ends = at_the_ends(SPEC, latents, np.random.default_rng(0))
    tilt = SPEC.columns("tilt")
    assert set(ends[:, tilt].ravel()) == set(SPEC["tilt"].sweep_range)  # type: ignore[union-attr]
    for rest in (slice(0, tilt.start), slice(tilt.stop, None)):
        np.testing.assert_array_equal(ends[:, rest], latents[:, rest])


def test_refinement_brings_the_moments_of_g_to_those_of_real_images(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    long = replace(
        REFINED_TOY,
        refinement=replace(REFINED_TOY.refinement, steps=60, generator_rate=1e-3),
    )
    saved = run(long)
    seen = [float(r["frechet"]) for r in read_metrics(tmp_path / "run")[2:]]
    assert np.mean(seen[-10:]) < 0.7 * np.mean(seen[:3])
    assert sum(saved.shares["kind"]) == pytest.approx(1.0)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_refinement_leaves_its_measure_alone_and_batch_norms_at_rest(
    run: Callable[..., Checkpoint], weight: float
) -> None:
    consistency = replace(TOY.consistency, weight=weight)
    config = replace(REFINED_TOY, consistency=consistency)
    game = run(replace(config, refinement=Refinement())).discriminator_ema
    weights = {name: w.clone() for name, w in game.items() if "running" not in name}
    refined = run(config, resume=True)
    assert refined.measure is not None
    left = {k[2:]: v for k, v in refined.measure.items() if k.startswith("D.")}
    for name, value in weights.items():
        assert torch.equal(left[name], value), name
    moved = {
        name
        for name, value in refined.discriminator.items()
        if name != "residual" and not torch.equal(value, left[name])
    }
    for part in ("trunk", "real", "recognition"):
        assert any(name.startswith(part) for name in moved)
    assert not any("running" in name for name in moved)


def test_a_q_that_only_watches_learns_on_in_the_refinement(
    run: Callable[..., Checkpoint],
) -> None:
    watching = replace(
        REFINED_TOY,
        lambda_categorical=0.0,
        lambda_uniform=0.0,
        consistency=Consistency(),
    )
    saved = run(watching)
    assert saved.measure is not None
    last = max(n for n in saved.discriminator if n.startswith("recognition"))
    before, after = saved.measure[f"D.{last}"], saved.discriminator[last]
    assert bool((before != after).reshape(len(after), -1).any(dim=1).all())


# --- parting -----------------------------------------------------------------


def test_the_pair_is_the_one_that_movements_exchange_most() -> None:
    still = torch.eye(4).repeat(10, 1)
    moved = still.clone()
    moved[3:24:4] = torch.eye(4)[1]
    moved[2] = torch.eye(4)[0]
    joint = objective.joint(still, moved)
    assert torch.equal(joint, joint.T) and joint.sum() == pytest.approx(1)
    assert parting.most_exchanged(joint) == (1, 3)
    assert objective.information(objective.joint(still, still)) == pytest.approx(
        math.log(4)
    )
    alone = torch.full((40, 4), 0.25)
    assert objective.information(objective.joint(alone, alone)) == pytest.approx(
        0, abs=1e-6
    )


def two_classes(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """The class of features, and features still and moved, which the rest changes."""
    torch.manual_seed(0)
    classes = torch.arange(n) % 2
    still, moved = (torch.randn(n, 6) + 4 * F.one_hot(classes, 6) for _ in range(2))
    return classes, still, moved


def test_a_division_is_of_what_movements_leave_alone() -> None:
    classes, still, moved = two_classes(600)
    halves = parting.divide(still, moved)(still).argmax(dim=1)
    agreeing = (halves == classes).float().mean().item()
    assert max(agreeing, 1 - agreeing) > 0.98


@pytest.fixture(scope="module")
def bars() -> ImageSet:
    """Images of two kinds: bright above, or bright below."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 100, (1200, 8, 8, 1), np.uint8)
    pixels[::2, :4] += 150
    pixels[1::2, 4:] += 150
    return ImageSet(pixels, None, "bars")


def reading(state: TrainingState, images: ImageSet) -> Tensor:
    """Q's statistics of all images, by batch norms of the batch."""
    x = as_input(torch.from_numpy(images.images))
    with torch.no_grad():
        statistics: Tensor = deepcopy(bare(state.D)).train()(x)[1]
    return statistics


@pytest.mark.parametrize("mixed", [True, False])
def test_categories_that_share_their_images_are_parted_and_others_left(
    fabric: Fabric, bars: ImageSet, mixed: bool
) -> None:
    state = build_state(TOY, (1, 8, 8), fabric)
    D = bare(state.D)
    assert isinstance(D, Discriminator)
    still = D.trunk(as_input(torch.from_numpy(bars.images))).detach()
    classes = torch.arange(len(still)) % 2
    wrong = torch.randint(2, classes.shape, generator=torch.Generator().manual_seed(0))
    taught = F.one_hot(wrong if mixed else classes, 5).float()
    parting._teach_Q(D, still, still, [taught], D.recognition(still).detach(), TOY)
    before, G_before = reading(state, bars), copies(state.G)
    parted = parting.part(state, TOY, bars)
    after = reading(state, bars)
    if not mixed:
        assert parted == 0
        assert torch.equal(before, after) and not changed(G_before, state.G)
        return
    assert parted == 1
    agreeing = (after[:, :5].argmax(dim=1) == classes).float().mean().item()
    assert max(agreeing, 1 - agreeing) > 0.95
    tilt = SPEC.code_columns("tilt").start
    drift = (after[:, tilt] - before[:, tilt]).std() / before[:, tilt].std()
    assert drift < 0.5, "what Q reads of a uniform code stays"
    assert changed(G_before, state.G)


# --- batches -----------------------------------------------------------------


def test_an_epoch_shows_no_image_twice_and_the_next_has_another_order(
    fabric: Fabric,
) -> None:
    numbered = np.arange(37, dtype=np.uint8).repeat(64).reshape(37, 8, 8, 1)
    batches = Batches(ImageSet(numbered, None, "numbers"), TOY, fabric)
    drawn = [(batches.at(s)[:, 0, 0, 0] * 255).round().int().tolist() for s in range(8)]
    for epoch in (drawn[:4], drawn[4:]):
        assert len({i for batch in epoch for i in batch}) == 32
    assert drawn[:4] != drawn[4:]


@pytest.mark.parametrize(
    ("count", "batch", "said"),
    [
        (7, 8, "7 images are fewer than a batch of 8"),
        (1, 8, "at least 2 images, got 1"),
    ],
)
def test_a_batch_that_cannot_be_drawn_is_refused(
    run: Callable[..., Checkpoint], count: int, batch: int, said: str
) -> None:
    few = ImageSet(PIXELS[:count], None, "few")
    with pytest.raises(TrainingError, match=said):
        run(replace(TOY, batch_size=batch), images=few)


# --- runs --------------------------------------------------------------------


def test_a_run_leaves_its_checkpoint_log_pictures_and_plot(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    seen: list[Progress] = []
    colour = ImageSet(PIXELS.repeat(3, axis=3).repeat(2, axis=2), None, "wide")
    result = run(images=colour, sample_every=3, on_progress=seen.append)
    folder = tmp_path / "run"
    assert_same(result, load_checkpoint(folder / CHECKPOINT_NAME))
    assert result.shape == (3, 8, 16)
    assert [p.step for p in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].information.keys() == {"kind", "tilt"}
    rows = read_metrics(folder)
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert {"loss_D", "loss_G", "L_I/kind", "images_per_second"} <= rows[0].keys()
    assert sorted(p.name for p in (folder / "samples").iterdir()) == [
        "0000003.png",
        "0000006.png",
    ]
    assert (folder / "mutual_information.png").stat().st_size > 0
    assert any((folder / "tensorboard").iterdir())
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    "codes", [(), (UniformCode("tilt"),), (CategoricalCode("a", 2),) * 1]
)
def test_every_kind_of_specification_trains(
    run: Callable[..., Checkpoint], codes: tuple[Any, ...]
) -> None:
    result = run(replace(TOY, spec=LatentSpec(Noise(3), codes), steps=2))
    assert {k for k in result.metrics if k.startswith("L_I/")} == {
        f"L_I/{code.name}" for code in codes
    }


def test_weights_are_averaged_exponentially_from_the_first_step_on(
    fabric: Fabric,
) -> None:
    config = replace(TOY, ema_decay=0.9)
    state = build_state(config, (1, 8, 8), fabric)
    batches = Batches(IMAGES, config, fabric)
    expected: dict[str, Tensor] = {}
    for step in range(4):
        training_step(batches.at(step), state, config)
        now = copies(state.G)
        expected = {n: 0.9 * expected.get(n, w) + 0.1 * w for n, w in now.items()}
    averaged = dict(state.G_ema.module.named_parameters())
    for name, weight in expected.items():
        torch.testing.assert_close(averaged[name].detach(), weight)
        assert not torch.equal(averaged[name], now[name])


def test_the_average_is_calibrated_on_generated_images(
    run: Callable[..., Checkpoint],
) -> None:
    result = run()
    assert result.generator_ema["dense.1.num_batches_tracked"] == 100
    assert result.discriminator_ema["trunk.3.num_batches_tracked"] == 200


def test_q_reads_blurred_images_by_their_own_statistics(fabric: Fabric) -> None:
    config = replace(FACE_TOY, architecture=APART, recognition_noise=0.0, flip=False)
    state, batches = (
        build_state(config, (1, 8, 8), fabric),
        Batches(IMAGES, config, fabric),
    )
    calibrate(state, batches, config)
    D = state.D_ema.module
    assert isinstance(D, Discriminator)
    latents = latent_batches(state, config, count=100, size=config.batch_size)
    shown = torch.cat(
        [batches.at(step) for step in range(100)]
        + [state.G_ema.module(z) for z in latents]
    )
    blurred = low_passed(shown, config.architecture.blur)
    for seen, norm in ((shown, D.trunk[3]), (blurred, D.sight[3])):
        mean = D.trunk[:3](seen).mean(dim=(0, 2, 3))
        assert torch.allclose(norm.running_mean, mean, atol=1e-6)
    assert D.sight[3].weight is D.trunk[3].weight


@pytest.mark.parametrize("config", [FACE_TOY, APART_TOY], ids=["faces", "apart"])
def test_means_are_fitted_to_generated_images_as_they_will_be_read(
    fabric: Fabric, config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "fit_head", lambda *_: None)
    state, batches = (
        build_state(config, (1, 8, 8), fabric),
        Batches(IMAGES, config, fabric),
    )
    for step in range(20):
        training_step(batches.at(step), state, config)
    before = deepcopy(state.D_ema.module)
    calibrate(state, batches, config)
    D = state.D_ema.module
    assert isinstance(D, Discriminator)
    z = torch.from_numpy(config.spec.sample(2000, seed=0, start=10_000))
    with torch.no_grad():
        still = low_passed(state.G_ema.module(z), config.architecture.blur)
        noise = config.recognition_noise * torch.randn_like(still)
        seen = torch.cat([still, still + noise])
        read = D.read(seen, seen)
    code = z[:, config.spec.noise_dim :].repeat(2, 1)
    left = objective.squared_residuals(config.spec, read, code)
    away = read[:, -1] - code[:, -1]
    assert torch.allclose(left, D.residual, rtol=0.1)
    assert left < code[:, -1].var()
    assert abs(float(away.mean())) < 0.05
    assert abs(float((away * read[:, -1]).mean())) < 0.05
    logits = before.recognition[-1], D.recognition[-1]
    assert torch.equal(*(layer.weight[:5] for layer in logits))


def test_the_head_of_Q_learns_on_from_images_of_the_finished_G(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_LEARNED", 500)  # batches, for speed
    config = APART_TOY
    state = build_state(config, (1, 8, 8), fabric)
    batches = Batches(IMAGES, config, fabric)
    for step in range(20):
        training_step(batches.at(step), state, config)
    z = torch.from_numpy(config.spec.sample(2000, seed=0, start=50_000))
    c, sigma = z[:, config.spec.noise_dim :], objective.training_deviation(config.spec)

    def bound() -> float:
        calibrate(state, batches, config)
        with torch.no_grad():
            read = state.D_ema.module.read(state.G_ema.module(z))
        L_I = objective.mutual_information_lower_bound(config.spec, read, c, sigma)
        return float(sum(L_I.values()))

    with monkeypatch.context() as patched:
        patched.setattr(calibration, "fit_head", lambda *_: None)
        before, trunk = bound(), deepcopy(state.D_ema.module.trunk)
    assert bound() > before + 0.1
    kept = zip(trunk.parameters(), state.D_ema.module.trunk.parameters(), strict=True)
    assert all(torch.equal(was, now) for was, now in kept)


def test_the_head_of_Q_learns_from_no_latents_that_an_evaluation_draws(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = build_state(APART_TOY, (1, 8, 8), fabric)
    drawn: list[int] = []

    def batches(*_: Any, first: int, count: int, size: int) -> Iterator[Tensor]:
        drawn.extend((first * size, (first + count) * size))
        yield from latent_batches(state, APART_TOY, first=first, count=1, size=size)

    monkeypatch.setattr(calibration, "latent_batches", batches)
    calibration.fit_head(state, APART_TOY)
    calibration.fit_means(state, APART_TOY)
    assert drawn[0] > 10**6  # of a seed's first images
    assert drawn == sorted(drawn)


# --- resuming ----------------------------------------------------------------


def interrupt_at(step: int) -> Callable[[Progress], None]:
    def on_progress(progress: Progress) -> None:
        if progress.step == step:
            signal.raise_signal(signal.SIGINT)

    return on_progress


MOMENTS_TOY = replace(TOY, architecture=replace(SMALL, moments=True))


@pytest.mark.parametrize(
    "recipe",
    [TOY, FACE_TOY, MOMENTS_TOY, REFINED_TOY, REFINED_FACE_TOY, APART_TOY],
    ids=["mnist", "faces", "moments", "refined mnist", "refined faces", "apart"],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(
    run: Callable[..., Checkpoint],
    tmp_path: Path,
    recipe: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibration, "_LEARNED", 50)  # batches, for speed
    config = recipe
    if not recipe.refinement.steps:
        config = replace(recipe, steps=12)
    whole = run(config, folder=tmp_path / "whole")
    halves = tmp_path / "halves"
    with pytest.raises(KeyboardInterrupt):
        run(config, folder=halves, on_progress=interrupt_at(4))
    assert load_checkpoint(halves / CHECKPOINT_NAME).step == 5
    resumed = run(config, folder=halves, resume=True)
    assert_same(whole, resumed)
    losses = [
        [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]
        for rows in (read_metrics(tmp_path / "whole"), read_metrics(halves))
    ]
    assert losses[0] == losses[1]


def test_a_run_cut_short_between_checkpoints_logs_no_step_twice(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    def die(progress: Progress) -> None:
        if progress.step == 5:
            raise MemoryError

    with pytest.raises(MemoryError):
        run(checkpoint_every=2, on_progress=die)
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == list("12345")
    run(checkpoint_every=2, resume=True)
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == list("123456")


def test_a_finished_run_is_left_as_it_is_and_a_longer_one_goes_on(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    done = run()
    before = (tmp_path / "run" / CHECKPOINT_NAME).read_bytes()
    again = run(resume=True)
    assert_same(done, again)
    assert again.metrics == done.metrics
    assert (tmp_path / "run" / CHECKPOINT_NAME).read_bytes() == before
    assert run(replace(TOY, steps=8), resume=True).step == 8


def test_a_finished_game_can_be_refined_and_a_refinement_not_changed(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    run(replace(REFINED_TOY, refinement=Refinement()))
    late = run(REFINED_TOY, resume=True)
    assert late.step == 6
    assert_same(late, run(REFINED_TOY, folder=tmp_path / "at once"))
    weaker = replace(REFINED_TOY.refinement, weight=0.5)
    with pytest.raises(TrainingError, match="another refinement;"):
        run(replace(REFINED_TOY, refinement=weaker), resume=True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lambda_categorical": 0.5}, "lambda_categorical"),
        ({"seed": 1}, "seed"),
        ({"spec": LatentSpec(Noise(4), (CategoricalCode("kind", 5),))}, "spec"),
    ],
)
def test_resuming_with_another_option_is_refused_by_name(
    run: Callable[..., Checkpoint], changes: dict[str, Any], named: str
) -> None:
    run(replace(TOY, steps=2))
    with pytest.raises(TrainingError, match=f"another {named};"):
        run(replace(TOY, **changes), resume=True)


@pytest.mark.parametrize("steps", [5, 9])
def test_a_game_whose_rates_fall_keeps_its_steps(
    run: Callable[..., Checkpoint], steps: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(on_progress=interrupt_at(4))
    with pytest.raises(TrainingError, match="another steps;"):
        run(replace(TOY, steps=steps), resume=True)


def test_before_its_rates_fall_a_game_may_become_another_one(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(on_progress=interrupt_at(2))
    longer = replace(TOY, steps=8, decay_to=0.5, discriminator_decay_to=2.0)
    with pytest.raises(TrainingError, match="another steps;"):  # they would have
        run(replace(TOY, steps=4), resume=True)
    grown = run(longer, resume=True)
    assert_same(grown, run(longer, folder=tmp_path / "at once"))


def test_a_game_of_constant_rates_may_be_cut_short_at_a_later_step(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    constant = replace(TOY, decay_to=1.0)
    with pytest.raises(KeyboardInterrupt):
        run(constant, on_progress=interrupt_at(3))
    saved = load_checkpoint(tmp_path / "run" / CHECKPOINT_NAME).step
    with pytest.raises(TrainingError, match="another steps;"):  # it would not end
        run(replace(constant, steps=saved), resume=True)
    shorter = replace(constant, steps=5)
    cut = run(shorter, resume=True)
    assert_same(cut, run(shorter, folder=tmp_path / "at once"))


def test_a_run_may_begin_with_the_averaged_weights_of_another_recipe(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    first, other = run(), ImageSet(255 - PIXELS, None, "other")
    still = replace(TOY, steps=2, seed=3, lambda_uniform=2.0, ema_decay=0.5)
    still = replace(still, generator_rate=0.0, discriminator_rate=0.0)
    options: dict[str, Any] = {"folder": tmp_path / "second", "images": other}
    second = run(still, start=first, **options)
    for network in ("generator", "discriminator"):
        begun, now = getattr(first, f"{network}_ema"), getattr(second, network)
        learned = [n for n in now if n.endswith("weight")]
        assert all(torch.equal(begun[name], now[name]) for name in learned)
    assert second.config == replace(still, warm_start=first.described())
    assert "seed 0, step 6" in second.config.warm_start
    with pytest.raises(TrainingError, match="another warm_start"):
        run(still, resume=True, **options)
    run(still, start=first, resume=True, **options)
    assert second.described().endswith(f"; after {first.described()}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec": LatentSpec(Noise(3), SPEC.codes)}, "another spec"),
        ({"architecture": replace(SMALL, dense=8)}, "another architecture"),
    ],
)
def test_a_run_begins_with_weights_that_fit_alone(
    run: Callable[..., Checkpoint], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    first = run(replace(TOY, steps=1))
    with pytest.raises(TrainingError, match=said) as error:
        run(replace(TOY, **change), start=first, folder=tmp_path / "second")
    one_line(error)


def test_an_interrupt_while_the_last_step_is_saved_is_heard(
    run: Callable[..., Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        loop, "save_checkpoint", lambda *_: signal.raise_signal(signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        run()


def test_resuming_on_other_images_or_without_being_asked_is_refused(
    run: Callable[..., Checkpoint],
) -> None:
    run(replace(TOY, steps=2))
    with pytest.raises(TrainingError, match=r"other images: noise .* not other"):
        run(images=ImageSet(255 - PIXELS, None, "other"), resume=True)
    with pytest.raises(TrainingError, match="--resume"):
        run()


# --- runs that are lost ------------------------------------------------------


def poison(
    monkeypatch: pytest.MonkeyPatch, *, step: int, how: Callable[[Tensor], Tensor]
) -> None:
    real, calls = objective.generator_loss, iter(range(1, 1000))

    def generator_loss(fake: Tensor) -> Tensor:
        loss = real(fake)
        return how(loss) if next(calls) == step else loss

    monkeypatch.setattr(objective, "generator_loss", generator_loss)


class _NanGradient(torch.autograd.Function):
    """A finite loss whose gradient is not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * math.nan


@pytest.mark.parametrize(
    "how", [lambda loss: loss * math.nan, _NanGradient.apply], ids=["loss", "gradient"]
)
def test_a_nan_stops_before_it_is_saved_and_says_what_to_try(
    run: Callable[..., Checkpoint],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    how: Callable[[Tensor], Tensor],
) -> None:
    poison(monkeypatch, step=4, how=how)
    with pytest.raises(
        TrainingError, match=r"at step 4.*lower learning rates"
    ) as error:
        run(checkpoint_every=2)
    one_line(error)
    saved = load_checkpoint(tmp_path / "run" / CHECKPOINT_NAME)
    assert saved.step == 2
    assert all(bool(w.isfinite().all()) for w in weights(saved).values())


def test_a_code_that_g_ignores_stops_the_run_unless_it_is_only_watched(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    ignored = replace(TOY, collapse_after=2, generator_rate=0.0, discriminator_rate=0.0)
    with pytest.raises(TrainingError, match=r"'kind' has collapsed.*larger lambda"):
        run(ignored)
    watched = replace(ignored, lambda_categorical=0.0, lambda_uniform=0.0)
    assert run(watched, folder=tmp_path / "watched").step == watched.steps


# --- checkpoint files --------------------------------------------------------


@pytest.fixture
def saved(run: Callable[..., Checkpoint], tmp_path: Path) -> Path:
    run(replace(TOY, steps=1))
    return tmp_path / "run" / CHECKPOINT_NAME


def flip(data: bytes) -> bytes:
    """One bit of the largest tensor; a bit of the padding around it says nothing."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        record = max((archive.read(name) for name in archive.namelist()), key=len)
    at = data.index(record)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"some text\n" * 9],
    ids=["bit", "truncated", "empty", "text"],
)
def test_a_damaged_checkpoint_is_one_line_that_names_it(
    saved: Path, damage: Callable[[bytes], bytes]
) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(TrainingError, match="not a readable checkpoint") as error:
        load_checkpoint(saved)
    assert str(saved) in one_line(error)


def test_foreign_and_future_checkpoints_are_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"epoch": 3}, saved.with_name("other.pt"))
    torch.save(Checkpoint, saved.with_name("code.pt"))
    torch.save({"format": checkpoint.FORMAT}, saved.with_name("empty.pt"))
    for name in ("other.pt", "code.pt", "empty.pt", "missing.pt"):
        with pytest.raises(TrainingError) as error:
            load_checkpoint(saved.with_name(name))
        assert name in one_line(error)
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    with pytest.raises(TrainingError, match="another format than 2"):
        load_checkpoint(saved)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on file sizes")
@pytest.mark.parametrize("room", [4_096, 1_000_000])
def test_a_full_disk_is_one_line_and_keeps_the_old_checkpoint(
    saved: Path, room: int
) -> None:
    import resource

    # torch fails in one of two ways, by where in a large tensor the room ends.
    large = {"weight": torch.zeros(1000, 1000)}
    whole, before = load_checkpoint(saved), saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OutputError) as error:
            save_checkpoint(replace(whole, generator=large), saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert str(saved) in one_line(error)
    assert saved.read_bytes() == before
    assert not list(saved.parent.glob(".*"))


def test_a_folder_that_cannot_be_made_is_one_line(
    run: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make"):
        run(folder=tmp_path / "file" / "run")


# --- the engine --------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"accelerator": "cpuu"}, "'cpuu' .*'cpu'.*auto, cpu"),
        ({"accelerator": "tpu"}, "'tpu'.*auto, cpu"),
        ({"precision": "bf15-mixed"}, "'bf15-mixed' .*'bf16-mixed'.*32-true"),
    ],
)
def test_an_engine_that_is_not_here_is_refused_with_those_that_are(
    option: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as error:
        build_fabric(**option)
    one_line(error)


def test_bf16_trains_with_losses_and_weights_in_float32(tmp_path: Path) -> None:
    half = build_fabric(accelerator="cpu", precision="bf16-mixed")
    result = train(TOY, IMAGES, tmp_path, fabric=half)
    assert all(t.dtype != torch.bfloat16 for t in weights(result).values())


# --- the choice of a run -------------------------------------------------------


def test_agreement_is_what_still_and_moved_images_share() -> None:
    spec = LatentSpec(Noise(1), (CategoricalCode("c", 4), UniformCode("u")))
    sure = F.pad(50 * torch.eye(4).repeat(25, 1), (0, 1))
    unsure, one = torch.zeros_like(sure), sure[:1].expand_as(sure)
    assert agreement(spec, sure, sure) == pytest.approx(math.log(4))
    assert agreement(spec, unsure, unsure) == pytest.approx(0, abs=1e-6)
    assert agreement(spec, one, one) == pytest.approx(0, abs=1e-6)
    halves = sure.clone()
    halves[50:] = sure[50:].roll(1, dims=0)
    assert agreement(spec, sure, halves) < 0


# --- the command -------------------------------------------------------------


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    np.savez(tmp_path / "noise.npz", images=PIXELS)
    options = {
        "--data-dir": tmp_path / "noise.npz",
        "--run-dir": tmp_path / "runs",
        "--batch-size": 8,
        "--accelerator": "cpu",
        "--precision": "32-true",
    }
    return ["train", *(str(x) for pair in options.items() for x in pair)]


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert isinstance(left.value.code, int)
    return left.value.code, said


def test_of_several_seeds_the_best_is_told(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--seeds", "3,5", "--steps", "2"])
    table = capsys.readouterr().out.partition("agreement")[2]
    told = [line for line in table.splitlines() if " mnist-" in line]
    assert len(told) == 2 and sum(" best" in line for line in told) == 1


def test_a_seed_that_fails_leaves_the_others(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    steps = ["--steps", "2", "--consistency", "0"]
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--seeds", "4", *steps])
    capsys.readouterr()
    code, said = fails([*arguments, "--seeds", "3..5", *steps], capsys)
    assert code == 1 and "mnist-4" in said and "--resume" in said
    assert not (tmp_path / "runs" / "mnist-3").exists()
    (tmp_path / "runs" / "mnist-4" / CHECKPOINT_NAME).write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="1"):
        main([*arguments, "--seeds", "3..5", *steps, "--resume"])
    out, err = capsys.readouterr()
    assert [f"mnist-{n}: trained" in out for n in (3, 4, 5)] == [True, False, True]
    assert "mnist-4" in err and "1 of 3 runs failed" in err


def test_one_command_begins_with_another_ones_run(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, again = tmp_path / "runs" / "mnist-0", tmp_path / "again"
    steps = ["--steps", "2", "--consistency", "0"]
    begun = [*arguments, *steps, "--from", str(first), "--run-dir", str(again)]
    code, said = fails(begun, capsys)
    assert code == 2 and f"no {first}" in said
    for words in ([*arguments, *steps], [*begun, "--lambda-cont", "2"]):
        with pytest.raises(SystemExit, match="0"):
            main(words)
    source = load_checkpoint(first / CHECKPOINT_NAME)
    config = load_checkpoint(again / "mnist-0" / CHECKPOINT_NAME).config
    assert config == replace(
        source.config, lambda_uniform=2.0, warm_start=source.described()
    )


def test_a_game_too_short_for_agreement_is_told(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for more, told in ((["--consistency", "0"], False), ([], True)):
        with pytest.raises(SystemExit, match="0"):
            main([*arguments, "--steps", "2", "--seeds", f"{int(told)}", *more])
        assert ("--consistency-start" in capsys.readouterr().err) == told


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--preset", "mnits"], "did you mean 'mnist'"),
        (["--seeds", "4..1"], "the first seed is above the last"),
        (["--seeds", "one"], "0..4 or 1,5,7"),
        (["--seeds", "0..99999999999999999999"], "more than 1000 seeds"),
        (["--steps", "0"], "steps must be 1 or more, got 0"),
        (["--steps", "-5"], "steps must be 1 or more, got -5"),
        (["--lambda-cat", "nan"], "lambda categorical must be 0 or more, got nan"),
        (["--ema", "2"], "ema decay must be 0 to 1, got 2"),
        (["--r1", "-1"], "gradient penalty must be 0 or more, got -1"),
        (["--size", "28"], "HEIGHTxWIDTH"),
        (["--channels", "2"], "1 or 3, got 2"),
        (["--data", "mnist"], "either --data NAME or --data-dir DIR"),
        (["--precision", "bf61-mixed"], "'bf16-mixed'"),
        (["--accelerator", "cpuu"], "auto, cpu"),
    ],
)
def test_a_wrong_option_is_one_line_and_code_2(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    said: str,
) -> None:
    code, line = fails([*arguments, *more], capsys)
    assert code == 2
    assert said in line


def test_size_and_channels_hold_for_downloads_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def load_dataset(name: str, **options: Any) -> ImageSet:
        asked.update(options, name=name)
        raise InfoganError("enough")

    monkeypatch.setattr("infogan_export.datasets.load_dataset", load_dataset)
    options = ["--data", "mnist", "--size", "32x40", "--channels", "3"]
    assert fails(["train", *options], capsys)[0] == 1
    wanted = {"split": "train", "size": (32, 40), "channels": 3}
    assert asked == {"name": "mnist"} | wanted


def test_broken_files_left_out_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for i, pixels in enumerate(PIXELS[:9, ..., 0]):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    options = ["--data-dir", str(folder), "--run-dir", str(tmp_path / "runs")]
    options += ["--batch-size", "8", "--steps", "1", "--accelerator", "cpu"]
    assert "broken.png" in fails(["train", *options], capsys)[1]
    with pytest.raises(SystemExit) as left:
        main(["train", *options, "--skip-broken"])
    assert not left.value.code
    out, err = capsys.readouterr()
    assert "left out 1 broken file" in err
    assert "next: infogan-gen export" in out


@pytest.mark.parametrize("blocked", ["torch", "lightning_fabric", "tensorboard"])
def test_help_needs_no_torch_and_a_run_says_which_extra_brings_it(
    arguments: list[str], blocked: str
) -> None:
    code = f"""
import sys
sys.modules[{blocked!r}] = None
from infogan_export.cli import main
try:
    main(["train", "--help"])
except SystemExit as left:
    assert not left.code
assert not {{"torch", "numpy"}} & (set(sys.modules) - {{{blocked!r}}})
main({arguments!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install 'infogan-export[train]'")
    assert "Example" in done.stdout


def test_a_killed_run_goes_on_from_a_whole_checkpoint(
    arguments: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "runs" / "mnist-0" / CHECKPOINT_NAME
    long = ["--steps", "150", "--refine-steps", "0"]
    begun = [SCRIPT, *arguments, *long, "--checkpoint-every", "3"]
    process = subprocess.Popen(begun, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 100
        while not path.exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.05)
        time.sleep(0.1)  # long enough to be in the middle of a later one
    finally:
        process.kill()
        process.communicate()
    killed = load_checkpoint(path)
    assert killed.step % 3 == 0
    assert all(bool(w.isfinite().all()) for w in weights(killed).values())
    with pytest.raises(SystemExit) as left:
        main([*arguments, *long, "--resume"])
    assert not left.value.code
    assert load_checkpoint(path).step == 150


_RANKS = """
import os, pathlib, sys
import torch
from infogan_export.cli import main
from infogan_export.training import loop

trained = loop.train

def train(*args, **options):
    result = trained(*args, **options)
    rank = os.environ.get("LOCAL_RANK", "0")
    measure = {f"measure.{name}": value for name, value in result.measure.items()}
    kept = result.generator | result.discriminator | measure
    torch.save(kept, f"{sys.argv[0]}.{rank}")
    return result

loop.train = train
main()
"""


def test_two_processes_train_one_model(arguments: list[str], tmp_path: Path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(_RANKS)
    steps = ["--steps", "4", "--refine-steps", "2", "--r1", "0.1"]
    done = subprocess.run(
        [sys.executable, script, *arguments, *steps, "--devices", "2"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained") == 1
    saved = load_checkpoint(tmp_path / "runs" / "mnist-0" / CHECKPOINT_NAME)
    assert saved.step == 6
    first, second = (torch.load(f"{script}.{rank}") for rank in (0, 1))
    assert saved.measure is not None
    measure = {f"measure.{name}": value for name, value in saved.measure.items()}
    kept = saved.generator | saved.discriminator | measure
    for name, weight in kept.items():
        assert bool(weight.isfinite().all())
        assert torch.equal(weight, first[name])
        # What batch norm and the residual see is each process's own.
        own = "running" in name or name == "residual"
        if name.startswith("measure.") or not own:
            assert torch.equal(weight, second[name]), name
