"""Laws of the measures: properties, association, distances, information."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from infogan_export.errors import DataError, ModelError
from infogan_export.evaluation import strokes
from infogan_export.evaluation.judge import FORMAT_VERSION, Judge, JudgeReport
from infogan_export.latent import CategoricalCode

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

from infogan_export.evaluation import association as assoc
from infogan_export.evaluation import distances
from infogan_export.evaluation.information import (
    categorical_information,
    uniform_information,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def stroke(points, pen=2.5, size=28):
    """An anti-aliased line through (x, y) points, y downwards, with round ends."""
    y, x = np.mgrid[:size, :size].astype(float)
    distance = np.full((size, size), np.inf)
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)
        along = np.clip(along, 0, 1)
        distance = np.minimum(
            distance, np.hypot(x - x0 - along * dx, y - y0 - along * dy)
        )
    return np.uint8(255 * np.clip(pen / 2 + 0.5 - distance, 0, 1))


def s_curve(lean=0.0, wide=1.0, tall=1.0):
    t = np.linspace(0, 1, 24)
    up = tall * 18 * (0.5 - t)
    right = 4 * wide * np.sin(2 * np.pi * t) + lean * up
    return np.stack([13.5 + right, 13.5 - up], axis=1)


# --- properties --------------------------------------------------------------


def test_slant_is_positive_to_the_right_and_grows_by_the_shear():
    leans = np.linspace(-0.5, 0.5, 11)
    measured = strokes.slant(np.stack([stroke(s_curve(lean)) for lean in leans]))
    np.testing.assert_allclose(measured - measured[5], leans, atol=0.06)
    bars = np.stack(
        [stroke([(14 + 9 * lean, 5), (14 - 9 * lean, 23)]) for lean in leans]
    )
    np.testing.assert_allclose(strokes.slant(bars), leans, atol=0.05)


@pytest.mark.parametrize("shape", ["bar", "curve", "ring"])
def test_thickness_is_the_width_of_the_pen(shape):
    turn = np.linspace(0, 2 * np.pi, 32)
    points = {
        "bar": np.array([(6.3, 6.0), (21.0, 22.2)]),
        "curve": s_curve(),
        "ring": np.stack([14 + 8 * np.cos(turn), 14 + 8 * np.sin(turn)], axis=1),
    }[shape]
    pens = np.linspace(1.5, 6, 19)
    images = np.stack([stroke(points, pen) for pen in pens])
    measured = strokes.thickness(images)
    assert (np.diff(measured) > 0).all()
    assert np.corrcoef(measured, pens)[0, 1] > 0.998
    np.testing.assert_allclose(measured, pens, rtol=0.12)
    np.testing.assert_allclose(strokes.thickness(images // 2), measured, rtol=0.02)


def test_width_and_height_each_follow_their_own_stretch():
    scales = np.linspace(0.6, 1.2, 7)
    wide = np.stack([stroke(s_curve(wide=s), 2) for s in scales])
    tall = np.stack([stroke(s_curve(tall=s), 2) for s in scales])
    np.testing.assert_allclose(strokes.width(wide), 8 * scales + 2, atol=0.6)
    np.testing.assert_allclose(strokes.height(tall), 18 * scales + 2, atol=0.6)
    assert np.ptp(strokes.height(wide)) < 0.5
    assert np.ptp(strokes.width(tall)) < 0.5


def test_every_property_is_finite_without_ink_and_independent_of_the_batch(rng):
    images = rng.integers(0, 256, (300, 12, 10), dtype=np.uint8)
    blank = np.zeros((3, 12, 10), np.uint8)
    for name, measure in strokes.PROPERTIES.items():
        assert measure(blank).tolist() == [0, 0, 0], name
        assert measure(images[:0]).shape == (0,), name
        np.testing.assert_allclose(measure(images)[280:], measure(images[280:]))


# --- association -------------------------------------------------------------


def test_matching_undoes_any_permutation(rng):
    labels = rng.integers(0, 10, 500)
    label_of = rng.permutation(10)
    category_of = np.argsort(label_of)
    found = assoc.match_categories(category_of[labels], labels, 10)
    assert found.accuracy == 1
    assert (found.label_of == label_of).all()
    assert found.confusion[found.label_of].trace() == 500
    assert assoc.normalized_mutual_information(
        category_of[labels], labels
    ) == pytest.approx(1)
    assert assoc.adjusted_rand_index(category_of[labels], labels) == pytest.approx(1)


def test_matching_beats_every_other_naming_and_needs_not_use_all_labels():
    predicted = np.array([0, 0, 0, 1, 1, 2])
    labels = np.array([1, 1, 0, 1, 1, 0])
    found = assoc.match_categories(predicted, labels, 3)
    assert sorted(found.label_of) == [0, 1, 2]
    assert found.accuracy == pytest.approx(3 / 6)
    with pytest.raises(DataError, match="label 3 is out of range"):
        assoc.match_categories(predicted, labels + 2, 3)


def test_chance_has_no_association(rng):
    predicted, labels = rng.integers(0, 10, (2, 5000))
    assert abs(assoc.adjusted_rand_index(predicted, labels)) < 0.01
    assert assoc.normalized_mutual_information(predicted, labels) < 0.01


def test_rank_correlation_sees_order_only_and_within_groups(rng):
    x = rng.normal(size=200)
    groups = np.repeat([3, 7], 100)
    y = np.where(groups == 3, np.exp(x), 50 - x**3)
    assert assoc.rank_correlation(x, np.exp(x)) == pytest.approx(1)
    assert assoc.rank_correlation(x, np.ones(200)) == 0
    by_group = assoc.rank_correlation_by_group(x, y, groups)
    assert by_group == pytest.approx({3: 1.0, 7: -1.0})


# --- distances ---------------------------------------------------------------


def test_frechet_distance_is_the_closed_form_for_gaussians(rng):
    a = rng.normal(0, 1, (20000, 3)) * [1, 2, 3]
    b = rng.normal(0, 1, (20000, 3)) * [2, 2, 1] + [1, 0, 2]
    expected = (1 + 4) + (1 + 0 + 4)  # |mu|^2 + sum of (s_a - s_b)^2
    assert distances.frechet_distance(a, b) == pytest.approx(expected, rel=0.05)
    assert distances.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_stands_dead_features(rng):
    a = np.maximum(rng.normal(size=(50, 80)), 0).astype(np.float32)
    a[:, 40:] = 0  # fewer rows than features, and half of them never fire
    assert distances.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert distances.frechet_distance(a, a + 1) == pytest.approx(80, rel=1e-5)


def test_manifold_measures_of_like_and_of_distant_sets(rng):
    real, alike = rng.normal(100, 1, (2, 1500, 4)).astype(np.float32)
    manifold = distances.RealManifold(real)
    found = manifold.compare(alike)
    assert min(found.precision, found.recall, found.coverage) > 0.9
    assert found.density == pytest.approx(1, abs=0.05)
    nothing = distances.ManifoldMeasures(0, 0, 0, 0)
    assert manifold.compare(alike + np.float32(100)) == nothing


def test_a_collapsed_generator_is_precise_but_covers_little(rng):
    real = rng.normal(size=(1000, 4))
    found = distances.RealManifold(real).compare(0.05 * rng.normal(size=(1000, 4)))
    assert found.precision > 0.95
    assert found.recall < 0.05
    assert found.coverage < 0.1


def test_manifold_measures_agree_with_their_definition(rng):
    real, generated = rng.normal(size=(700, 3)), rng.normal(0.5, 1, size=(1100, 3))

    def apart(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    def reach(points, k):
        return np.sort(apart(points, points), axis=1)[:, k]

    cross = apart(generated, real)
    inside = cross <= reach(real, 5)
    expected = distances.ManifoldMeasures(
        precision=(cross <= reach(real, 3)).any(axis=1).mean(),
        recall=(reach(generated, 3) >= cross.T).any(axis=1).mean(),
        density=inside.sum() / 5 / 1100,
        coverage=inside.any(axis=0).mean(),
    )
    found = distances.RealManifold(real).compare(generated)
    assert asdict(found) == pytest.approx(asdict(expected))
    single = distances.RealManifold(real.astype(np.float32))
    close = single.compare(generated.astype(np.float32))
    assert close.density == pytest.approx(expected.density, rel=1e-3)


def test_nearest_finds_a_copy_among_many(rng):
    others = rng.uniform(size=(1200, 30)).astype(np.float32)
    points = others[[700, 3, 1100]] + np.float32(0.001)
    which, apart = distances.nearest(points, others)
    assert which.tolist() == [700, 3, 1100]
    np.testing.assert_allclose(apart, 0.001 * np.sqrt(30), atol=2e-3)


def test_too_few_images_are_an_error(rng):
    few, many = rng.normal(size=(3, 2)), rng.normal(size=(9, 2))
    with pytest.raises(DataError, match="at least 6 images"):
        distances.RealManifold(few)
    with pytest.raises(DataError, match="at least 4 images"):
        distances.RealManifold(many).compare(few)
    with pytest.raises(DataError, match="at least 2 images"):
        distances.frechet_distance(many[:1], many)


# --- information -------------------------------------------------------------


def test_a_perfect_category_carries_log_k_and_a_blind_guess_nothing(rng):
    categories = rng.integers(0, 10, 1000)
    perfect = np.where(np.eye(10)[categories] > 0, 0.0, -100.0)
    code = CategoricalCode("kind", 10)
    bound = categorical_information(perfect, categories, entropy=code.entropy)
    assert bound.nats == pytest.approx(math.log(10)) == bound.ceiling
    blind = np.full((1000, 10), -math.log(10))
    nothing = categorical_information(blind, categories, entropy=code.entropy)
    assert nothing.nats == pytest.approx(0)
    wrong = np.log(rng.dirichlet(np.ones(10), 1000))
    bound = categorical_information(wrong, categories, entropy=code.entropy)
    assert bound.high < 0


def test_a_continuous_code_is_bounded_by_the_channel_that_carried_it(rng):
    values = rng.uniform(-1, 1, 20000)
    # any guess that knows nothing: at best log 2 - log(2 pi e / 3) / 2 < 0
    for guess in (np.zeros(20000), rng.normal(size=20000)):
        assert uniform_information(values, guess, low=-1, high=1).high < 0
    noisy = values + rng.normal(0, 0.1, 20000)
    bound = uniform_information(values, noisy, low=-1, high=1)
    exact = math.log(2) - 0.5 * math.log(2 * math.pi * math.e * 0.01)
    assert bound.low < exact < bound.high
    assert bound.high - bound.low < 0.05
    # a change of units changes nothing
    scaled = uniform_information(30 * values, 30 * noisy, low=-30, high=30)
    assert scaled.nats == pytest.approx(bound.nats)


def test_the_interval_holds_the_truth_as_often_as_it_says(rng):
    exact, held = -0.5 * math.log(2 * math.pi * math.e * 0.04) + math.log(2), 0
    for _ in range(200):
        values = rng.uniform(-1, 1, 300)
        guess = values + rng.normal(0, 0.2, 300)
        bound = uniform_information(values, guess, low=-1, high=1)
        held += bound.low < exact < bound.high
    assert 180 <= held <= 199


# --- the judge ---------------------------------------------------------------


def test_a_judge_learns_and_its_file_says_what_it_knows(tmp_path):
    pytest.importorskip("torch")
    from infogan_export.datasets import ImageSet
    from infogan_export.evaluation.train_judge import train_judge

    bars = [stroke([(3, y), (12, y)], size=16) for y in (4, 8, 12)] * 40
    dots = [stroke([(8, y), (8, y + 0.1)], 4, size=16) for y in (4, 8, 12)] * 40
    images = np.stack(bars + dots)[..., None]
    shapes = ImageSet(images, np.repeat([0, 1], 120), "shapes")
    out = tmp_path / "judge.onnx"
    steps = []
    report = train_judge(
        shapes, shapes, out=out, epochs=6, progress=lambda *step: steps.append(step)
    )
    judge = Judge(out, batch_size=100)
    assert judge.report == report
    assert report.accuracy == 1
    assert (judge.predict(images[..., 0]) == shapes.labels).all()
    features = judge.features(images)
    assert features.shape == (240, 128)
    np.testing.assert_allclose(features[:1], judge.features(images[:1]), atol=1e-4)
    assert list(tmp_path.iterdir()) == [out]
    assert steps[-1] == (6, 6)
    with pytest.raises(DataError, match=r"\(16, 16, 1\)"):
        judge.predict(images[:, :8])


def test_a_judge_learns_from_mirrored_images_and_names_its_classes(tmp_path):
    pytest.importorskip("torch")
    from infogan_export.datasets import ImageSet
    from infogan_export.errors import UsageError
    from infogan_export.evaluation.train_judge import train_judge

    # Left and right are told apart on whole images, but not on mirrored ones.
    aside = np.zeros((100, 16, 16, 1), np.uint8)
    aside[::2, :, 2:5], aside[1::2, :, 11:14] = 255, 255
    sides = ImageSet(aside, np.arange(100) % 2, "sides")
    out, names = tmp_path / "judge.onnx", ("left", "right")

    def sureness(**options):
        train_judge(sides, sides, out=out, epochs=12, **options)
        return float(abs(np.diff(Judge(out).logits(aside))).mean())

    assert sureness(flip=True) < 0.5 * sureness(labels=names)
    assert Judge(out).report.labels == names
    with pytest.raises(UsageError, match="2 classes need 2 names, got 1: left"):
        train_judge(sides, sides, out=out, labels=names[:1])
    alone = ImageSet(aside[:1], np.zeros(1, int), "alone")
    with pytest.raises(DataError, match="at least 2 classes"):
        train_judge(alone, alone, out=out)


def test_what_is_no_judge_is_refused(tmp_path):
    text = tmp_path / "text.onnx"
    text.write_text("not a model")
    with pytest.raises(ModelError, match=r"text\.onnx"):
        Judge(text)
    with pytest.raises(ModelError, match="no judge at"):
        Judge(tmp_path / "absent.onnx")
    report = JudgeReport(0.99, "d", "a", "b", ("0", "1"), (28, 28, 1), 0, 1)
    assert JudgeReport.from_json(report.to_json()) == report
    later = report.to_json().replace(
        f'"format_version": {FORMAT_VERSION}', '"format_version": 99'
    )
    with pytest.raises(ModelError, match="format 99"):
        JudgeReport.from_json(later)


def test_measuring_needs_no_torch():
    modules = ["association", "distances", "information", "judge", "properties"]
    imports = "; ".join(f"import infogan_export.evaluation.{m}" for m in modules)
    block = "import sys; sys.modules['torch'] = sys.modules['onnx'] = None; "
    subprocess.run([sys.executable, "-c", block + imports], check=True)
