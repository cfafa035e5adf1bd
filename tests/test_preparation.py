"""Any picture a person has: what a model sees of it, and what is refused."""

from __future__ import annotations

import importlib.util
import re
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageDraw

import infogan_export
from infogan_export import DataError, InfoganError, Model, UsageError
from infogan_export.preparation import (
    MAX_PIXELS,
    connected,
    draws_strokes,
    prepare_files,
)
from infogan_export.subjects import FAR, distances

PHOTOS = Path(__file__).parents[1] / "benchmarks" / "photos.py"


@pytest.fixture(scope="module")
def mnist() -> Model:
    return infogan_export.load("mnist")


@pytest.fixture(scope="module")
def photos() -> ModuleType:
    spec = importlib.util.spec_from_file_location("photos", PHOTOS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seven(size: int = 300, ink: int = 30, paper: int = 220) -> Image.Image:
    """A dark 7 on light paper, off-centre."""
    picture = Image.new("L", (size, size), paper)
    points = [(0.3, 0.2), (0.6, 0.2), (0.42, 0.7)]
    line = [(size * x, size * y) for x, y in points]
    ImageDraw.Draw(picture).line(line, fill=ink, width=size // 18, joint="curve")
    return picture


def prepared(
    model: Model, picture: Image.Image, path: Path, **options: object
) -> np.ndarray:
    picture.save(path, **options)
    return prepare_files([path], model)[0].image


def test_what_a_model_draws_tells_what_it_is_to_see(
    mnist: Model, tiny: Path, colour: Path
) -> None:
    assert draws_strokes(mnist)
    assert not draws_strokes(infogan_export.load(tiny))
    assert not draws_strokes(infogan_export.load(colour))


def test_an_image_like_the_data_stays_as_it_is(mnist: Model, tmp_path: Path) -> None:
    images = mnist.sample(20, seed=2)
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    seen = prepare_files([tmp_path / f"{i}.png" for i in range(20)], mnist)
    assert (np.stack([each.image for each in seen]) == images).all()
    assert not any(each.said for each in seen)


def test_a_digit_is_as_large_and_central_as_the_data(
    mnist: Model, tmp_path: Path
) -> None:
    image = prepared(mnist, seven(), tmp_path / "a.png")
    rows, columns = np.nonzero(image)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    mass = image / image.sum()
    centre = [(mass * grid).sum() for grid in np.mgrid[:28, :28]]
    assert np.allclose(centre, 14, atol=0.6)
    assert image.max() == 255
    assert ((image > 20) & (image < 235)).any()  # grey edges


def test_the_same_digit_is_seen_in_any_form(mnist: Model, tmp_path: Path) -> None:
    """Polarity, size, place, depth, colour model, transparency, Exif."""
    picture = seven()
    pixels = np.asarray(picture)
    wide = Image.new("L", (500, 400), 220)
    wide.paste(picture, (150, 60))
    clear = Image.merge(
        "LA", [Image.new("L", picture.size), Image.fromarray(255 - pixels)]
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    forms = {
        "inverted.png": (Image.fromarray(255 - pixels), {}),
        "wide.png": (wide, {}),
        "shadow.png": (
            Image.fromarray((pixels * np.linspace(0.5, 1, 300)).astype(np.uint8)),
            {},
        ),
        "16bit.png": (Image.fromarray(pixels.astype(np.uint16) * 257), {}),
        "cmyk.jpg": (picture.convert("CMYK"), {"quality": 95}),
        "palette.png": (picture.convert("P"), {}),
        "clear.png": (clear, {}),
        "turned.jpg": (picture.transpose(Image.Transpose.ROTATE_90), {"exif": exif}),
        "large.jpg": (seven(3000), {}),
        "small.png": (seven(28), {}),
    }
    usual = prepared(mnist, picture, tmp_path / "usual.png").astype(float)
    for name, (form, options) in forms.items():
        image = prepared(mnist, form, tmp_path / name, **options)
        near = np.corrcoef(image.ravel(), usual.ravel())[0, 1]
        assert near > (0.7 if name == "small.png" else 0.9), (name, near)
        assert mnist.recognize(image)["digit"].category[0] == 7, name


def test_what_was_understood_is_told(mnist: Model, tmp_path: Path) -> None:
    seven().save(tmp_path / "a.png")
    said = prepare_files([tmp_path / "a.png"], mnist)[0].said
    assert "inverted" in said and "cropped" in said
    assert "grey" not in said
    seven().convert("RGB").save(tmp_path / "a.png")
    assert prepare_files([tmp_path / "a.png"], mnist)[0].said == said
    Image.merge("RGB", [seven(), seven(), Image.new("L", seven().size, 200)]).save(
        tmp_path / "a.png"
    )
    assert "made grey" in prepare_files([tmp_path / "a.png"], mnist)[0].said


def test_strokes_that_do_not_touch_are_one_digit_and_dirt_is_none(
    mnist: Model, tmp_path: Path
) -> None:
    picture = seven()
    draw = ImageDraw.Draw(picture)
    draw.line([(115, 135), (135, 135)], fill=30, width=12)  # the 7's own bar
    draw.ellipse((250, 250, 256, 256), fill=60)
    draw.rectangle((0, 0, 8, 300), fill=20)  # the table's edge
    image = prepared(mnist, picture, tmp_path / "a.png")
    rows = np.nonzero(image > 60)[0]
    assert np.ptp(rows) + 1 >= 18
    assert mnist.recognize(image)["digit"].category[0] == 7


def test_the_gap_in_a_digit_of_two_pieces_stays(mnist: Model, tmp_path: Path) -> None:
    picture = Image.new("L", (200, 200), 220)
    draw = ImageDraw.Draw(picture)
    for top, bottom in ((40, 80), (90, 180)):
        draw.rectangle((90, top, 104, bottom), fill=20)
    picture.save(tmp_path / "a.png")
    seen = prepare_files([tmp_path / "a.png"], mnist)[0]
    rows = np.flatnonzero(seen.image.any(axis=1))
    down = seen.image[rows[0] : rows[-1] + 1].max(axis=1)
    assert down.min() < 0.6 * 255  # a gap of a pixel and a third
    assert "cropped 15x141 at 90,40" in seen.said


def test_what_is_told_of_a_large_jpeg_is_true_of_the_file(
    mnist: Model, colour: Path, tmp_path: Path
) -> None:
    picture = Image.new("L", (4000, 3000), 220)
    ImageDraw.Draw(picture).rectangle((1900, 1000, 2050, 2000), fill=20)
    picture.save(tmp_path / "a.jpg")
    said = prepare_files([tmp_path / "a.jpg"], mnist)[0].said
    numbers = [int(number) for number in re.findall(r"\d+", said)]
    np.testing.assert_allclose(numbers, [151, 1001, 1900, 1000], atol=20)
    each = prepare_files([tmp_path / "a.jpg"], infogan_export.load(colour))[0]
    assert "of 4000x3000" in each.said


@pytest.mark.parametrize("name", ["0a", "2b", "4a", "6a", "8b"])
def test_a_phone_photo_is_read(
    mnist: Model, photos: ModuleType, tmp_path: Path, name: str
) -> None:
    photos.write(tmp_path / "photo.jpg", name, 1000, 750)
    image = prepare_files([tmp_path / "photo.jpg"], mnist)[0].image
    assert mnist.recognize(image)["digit"].category[0] == int(name[0])


def test_other_models_see_the_middle(colour: Path, tmp_path: Path) -> None:
    pixels = np.zeros((80, 400, 3), np.uint8)
    pixels[:, 140:260] = (255, 0, 0)  # 80 x 120 in the middle, the model's 8 x 12
    Image.fromarray(pixels).save(tmp_path / "a.png")
    each = prepare_files([tmp_path / "a.png"], infogan_export.load(colour))[0]
    assert (each.image == (255, 0, 0)).all()
    assert "120x80" in each.said


@pytest.mark.parametrize("seed", range(5))
def test_connected_pieces_are_those_of_a_flood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((17, 23)) < 0.35
    labels = connected(mask)
    assert ((labels > 0) == mask).all()
    seen = np.zeros_like(mask)
    for number in range(1, labels.max() + 1):
        flood = np.zeros_like(mask)
        flood[tuple(np.argwhere(labels == number)[0])] = True
        while True:
            around = np.pad(flood, 1)
            grown = mask & np.any(
                [around[i : i + 17, j : j + 23] for i in range(3) for j in range(3)],
                axis=0,
            )
            if (grown == flood).all():
                break
            flood = grown
        assert ((labels == number) == flood).all()
        seen |= flood
    assert (seen == mask).all()


# --- bad input ---------------------------------------------------------------


def _noisy(level: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(
        rng.normal(level, 6, (200, 200)).clip(0, 255).astype(np.uint8)
    )


def _two() -> Image.Image:
    picture = Image.new("L", (600, 300), 220)
    picture.paste(seven(), (0, 0))
    picture.paste(seven(), (250, 0))
    return picture


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _header(width: int, height: int) -> bytes:
    """The beginning of a PNG: what decides whether the rest is read."""
    size = struct.pack(">II", width, height) + bytes([8, 0, 0, 0, 0])
    chunks = ((b"IHDR", size), (b"IDAT", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _animation() -> bytes:
    frames = [seven(60), seven(60, ink=60)]
    return _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


BAD: dict[str, tuple[Callable[[], bytes], type[InfoganError], str]] = {
    "blank": (lambda: _encoded(_noisy(220), "PNG"), UsageError, "no digit"),
    "black": (lambda: _encoded(Image.new("L", (28, 28)), "PNG"), UsageError, "black"),
    "two": (lambda: _encoded(_two(), "PNG"), UsageError, "2 digits"),
    "1x1": (lambda: _encoded(Image.new("L", (1, 1)), "PNG"), UsageError, "1 x 1"),
    "huge": (
        lambda: _header(20_000, 20_000),
        DataError,
        f"{MAX_PIXELS // 10**6} million",
    ),
    "large": (
        lambda: _header(9000, 9000),
        DataError,
        "9000 x 9000",
    ),
    "cut": (lambda: _encoded(seven(), "JPEG")[:1500], DataError, "truncated"),
    "text": (lambda: b"no picture\n", DataError, "no image"),
    "empty": (lambda: b"", DataError, "no image"),
    "moving": (_animation, DataError, "2 frames"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_one_clear_line(
    mnist: Model, tmp_path: Path, name: str
) -> None:
    content, kind, said = BAD[name]
    path = tmp_path / "bad.picture"
    path.write_bytes(content())
    with pytest.raises(kind, match=said) as raised:
        prepare_files([path], mnist)
    assert "bad.picture" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(mnist: Model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.png.*no such file"):
        prepare_files([tmp_path / "nothing.png"], mnist)


def test_an_image_far_from_the_data_is_told_by_how_far(encoded: Path) -> None:
    model = infogan_export.load(encoded)
    near = distances(model, model.invert(model.sample(3)))
    static = np.random.default_rng(0).integers(0, 256, (1, 8, 8), dtype=np.uint8)
    far = distances(model, model.invert(static))
    assert near is not None and near.max() < FAR
    assert far is not None and far[0] > 100
