"""Laws of the pictures: what is drawn, what is written, what a file remembers."""

from __future__ import annotations

import importlib.util
import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from rich.console import Console

from infogan_export.atomic import atomic_path, atomic_writer
from infogan_export.errors import MissingExtraError, OutputError, UsageError
from infogan_export.render import (
    ANIMATION_ENDINGS,
    IMAGE_ENDINGS,
    captioned,
    contact_sheet,
    cycle,
    ping_pong,
    read_provenance,
    save_animation,
    save_image,
    show,
    sway,
    write_sidecar,
)
from infogan_export.render.files import frame_delays
from infogan_export.render.sheet import _column_marks, _row_marks

HAS_FFMPEG = importlib.util.find_spec("imageio_ffmpeg") is not None
WRITABLE = tuple(e for e in ANIMATION_ENDINGS if HAS_FFMPEG or e != ".mp4")
RECORD = {"model": "mnist", "seed": 3, "note": 'a "quoted" é → ' + "long " * 200}


def pictures(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


# --- contact sheets


@given(
    n=st.integers(1, 7),
    columns=st.integers(1, 4),
    scale=st.integers(1, 3),
    padding=st.integers(0, 3),
    tail=st.sampled_from([(), (3,)]),
)
def test_every_cell_is_its_image(n, columns, scale, padding, tail):
    images = pictures(n, 5, 4, *tail)
    sheet = contact_sheet(images, columns=columns, scale=scale, padding=padding)
    rows = -(-n // columns)
    height, width = 5 * scale + padding, 4 * scale + padding
    assert sheet.shape[:2] == (rows * height + padding, columns * width + padding)
    assert sheet.shape[2:] == tail
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = row * height + padding, column * width + padding
        cell = sheet[top:, left:][: 5 * scale, : 4 * scale]
        assert (cell == enlarged(image, scale)).all()
        sheet[top:, left:][: 5 * scale, : 4 * scale] = 255
    assert (sheet == 255).all()


@pytest.mark.parametrize("side", [4, 12, 28, 60])
@pytest.mark.parametrize("background", [0, 255])
@pytest.mark.parametrize("label", ["7", "+1.20", "Ankle boot"])
def test_labels_frame_the_sheet_and_change_nothing_in_it(side, background, label):
    images = pictures(6, side, side)
    bare = contact_sheet(images, columns=3, background=background)
    full = contact_sheet(
        images,
        columns=3,
        background=background,
        row_labels=[label] * 2,
        column_labels=[label] * 3,
        title="A rather long title for so small a picture",
    )
    windows = np.lib.stride_tricks.sliding_window_view(full, bare.shape)[..., 2:4, 2:]
    found = np.argwhere((windows == bare[2:4, 2:]).all(axis=(2, 3)))
    assert len(found) == 1
    top, left = found[0]
    assert (full[top:, left:][: bare.shape[0], : bare.shape[1]] == bare).all()
    # Nothing is cut off: the outermost pixels are all background.
    rim = np.concatenate([full[0], full[-1], full[:, 0], full[:, -1]])
    assert (rim == background).all()
    assert (full[:top, left:] != background).any()
    assert (full[top:, :left] != background).any()


@given(
    pitch=st.integers(3, 80),
    labels=st.lists(st.sampled_from(["7", "+1.20", "Ankle boot", ""]), min_size=1),
)
def test_labels_never_touch_each_other(pitch, labels):
    for marks, axis in (
        (_column_marks(labels, 11, pitch, 2), 1),
        (_row_marks(labels, 11, pitch, 2), 0),
    ):
        starts = [(mark.top, mark.left)[axis] for mark in marks]
        ends = [
            start + mark.mask.shape[axis]
            for start, mark in zip(starts, marks, strict=True)
        ]
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_a_picture_too_large_for_its_format_says_which_is_not(tmp_path):
    long = np.zeros((1, 66_000), np.uint8)
    for ending in (".jpg", ".webp"):
        with pytest.raises(OutputError, match=r"at most \d+ pixels .* or PNG"):
            save_image(long, tmp_path / f"x{ending}")
    with pytest.raises(OutputError, match=r"at most 65535 pixels"):
        save_animation([long], tmp_path / "x.gif", fps=10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale must be at least 1, got 0"),
        ({"padding": -1}, "padding must be at least 0, got -1"),
        ({"columns": 0}, "columns must be at least 1, got 0"),
        ({"background": 256}, "got 256"),
        ({"background": (1, 2, 3)}, "one level"),
        ({"row_labels": ["a"]}, "2 row labels are needed"),
        ({"column_labels": []}, "2 column labels are needed"),
    ],
)
def test_wrong_sheets_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        contact_sheet(pictures(4, 3, 3), **{"columns": 2, **options})


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 3, 3)), np.zeros((3, 3), np.uint8), np.zeros((0, 3, 3), np.uint8)],
)
def test_what_is_not_pictures_is_refused(images):
    with pytest.raises(UsageError):
        contact_sheet(images, columns=1)


