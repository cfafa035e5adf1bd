"""Images to train on and to measure with: IDX files, image folders, ``.npz``.

Pixels stay as they are: nothing is resized, and no colour is dropped or made
up, unless the caller asks.  Whatever cannot be read is one :class:`DataError`
that names the file.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import DataError, MissingExtraError, UsageError, unknown

if TYPE_CHECKING:
    from PIL import Image

Split = Literal["train", "test"]
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

_SPLITS: tuple[Split, ...] = ("train", "test")
_IDX_PREFIX: Mapping[Split, str] = {"train": "train", "test": "t10k"}
_IDX_ENDINGS = ("-idx{}-ubyte", ".idx{}-ubyte", "-idx{}-ubyte.gz", ".idx{}-ubyte.gz")
_IDX_UINT8 = 0x08
_BLOCK = 1 << 20  # bytes read at a time, whatever size a header claims
_IMAGE_SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)


class MissingSplitError(DataError):
    """A data set that has other splits than the one asked for."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """uint8 images and, where known, their labels.

    Attributes:
        images: uint8, (n, height, width, channels), channels 1 or 3.
        labels: int64, (n,), or None.
        name: the data set's name, or that of the folder or file it came from.
        licence: the terms of the data, '' where unknown.
        skipped: broken files left out.
    """

    images: Pixels
    labels: Labels | None
    name: str
    licence: str = ""
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def sha256(self) -> str:
        """Digest of shape and pixels in their order; labels do not count.

        The same images have the same digest whatever file they came from:
        SHA-256 of the line ``uint8 n height width channels`` and the raw bytes.
        """
        header = "uint8 {} {} {} {}\n".format(*self.images.shape)
        digest = hashlib.sha256(header.encode())
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()

    def labels_sha256(self) -> str | None:
        """Digest of the labels as little-endian int64, if there are any."""
        if self.labels is None:
            return None
        return hashlib.sha256(self.labels.astype("<i8").tobytes()).hexdigest()


def read_images(
    source: Path,
    *,
    split: Split = "train",
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    on_error: Literal["stop", "skip"] = "stop",
) -> ImageSet:
    """Read the images at `source`, and their labels where it has them.

    Args:
        source: one of
            a folder of IDX files with MNIST's names;
            one IDX file of images, with its labels if they lie beside it;
            an ``.npz`` with ``images`` (or ``x_train``, ``x_test``) and
            perhaps ``labels`` (``y_train``, ``y_test``);
            a folder of image files, read recursively in sorted order, where
            sub-folders ``train`` and ``test`` are the splits, and two or more
            sub-folders that hold all the images are the classes, numbered in
            sorted order.
        split: the part to read, where `source` has parts.
        size: (height, width) to resize to, stretching if the aspect differs.
        channels: convert to grey (1, ITU-R 601 luma) or colour (3).
        on_error: what to do about a broken file in an image folder.

    Raises:
        DataError: something is missing, damaged or mixed.
        UsageError: an option has no such value.
    """
    source = Path(source)
    if split not in _SPLITS:
        raise UsageError(unknown("split", split, _SPLITS))
    if channels not in (None, 1, 3):
        raise UsageError(f"channels must be 1 or 3, got {channels}")
    if on_error not in ("stop", "skip"):
        raise UsageError(unknown("on_error", on_error, ("stop", "skip")))
    if size is not None and not (len(size) == 2 and min(size) >= 1):
        raise UsageError(f"size must be two positive numbers, got {size}")
    try:
        if source.is_dir():
            if any(_idx_path(source, part, "images") for part in _SPLITS):
                found = _read_idx_folder(source, split)
            else:
                # Image files are fitted one by one: they may differ in size.
                return _read_image_folder(
                    source, split, size=size, channels=channels, on_error=on_error
                )
        elif source.suffix == ".npz":
            found = _read_npz(source, split)
        else:
            found = _read_idx_file(source, split)
    except OSError as error:
        raise _unreadable(source, error) from error
    return replace(found, images=_fit_all(found.images, size, channels))


# --- IDX: big-endian header, then raw uint8 ---------------------------------


def _idx_names(split: Split, kind: Literal["images", "labels"]) -> list[str]:
    rank = 3 if kind == "images" else 1
    stem = f"{_IDX_PREFIX[split]}-{kind}"
    return [stem + ending.format(rank) for ending in _IDX_ENDINGS]


def _idx_path(
    folder: Path, split: Split, kind: Literal["images", "labels"]
) -> Path | None:
    paths = (folder / name for name in _idx_names(split, kind))
    return next((path for path in paths if path.is_file()), None)


def _read_idx_folder(folder: Path, split: Split) -> ImageSet:
    images = _idx_path(folder, split, "images")
    if images is None:
        raise _no_split(folder, split, _idx_names(split, "images")[0])
    found = _read_idx_pair(images, _idx_path(folder, split, "labels"))
    return replace(found, name=folder.resolve().name)


def _read_idx_file(images: Path, split: Split) -> ImageSet:
    for part in _SPLITS:
        if images.name in _idx_names(part, "images"):
            if part != split:
                raise MissingSplitError(
                    f"{images} is the {part} split; {split} is asked for"
                )
            return _read_idx_pair(images, _idx_path(images.parent, part, "labels"))
    if split != "train":
        raise _no_split(images, split, "a file of MNIST's name")
    return _read_idx_pair(images, None)


def _read_idx_pair(images: Path, labels: Path | None) -> ImageSet:
    return _image_set(
        images,
        read_idx(images, ranks=(3, 4)),
        None if labels is None else read_idx(labels, ranks=(1,)),
        labels_source=str(labels),
    )


def read_idx(path: Path, *, ranks: Sequence[int]) -> Pixels:
    """Read one IDX file of uint8, gzipped or not.

    Args:
        path: the file.
        ranks: how many dimensions it may have.

    Raises:
        DataError: missing, damaged, of another type or rank.

    Source: the format's description at the end of the MNIST home page.
    """
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if zipped:
                with gzip.open(plain) as unzipped:
                    return _parse_idx(unzipped, path, ranks)
            return _parse_idx(plain, path, ranks)
    except FileNotFoundError as error:
        raise DataError(f"no such file or folder: {path}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged or truncated gzip: {error}") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _parse_idx(
    file: IO[bytes] | gzip.GzipFile, path: Path, ranks: Sequence[int]
) -> Pixels:
    magic = _read_up_to(file, 4)
    known = [f"0x0000{_IDX_UINT8:02x}{rank:02x}" for rank in ranks]
    if len(magic) == 4 and f"0x{magic.hex()}" not in known:
        kind = "images" if 3 in ranks else "labels"
        raise DataError(
            f"{path} is not an IDX file of uint8 {kind}: "
            f"it starts with 0x{magic.hex()}, expected {' or '.join(known)}"
        )
    header_size = 4 + 4 * (magic[3] if len(magic) == 4 else ranks[0])
    header = magic + _read_up_to(file, header_size - 4)
    if len(header) < header_size:
        raise DataError(
            f"{path} is truncated: {header_size} bytes of header expected, "
            f"{len(header)} found"
        )
    shape = tuple(int(n) for n in np.frombuffer(header[4:], ">u4"))
    if 0 in shape:
        raise DataError(f"{path} is empty: its shape is {_times(shape)}")
    expected = math.prod(shape)
    body = _read_up_to(file, expected + 1)
    if len(body) != expected:
        short = len(body) < expected
        found = f"{header_size + len(body):,}" if short else "more"
        raise DataError(
            f"{path} is {'truncated' if short else 'too long'}: "
            f"{header_size + expected:,} bytes expected for {_times(shape)}, "
            f"{found} found"
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def _read_up_to(file: IO[bytes] | gzip.GzipFile, count: int) -> bytearray:
    """At most `count` bytes, never allocating for more than there are."""
    data = bytearray()
    while len(data) < count:
        block = file.read(min(count - len(data), _BLOCK))
        if not block:
            break
        data += block
    return data


# --- npz ---------------------------------------------------------------------


def _read_npz(path: Path, split: Split) -> ImageSet:
    if not path.exists():
        raise DataError(f"no such file or folder: {path}")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz archive, or is truncated")
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = _npz_keys(path, archive, split)
            arrays = {key: np.asarray(archive[key]) for key in keys}
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy's parser raise anything
        raise DataError(f"cannot read {path}: {_one_line(error)}") from error
    (image_key, images), *rest = arrays.items()
    label_key, labels = rest[0] if rest else ("", None)
    return _image_set(
        path, images, labels, key=image_key, labels_source=f"{path}, {label_key}"
    )


def _npz_keys(path: Path, archive: Mapping[str, object], split: Split) -> list[str]:
    """The keys of the images and, if there are any, of the labels."""
    if f"x_{split}" in archive:
        wanted = [f"x_{split}", f"y_{split}"]
    elif any(f"x_{part}" in archive for part in _SPLITS):
        raise _no_split(path, split, f"x_{split}")
    elif "images" not in archive:
        raise DataError(
            f"{path} has no array 'images' or 'x_{split}'; "
            f"it has {', '.join(archive) or 'nothing'}"
        )
    elif split != "train":
        raise _no_split(path, split, f"x_{split}")
    else:
        wanted = ["images", "labels"]
    return [key for key in wanted if key in archive]


# --- image folders -----------------------------------------------------------


def _read_image_folder(
    folder: Path,
    split: Split,
    *,
    size: tuple[int, int] | None,
    channels: int | None,
    on_error: str,
) -> ImageSet:
    root, paths, classes = _list_images(folder, split)
    images: Pixels | None = None
    kept: list[Path] = []
    for path in paths:
        try:
            pixels = _open_image(path, size, channels)
        except DataError:
            if on_error == "stop":
                raise
            continue
        if images is None:
            images = _allocate(len(paths), pixels.shape, folder)
        elif pixels.shape != images.shape[1:]:
            raise _mixed(kept[0], images[0], path, pixels)
        images[len(kept)] = pixels
        kept.append(path)
    if images is None:
        raise DataError(f"{folder}: none of the {len(paths)} image files can be read")
    labels = None
    if classes:
        folders = [path.relative_to(root).parts[0] for path in kept]
        labels = np.array([classes.index(name) for name in folders], np.int64)
    return ImageSet(
        images[: len(kept)],
        labels,
        name=folder.resolve().name,
        skipped=len(paths) - len(kept),
    )


def _list_images(folder: Path, split: Split) -> tuple[Path, list[Path], list[str]]:
    """The folder of the split, its image files in order, the names of classes."""
    parts = {part: folder / part for part in _SPLITS if (folder / part).is_dir()}
    if split not in (parts or {"train": folder}):
        raise _no_split(folder, split, f"sub-folder {split!r}")
    root = parts.get(split, folder)
    paths = _image_files(root)
    if not paths:
        raise _empty(root)
    if any(path.parent == root for path in paths):
        return root, paths, []
    # Both splits number the classes alike, even if one of them lacks a class.
    classes = {
        path.relative_to(part).parts[0]
        for part in (parts.values() or [root])
        for path in _image_files(part)
        if path.parent != part
    }
    return root, paths, sorted(classes) if len(classes) > 1 else []


def _image_files(root: Path) -> list[Path]:
    found = {
        path.relative_to(root).parts: path
        for path in root.rglob("*")
        if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file()
    }
    # By parts, not by Path: the order of paths changed in Python 3.12.
    return [
        found[parts]
        for parts in sorted(found)
        if not any(part.startswith(".") or part == "__MACOSX" for part in parts)
    ]


def _open_image(
    path: Path, size: tuple[int, int] | None, channels: int | None
) -> Pixels:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the one error below is enough
            with Image.open(path) as opened:
                opened.load()
                image = ImageOps.exif_transpose(opened)
        if image.mode.startswith(("I", "F")):
            raise ValueError("it has more than 8 bits per channel")
        if image.has_transparency_data:
            alpha = image.convert("RGBA").getchannel("A")
            if alpha.getextrema() != (255, 255):
                raise ValueError("it has transparent pixels; flatten it first")
        image = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    except UnidentifiedImageError as error:
        raise DataError(f"cannot read image {path}: it is no image inside") from error
    except Exception as error:  # on damaged files Pillow's decoders raise anything
        raise DataError(f"cannot read image {path}: {_one_line(error)}") from error
    return _fit(image, size, channels)


def _allocate(count: int, shape: tuple[int, ...], folder: Path) -> Pixels:
    try:
        return np.empty((count, *shape), np.uint8)
    except MemoryError as error:
        raise DataError(
            f"{folder}: {count:,} images of {_times(shape[:2])} need "
            f"{count * math.prod(shape) / 2**30:.1f} GiB of memory; "
            "a smaller size helps, for example --size 32x32"
        ) from error


def _mixed(first: Path, a: Pixels, second: Path, b: Pixels) -> DataError:
    if a.shape[:2] != b.shape[:2]:
        return DataError(
            f"images of mixed sizes: {first} is {_times(a.shape[:2])}, "
            f"{second} is {_times(b.shape[:2])} (height x width); "
            "resize them all, for example with --size 32x32"
        )
    kinds = {1: "grey", 3: "colour"}
    return DataError(
        f"grey and colour images mixed: {first} is {kinds[a.shape[2]]}, "
        f"{second} is {kinds[b.shape[2]]}; "
        "convert them all with --channels 1 or --channels 3"
    )


# --- what all have in common -------------------------------------------------


def _image_set(
    source: Path,
    images: NDArray[Any],
    labels: NDArray[Any] | None,
    *,
    key: str = "",
    labels_source: str = "",
) -> ImageSet:
    """Arrays as read -> an image set, checked."""
    what = f"{source}, {key!r}" if key else str(source)
    if images.dtype != np.uint8:
        raise DataError(f"{what} holds {images.dtype}; uint8 (0 to 255) is needed")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise DataError(
            f"{what} has shape {images.shape}; (n, height, width) or "
            "(n, height, width, 1 or 3) is needed"
        )
    if 0 in images.shape:
        raise DataError(f"{what} holds no images: its shape is {images.shape}")
    if labels is not None:
        labels = _checked_labels(labels, labels_source, len(images))
    return ImageSet(images, labels, name=source.name.split(".")[0])


def _checked_labels(labels: NDArray[Any], source: str, count: int) -> Labels:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{source}: labels must be whole numbers of shape (n,), "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if len(labels) != count:
        raise DataError(f"{source} holds {len(labels):,} labels for {count:,} images")
    if labels.min() < 0:
        raise DataError(
            f"{source}: label {labels.min()} is out of range; labels count from 0"
        )
    return labels.astype(np.int64)


def _fit_all(
    images: Pixels, size: tuple[int, int] | None, channels: int | None
) -> Pixels:
    if size in (None, images.shape[1:3]) and channels in (None, images.shape[3]):
        return images
    from PIL import Image

    grey = images.shape[3] == 1
    return np.stack(
        [
            _fit(Image.fromarray(image[..., 0] if grey else image), size, channels)
            for image in images
        ]
    )


def _fit(
    image: Image.Image, size: tuple[int, int] | None, channels: int | None
) -> Pixels:
    """Pillow's image (L or RGB) -> uint8, (height, width, channels)."""
    from PIL.Image import Resampling

    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Resampling.LANCZOS)
    pixels = np.asarray(image, np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _no_split(source: Path, split: str, missing: str) -> MissingSplitError:
    return MissingSplitError(f"{source} has no {split} split: {missing} is missing")


def _empty(folder: Path) -> DataError:
    inside = sorted(
        child.name
        for child in folder.iterdir()
        if child.is_dir() and any(_idx_path(child, s, "images") for s in _SPLITS)
    )
    hint = f"; its sub-folders do: {', '.join(inside)}" if inside else ""
    return DataError(f"{folder} holds no image files and no IDX files{hint}")


def _unreadable(source: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot read {error.filename or source}: {error.strerror or error}"
    )


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- downloads ---------------------------------------------------------------


_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True)
class Download:
    """A data set with a public home: gzipped IDX files with MNIST's names.

    Attributes:
        mirrors: base addresses, the first that answers is used.
        sha256: of each file, in the order of `_FILES`.
        licence: terms of the data.
    """

    mirrors: tuple[str, ...]
    sha256: tuple[str, str, str, str]
    licence: str


