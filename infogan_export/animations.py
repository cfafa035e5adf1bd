"""Animations of a model: codes that move in turn, and walks through latent space.

>>> from infogan_export import load
>>> from infogan_export.animations import traversal_animation
>>> traversal_animation(load("mnist"), ["digit", "slant"]).save("digits.gif")
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infogan_export.batches import BATCH
from infogan_export.errors import UsageError, unknown
from infogan_export.latent import CategoricalCode, Code, Latents, LatentSpec
from infogan_export.limits import require_memory
from infogan_export.pictures import (
    Range,
    Sweep,
    fitting_scale,
    names_to_vary,
    plan_sweeps,
    require_count,
    require_subjects,
    subject_options,
)
from infogan_export.record import make_record
from infogan_export.render.files import Target, save_animation
from infogan_export.render.frames import captioned, cycle, ping_pong, sway
from infogan_export.render.pictures import Picture
from infogan_export.render.sheet import contact_sheet
from infogan_export.runtime import Model
from infogan_export.traversal import interpolate

if TYPE_CHECKING:
    from infogan_export.subjects import Subjects

SEAMLESS, PING_PONG = "seamless", "ping-pong"

_MORPH_FORM = ("fps", "seconds", "scale", "padding")  # of a film
_WIDTH = 400  # pixels, what frames are enlarged to unless told otherwise


@dataclass(frozen=True)
class Film:
    """The form of an animation: frames are sheets of samples that move together.

    Attributes:
        rows: of samples in a frame.
        columns: of samples in a frame.
        loop: ``seamless`` leads from the last frame to the first, ``ping-pong``
            runs to the end and back.
        fps: frames per second.
        seconds: the length of the whole loop.
        scale: whole factor of enlargement; by default to about 400 pixels.
        padding: pixels around each image.
    """

    rows: int = 3
    columns: int = 3
    loop: str = SEAMLESS
    fps: float = 20.0
    seconds: float = 4.0
    scale: int | None = None
    padding: int = 2

    def __post_init__(self) -> None:
        require_count("rows", self.rows)
        require_count("columns", self.columns)
        if self.loop not in (SEAMLESS, PING_PONG):
            raise UsageError(unknown("loop", self.loop, (SEAMLESS, PING_PONG)))
        for name, value in (
            ("fps", self.fps),
            ("seconds", self.seconds),
            ("fps times seconds", self.fps * self.seconds),
        ):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} must be above 0 and finite, got {value:g}")
        if self.frames < 2:
            raise UsageError(
                f"{self.seconds:g} seconds at {self.fps:g} fps are {self.frames} "
                f"frames; an animation needs at least 2"
            )

    @property
    def samples(self) -> int:
        """Samples in a frame."""
        return self.rows * self.columns

    @property
    def frames(self) -> int:
        """Frames in the whole loop."""
        return round(self.fps * self.seconds)

    @property
    def path(self) -> int:
        """Frames of which the loop is made, each shown once or there and back."""
        return self.frames if self.loop == SEAMLESS else self.frames // 2 + 1

    @property
    def order(self) -> NDArray[np.int64]:
        """The path's frames in the order in which the loop shows them."""
        return np.arange(self.path) if self.loop == SEAMLESS else ping_pong(self.path)

    def fitted(self, model: Model) -> Film:
        """With a scale, and known to fit into memory.

        Raises:
            UsageError: more frames, images or pixels than fit.
        """
        scale = self.scale
        if scale is None:
            scale = fitting_scale(model, self.columns, _WIDTH)
        channels, height, width = model.image_shape
        cell = (height * scale + self.padding) * (width * scale + self.padding)
        require_memory(  # all frames: WebP and APNG hold them until the end
            self.frames * self.samples * (12 * model.spec.dim + channels * cell),
            purpose=f"an animation of {self.frames:,} x {self.samples:,} images",
            advice="ask for fewer seconds, images or pixels",
        )
        return replace(self, scale=scale)


@dataclass(frozen=True)
class Animation:
    """Frames that are drawn as they are asked for.

    Attributes:
        frames: uint8, each (H, W) or (H, W, 3).
        count: how many.
        fps: frames per second.
        record: what the file will say of itself.
        loop: for ever, rather than once.
    """

    frames: Iterable[Picture]
    count: int
    fps: float
    record: Mapping[str, object]
    loop: bool = True

    @property
    def summary(self) -> str:
        """What it is, in half a line."""
        return f"{self.count} frames of {self.record['model']} at {self.fps:g} fps"

    def save(
        self, target: Target, *, on_frame: Callable[[int], object] | None = None
    ) -> None:
        """Write it; arguments and errors as `save_animation`.

        Args:
            target: where to.
            on_frame: called with 1 after each frame.
        """
        frames = self.frames if on_frame is None else _counted(self.frames, on_frame)
        save_animation(
            frames, target, fps=self.fps, loop=self.loop, provenance=self.record
        )


