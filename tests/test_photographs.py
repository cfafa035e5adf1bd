"""Laws of what is measured in photographs, and of the names that it gives."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from infogan_export.cli import main

pytest.importorskip("scipy")

from infogan_export import load
from infogan_export.cards import model_card
from infogan_export.errors import UsageError
from infogan_export.evaluation import information, naming
from infogan_export.evaluation.judge import Judge, JudgeReport
from infogan_export.evaluation.photographs import PROPERTIES
from infogan_export.evaluation.properties import family
from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode

DOWN, ACROSS = np.mgrid[-1:1:48j, -1:1:48j]


def face(right=0.0, up=0.0, wide=1.0, light=0.0, top=0.0, level=120.0, sharp=1.0):
    """A grey head with eyes, nose and mouth on a black ground, as grey levels."""
    x, y = (ACROSS - right) / wide, DOWN + up

    def blob(place, size):
        return np.exp(
            -(((x - place[0]) / size[0]) ** 2) - ((y - place[1]) / size[1]) ** 2
        )

    image = 70 / (1 + np.exp(12 * (np.hypot(x / 0.8, y / 1.1) - 1)))
    image -= 60 * (blob((-0.33, -0.28), (0.16, 0.1)) + blob((0.33, -0.28), (0.16, 0.1)))
    image += 20 * blob((0, 0.05), (0.1, 0.15)) - 45 * blob((0, 0.6), (0.3, 0.09))
    return level + sharp * (image + 30 * light * ACROSS - 30 * top * DOWN)


def measured(name, faces):
    images = np.rint(np.clip(np.stack(faces), 0, 255)).astype(np.uint8)
    return PROPERTIES[name](images)


CHANGES = {  # what moves which property, from least to most
    "pose": [{"right": x} for x in (-0.2, -0.1, 0, 0.1, 0.2)],
    "height": [{"up": x} for x in (-0.2, -0.1, 0, 0.1, 0.2)],
    "width": [{"wide": x} for x in (0.8, 0.9, 1, 1.1, 1.2)],
    "lighting": [{"light": x} for x in (-1, -0.5, 0, 0.5, 1)],
    "toplight": [{"top": x} for x in (-1, -0.5, 0, 0.5, 1)],
    "brightness": [{"level": x} for x in (100, 110, 120, 130, 140)],
    "contrast": [{"sharp": x} for x in (0.6, 0.8, 1, 1.1, 1.2)],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_property_rises_with_what_it_measures(name):
    found = measured(name, [face(**change) for change in CHANGES[name]])
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(
    ("name", "change"),
    [("pose", "turn")]
    + [(one, one) for one in ("lighting", "toplight", "brightness", "contrast")],
)
def test_a_guided_change_moves_what_its_code_is_to_be_called(name, change):
    torch = pytest.importorskip("torch")
    from infogan_export.training.config import Guidance
    from infogan_export.training.photography import rephotograph

    images = torch.from_numpy(np.float32(np.stack([face()] * 60) / 255))[:, None]
    size = Guidance(**{change: 0.1, "brightness" if change == "turn" else "turn": 0.05})
    rephotographed, drawn = rephotograph(images, size, np.random.default_rng(0))
    amounts = dict(zip(size.changes, drawn.numpy().T, strict=True))
    grey = 255 * rephotographed[:, 0].numpy()
    assert np.corrcoef(measured(name, grey), amounts[change])[0, 1] > 0.9


@pytest.mark.parametrize("change", ["light", "top", "level", "sharp"])
def test_pose_height_and_width_do_not_see_light(change):
    faces = [
        face(**{change: x}) for x in ((90, 150) if change == "level" else (0.7, 1))
    ]
    for name in ("pose", "height", "width"):
        low, high = measured(name, faces)
        assert high == pytest.approx(low, abs=0.02), name


def test_a_mirror_turns_left_into_right_and_nothing_else():
    noise = np.random.default_rng(0).normal(0, 25, (20, 48, 48))
    images = np.uint8(np.clip(face(right=0.1, light=0.4) + noise, 0, 255))
    for name, measure in PROPERTIES.items():
        sign = -1 if name in ("pose", "lighting") else 1
        np.testing.assert_allclose(
            measure(images[:, :, ::-1]), sign * measure(images), atol=1e-9
        )


def test_every_property_is_finite_of_any_size_and_independent_of_the_batch():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 16, 12), dtype=np.uint8)
    for name, measure in PROPERTIES.items():
        blank = measure(np.full((2, 16, 12), 80, np.uint8))
        assert np.isfinite(blank).all(), name
        assert measure(images[:0]).shape == (0,), name
        np.testing.assert_allclose(measure(images)[280:], measure(images[280:]))


# --- names by what a code moves ----------------------------------------------

SPEC = LatentSpec(
    Noise(3, "normal"),
    (CategoricalCode("cat1", 2), *(UniformCode(f"cont{k}") for k in (1, 2, 3, 4))),
)


def draw_faces(latents):
    """cont1 turns left, cont2 lights, cont3 lights a little less, cont4 nothing."""
    drawn = []
    for z, *_, turn, light, less, _ in latents.astype(float):
        drawn.append(face(right=0.02 * z - 0.1 * turn, light=0.3 * light + 0.2 * less))
    return np.rint(np.clip(np.stack(drawn), 0, 255)).astype(np.uint8)


@pytest.fixture(scope="module")
def deviations():
    rng = np.random.default_rng(1)
    faces = [
        face(*rng.normal(0, 0.05, 2), 1, *rng.normal(0, 0.3, 2), rng.normal(120, 10))
        for _ in range(100)
    ]
    images = np.rint(np.clip(np.stack(faces), 0, 255)).astype(np.uint8)
    return family("photographs").deviations(images)


def test_codes_are_called_after_what_they_move_most_in_real_deviations(deviations):
    turn, light, less, none = naming.describe_uniform_codes(
        draw_faces,
        SPEC,
        properties=PROPERTIES,
        deviations=deviations,
        count=110,
        steps=11,
    )
    assert (turn.name, turn.sign) == ("pose", -1)
    assert turn.shifts["pose"] < -1
    assert turn.correlations["pose"] < -0.99
    assert turn.others == pytest.approx(turn.shifts["lighting"] / turn.shifts["pose"])
    assert (light.name, light.sign) == ("lighting", 1)
    assert (less.name, less.strongest) == ("cont3", "lighting")
    assert none.name == "cont4"


def test_the_stronger_keeps_a_name_and_an_unclear_code_its_own():
    rho = {"pose": 0.95, "lighting": 0.95}
    shifts = [
        {"pose": 1.5, "lighting": 1.2},
        {"pose": -2.5, "lighting": 2.0},
        {"pose": 0.2, "lighting": 0.9},
        {"pose": 0.1, "lighting": -3.0},
    ]
    names = naming.names_by_shift(["a", "b", "c", "d"], [rho] * 4, shifts)
    assert names == ["a", "pose", "c", "lighting"]
    wavering = rho | {"pose": 0.3}
    assert naming.names_by_shift(["a"], [wavering], shifts[:1]) == ["a"]


def test_smile_is_the_probability_of_the_class_called_happy(monkeypatch):
    report = JudgeReport(0.6, "d", "a", "b", ("sad", "happy"), (48, 48, 1), 0, 1)
    judge = object.__new__(Judge)
    judge.report = report
    logits = np.array([[0, 0], [0, 2], [3, 0]], np.float32)
    monkeypatch.setattr(judge, "logits", lambda images: logits, raising=False)
    photographs_too = family("photographs").with_smile(judge)
    smile = photographs_too.measures["smile"](np.zeros((3, 48, 48), np.uint8))
    np.testing.assert_allclose(smile, 1 / (1 + np.exp([0, -2, 3])), rtol=1e-6)
    judge.report = replace(report, labels=("0", "1"))
    for given in (judge, None):
        assert "smile" not in family("photographs").with_smile(given).measures
    assert "smile" not in family("strokes").with_smile(judge).measures
    with pytest.raises(UsageError, match="did you mean 'photographs'"):
        family("photograph")


# --- what the model says of itself -------------------------------------------


def test_information_is_read_in_noisy_images_where_q_learned_from_such(tiny):
    plain = load(tiny)
    noisy = load(tiny)
    recipe = {**noisy.metadata.training, "recognition_noise": 0.1}
    about = replace(noisy.metadata, training=recipe)
    noisy._generator = replace(noisy._generator, metadata=about)
    latents = plain.latents(500)
    images = plain.draw(latents)

    def nats(model):
        read = information.read_with_noise(model, images)
        return information.information_by_code(latents, read)["slant"].nats

    assert nats(plain) > nats(noisy) + 0.1
    assert nats(noisy) == nats(noisy)


def test_a_notice_and_the_evidence_are_in_the_card(tiny, monkeypatch, capsys):
    from infogan_export import cards
    from infogan_export.metadata import ModelMetadata

    about = load(tiny).metadata
    metrics = {
        "shift/slant/pose": 0.4,
        "shift/slant/lighting": -2.1,
        "sweep_correlation/slant": 0.97,
        "rank_correlation/slant": 0.8,
    }
    told = replace(about, metrics=metrics, notice="Faces of people not asked.")
    assert ModelMetadata.from_json(told.to_json(), source="here") == told
    model = load(tiny)
    model._generator = replace(model._generator, metadata=told)
    monkeypatch.setattr(cards, "load", lambda name: model)
    (row,) = model_card(tiny)["evidence"]
    assert list(row["shifts"].items()) == [("lighting", -2.1), ("pose", 0.4)]
    with pytest.raises(SystemExit):
        main(["info", str(tiny)])
    shown = capsys.readouterr().out
    for word in ("people not asked", "lighting -2.1", "0.97", "pose +0.4"):
        assert word in shown
    with pytest.raises(SystemExit):
        main(["info", str(tiny), "--json"])
    assert json.loads(capsys.readouterr().out)["notice"] == told.notice
