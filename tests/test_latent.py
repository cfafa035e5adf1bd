"""Laws of the seeded stream and of the latent specification."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infogan_export import philox
from infogan_export.errors import CodeError, UsageError
from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode

GOLDEN = Path(__file__).parent / "data" / "golden_latents.json"
SPEC = LatentSpec(
    Noise(5),
    (
        CategoricalCode("shape", 3, labels=("bar", "dash", "cross")),
        UniformCode("slant"),
        CategoricalCode("style", 4),
        UniformCode("width", 0.0, 4.0),
    ),
)
SEEDS = st.integers(0, philox.MAX_SEED)


@st.composite
def specs(draw):
    names = draw(
        st.lists(st.from_regex(r"[a-z]{3,8}_[0-9]", fullmatch=True), unique=True)
    )
    codes = []
    for name in names:
        description = draw(st.text(max_size=20))
        if draw(st.booleans()):
            size = draw(st.integers(2, 12))
            label = st.text(min_size=1, max_size=6)
            labels = st.lists(label, min_size=size, max_size=size, unique=True)
            named = tuple(draw(labels)) if draw(st.booleans()) else ()
            codes.append(CategoricalCode(name, size, named, description))
        else:
            low = draw(st.floats(-1e6, 1e6))
            high = low + draw(st.floats(0.5, 1e6))
            sweep = draw(st.sampled_from([(None, None), (low - 1, high + 1)]))
            codes.append(UniformCode(name, low, high, *sweep, description))
    distribution = draw(st.sampled_from(["uniform", "normal"]))
    return LatentSpec(Noise(draw(st.integers(1, 70)), distribution), tuple(codes))


# --- the stream of random words -----------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_passes_the_test_vectors_of_random123(counter, key, expected):
    def words(text):
        return np.array([int(word, 16) for word in text.split()], dtype=np.uint32)

    found = philox.philox4x32(words(counter)[None], words(key))
    np.testing.assert_array_equal(found[0], words(expected))


def scalar_word(seed, index, purpose, position):
    """The definition once more, in whole numbers alone, as another language has it."""
    block, lane = divmod(position, 4)
    c, k = [block, index, purpose, 1], [seed % 2**32, seed // 2**32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        high_p, high_q = p >> 32, q >> 32
        c = [high_q ^ c[1] ^ k[0], q % 2**32, high_p ^ c[3] ^ k[1], p % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c[lane]


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(0, philox.MAX_INDEX), st.integers(0, 3), st.integers(0, 99))
def test_a_word_depends_on_its_seed_index_purpose_and_position(s, i, purpose, j):
    found = philox.words(s, i, 1, j + 1, purpose)
    assert found[0, j] == scalar_word(s, i, purpose, j)


def test_latents_are_the_golden_ones_bit_for_bit():
    for entry in json.loads(GOLDEN.read_text())["specs"]:
        spec = LatentSpec.from_dict(entry["spec"])
        for case in entry["cases"]:
            drawn = spec.sample(1, seed=int(case["seed"]), start=case["index"])
            np.testing.assert_array_equal(
                drawn[0], np.array(case["latent"], dtype=np.float32)
            )


def test_uniform_words_are_exact_in_float32_and_never_0_or_1():
    edges = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1], dtype=np.uint32)
    drawn = philox.to_uniform(np.append(edges, philox.words(3, 0, 10**5, 1, 0)))
    assert (np.abs(drawn) < 1).all()
    assert (drawn != 0).all()
    np.testing.assert_array_equal(drawn, drawn.astype(np.float32))


def test_normal_words_are_the_inverse_of_the_normal_distribution():
    ends = np.array([0, 255, 256, 2**31, 2**32 - 1], dtype=np.uint32)
    drawn = np.append(ends, philox.words(1, 0, 2000, 1, 0)[:, 0])
    inverse = NormalDist().inv_cdf
    expected = [inverse((u + 1) / 2) for u in philox.to_uniform(drawn)]
    np.testing.assert_allclose(philox.to_normal(drawn), expected, rtol=1e-13)


def test_categories_are_equally_likely():
    drawn = philox.to_category(philox.words(0, 0, 10**5, 1, 1), 10)
    counts = np.bincount(drawn.ravel(), minlength=10)
    chi_square = ((counts - 10**4) ** 2 / 10**4).sum()
    assert chi_square < 27.9  # 0.1% of fair draws of 9 degrees of freedom exceed it


def test_categories_come_as_often_as_their_shares_and_one_without_never():
    shares = (0.5, 0.0, 0.3, 0.2)
    code = CategoricalCode("kind", 4, shares=shares)
    drawn = LatentSpec(Noise(1), (code,)).sample(10**5, seed=4)[:, 1:]
    assert drawn[:, 1].sum() == 0
    np.testing.assert_allclose(drawn.mean(axis=0), shares, atol=0.005)
    edges = np.array([0, 2**31 - 1, 2**31, 2**32 - 1], dtype=np.uint32)
    assert philox.to_share(edges, shares).tolist() == [0, 0, 2, 3]
    assert code.entropy == pytest.approx(1.0297, abs=1e-4)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.6, -0.1), (0.5, 0.4, 0.0)])
def test_shares_that_are_no_distribution_are_refused(shares):
    with pytest.raises(CodeError, match="needs 3 shares, not negative, that sum to 1"):
        CategoricalCode("kind", 3, shares=shares)


def test_columns_of_a_latent_are_uncorrelated():
    spec = LatentSpec(Noise(20, "normal"), (UniformCode("a"), UniformCode("b")))
    correlation = np.corrcoef(spec.sample(20_000, seed=9).T)
    assert np.abs(correlation - np.eye(spec.dim)).max() < 0.04


# --- one latent for one seed and index ----------------------------------------


@settings(deadline=None, max_examples=50)
@given(specs(), SEEDS, st.integers(0, 10**6), st.integers(0, 9), st.integers(0, 9))
def test_a_row_does_not_depend_on_count_or_start(spec, seed, start, before, after):
    many = spec.sample(before + 1 + after, seed=seed, start=start)
    one = spec.sample(1, seed=seed, start=start + before)
    np.testing.assert_array_equal(many[before], one[0])
    assert many.dtype == np.float32
    assert many.shape == (before + 1 + after, spec.dim)


def test_another_process_draws_the_same():
    program = (
        "import sys; from infogan_export.latent import *; sys.stdout.write(LatentSpec("
        "Noise(5, 'normal'), (UniformCode('a'),)).sample(9, seed=7).tobytes().hex())"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    here = LatentSpec(Noise(5, "normal"), (UniformCode("a"),)).sample(9, seed=7)
    assert there.stdout == here.tobytes().hex()


def test_no_images_are_no_rows():
    assert SPEC.sample(0).shape == (0, SPEC.dim)
    assert LatentSpec(Noise(3)).sample(0).shape == (0, 3)


def test_numpy_integers_are_seeds_too():
    for kind in (np.int64, np.uint64, np.uint8):
        drawn = SPEC.sample(2, seed=kind(200), start=kind(3))
        np.testing.assert_array_equal(drawn, SPEC.sample(2, seed=200, start=3))


@pytest.mark.parametrize(
    "bad",
    [{"seed": -1}, {"seed": 2**64}, {"start": -1}, {"start": 2**32}, {"count": -1}],
)
def test_seeds_and_indices_outside_the_stream_are_refused(bad):
    with pytest.raises(UsageError, match="from 0 to 2"):
        SPEC.sample(**({"count": 1} | bad))


@settings(deadline=None, max_examples=50)
@given(specs())
def test_samples_lie_within_the_prior(spec):
    latents = spec.sample(50)
    for code in spec.codes:
        drawn = latents[:, spec.columns(code.name)]
        if isinstance(code, CategoricalCode):
            assert set(np.unique(drawn)) == {0, 1}
            assert (drawn.sum(axis=1) == 1).all()
        else:
            assert np.float32(code.low) <= drawn.min()
            assert drawn.max() <= np.float32(code.high)


# --- the specification --------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(specs())
def test_a_specification_survives_json(spec):
    assert LatentSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@settings(deadline=None, max_examples=50)
@given(specs())
def test_columns_cover_a_latent_once(spec):
    slices = [spec.columns(name) for name in ("noise", *(c.name for c in spec.codes))]
    covered = np.concatenate([np.arange(spec.dim)[s] for s in slices])
    np.testing.assert_array_equal(covered, np.arange(spec.dim))
    z, c = spec.split(spec.sample(2))
    assert (z.shape, c.shape) == ((2, spec.noise_dim), (2, spec.code_dim))


def test_aliases_name_codes_by_kind_and_order():
    names = {"cat": "shape", "cat1": "shape", "cat2": "style"}
    names |= {"cont": "slant", "cont1": "slant", "cont2": "width", "width": "width"}
    assert {alias: SPEC[alias].name for alias in names} == names


@pytest.mark.parametrize("name", ["cat3", "cont0", "slnt", "", "noise"])
def test_an_unknown_code_is_named_beside_those_there_are(name):
    with pytest.raises(CodeError, match=f"{name!r}.*this model has shape, slant, st"):
        SPEC[name]


def test_an_unknown_code_is_told_its_nearest():
    with pytest.raises(CodeError, match=r"'slnt' .did you mean 'slant'"):
        SPEC["slnt"]


@pytest.mark.parametrize("code", SPEC.codes, ids=lambda code: code.name)
def test_entropy_is_its_monte_carlo_estimate(code):
    drawn = code.draw(philox.words(5, 0, 200_000, 1, 0)[:, 0])
    if isinstance(code, CategoricalCode):
        p, cell = drawn.mean(axis=0), 1.0
    else:
        counts, edges = np.histogram(drawn, bins=50, range=(code.low, code.high))
        p, cell = counts / counts.sum(), edges[1] - edges[0]
    estimate = -(p * np.log(p / cell)).sum()
    assert code.entropy == pytest.approx(estimate, abs=2e-3)


def test_specifications_that_cannot_be_are_refused():
    uniform, categorical = UniformCode, CategoricalCode
    for make, match in [
        (lambda: Noise(0), "at least 1, got 0"),
        (lambda: Noise(3, "cauchy"), "'cauchy'.*uniform, normal"),
        (lambda: categorical("digit", 1), "'digit'.*at least 2, got 1"),
        (lambda: categorical("digit", 3.0), "'digit'.*got 3.0"),
        (lambda: categorical("digit", 2, ("a", "a")), "2 different labels, got a, a"),
        (lambda: categorical("digit", 2, ("a", "a", "b")), "2 different labels"),
        (lambda: uniform("slant", 1.0, 1.0), "'slant'.*low=1, high=1"),
        (lambda: uniform("slant", 0.0, math.nan), "'slant'.*high=nan"),
        (lambda: uniform("slant", sweep_low=2.0), "'slant'.*low=2, high=2"),
        (lambda: uniform("two words"), "'two words'"),
        (lambda: uniform("seed"), "'seed'"),
        (lambda: uniform("cat"), "'cat'"),
        (lambda: LatentSpec(Noise(1), (uniform("a"), uniform("a"))), "two .*'a'"),
        (
            lambda: LatentSpec(Noise(1), (uniform("a"), uniform("cont1"))),
            "'cont1'.*another name of 'a'",
        ),
    ]:
        with pytest.raises(CodeError, match=match):
            make()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"noise": {"size": 3}},
        {"noise": {"size": 3}, "codes": None},
        {"noise": {"size": "3"}, "codes": []},
        {"noise": {"size": 3, "colour": "pink"}, "codes": []},
        {"noise": {"size": 3}, "codes": ["slant"]},
        {"noise": {"size": 3}, "codes": [{"name": "slant"}]},
        {"noise": {"size": 3}, "codes": [{"kind": "gamma", "name": "slant"}]},
        {"noise": {"size": 3}, "codes": [{"kind": "uniform", "name": 5}]},
        {"noise": {"size": 3}, "codes": [{"kind": "uniform", "name": "a", "low": ""}]},
    ],
)
def test_what_is_no_specification_is_refused(data):
    with pytest.raises(CodeError):
        LatentSpec.from_dict(data)


def test_renaming_keeps_the_layout():
    codes = (CategoricalCode("letter", 3), UniformCode("lean"), *SPEC.codes[2:])
    renamed = SPEC.rename(codes)
    assert renamed.codes == codes
    assert renamed.columns("lean") == SPEC.columns("slant")
    for wrong in (codes[:3], codes[::-1], (CategoricalCode("letter", 4), *codes[1:])):
        with pytest.raises(CodeError, match="kind or size"):
            SPEC.rename(wrong)


# --- values of codes ----------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([code.name for code in SPEC.codes]), SEEDS)
def test_assign_changes_only_the_named_code(name, seed):
    latents = SPEC.sample(3, seed=seed)
    before = latents.copy()
    changed = SPEC.assign(latents, {name: 2})
    columns = SPEC.columns(name)
    np.testing.assert_array_equal(latents, before)
    np.testing.assert_array_equal(
        np.delete(changed, columns, axis=1), np.delete(latents, columns, axis=1)
    )
    np.testing.assert_array_equal(changed[:, columns], [SPEC[name].encode(2)] * 3)


def test_one_value_holds_for_all_rows_and_a_row_of_values_for_one_each():
    latents = SPEC.sample(3)
    each = SPEC.assign(latents, {"cat": ["cross", "bar", "dash"], "slant": [1, 2, 3]})
    assert each[:, SPEC.columns("cat")].argmax(axis=1).tolist() == [2, 0, 1]
    assert each[:, SPEC.columns("slant")].ravel().tolist() == [1, 2, 3]
    for same in ("cross", 2, 2.0, "2", [2], np.int64(2), [0.0, 0.0, 1.0]):
        all_rows = SPEC.assign(latents, {"shape": same})[:, SPEC.columns("shape")]
        np.testing.assert_array_equal(all_rows, [[0, 0, 1]] * 3)


def test_mixtures_are_kept_as_they_are():
    weights = np.array([[0.5, 0.5, 0], [0.2, 0.3, 0.5], [0, 0, 1]])
    latents = SPEC.assign(SPEC.sample(3), {"cat": weights})
    np.testing.assert_allclose(latents[:, SPEC.columns("cat")], weights, rtol=1e-6)
    one = SPEC.assign(SPEC.sample(2), {"cat": weights[1]})
    np.testing.assert_allclose(one[:, SPEC.columns("cat")], [weights[1]] * 2, 1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("slant", math.nan, "nan"),
        ("slant", [0, math.inf, 0], "inf"),
        ("slant", 1e300, "1e.300"),
        ("slant", "left", "'left'"),
        ("slant", [1, 2], r"\[1, 2\]"),
        ("slant", [[1, 2, 3]] * 3, r"\(3, 3\)|\[\[1"),
        ("shape", 3, "0 to 2, got 3"),
        ("shape", -1, "0 to 2, got -1"),
        ("shape", [0, 1, 7], "0 to 2, got 7"),
        ("shape", "7", "0 to 2, got 7"),
        ("shape", 1e300, "0 to 2, got 1e.300"),
        ("shape", 2**70, str(2**70)),
        ("shape", "9" * 30, "9" * 30),
        ("shape", "crss", "did you mean 'cross'"),
        ("shape", b"bar", "b'bar'"),
        ("shape", 0.5, "0.5"),
        ("shape", math.nan, "nan"),
        ("shape", True, "True"),
        ("shape", None, "None"),
        ("shape", [], r"\[\]"),
        ("shape", [0.5, 0.6, 0.0], "sum to 1, got .0.5, 0.6"),
        ("shape", [1.5, -0.5, 0.0], "not negative.*1.5, -0.5"),
        ("shape", [math.nan, 0.5, 0.5], "nan"),
        ("shape", [0.5, 0.5], r"\[0.5, 0.5\]"),
        ("shape", [0, 1], r"\[0, 1\]"),
    ],
)
def test_a_bad_value_is_named_with_its_code(name, value, told):
    with pytest.raises(CodeError, match=told) as caught:
        SPEC.assign(SPEC.sample(3), {name: value})
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*ragged")  # numpy before 1.24 only warns
def test_a_ragged_value_is_refused():
    for name in ("shape", "slant"):
        with pytest.raises(CodeError, match=name):
            SPEC[name].encode([[1], [1, 2]])


def test_a_code_cannot_be_set_twice_under_two_names():
    with pytest.raises(CodeError, match="'shape' is set twice, as 'cat' and as 'sha"):
        SPEC.assign(SPEC.sample(1), {"cat": 1, "shape": 2})


def test_count_is_the_length_that_values_share():
    assert SPEC.count({}) is None
    assert SPEC.count({"cat": 1, "slant": [0.5]}) is None
    assert SPEC.count({"cat": [0.5, 0.5, 0.0]}) is None
    assert SPEC.count({"cat": [0, 1], "slant": 0.5, "width": [1, 2]}) == 2
    assert SPEC.count({"cat": np.eye(3)}) == 3
    with pytest.raises(CodeError, match="cat has 2, slant has 3"):
        SPEC.count({"cat": [0, 1], "slant": [1, 2, 3]})
    with pytest.raises(CodeError, match="'slant'"):
        SPEC.count({"slant": [[1, 2], [3, 4]]})


@pytest.mark.filterwarnings("error")
def test_validate_takes_latents_of_the_right_shape_and_finite():
    latents = SPEC.sample(2)
    np.testing.assert_array_equal(SPEC.validate(latents.tolist()), latents)
    assert SPEC.validate(latents[0]).shape == (1, SPEC.dim)
    wrong = {"3": 3.0, "(2, 2)": np.zeros((2, 2)), "numbers": "abc", "(1, 1": [[[1]]]}
    for value in wrong.values():
        with pytest.raises(CodeError, match="latents"):
            SPEC.validate(value)
    for value in (math.nan, math.inf, 1e300):
        bad = latents.astype(np.float64)
        bad[1, 3] = value
        with pytest.raises(CodeError, match="row 1 holds NaN or infinity"):
            SPEC.validate(bad)
