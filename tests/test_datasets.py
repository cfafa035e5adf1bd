from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from infogan_export import datasets
from infogan_export.datasets import (
    DATASETS,
    MissingSplitError,
    load_dataset,
    read_idx,
    read_images,
)
from infogan_export.errors import DataError, MissingExtraError, UsageError

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (6, 4, 8), np.uint8)
COLOUR = rng.integers(0, 256, (6, 4, 8, 3), np.uint8)
LABELS = np.array([2, 0, 1, 1, 0, 2], np.uint8)


def idx(array: NDArray[np.uint8]) -> bytes:
    shape = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def write_idx(folder: Path, pattern: str = "{}-idx{}-ubyte") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, part in (("train", slice(0, 4)), ("t10k", slice(4, 6))):
        for kind, array in (("images", GREY), ("labels", LABELS)):
            data = idx(array[part])
            name = pattern.format(f"{prefix}-{kind}", array.ndim)
            packed = gzip.compress(data) if name.endswith(".gz") else data
            (folder / name).write_bytes(packed)
    return folder


def write_png(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert text.count("\n") == 0
    return text


# --- what is read is what was written ---


@pytest.mark.parametrize(
    "pattern",
    [
        "{}-idx{}-ubyte",
        "{}-idx{}-ubyte.gz",
        "{}.idx{}-ubyte",
        "{}.idx{}-ubyte.gz",
    ],
)
def test_idx_round_trip(tmp_path: Path, pattern: str) -> None:
    folder = write_idx(tmp_path / "digits", pattern)
    train, test = read_images(folder), read_images(folder, split="test")
    assert np.array_equal(train.images[..., 0], GREY[:4])
    assert np.array_equal(test.images[..., 0], GREY[4:])
    assert train.labels is not None
    assert train.labels.tolist() == LABELS[:4].tolist()
    assert (train.name, train.licence, train.skipped) == ("digits", "", 0)
    single = read_images(folder / pattern.format("train-images", 3))
    assert np.array_equal(single.images, train.images)
    assert single.labels is not None


def test_npz_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=COLOUR, labels=LABELS)
    found = read_images(path)
    assert np.array_equal(found.images, COLOUR)
    assert found.labels is not None
    assert (found.labels.dtype, found.labels.tolist()) == (np.int64, LABELS.tolist())
    np.savez_compressed(path, x_train=GREY[:4], x_test=GREY[4:], y_test=LABELS[4:])
    assert read_images(path).labels is None
    test = read_images(path, split="test")
    assert test.labels is not None
    assert test.labels.tolist() == LABELS[4:].tolist()


def test_image_folder_with_splits_and_classes(tmp_path: Path) -> None:
    write_png(tmp_path / "train" / "b" / "2.png", GREY[0])
    write_png(tmp_path / "train" / "a" / "deep" / "1.PNG", GREY[1])
    write_png(tmp_path / "train" / "a-" / "1.png", GREY[2])
    write_png(tmp_path / "test" / "b" / "1.png", GREY[3])
    write_png(tmp_path / "train" / "a" / "._1.png", GREY[4])
    (tmp_path / "train" / "notes.txt").write_text("not an image")
    train, test = read_images(tmp_path), read_images(tmp_path, split="test")
    assert np.array_equal(train.images[..., 0], GREY[[1, 2, 0]])
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.tolist() == [0, 1, 2]
    assert test.labels.tolist() == [2]  # as in train, though a and a- are not here


def test_images_outside_classes_have_no_labels(tmp_path: Path) -> None:
    write_png(tmp_path / "a" / "1.png", GREY[0])
    assert read_images(tmp_path).labels is None  # one class says nothing
    write_png(tmp_path / "b" / "1.png", GREY[0])
    assert read_images(tmp_path).labels is not None
    write_png(tmp_path / "1.png", GREY[0])
    assert read_images(tmp_path).labels is None


