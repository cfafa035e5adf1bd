"""Images to latents and back: laws of inversion, of edits, and of who may encode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infogan_export.cli.options import parse_edits

import infogan_export
from infogan_export import CodeError, Model, ModelError, UsageError
from infogan_export.runtime import edited


@pytest.fixture(scope="module")
def model(tiny: Path) -> Model:
    """With Q alone to guess."""
    return infogan_export.load(tiny)


@pytest.fixture(scope="module", params=["Q", "encoder"])
def either(request: pytest.FixtureRequest, tiny: Path, encoded: Path) -> Model:
    return infogan_export.load(tiny if request.param == "Q" else encoded)


def static(count: int, seed: int = 0) -> np.ndarray:
    """Images that no latent draws."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)


# --- inversion ---------------------------------------------------------------


def test_an_image_that_the_model_drew_is_found_again(either: Model) -> None:
    latents = either.latents(20, seed=3)
    found = either.invert(either.draw(latents))
    assert found.mse.max() < 1e-3
    assert (found.mse <= found.first_mse).all()
    code = either.spec.columns("shape")
    assert (found.latents[:, code] == latents[:, code]).all()
    codes = slice(either.spec.noise_dim, None)
    assert abs(found.latents - latents)[:, codes].max() < 0.15
    assert (
        either.reconstruct(either.draw(latents)) == either.draw(found.latents)
    ).all()


def test_refinement_never_makes_an_error_larger(either: Model) -> None:
    images = np.concatenate([static(20), either.sample(20)])
    errors = [either.invert(images, iterations=n, tolerance=0).mse for n in (0, 1, 6)]
    assert (errors[1] <= errors[0] + 1e-7).all()
    # With the pull to the guess a few pixels may be given back, never the gain.
    assert (errors[2] <= errors[0] + 1e-7).all()
    assert errors[2].mean() < errors[0].mean()


def test_the_errors_told_are_those_of_the_latents(either: Model) -> None:
    images = static(5)
    found = either.invert(images)
    for latents, told in (
        (found.latents, found.mse),
        (found.first_latents, found.first_mse),
    ):
        drawn = either.draw(latents, dtype="float32")
        mse = ((drawn - images / np.float32(255)) ** 2).mean(axis=(1, 2))
        assert np.allclose(mse, told, atol=1e-5)


def test_latents_stay_inside_the_prior_unless_let_out(model: Model) -> None:
    inside = model.invert(static(9)).latents
    assert abs(inside).max() <= 1
    assert abs(model.invert(static(9), inside=False).latents).max() > 1


def test_normal_noise_is_bounded_too(colour: Path) -> None:
    from infogan_export.inversion import Refinement, invert

    model = infogan_export.load(colour)

    def draw(latents: np.ndarray) -> np.ndarray:
        return model.draw(latents, dtype="float32").reshape(len(latents), -1)

    latents = model.latents(4, seed=1)
    guess = np.where(np.arange(9) < 5, 0, latents)  # what Q would read
    found = invert(draw, model.spec, draw(latents), guess)
    assert found.mse.max() < 1e-3
    far = np.ones_like(draw(latents))
    found = invert(draw, model.spec, far, np.zeros_like(latents), Refinement(30))
    assert 1 < abs(found.latents[:, :5]).max() <= 3


def test_an_image_is_inverted_alike_in_any_batch(either: Model) -> None:
    images = np.concatenate([static(3), either.sample(67)])
    together = either.invert(images).latents
    for index in (0, 2, 69):
        alone = either.invert(images[index]).latents[0]
        np.testing.assert_array_equal(alone, together[index])


def test_progress_counts_every_image(model: Model) -> None:
    told: list[int] = []
    model.invert(model.sample(70), on_progress=told.append)
    assert sum(told) == 70


