"""Laws of vector arithmetic on latents, and of its picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infogan_export.cli.options import parse_images
from PIL import Image

from infogan_export import load
from infogan_export.arithmetic import around, combine, mean_latent, pick
from infogan_export.equations import arithmetic_sheet
from infogan_export.errors import CodeError, UsageError
from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode

CODES = (CategoricalCode("kind", 4), UniformCode("tilt"), UniformCode("size", 2, 5))
SPECS = [LatentSpec(Noise(20, kind), CODES) for kind in ("uniform", "normal")]

terms = st.lists(st.integers(0, 30), min_size=1, max_size=4)


def within_the_prior(latent, spec):
    z, kind = latent[spec.columns("noise")], latent[spec.columns("kind")]
    if spec.noise.distribution == "uniform":
        assert abs(z).max() <= 1
    else:
        assert 0.3 < np.linalg.norm(z) / np.sqrt(spec.noise_dim) < 1.9
    assert kind.min() >= 0
    assert kind.sum() == pytest.approx(1, abs=1e-6)
    for code in spec.uniform:
        assert code.low <= latent[spec.columns(code.name)][0] <= code.high
    spec.assign(spec.sample(1), {"kind": kind[None]})  # a mixture that may be set


@pytest.mark.parametrize("spec", SPECS, ids=["uniform", "normal"])
@settings(max_examples=25, deadline=None)
@given(a=terms, b=terms, c=terms, d=terms, e=terms)
def test_arithmetic_adds_and_takes_away(spec, a, b, c, d, e):
    A, B, C, D, E = (pick(spec, term) for term in (a, b, c, d, e))
    np.testing.assert_allclose(
        combine([A, C], [A], spec), mean_latent(C, spec), atol=1e-6
    )
    result = combine([A, C, E], [B, D], spec)
    np.testing.assert_allclose(result, combine([E, A, C], [D, B], spec), atol=1e-5)
    np.testing.assert_allclose(
        mean_latent(A, spec), mean_latent(A[::-1], spec), atol=1e-6
    )
    within_the_prior(result, spec)
    for row in around(result, spec, noise=0.1):
        within_the_prior(row, spec)


@pytest.mark.parametrize("spec", SPECS, ids=["uniform", "normal"])
def test_a_mean_of_one_is_itself_and_of_normal_noise_as_long_as_each(spec):
    three = pick(spec, [4, 0, 7], seed=2)
    assert (three == spec.sample(8, seed=2)[[4, 0, 7]]).all()
    assert (mean_latent(three[:1], spec) == three[0]).all()
    z = spec.columns("noise")
    longest, mean = three[:, z], mean_latent(three, spec)[z]
    if spec.noise.distribution == "normal":
        assert np.linalg.norm(mean) == pytest.approx(
            np.sqrt((longest**2).sum(axis=1).mean()), rel=1e-6
        )
    else:
        np.testing.assert_allclose(mean, longest.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("spec", SPECS, ids=["uniform", "normal"])
def test_noise_moves_z_a_little_and_leaves_the_middle_and_the_codes(spec):
    latent = spec.sample(1)[0]
    rows = around(latent, spec, noise=0.25, seed=3)
    z = spec.columns("noise")
    assert (rows[4] == latent).all()
    assert (rows[:, z.stop :] == latent[z.stop :]).all()
    moved = abs(rows - latent)[:, z].max(axis=1)
    assert (np.delete(moved, 4) > 0).all()
    assert moved.max() <= 0.25 + 1e-6
    assert (rows == around(latent, spec, noise=0.25, seed=3)).all()
    assert (around(latent, spec, noise=0) == latent).all()


def test_an_arithmetic_that_is_none_is_refused():
    spec = SPECS[0]
    one = spec.sample(1)
    with pytest.raises(UsageError, match="got 1 to add and 1 to take away"):
        combine([one], [one], spec)
    with pytest.raises(CodeError, match=r"\(n, 26\)"):
        combine([one[:, :3]], [], spec)
    with pytest.raises(UsageError, match="at least one image"):
        pick(spec, [])
    with pytest.raises(CodeError, match="one latent"):
        around(spec.sample(2), spec)


def test_the_sheet_holds_each_term_over_its_mean_and_the_result(tiny):
    model = load(tiny)
    sheet = arithmetic_sheet(
        model, [[1, 5], [3, 0]], [[2]], codes={"slant": 2}, scale=1, padding=0
    )
    windows = np.lib.stride_tricks.sliding_window_view(sheet.image, (8, 8))

    def place(image):
        """Row and column of the only cell that holds an image."""
        (found,) = np.argwhere((windows == image).all(axis=(2, 3)))
        return found

    A, B, C = (pick(model.spec, term) for term in ([1, 5], [2], [3, 0]))
    corner = place(model.draw(A)[0])
    for latents, row, column in (
        (A[1], 1, 0),
        (mean_latent(A, model.spec), 2, 0),
        (C[0], 0, 2),
        (mean_latent(C, model.spec), 2, 2),
        (combine([A, C], [B], model.spec), 1, 5),
        (model.spec.assign(C, {"slant": 2})[1], 1, 8),
    ):
        found = (place(model.draw(latents)[0]) - corner) / 8
        assert found.tolist() == [row, column]
    assert ((place(model.arithmetic([A, C], [B])[0]) - corner) == (8, 40)).all()


def test_the_sheet_draws_in_colour_too(colour, tmp_path):
    sheet = arithmetic_sheet(load(colour), [[1], [2]], [[0]])
    sheet.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "RGB"


@given(terms)
def test_a_list_of_images_reads_back(images):
    assert parse_images(",".join(map(str, images))) == images


@given(st.integers(0, 10**6), st.integers(0, 50))
def test_a_range_of_images_holds_its_ends(first, more):
    last = first + more
    assert parse_images(f"{first}..{last}") == list(range(first, last + 1))
    assert parse_images(f"7, {first}..{last}") == [7, *range(first, last + 1)]


@given(st.text(max_size=8))
def test_any_text_is_a_list_of_images_or_refused(text):
    try:
        images = parse_images(text)
    except UsageError:
        return
    assert images
    assert min(images) >= 0