# --- still images


@pytest.mark.parametrize("ending", IMAGE_ENDINGS)
@pytest.mark.parametrize("tail", [(), (3,)])
def test_an_image_and_its_record_survive(tmp_path, ending, tail):
    picture = pictures(9, 7, *tail)
    path = tmp_path / f"x{ending.upper()}"
    save_image(picture, path, provenance=RECORD)
    assert read_provenance(path) == RECORD
    if ending not in (".jpg", ".jpeg"):
        with Image.open(path) as image:
            mode = "RGB" if tail else "L"
            assert (np.asarray(image.convert(mode)) == picture).all()
    first = path.read_bytes()
    save_image(picture, path, provenance=RECORD)
    assert path.read_bytes() == first


@pytest.mark.parametrize("ending", [".png", ".jpg"])  # WebP has a limit of its own
def test_a_record_is_read_whatever_the_size(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    save_image(pictures(9, 7), tmp_path / f"x{ending}", provenance=RECORD)
    assert read_provenance(tmp_path / f"x{ending}") == RECORD


def test_an_open_file_gets_png_or_gif():
    still, moving = io.BytesIO(), io.BytesIO()
    save_image(pictures(4, 4), still)
    save_animation(pictures(2, 4, 4), moving, fps=10)
    assert Image.open(still).format == "PNG"
    assert Image.open(moving).format == "GIF"


# --- animations


def decoded(path: Path, mode: str) -> tuple[np.ndarray, list[float]]:
    with Image.open(path) as image:
        frames = [
            (np.asarray(frame.convert(mode)), frame.info["duration"])
            for frame in ImageSequence.Iterator(image)
        ]
    return np.stack([f for f, _ in frames]), [d for _, d in frames]


@pytest.mark.parametrize("ending", [".gif", ".webp", ".apng", ".png"])
def test_grey_animations_keep_every_grey_level(tmp_path, ending):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    frames = np.stack([np.roll(ramp, k) for k in range(5)])
    path = tmp_path / f"x{ending}"
    save_animation(frames, path, fps=20)
    pixels, durations = decoded(path, "L")
    assert (pixels == frames).all()
    assert durations == [50] * 5


@pytest.mark.parametrize("ending", WRITABLE)
@pytest.mark.parametrize("tail", [(), (3,)])
def test_an_animation_is_the_same_bytes_and_keeps_its_record(tmp_path, ending, tail):
    frames = pictures(4, 13, 11, *tail)
    path = tmp_path / f"x{ending}"
    save_animation(iter(frames), path, fps=30, provenance=RECORD)
    assert read_provenance(path) == RECORD
    first = path.read_bytes()
    save_animation(frames, path, fps=30, provenance=RECORD)
    assert path.read_bytes() == first


def test_few_colours_stay_exact_in_a_colour_gif(tmp_path):
    palette = pictures(200, 3)
    frames = palette[np.random.default_rng(1).integers(0, 200, (3, 24, 24))]
    path = tmp_path / "x.gif"
    save_animation(frames, path, fps=10)
    assert (decoded(path, "RGB")[0] == frames).all()


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("ending", [".gif", ".webp", ".apng"])
def test_a_loop_is_for_ever_and_no_loop_is_once(tmp_path, ending, loop):
    path = tmp_path / f"x{ending}"
    save_animation(pictures(2, 8, 8), path, fps=10, loop=loop)
    with Image.open(path) as image:
        once = None if ending == ".gif" else 1
        assert image.info.get("loop") == (0 if loop else once)


@pytest.mark.skipif(not HAS_FFMPEG, reason="needs imageio-ffmpeg")
def test_mp4_has_even_sides_and_every_frame(tmp_path):
    import imageio.v3 as iio

    frames = np.repeat(np.arange(0, 250, 50, dtype=np.uint8), 13 * 11)
    path = tmp_path / "x.mp4"
    save_animation(frames.reshape(5, 13, 11), path, fps=12.5)
    pixels = iio.imread(path, plugin="FFMPEG")
    assert iio.immeta(path, plugin="FFMPEG")["fps"] == 12.5
    assert pixels.shape == (5, 14, 12, 3)
    assert np.abs(pixels.mean(axis=(1, 2, 3)) - np.arange(0, 250, 50)).max() < 3


def test_mp4_without_the_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtraError, match=r"infogan-export\[video\]"):
        save_animation(pictures(2, 4, 4), tmp_path / "x.mp4", fps=10)
    assert not list(tmp_path.iterdir())