def test_sha256_is_of_pixels_and_order_whatever_the_container(tmp_path: Path) -> None:
    write_idx(tmp_path / "idx")
    np.savez(tmp_path / "a.npz", images=GREY[:4])
    np.savez(tmp_path / "turned.npz", images=GREY[:4].reshape(4, 8, 4))
    np.savez(tmp_path / "reversed.npz", images=GREY[3::-1])
    for i in range(4):
        write_png(tmp_path / "png" / f"{i}.png", GREY[i])
    digests = [
        read_images(tmp_path / name).sha256()
        for name in ("idx", "a.npz", "png", "turned.npz", "reversed.npz")
    ]
    header = b"uint8 4 4 8 1\n"
    assert digests[0] == hashlib.sha256(header + GREY[:4].tobytes()).hexdigest()
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == 3


# --- size and colour change only when asked ---


def test_resize_and_channels_are_the_same_from_every_container(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=COLOUR)
    for i, pixels in enumerate(COLOUR):
        write_png(tmp_path / "png" / f"{i}.png", pixels)
    as_npz = read_images(tmp_path / "a.npz", size=(2, 4), channels=1)
    as_png = read_images(tmp_path / "png", size=(2, 4), channels=1)
    assert as_npz.images.shape == (6, 2, 4, 1)
    assert np.array_equal(as_npz.images, as_png.images)


def test_grey_to_colour_repeats_the_channel(tmp_path: Path) -> None:
    images = read_images(write_idx(tmp_path), channels=3).images
    assert (images == GREY[:4, ..., None]).all()


def test_mixed_sizes_name_both_files_and_the_option(tmp_path: Path) -> None:
    write_png(tmp_path / "1.png", GREY[0])
    write_png(tmp_path / "2.png", GREY[1].reshape(8, 4))
    with pytest.raises(DataError, match=r"1\.png is 4x8.*2\.png is 8x4.*--size 32x32"):
        read_images(tmp_path)
    assert read_images(tmp_path, size=(4, 8)).images.shape == (2, 4, 8, 1)


def test_mixed_colours_name_both_files_and_the_option(tmp_path: Path) -> None:
    write_png(tmp_path / "1.png", GREY[0])
    write_png(tmp_path / "2.png", COLOUR[0])
    with pytest.raises(DataError, match=r"1\.png is grey.*2\.png is colour.*--channel"):
        read_images(tmp_path)
    assert read_images(tmp_path, channels=1).images.shape == (2, 4, 8, 1)


@pytest.mark.parametrize(
    ("image", "shape_or_error"),
    [
        (Image.fromarray(GREY[0]).convert("1"), (4, 8, 1)),
        (Image.fromarray(GREY[0]).convert("LA"), (4, 8, 1)),
        (Image.fromarray(COLOUR[0]).convert("RGBA"), (4, 8, 3)),
        (Image.fromarray(COLOUR[0]).quantize(4), (4, 8, 3)),
        (Image.new("RGBA", (8, 4)), "transparent"),
        (Image.new("I;16", (8, 4)), "8 bits"),
    ],
)
def test_every_kind_of_png(
    tmp_path: Path, image: Image.Image, shape_or_error: tuple[int, ...] | str
) -> None:
    image.save(tmp_path / "1.png")
    if isinstance(shape_or_error, str):
        with pytest.raises(DataError, match=shape_or_error):
            read_images(tmp_path)
    else:
        assert read_images(tmp_path).images.shape[1:] == shape_or_error


# --- damage ---


@given(cut=st.integers(0, len(idx(GREY)) - 1), zipped=st.booleans())
def test_any_prefix_of_an_idx_file_is_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, zipped: bool
) -> None:
    path = tmp_path_factory.mktemp("idx") / "images"
    data = idx(GREY)[:cut]
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(DataError, match=r"truncated.* bytes .*expected") as error:
        read_images(path)
    assert one_line(error).endswith(f"{cut} found")


@given(data=st.data())
def test_a_damaged_container_is_a_data_error_or_reads(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=GREY)
    name, whole = data.draw(
        st.sampled_from(
            [
                ("a.npz", buffer.getvalue()),
                ("a.gz", gzip.compress(idx(GREY))),
                ("a.idx", idx(GREY)),
            ]
        )
    )
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if broken:
        broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(
            st.integers(0, 255)
        )
    (folder / name).write_bytes(broken)
    try:
        found = read_images(folder / name)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert found.images.ndim == 4


