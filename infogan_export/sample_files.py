"""Samples by the thousand, written as a stream: memory does not grow with them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from infogan_export.atomic import atomic_writer
from infogan_export.batches import BATCH
from infogan_export.errors import OutputError, UsageError
from infogan_export.latent import Latents
from infogan_export.limits import require_disk
from infogan_export.record import sample_record
from infogan_export.render.files import IMAGE_ENDINGS, save_image
from infogan_export.render.provenance import (
    NPZ_ENTRY,
    require_own,
    sidecar_path,
    to_json,
    write_sidecar,
)
from infogan_export.runtime import Model

OnProgress = Callable[[int], object]
"""Told how many more images have been written."""

_DISK_BLOCK = 4096


ENDINGS = (*IMAGE_ENDINGS, ".npy", ".npz")
"""What samples can be written to, besides a folder."""


class Writer(Protocol):
    """A function that writes samples as a stream."""

    def __call__(
        self,
        model: Model,
        path: str | os.PathLike[str],
        count: int,
        *,
        codes: Mapping[str, ArrayLike] | None = None,
        seed: int = 0,
        start: int = 0,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Write samples; arguments and errors as for `write_npy`."""


def stream_writer(target: str) -> Writer | None:
    """What writes samples to a target as a stream; None where that is one picture.

    A target without an ending, or with a slash at its end, is a folder.
    """
    path = Path(target)
    try:
        folder = target.endswith("/") or not path.suffix or path.is_dir()
    except OSError:  # a name too long, for instance: its writer tells
        folder = False
    if folder:
        return write_folder
    return {".npy": write_npy, ".npz": write_npz}.get(path.suffix.lower())


def write_npy(
    model: Model,
    path: str | os.PathLike[str],
    count: int,
    *,
    codes: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    start: int = 0,
    on_progress: OnProgress | None = None,
) -> None:
    """Write images as one array, uint8 (count, H, W[, 3]), and a record beside it.

    Args:
        model: what draws.
        path: the ``.npy`` file.
        count: how many.
        codes: codes to set, by name.
        seed: image i of a seed is the same whatever the count.
        start: the index of the first image.
        on_progress: called after each batch.

    Raises:
        UsageError: no images, an unknown code, or a bad value.
        OutputError: it cannot be written, or the disk has no room for it.
    """
    samples = _Samples(model, count, codes or {}, seed, start)
    require_own(sidecar_path(path))
    require_disk(Path(path).parent, count * samples.image_bytes)
    with atomic_writer(path) as file:
        samples.write_images(file, on_progress)
        write_sidecar(path, samples.record())


def write_npz(
    model: Model,
    path: str | os.PathLike[str],
    count: int,
    *,
    codes: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    start: int = 0,
    on_progress: OnProgress | None = None,
) -> None:
    """Write the arrays ``images`` and ``latents``, and the record, in one ``.npz``.

    Arguments and errors as for `write_npy`.
    """
    samples = _Samples(model, count, codes or {}, seed, start)
    needed = count * (samples.image_bytes + 4 * model.spec.dim)
    require_disk(Path(path).parent, needed)
    with atomic_writer(path) as file, zipfile.ZipFile(file, "w") as archive:
        with _entry(archive, "images") as entry:
            samples.write_images(entry, on_progress)
        with _entry(archive, "latents") as entry:
            samples.write_latents(entry)
        with _entry(archive, NPZ_ENTRY) as entry:
            np.lib.format.write_array(entry, np.array(to_json(samples.record())))