@given(fps=st.floats(0.1, 50), n=st.integers(1, 200), tick=st.sampled_from([1, 10]))
def test_delays_add_up_to_the_rate(fps, n, tick):
    delays = list(itertools.islice(frame_delays(fps, tick=tick), n))
    assert abs(sum(delays) - 1000 * n / fps) <= tick / 2 + 1e-6
    assert all(delay % tick == 0 and delay >= 20 - tick for delay in delays)


@pytest.mark.parametrize(
    ("ending", "fps"), [(".gif", 51), (".gif", 0), (".webp", 61), (".apng", np.nan)]
)
def test_a_rate_no_player_keeps_is_refused(tmp_path, ending, fps):
    with pytest.raises(UsageError, match=f"{ending} plays 0.1 to"):
        save_animation(pictures(2, 4, 4), tmp_path / f"x{ending}", fps=fps)


@pytest.mark.parametrize("frames", [[], [pictures(4, 4), pictures(4, 5)]])
@pytest.mark.parametrize("ending", WRITABLE)
def test_no_frames_or_unequal_frames_are_refused(tmp_path, ending, frames):
    with pytest.raises(UsageError):
        save_animation(iter(frames), tmp_path / f"x{ending}", fps=10)
    assert not list(tmp_path.iterdir())


def test_unknown_endings_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match=r"\.png, \.jpg, \.jpeg, \.webp"):
        save_image(pictures(4, 4), tmp_path / "x.bmp")
    with pytest.raises(UsageError, match=r"\.gif, \.webp, \.apng, \.png, \.mp4"):
        save_animation(pictures(1, 4, 4), tmp_path / "x", fps=10)


# --- whole or not at all


@pytest.mark.parametrize("ending", WRITABLE)
@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_animation_leaves_the_old_file_alone(tmp_path, ending, stop):
    path = tmp_path / f"x{ending}"
    path.write_bytes(b"old")

    def frames():
        yield from pictures(3, 16, 16)
        raise stop

    with pytest.raises(stop):
        save_animation(frames(), path, fps=10)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("ending", WRITABLE)
def test_no_frame_is_drawn_for_a_folder_that_is_missing(tmp_path, ending):
    drawn = []
    frames = (drawn.append(1) or frame for frame in pictures(2, 4, 4))
    with pytest.raises(OutputError, match=r"there is no folder .*missing"):
        save_animation(frames, tmp_path / "missing" / f"x{ending}", fps=10)
    assert not drawn


def test_what_cannot_be_written_is_one_line_that_names_it(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for target, reason in (
        (tmp_path / "folder.png", "it is a folder"),
        (tmp_path / "file" / "x.png", "is not a folder"),
        (tmp_path / f"{'x' * 300}.png", "file name too long"),
    ):
        with pytest.raises(OutputError, match=reason) as caught:
            save_image(pictures(4, 4), target)
        assert str(target) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("ending", [".png", ".gif", ".webp"])
def test_a_full_disk_is_one_line(tmp_path, ending):
    target = tmp_path / f"x{ending}"
    target.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=f"x{ending}: no space left on device"):
        save_animation(pictures(2, 9, 9), target, fps=10)


def test_a_device_is_written_to_and_not_replaced():
    with atomic_writer(os.devnull) as file:
        file.write(b"gone")
    assert not Path(os.devnull).is_file()


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "x.png"
    link.symlink_to(tmp_path / "real" / "y.png")
    save_image(pictures(4, 4), link)
    assert link.is_symlink()
    assert (tmp_path / "real" / "y.png").is_file()


def test_an_error_about_another_file_is_not_the_targets(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="elsewhere"),
        atomic_path(tmp_path / "x"),
    ):
        (tmp_path / "elsewhere").read_bytes()
    assert not list(tmp_path.iterdir())


def test_a_broken_pipe_stays_a_broken_pipe():
    read, write = os.pipe()
    os.close(read)
    with (
        pytest.raises(BrokenPipeError),
        os.fdopen(write, "wb", buffering=0) as stream,
    ):
        save_image(pictures(4, 4), stream)


# --- provenance


def test_float32_and_arrays_survive_exactly(tmp_path):
    latents = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    record = {"latents": latents, "seed": np.int64(7), "file": tmp_path}
    save_image(pictures(4, 4), tmp_path / "x.png", provenance=record)
    back = read_provenance(tmp_path / "x.png")
    assert (np.asarray(back["latents"], np.float32) == latents).all()
    assert (back["seed"], back["file"]) == (7, str(tmp_path))