DATASETS: dict[str, Download] = {
    "mnist": Download(
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        sha256=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        licence="CC BY-SA 3.0",
    ),
    "fashion-mnist": Download(
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
            "master/data/fashion/",
        ),
        sha256=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        licence="MIT",
    ),
}


def load_dataset(
    name: str,
    *,
    split: Split = "train",
    size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
) -> ImageSet:
    """A data set by name, downloaded once and checked each time it is read.

    The files are kept in ``$INFOGAN_EXPORT_CACHE``, or the user's cache folder.

    Args:
        name: one of `DATASETS`.
        split: the part to read.
        size: as in :func:`read_images`.
        channels: as in :func:`read_images`.

    Raises:
        UsageError: no such data set.
        DataError: no network, a wrong checksum, a cache that cannot be written.
        MissingExtraError: pooch is not installed.
    """
    if name not in DATASETS:
        raise UsageError(unknown("data set", name, DATASETS))
    if split not in _SPLITS:
        raise UsageError(unknown("split", split, _SPLITS))
    download = DATASETS[name]
    folder = _cache() / name
    for file, digest in zip(_FILES, download.sha256, strict=True):
        if file.startswith(_IDX_PREFIX[split]):
            _fetch(name, file, digest, download.mirrors, folder)
    found = read_images(folder, split=split, size=size, channels=channels)
    return replace(found, name=name, licence=download.licence)


