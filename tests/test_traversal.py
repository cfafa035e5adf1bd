"""Laws of traversal: what moves, what is held fixed, where paths begin and end."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infogan_export.errors import CodeError
from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode
from infogan_export.traversal import (
    interpolate,
    sweep_values,
    traverse,
    traverse_two,
)

CODES = (
    CategoricalCode("digit", 4, labels=("zero", "one", "two", "three")),
    UniformCode("slant"),
    UniformCode("width", 0.0, 4.0, sweep_low=1.0, sweep_high=3.0),
)
SPECS = {kind: LatentSpec(Noise(6, kind), CODES) for kind in ("uniform", "normal")}
SPEC = SPECS["uniform"]


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(["digit", "slant", "width", "cat", "cont2"]),
    st.integers(0, 4),
    st.integers(0, 2**64 - 1),
)
def test_traversal_changes_only_the_named_code(name, rows, seed):
    base = SPEC.sample(rows, seed=seed)
    values = sweep_values(SPEC, name)
    latents = traverse(base, SPEC, name, values).reshape(rows, len(values), SPEC.dim)
    columns = SPEC.columns(name)
    held = np.broadcast_to(base[:, None], latents.shape)
    np.testing.assert_array_equal(
        np.delete(latents, columns, axis=2), np.delete(held, columns, axis=2)
    )
    moved = np.broadcast_to(SPEC[name].encode(values), latents[..., columns].shape)
    np.testing.assert_array_equal(latents[..., columns], moved)


def test_mixtures_are_traversed_as_rows():
    mixtures = np.linspace([1, 0, 0, 0], [0, 0, 0, 1], 5)
    latents = traverse(SPEC.sample(2), SPEC, "digit", mixtures)
    np.testing.assert_allclose(latents[5:, SPEC.columns("digit")], mixtures)


def test_two_codes_take_an_axis_each():
    base = SPEC.sample(1)
    latents = traverse_two(base, SPEC, ("cat", ["two", "one"]), ("slant", [-1, 0, 1]))
    assert (
        latents[:, SPEC.columns("digit")].argmax(axis=1).tolist() == [2] * 3 + [1] * 3
    )
    assert latents[:, SPEC.columns("slant")].ravel().tolist() == [-1, 0, 1] * 2
    for name in ("noise", "width"):
        assert (latents[:, SPEC.columns(name)] == base[:, SPEC.columns(name)]).all()
    with pytest.raises(CodeError, match="'digit' cannot vary along both"):
        traverse_two(base, SPEC, ("cat", [1, 2]), ("digit", [1, 2]))


def test_a_sweep_goes_through_all_categories_or_evenly_through_a_range():
    assert sweep_values(SPEC, "cat").tolist() == [0, 1, 2, 3]
    assert sweep_values(SPEC, "cat", low=1, high=2, steps=2).tolist() == [1, 2]
    assert sweep_values(SPEC, "slant", steps=3).tolist() == [-2, 0, 2]
    assert sweep_values(SPEC, "slant", steps=3, low=0).tolist() == [0, 1, 2]
    assert sweep_values(SPEC, "slant", steps=2, low=1, high=-1).tolist() == [1, -1]
    assert sweep_values(SPEC, "width", steps=3).tolist() == [1, 2, 3]
    assert len(sweep_values(SPEC, "width")) == 11


@pytest.mark.parametrize(
    ("name", "asked", "told"),
    [
        ("tilt", {}, "'tilt'.*digit, slant, width"),
        ("slant", {"low": 1, "high": 1}, "'slant'.*from 1 to 1 is empty"),
        ("slant", {"low": math.nan}, "'slant'.*nan"),
        ("slant", {"high": math.inf}, "'slant'.*inf"),
        ("slant", {"steps": 1}, "at least 2 steps, got 1"),
        ("digit", {"low": 0.5}, "'digit'.*got 0.5"),
        ("digit", {"low": 2, "high": 1}, "'digit'.*2 to 1"),
        ("digit", {"low": -1}, "'digit'.*0 to 3, got -1"),
        ("digit", {"high": 1e12}, "'digit'.*0 to 3, got 1"),
        ("digit", {"high": math.inf}, "'digit'.*inf"),
        ("digit", {"steps": 7}, "'digit'.*make 4 steps, not 7"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(name, asked, told):
    with pytest.raises(CodeError, match=told):
        sweep_values(SPEC, name, **asked)


@pytest.mark.parametrize("kind", SPECS)
@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**64 - 1))
def test_interpolation_reaches_its_ends_exactly(kind, seed):
    spec = SPECS[kind]
    first, last = spec.sample(2, seed=seed)
    path = interpolate(first, last, spec, [0.0, 0.3, 1.0])
    np.testing.assert_array_equal(path[0], first)
    np.testing.assert_array_equal(path[2], last)
    assert path.dtype == np.float32


def test_uniform_noise_and_all_codes_go_straight():
    for spec in SPECS.values():
        first, last = spec.sample(2, seed=4)
        path = interpolate(first, last, spec, [0.25])
        straight = 0.75 * first + 0.25 * last
        held = slice(spec.noise_dim, None) if spec is SPECS["normal"] else slice(None)
        np.testing.assert_allclose(path[0, held], straight[held], atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**64 - 1), weight=st.floats(0, 1))
def test_normal_noise_keeps_its_norm_and_turns_evenly(seed, weight):
    spec = LatentSpec(Noise(6, "normal"))
    ends = spec.sample(2, seed=seed).astype(np.float64)
    first, last = ends / np.linalg.norm(ends, axis=1, keepdims=True)
    (between,) = interpolate(first, last, spec, [weight])
    assert np.linalg.norm(between) == pytest.approx(1, abs=1e-5)
    whole = np.arccos(np.clip(first @ last, -1, 1))
    turned = np.arctan2(
        np.linalg.norm(between - first * (between @ first)), between @ first
    )
    assert turned == pytest.approx(weight * whole, abs=1e-4)


@pytest.mark.filterwarnings("error")
def test_where_there_is_no_one_arc_normal_noise_goes_straight():
    spec, z = LatentSpec(Noise(3, "normal")), np.array([1.0, 2.0, 3.0])
    for last in (z, 2 * z, -z, 0 * z):
        path = interpolate(z, last, spec, [0.5])
        np.testing.assert_allclose(path[0], (z + last) / 2, atol=1e-6)


def test_an_end_is_one_latent_of_the_model():
    two = SPEC.sample(2)
    with pytest.raises(CodeError, match="one latent, got 2 and 1"):
        interpolate(two, two[0], SPEC, [0.5])
    with pytest.raises(CodeError, match=r"\(n, 12\)"):
        interpolate(two[0, :3], two[0], SPEC, [0.5])