def test_archives_and_sidecars_are_read(tmp_path):
    np.savez(tmp_path / "x.npz", images=pictures(2, 4, 4), provenance='{"seed":1}')
    np.save(tmp_path / "x.npy", pictures(2, 4, 4))
    (tmp_path / "folder").mkdir()
    for name in ("x.npy", "folder"):
        assert write_sidecar(tmp_path / name, {"seed": 1}).name == f"{name}.json"
    for name in ("x.npz", "x.npy", "folder"):
        assert read_provenance(tmp_path / name) == {"seed": 1}


@pytest.mark.parametrize("value", [object(), float("nan")])
def test_what_json_cannot_say_is_refused_before_anything_is_written(tmp_path, value):
    with pytest.raises(UsageError, match="provenance"):
        save_image(pictures(4, 4), tmp_path / "x.png", provenance={"x": value})
    assert not list(tmp_path.iterdir())


def test_too_long_a_record_for_jpeg_says_what_would_hold_it(tmp_path):
    with pytest.raises(OutputError, match="take PNG or WebP"):
        save_image(pictures(4, 4), tmp_path / "x.jpg", provenance={"x": "y" * 70_000})
    save_image(pictures(4, 4), tmp_path / "x.webp", provenance={"x": "y" * 70_000})


@pytest.mark.parametrize("ending", [*IMAGE_ENDINGS, *WRITABLE, ".npz", ".npy"])
def test_files_of_others_have_no_record(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    if ending in IMAGE_ENDINGS:
        save_image(pictures(8, 8), path)
    elif ending in WRITABLE:
        save_animation(pictures(2, 8, 8), path, fps=10)
    else:
        {".npz": np.savez, ".npy": np.save}[ending](path, pictures(8, 8))
    with pytest.raises(UsageError, match="was not made by infogan-gen"):
        read_provenance(path)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_files_are_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    ending = data.draw(st.sampled_from([".png", ".gif", ".webp", ".jpg", ".npz"]))
    path = folder / f"x{ending}"
    if ending == ".npz":
        np.savez(path, provenance='{"seed":1}')
    elif ending == ".gif":
        save_animation(pictures(2, 8, 8), path, fps=10, provenance=RECORD)
    else:
        save_image(pictures(8, 8), path, provenance=RECORD)
    whole = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(whole)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(0, 255))
    path.write_bytes(whole[:cut])
    try:
        assert isinstance(read_provenance(path), dict)
    except UsageError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*no such file"):
        read_provenance(tmp_path / "x.png")


# --- frames and terminals


def test_loops_have_no_seam():
    assert ping_pong(4).tolist() == [0, 1, 2, 3, 2, 1]
    assert [ping_pong(n).tolist() for n in (1, 2)] == [[0], [0, 1]]
    assert np.allclose(np.diff([*cycle(5), 1.0]), 0.2)
    swing = sway(8)
    assert (swing[0], swing[4]) == (0, 1)
    assert np.allclose(swing[1:], swing[:0:-1])


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 40, 200), (3, 40, 200, 3)])
def test_captions_keep_the_frames_and_one_size(shape):
    frames = pictures(*shape)
    made = list(captioned(frames, ["slant = -1.00", "slant = +0.1", "slant = 0"]))
    assert len({frame.shape for frame in made}) == 1
    left = (made[0].shape[1] - shape[2]) // 2
    for frame, captioned_frame in zip(frames, made, strict=True):
        assert (captioned_frame[: shape[1], left : left + shape[2]] == frame).all()
        assert (captioned_frame[shape[1] :] < 100).any()


@pytest.mark.parametrize("n", [1, 3])
def test_captions_must_match_the_frames(n):
    with pytest.raises(UsageError, match="2 captions"):
        list(captioned(pictures(n, 8, 8), ["a", "b"]))


@pytest.mark.parametrize("colour", ["truecolor", None])
@pytest.mark.parametrize("shape", [(20, 30), (21, 200, 3)])
def test_a_shown_picture_fits_the_terminal(colour, shape):
    file = io.StringIO()
    console = Console(
        file=file, width=40, color_system=colour, force_terminal=bool(colour)
    )
    show(pictures(*shape), console)
    drawn = file.getvalue()
    assert ("▀" in drawn) == bool(colour)
    if not colour:
        lines = drawn.splitlines()
        width = min(40, shape[1])
        assert {len(line) for line in lines} == {width}
        assert len(lines) == -(-round(shape[0] * width / shape[1]) // 2)
        file.truncate(0)
        show(pictures(*shape), console, height=4)
        assert len(file.getvalue().strip("\0").splitlines()) <= 4


def test_importing_render_loads_no_encoder():
    code = (
        "import sys, infogan_export.render\n"
        "print([m for m in ('PIL', 'imageio', 'rich', 'torch') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
