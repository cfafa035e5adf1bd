"""Names from evidence, the evaluation of a model, its report and its command."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

from infogan_export.evaluation import association as assoc
from infogan_export.evaluation import naming
from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode

SPEC = LatentSpec(
    Noise(2),
    (CategoricalCode("digit", 3), UniformCode("cont1"), UniformCode("cont2")),
)


def draw_strokes(latents, size=16):
    """Leaning bars: the first code thins them, the second makes them lean right.

    The category is the bar's length, the noise its place.
    """
    y, x = np.mgrid[:size, :size].astype(float)
    images = []
    for z1, _, *one_hot, thin, lean in latents.astype(float):
        half = 4 + np.argmax(one_hot)
        up = size / 2 - y
        away = abs(x - size / 2 - z1 - 0.3 * lean * up) - (2 - 0.6 * thin)
        beyond = abs(up) - half
        images.append(np.clip(0.5 - np.maximum(away, beyond), 0, 1))
    return np.rint(255 * np.array(images)).astype(np.uint8)


# --- naming ------------------------------------------------------------------


def test_codes_are_called_after_what_they_change_with_its_sign():
    thin, lean = naming.describe_uniform_codes(draw_strokes, SPEC, count=300)
    assert (thin.code, thin.name, thin.sign) == ("cont1", "thickness", -1)
    assert (lean.code, lean.name, lean.sign) == ("cont2", "slant", 1)
    assert lean.correlations["slant"] > 0.99
    assert len(lean.by_category["slant"]) == 3
    assert lean.correlations["slant"] == pytest.approx(
        np.mean(lean.by_category["slant"])
    )


def test_two_codes_never_share_a_name_and_a_weak_one_keeps_its_own():
    none = dict.fromkeys(naming.PROPERTIES, 0.0)
    both = [none | {"ink": 0.9, "width": 0.8}, none | {"ink": -0.95}]
    assert naming.assign_names(["a", "b"], both) == ["width", "ink"]
    assert naming.assign_names(["a", "b"], [none, both[1]]) == ["a", "ink"]
    weak = none | {"slant": 0.59}
    assert naming.assign_names(["a"], [weak]) == ["a"]
    near = none | {"ink": 0.92, "thickness": 0.9}
    assert naming.assign_names(["a"], [near]) == ["thickness"]
    assert naming.assign_names([], []) == []


def test_renumbered_categories_are_their_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 400)
    read = rng.permutation(10)[labels]
    found = naming.order_categories(assoc.match_categories(read, labels, 10))
    assert (np.argsort(found.order)[read] == labels).all()
    assert found.labels == tuple("0123456789")


def test_a_category_without_a_class_of_its_own_is_marked_as_such():
    labels = np.array([0, 0, 0, 0, 1, 1])
    read = np.array([2, 2, 2, 1, 0, 0])  # two categories for class 0, no class 2
    found = naming.order_categories(assoc.match_categories(read, labels, 3))
    assert found.order == (2, 0, 1)
    assert found.labels == ("0", "1", "2?")