def write_folder(
    model: Model,
    path: str | os.PathLike[str],
    count: int,
    *,
    codes: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    start: int = 0,
    on_progress: OnProgress | None = None,
) -> None:
    """Write each image as ``NUMBER.png``, whole or not at all, with its record.

    The folder is made if need be.  Each file's record is that of a sheet of one,
    so any of them can be made again alone.

    Arguments and errors as for `write_npy`; images of other indices in the folder,
    of which its record would be untrue, are an OutputError too.
    """
    samples = _Samples(model, count, codes or {}, seed, start)
    folder = Path(path)
    digits = max(6, len(str(start + count - 1)))
    try:
        _require_no_others(folder, range(start, start + count), digits)
        require_own(sidecar_path(folder))
        require_disk(folder.parent, count * _DISK_BLOCK)
        folder.mkdir(exist_ok=True)
        # Should this be interrupted, no record is better than an untrue one.
        sidecar_path(folder).unlink(missing_ok=True)
    except FileNotFoundError:
        raise OutputError(
            f"cannot write {folder}: there is no folder {folder.parent}"
        ) from None
    except FileExistsError:
        raise OutputError(f"cannot write {folder}: it is a file") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"cannot write {folder}: {reason}") from None
    alone = {"columns": 1, "scale": 1, "padding": 0}
    for first, size in samples.batches():
        latents = samples.latents(first, size)
        for index, image in enumerate(model.draw(latents)):
            record = sample_record(
                model,
                1,
                codes=codes or {},
                seed=seed,
                start=first + index,
                latents=latents[index : index + 1],
                **alone,
            )
            name = f"{first + index:0{digits}}.png"
            save_image(image, folder / name, provenance=record)
        if on_progress:
            on_progress(size)
    write_sidecar(folder, samples.record())


def _require_no_others(folder: Path, indices: range, digits: int) -> None:
    """Refuse a folder with images that are not about to be written anew."""
    others = sorted(
        path.name
        for path in folder.glob("*.png")
        if re.fullmatch(r"\d{6,}", path.stem)
        and not (len(path.stem) == digits and int(path.stem) in indices)
    )
    if others:
        raise OutputError(
            f"cannot write {folder}: it holds {len(others):,} other images, "
            f"{others[0]} for instance; choose an empty folder"
        )


class _Samples:
    """Which samples a file holds: drawn a batch at a time."""

    def __init__(
        self,
        model: Model,
        count: int,
        codes: Mapping[str, ArrayLike],
        seed: int,
        start: int,
    ) -> None:
        if count < 1:
            raise UsageError(f"count must be at least 1, got {count}")
        model.spec.require_single(codes)
        self._model, self._codes = model, codes
        self._count, self._seed, self._start = count, seed, start
        self.latents(start, 1)  # refuses bad values before a file is opened
        self.latents(start + count - 1, 1)

    @property
    def image_bytes(self) -> int:
        return int(np.prod(self._model.image_shape))

    def batches(self) -> Iterator[tuple[int, int]]:
        """First index and size of each."""
        end = self._start + self._count
        return (
            (first, min(BATCH, end - first)) for first in range(self._start, end, BATCH)
        )

    def latents(self, first: int, size: int) -> Latents:
        drawn = self._model.spec.sample(size, seed=self._seed, start=first)
        return self._model.spec.assign(drawn, self._codes)

    def record(self) -> dict[str, object]:
        return sample_record(
            self._model,
            self._count,
            codes=self._codes,
            seed=self._seed,
            start=self._start,
        )

    def write_images(self, file: IO[bytes], on_progress: OnProgress | None) -> None:
        channels, height, width = self._model.image_shape
        colour = () if channels == 1 else (channels,)
        _write_header(file, (self._count, height, width, *colour), np.dtype(np.uint8))
        for first, size in self.batches():
            file.write(self._model.draw(self.latents(first, size)).tobytes())
            if on_progress:
                on_progress(size)

    def write_latents(self, file: IO[bytes]) -> None:
        _write_header(file, (self._count, self._model.spec.dim), np.dtype("<f4"))
        for first, size in self.batches():
            file.write(self.latents(first, size).astype("<f4").tobytes())


def _write_header(
    file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)


def _entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # ZipInfo's own date is 1980, so the bytes do not depend on the clock.
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)