def traversal_animation(
    model: Model,
    vary: Sequence[str] = (),
    *,
    ranges: Sequence[Range] = (),
    codes: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    start: int = 0,
    labels: bool = False,
    film: Film | None = None,
    subjects: Subjects | None = None,
) -> Animation:
    """Move one code after another while all else is held fixed.

    In a seamless loop a uniform code swings from the middle of its range to the
    high end, the low end and back, and a categorical one goes round its
    categories.  In a ping-pong each code climbs from low to high in turn, and
    then all of it runs backwards.  Categories melt into each other by mixtures.

    Args:
        model: what draws.
        vary: the codes' names, in turn; without any, the first code not set.
        ranges: where a code begins and ends; one, or one for each code.
        codes: other codes to set, by name.
        seed: of the samples.
        start: the index of the first of them.
        labels: write the moving code and its value below.
        film: the form of it.
        subjects: real images that stand in for the samples.

    Raises:
        UsageError: an unknown code, an empty range, too few frames, or more than
            would fit into memory.
    """
    film = (film or Film()).fitted(model)
    codes, spec = codes or {}, model.spec
    spec.require_single(codes)
    if subjects is not None:
        require_subjects(subjects, film.samples, seed, start)
    names = names_to_vary(spec, vary, codes)
    sweeps = plan_sweeps(spec, names, ranges, ())
    if film.path < len(names):
        raise UsageError(f"{film.frames} frames are too few for {len(names)} codes")

    turns = [len(part) for part in np.array_split(np.arange(film.path), len(names))]
    move = _swing if film.loop == SEAMLESS else _climb
    moves = [move(*turn) for turn in zip(sweeps, turns, strict=True)]
    latents = spec.assign(
        subjects.latents
        if subjects
        else spec.sample(film.samples, seed=seed, start=start),
        codes,
    )
    latents = np.tile(latents, (film.path, 1))
    for index, (name, values) in enumerate(zip(names, moves, strict=True)):
        waiting, done = sum(turns[:index]), sum(turns[index + 1 :])
        # A swing ends beside where it began; a climb stays at the top.
        last = values[:1] if film.loop == SEAMLESS else values[-1:]
        whole = [values[:1]] * waiting + [values] + [last] * done
        each = np.repeat(np.concatenate(whole), film.samples, axis=0)
        latents = spec.assign(latents, {name: each})
    captions = [
        _caption(sweep.code, value)
        for sweep, values in zip(sweeps, moves, strict=True)
        for value in values
    ]
    options = {
        "vary": names,
        "range": [list(map(float, ends)) for ends in ranges],
        "labels": labels,
        "start": start or None,
    }
    spoken = captions if labels else None
    return _animation(model, latents, film, seed, codes, options, spoken, subjects)


def walk_animation(
    model: Model,
    *,
    stops: int = 5,
    codes: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    start: int = 0,
    film: Film | None = None,
) -> Animation:
    """Walk each sample of a frame from one draw of the latents to the next.

    Args:
        model: what draws.
        stops: draws that a walk goes through.
        codes: codes to set, by name, all along the way.
        seed: of the stops.
        start: the index of the first of them.
        film: the form of it; a seamless walk returns to its first stop.

    Raises:
        UsageError: fewer than 2 stops, fewer frames than stops, an unknown code,
            or more than would fit into memory.
    """
    film = (film or Film()).fitted(model)
    codes, spec = codes or {}, model.spec
    spec.require_single(codes)
    if stops < 2:
        raise UsageError(f"a walk needs at least 2 stops, got {stops}")
    if film.path < stops:
        raise UsageError(
            f"{film.frames} frames are too few for a walk through {stops} stops"
        )
    drawn = spec.sample(film.samples * stops, seed=seed, start=start)
    drawn = spec.assign(drawn, codes)
    closed = film.loop == SEAMLESS
    positions = cycle(film.path) * stops
    if not closed:
        positions = np.linspace(0, stops - 1, film.path)
    walks = [
        _walk(np.concatenate([own, own[:1]]) if closed else own, spec, positions)
        for own in drawn.reshape(film.samples, stops, spec.dim)
    ]
    latents = np.stack(walks, axis=1).reshape(-1, spec.dim)
    options = {"walk": True, "stops": stops, "start": start or None}
    return _animation(model, latents, film, seed, codes, options, None)