@given(cut=st.integers(0, len(gzip.compress(idx(GREY))) - 1))
def test_any_prefix_of_a_gzip_is_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("gz") / "images.gz"
    path.write_bytes(gzip.compress(idx(GREY))[:cut])
    with pytest.raises(DataError, match="truncated"):
        read_images(path)


def test_a_header_that_lies_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"few")
    with pytest.raises(DataError, match="truncated"):
        read_images(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("notes.txt", b"some text", "0x736f6d65, expected 0x00000803"),
        ("floats", b"\0\0\x0d\x03" + bytes(12), "0x00000d03"),
        ("labels", idx(LABELS), "0x00000801"),
        ("long", idx(GREY) + b"x", "too long"),
        ("none", idx(GREY[:0]), "empty"),
        ("text.npz", b"some text", "not an .npz"),
    ],
)
def test_a_file_of_another_kind(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        read_images(tmp_path / name)
    assert name in one_line(error)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": GREY / 255}, "float64; uint8"),
        ({"images": COLOUR.transpose(0, 3, 1, 2)}, r"\(6, 3, 4, 8\)"),
        ({"images": GREY[:0]}, "no images"),
        ({"pictures": GREY}, "no array 'images'.*it has pictures"),
        ({"images": GREY, "labels": LABELS[:5]}, "5 labels for 6 images"),
        ({"images": GREY, "labels": -LABELS.astype(int)}, "label -2 is out of range"),
        ({"images": GREY, "labels": LABELS / 2}, "whole numbers"),
        ({"images": np.array([GREY, None], object)}, "cannot read"),
        ({"x_test": GREY}, "no train split: x_train"),
    ],
)
def test_wrong_arrays(
    tmp_path: Path, arrays: dict[str, NDArray[np.uint8]], says: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=says) as error:
        read_images(tmp_path / "a.npz")
    assert "a.npz" in one_line(error)


def test_label_count_of_an_idx_folder(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    with pytest.raises(DataError, match="6 labels for 4 images"):
        read_images(tmp_path)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder: .*nowhere"):
        read_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no such file or folder: .*nowhere"):
        read_images(tmp_path / "nowhere.npz")
    with pytest.raises(DataError, match="no image files"):
        read_images(tmp_path)
    write_idx(tmp_path / "digits")
    with pytest.raises(DataError, match="sub-folders do: digits"):
        read_images(tmp_path)


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    write_png(tmp_path / "flat" / "1.png", GREY[0])
    write_png(tmp_path / "parts" / "train" / "1.png", GREY[0])
    np.savez(tmp_path / "a.npz", images=GREY)
    write_idx(tmp_path / "idx")
    (tmp_path / "idx" / "t10k-images-idx3-ubyte").unlink()
    for name in ("flat", "parts", "a.npz", "idx"):
        with pytest.raises(DataError, match="has no test split"):
            read_images(tmp_path / name, split="test")
    with pytest.raises(DataError, match="is the train split; test is asked for"):
        read_images(tmp_path / "idx" / "train-images-idx3-ubyte", split="test")
    own = tmp_path / "idx" / "own.idx3-ubyte"
    (tmp_path / "idx" / "train-images-idx3-ubyte").rename(own)
    assert len(read_images(own))
    with pytest.raises(MissingSplitError, match="no test split"):
        read_images(own, split="test")


def test_a_damaged_image_is_one_error_without_warnings(tmp_path: Path) -> None:
    Image.fromarray(GREY[0]).save(tmp_path / "1.tiff")
    whole = (tmp_path / "1.tiff").read_bytes()
    (tmp_path / "1.tiff").write_bytes(whole[:-60])
    with warnings.catch_warnings(record=True) as caught, pytest.raises(DataError):
        read_images(tmp_path)
    assert not caught


def test_broken_image_files_stop_or_are_counted(tmp_path: Path) -> None:
    whole = write_png(tmp_path / "b" / "1.png", GREY[0]).read_bytes()
    write_png(tmp_path / "a" / "2.png", GREY[1])
    (tmp_path / "a" / "1.png").write_bytes(whole[:-40])
    (tmp_path / "b" / "0.png").write_text("some text")
    with pytest.raises(DataError, match=r"cannot read image .*1\.png") as error:
        read_images(tmp_path)
    one_line(error)
    found = read_images(tmp_path, on_error="skip")
    assert found.skipped == 2
    assert np.array_equal(found.images[..., 0], GREY[[1, 0]])
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]
    for path in tmp_path.rglob("*.png"):
        path.write_text("some text")
    with pytest.raises(DataError, match="none of the 4 image files"):
        read_images(tmp_path, on_error="skip")