def _cache() -> Path:
    pooch = _import_pooch()
    chosen = os.environ.get("INFOGAN_EXPORT_CACHE")
    return Path(chosen or pooch.os_cache("infogan-export"))


def _fetch(
    name: str, file: str, digest: str, mirrors: Sequence[str], folder: Path
) -> None:
    """Leave `file` in `folder`, from the first mirror that has it right."""
    pooch = _import_pooch()
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    reasons = []
    for mirror in mirrors:
        try:
            pooch.retrieve(
                mirror + file,
                known_hash=f"sha256:{digest}",
                fname=file,
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=30),
            )
            return
        except RequestException as error:
            if error.response is not None:
                reasons.append(f"{mirror}{file} answers {error.response.status_code}")
            else:
                reasons.append(f"{mirror} cannot be reached ({type(error).__name__})")
        except OSError as error:
            raise DataError(
                f"cannot keep {file} in {folder}: {error.strerror or error}; "
                "INFOGAN_EXPORT_CACHE names another folder"
            ) from error
        except ValueError:  # how pooch reports a checksum
            reasons.append(f"the SHA-256 of {mirror}{file} is not {digest}")
    raise DataError(
        f"cannot download {name}: {'; '.join(reasons)}; "
        "with the files at hand, --data-dir FOLDER reads them"
    )


def _import_pooch() -> ModuleType:
    try:
        import pooch
    except ImportError as error:
        raise MissingExtraError("downloading a data set", "train") from error
    return pooch  # type: ignore[no-any-return]