def morph_animation(
    model: Model, ends: Subjects, *, loop: bool = False, film: Film | None = None
) -> Animation:
    """Turn one real image into another, through latent space.

    Args:
        model: what draws.
        ends: the two images.
        loop: there and back, slow at both ends, for ever; otherwise there, once.
        film: the rate, length and size of it; it has one image a frame.

    Raises:
        UsageError: not two images, too few frames, or more than would fit into
            memory.
    """
    film = replace(film or Film(), rows=1, columns=1).fitted(model)
    if len(ends) != 2:
        raise UsageError(f"a morph goes from one image to another, got {len(ends)}")
    weights = sway(film.frames) if loop else np.linspace(0, 1, film.frames)
    latents = interpolate(ends.latents[0], ends.latents[1], model.spec, weights)
    form = {k: v for k, v in asdict(film).items() if k in _MORPH_FORM}
    record = make_record(
        "morph",
        model,
        seed=None,
        options={"loop": loop, **form, **ends.options},
        latents=latents,
        arguments=ends.paths,
        about=ends.record,
    )
    frames = _Frames(model, latents[:, None], film, None)
    return Animation(frames, len(latents), film.fps, record, loop)


def _swing(sweep: Sweep, frames: int) -> NDArray[np.float64]:
    """A turn of a seamless loop: the last frame leads to the first."""
    values = sweep.values
    if isinstance(sweep.code, CategoricalCode):
        around = np.append(values, values[0])
        return _mixtures(sweep.code, around, cycle(frames) * len(values))
    middle, half = (values[0] + values[-1]) / 2, (values[-1] - values[0]) / 2
    return np.asarray(middle + half * np.sin(2 * np.pi * cycle(frames)))


def _climb(sweep: Sweep, frames: int) -> NDArray[np.float64]:
    """A turn of a ping-pong, from one end of the sweep to the other."""
    values = sweep.values
    if isinstance(sweep.code, CategoricalCode):
        positions = np.linspace(0, len(values) - 1, frames)
        return _mixtures(sweep.code, values, positions)
    return np.linspace(values[0], values[-1], frames)


def _mixtures(
    code: CategoricalCode, stops: NDArray[Any], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mixtures (n, size) on the way through categories, each held for a while."""
    left = np.minimum(np.floor(positions).astype(int), len(stops) - 1)
    right = np.minimum(left + 1, len(stops) - 1)
    part = np.clip(2 * (positions - left) - 0.5, 0, 1)
    weight = (part * part * (3 - 2 * part))[:, None]
    pure = np.eye(code.size)
    mixed: NDArray[np.float64] = pure[stops[left]]
    mixed += weight * (pure[stops[right]] - mixed)
    return mixed


def _walk(stops: Latents, spec: LatentSpec, positions: NDArray[np.float64]) -> Latents:
    """Latents (n, dim) at positions along stops, 0 for the first, rising."""
    legs = np.minimum(positions.astype(int), len(stops) - 2)
    return np.concatenate(
        [
            interpolate(stops[i], stops[i + 1], spec, positions[legs == i] - i)
            for i in range(len(stops) - 1)
        ]
    )


def _caption(code: Code, value: NDArray[Any]) -> str:
    if isinstance(code, CategoricalCode):
        return f"{code.name} {code.label(int(value.argmax()))}"
    return f"{code.name} {float(value):+.2f}"


def _animation(
    model: Model,
    path: Latents,
    film: Film,
    seed: int,
    codes: Mapping[str, ArrayLike],
    options: Mapping[str, object],
    captions: Sequence[str] | None,
    subjects: Subjects | None = None,
) -> Animation:
    order = film.order
    latents = path.reshape(film.path, film.samples, -1)[order]
    spoken = None if captions is None else [captions[i] for i in order]
    record = make_record(
        "gif",
        model,
        seed=None if subjects else seed,
        options={
            **options,
            "set": dict(codes),
            **asdict(film),
            **subject_options(subjects),
        },
        latents=latents.reshape(-1, model.spec.dim),
        about=subjects.record if subjects else {},
    )
    return Animation(
        _Frames(model, latents, film, spoken), len(latents), film.fps, record
    )


def _counted(
    frames: Iterable[Picture], on_frame: Callable[[int], object]
) -> Iterator[Picture]:
    for frame in frames:
        yield frame
        on_frame(1)


@dataclass(frozen=True)
class _Frames:
    """Frames drawn anew each time they are gone through, in bounded memory."""

    model: Model
    latents: Latents  # (frames, samples, dim)
    film: Film
    captions: Sequence[str] | None

    def __iter__(self) -> Iterator[Picture]:
        sheets = self._sheets()
        return sheets if self.captions is None else captioned(sheets, self.captions)

    def _sheets(self) -> Iterator[Picture]:
        together = max(1, BATCH // self.film.samples)  # small frames share a run
        for first in range(0, len(self.latents), together):
            some = self.latents[first : first + together]
            images = self.model.draw(some.reshape(-1, some.shape[-1]))
            for frame in images.reshape(len(some), -1, *images.shape[1:]):
                yield contact_sheet(
                    frame,
                    columns=self.film.columns,
                    scale=1 if self.film.scale is None else self.film.scale,
                    padding=self.film.padding,
                )