@given(cut=st.integers(0, 1000))
def test_a_prefix_of_an_image_file_never_gives_other_pixels(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = write_png(tmp_path_factory.mktemp("png") / "1.png", COLOUR[0])
    path.write_bytes(path.read_bytes()[:cut])
    try:
        assert np.array_equal(read_images(path.parent).images, COLOUR[:1])
    except DataError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "options",
    [{"split": "valid"}, {"size": (0, 4)}, {"channels": 2}, {"on_error": "ignore"}],
)
def test_options_that_do_not_exist(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        read_images(tmp_path, **options)  # type: ignore[arg-type]


# --- downloads, from a server on this machine ---


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder behind the only mirror of a tiny 'mnist', with its digests."""
    pytest.importorskip("pooch")
    folder = write_idx(tmp_path / "served", "{}-idx{}-ubyte.gz")
    digests = [
        hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in datasets._FILES
    ]
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        row = replace(
            DATASETS["mnist"],
            mirrors=(f"http://127.0.0.1:{server.server_port}/",),
            sha256=tuple(digests),
        )
        monkeypatch.setitem(DATASETS, "mnist", row)
        monkeypatch.setenv("INFOGAN_EXPORT_CACHE", str(tmp_path / "cache"))
        yield folder
        server.shutdown()


def test_download_then_offline(served: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = load_dataset("mnist")
    assert np.array_equal(found.images[..., 0], GREY[:4])
    assert (found.name, found.licence) == ("mnist", "CC BY-SA 3.0")
    for path in served.iterdir():
        path.unlink()
    assert load_dataset("mnist").sha256() == found.sha256()
    with pytest.raises(DataError, match=r"t10k-\S+ answers 404.*--data-dir"):
        load_dataset("mnist", split="test")
    assert capfd.readouterr() == ("", "")  # a library does not print


def test_a_wrong_checksum_is_refused_and_not_kept(served: Path, tmp_path: Path) -> None:
    images = served / "train-images-idx3-ubyte.gz"
    images.write_bytes(gzip.compress(idx(GREY[1:5])))
    with pytest.raises(DataError, match=r"SHA-256 of \S+images\S+ is not") as error:
        load_dataset("mnist")
    assert "--data-dir" in one_line(error)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_second_mirror_helps(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = DATASETS["mnist"]
    mirrors = ("http://127.0.0.1:9/", row.mirrors[0] + "nowhere/", *row.mirrors)
    monkeypatch.setitem(DATASETS, "mnist", replace(row, mirrors=mirrors))
    assert len(load_dataset("mnist")) == 4


def test_no_network(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(DATASETS["mnist"], mirrors=("http://127.0.0.1:9/",))
    monkeypatch.setitem(DATASETS, "mnist", row)
    with pytest.raises(DataError, match=r"cannot be reached.*--data-dir") as error:
        load_dataset("mnist")
    one_line(error)


def test_a_cache_that_cannot_be_written(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INFOGAN_EXPORT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="INFOGAN_EXPORT_CACHE"):
        load_dataset("mnist")


def test_download_without_pooch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"infogan-export\[train\]"):
        load_dataset("mnist")


def test_an_unknown_data_set_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'fashion-mnist'"):
        load_dataset("fashion-mnits")


def test_reading_needs_numpy_alone(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(idx(GREY))
    script = (
        "import sys\n"
        "for name in ('torch', 'PIL', 'pooch', 'requests'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from infogan_export.datasets import read_images\n"
        "print(read_images(Path(sys.argv[1])).images.shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "(6, 4, 8, 1)\n"


def test_read_idx_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(idx(LABELS))
    assert read_idx(path, ranks=(1,)).tolist() == LABELS.tolist()