@pytest.mark.parametrize(
    "options",
    [{"iterations": -1}, {"tolerance": -1}, {"tolerance": float("nan")}],
)
def test_options_out_of_range_are_refused(model: Model, options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        model.invert(model.sample(1), **options)


# --- who may encode ----------------------------------------------------------


def test_an_encoder_of_another_generator_is_refused(encoded: Path) -> None:
    stranger = infogan_export.load(encoded.parent / "stranger")
    with pytest.raises(ModelError, match="another generator"):
        stranger.encode(stranger.sample(1))


def test_the_encoder_guesses_noise_and_q_does_not(encoded: Path, model: Model) -> None:
    latents = model.latents(6)
    by_encoder = infogan_export.load(encoded).encode(model.draw(latents))
    by_q = model.encode(model.draw(latents))
    z = model.spec.columns("noise")
    assert abs(by_encoder[:, z] - latents[:, z]).max() < 0.3
    assert (by_q[:, z] == 0).all()
    shape = model.spec.columns("shape")
    assert np.allclose(by_encoder[:, shape].sum(axis=1), 1, atol=1e-5)


def test_a_model_with_neither_network_says_what_is_missing(colour: Path) -> None:
    with pytest.raises(ModelError, match=r"recognition\.onnx"):
        infogan_export.load(colour).invert(np.zeros((1, 8, 12, 3), np.uint8))


# --- edits -------------------------------------------------------------------


def test_an_edit_sets_its_codes_and_keeps_all_else(model: Model) -> None:
    found = model.invert(model.sample(4, shape="bar")).latents
    latents = edited(model.spec, found, {"cat": "dash"}, {"slant": -0.25})
    shape, slant = model.spec.columns("shape"), model.spec.columns("slant")
    assert (latents[:, shape] == [0, 1, 0]).all()
    assert np.allclose(latents[:, slant], found[:, slant] - 0.25)
    touched = [*range(shape.start, shape.stop), slant.start]
    rest = np.delete(latents, touched, axis=1)
    assert (rest == np.delete(found, touched, axis=1)).all()
    images = model.edit(model.draw(found), shape="dash", add={"slant": -0.25})
    assert images.dtype == np.uint8
    assert (model.recognize(images)["shape"].category == 1).all()


def test_one_image_is_drawn_once_for_each_value(model: Model) -> None:
    image = model.sample(1, shape="bar")[0]
    every = model.edit(image, shape=range(3))
    assert model.recognize(every)["shape"].category.tolist() == [0, 1, 2]
    assert (every[0] == model.reconstruct(image)[0]).all()
    assert model.edit(image, add={"slant": [-0.5, 0, 0.5]}).shape == (3, 8, 8)


def test_a_morph_goes_from_one_image_to_the_other(model: Model) -> None:
    first, last = model.sample(2, seed=5)
    way = model.morph(first, last, steps=7)
    ends = model.reconstruct(np.stack([first, last]))
    assert (way[[0, -1]] == ends).all()
    assert len(way) == 7


@pytest.mark.parametrize(
    ("codes", "add", "said"),
    [
        ({"shape": 3}, {}, "0 to 2"),
        ({"rotation": 1}, {}, "no latent code"),
        ({}, {"shape": 1}, "set, not moved"),
        ({}, {"slant": float("nan")}, "finite"),
        ({"slant": 1}, {"cont1": 1}, "moved as well"),
        ({"slant": [1, 2, 3]}, {}, "are needed"),
        ({}, {"slant": [1, 2, 3]}, "are needed"),
    ],
)
def test_a_bad_edit_is_refused(model: Model, codes: dict, add: dict, said: str) -> None:
    with pytest.raises(CodeError, match=said):
        model.edit(model.sample(2), add=add, **codes)


# --- --set -------------------------------------------------------------------

NAMES = st.sampled_from(["digit", "slant", "cont1", "_x"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(abs)


@given(NAMES, NUMBERS, st.sampled_from("+-"))
@settings(deadline=None)
def test_a_sign_before_the_equals_moves(name: str, size: float, sign: str) -> None:
    codes, moves = parse_edits([f"{name}{sign}={size}"])
    assert (codes, moves) == ({}, {name: size if sign == "+" else -size})


@given(NAMES, NUMBERS)
@settings(deadline=None)
def test_a_plus_after_the_equals_moves_and_a_minus_sets(name: str, size: float) -> None:
    assert parse_edits([f"{name}=+{size}"]) == ({}, {name: size})
    assert parse_edits([f"{name}=-{size}"]) == ({name: f"-{size}"}, {})
    assert parse_edits([f"{name}={size}"]) == ({name: f"{size}"}, {})


@given(st.lists(st.text("ab+-=,.5", max_size=8), max_size=3))
@settings(deadline=None)
def test_any_other_text_is_a_usage_error(texts: list[str]) -> None:
    try:
        codes, moves = parse_edits(texts)
    except UsageError as error:
        assert "--set" in str(error)
    else:
        assert len(codes) + len(moves) == len(texts)
        assert all(codes) and all(moves)
