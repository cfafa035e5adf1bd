"""Draw images from latents and read codes from images, with onnxruntime alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infogan_export import arithmetic, catalog, inversion, traversal
from infogan_export.batches import BATCH, BatchRunner
from infogan_export.errors import CodeError, ModelError, UsageError
from infogan_export.graph import Graph, RuntimeOptions, open_graph, wrap_session
from infogan_export.inversion import Inversion, Refinement
from infogan_export.latent import CategoricalCode, Latents, LatentSpec
from infogan_export.metadata import ImageShape, ModelMetadata, Role

if TYPE_CHECKING:
    import onnxruntime

_TINY = 1e-12  # a probability that may stand for 0

Images: TypeAlias = NDArray[np.uint8]
FloatImages: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Categories:
    """Q(c|x) of a categorical code: probabilities (n, size)."""

    probabilities: NDArray[np.float32]
    labels: tuple[str, ...]

    @property
    def category(self) -> NDArray[np.int64]:
        """The most probable category of each image, (n,)."""
        best: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return best


@dataclass(frozen=True)
class Gaussian:
    """Q(c|x) of a uniform code: mean (n,) and deviation (n,)."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


@dataclass(frozen=True)
class Recognition:
    """What Q reads in n images: ``recognition["digit"].category`` and the like.

    Attributes:
        codes: Q(c|x) of each code, by its name.
        logit: D's logit, (n,): above 0 where D would call an image real.
    """

    spec: LatentSpec
    codes: Mapping[str, Categories | Gaussian]
    logit: NDArray[np.float32]

    def __getitem__(self, name: str) -> Categories | Gaussian:
        """Q(c|x) of a code, by name or alias."""
        return self.codes[self.spec[name].name]


class Model:
    """A generator, with its recognition network and encoder where there are any.

    May be shared between threads: nothing changes after loading.
    """

    def __init__(
        self,
        generator: Graph,
        *,
        name: str | None = None,
        files: catalog.ModelFiles | None = None,
        options: RuntimeOptions | None = None,
    ) -> None:
        self._generator = generator
        self._files = files
        self._options = options or RuntimeOptions()
        open_single: Callable[[], Graph] | None = None
        if files is not None:
            alone = replace(self._options, threads=1)
            open_single = partial(
                open_graph,
                files.generator,
                "generator",
                alone,
                sha256=generator.sha256,
            )
        self._draws = BatchRunner(
            generator, threads=self._options.shared_among, open_single=open_single
        )
        self._others: dict[Role, Graph] = {}  # opened when first needed
        self._lock = threading.Lock()
        self.name = name or generator.metadata.name

    def __repr__(self) -> str:
        codes = ", ".join(code.name for code in self.spec.codes)
        return f"<Model {self.name!r}: {codes}>"

    @property
    def metadata(self) -> ModelMetadata:
        """What the generator's file says of itself."""
        return self._generator.metadata

    @property
    def spec(self) -> LatentSpec:
        """The latent layout."""
        return self.metadata.spec

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height, width."""
        return self.metadata.image_shape

    @property
    def encoder_metadata(self) -> ModelMetadata | None:
        """What the encoder's file says of itself; None without one.

        Raises:
            ModelError: as ``encode``.
        """
        return self._other("encoder").metadata if self._has("encoder") else None

    @property
    def sha256(self) -> str:
        """The digest of the generator's file; '' for a ready session."""
        return self._generator.sha256

    @property
    def recognition_sha256(self) -> str | None:
        """The digest of the recognition network's file; None where there is none.

        Raises:
            ModelError: it is damaged, or another generator's.
        """
        return self._other("recognition").sha256 if self._has("recognition") else None

    def latents(
        self,
        count: int | None = None,
        *,
        seed: int = 0,
        start: int = 0,
        **codes: ArrayLike,
    ) -> Latents:
        """Draw latents, with the named codes set.

        Args:
            count: how many; without it, as many as the codes' values, or 1.
            seed: image i of a seed has the same latent whatever the count.
            start: the index of the first image.
            **codes: values by code name or alias: ``digit=7``, ``slant=[-1, 0]``.

        Returns:
            float32, (count, dim).

        Raises:
            CodeError: an unknown code or a bad value.
        """
        asked = self.spec.count(codes)
        n = count if count is not None else 1 if asked is None else asked
        if n < 0:
            raise UsageError(f"a count is 0 or more, got {n}")
        drawn = self.spec.sample(n, seed=seed, start=start)
        return self.spec.assign(drawn, codes)

    @overload
    def draw(self, latents: ArrayLike, *, dtype: Literal["uint8"] = ...) -> Images: ...
    @overload
    def draw(self, latents: ArrayLike, *, dtype: Literal["float32"]) -> FloatImages: ...

    def draw(
        self, latents: ArrayLike, *, dtype: Literal["uint8", "float32"] = "uint8"
    ) -> Images | FloatImages:
        """Latents to images.

        Args:
            latents: float32, (n, dim); one latent (dim,) draws one image.
            dtype: ``uint8``, or ``float32`` from 0 to 1.

        Returns:
            (n, height, width) for grey images, (n, height, width, 3) for colour.

        Raises:
            CodeError: the wrong shape, or NaN or infinity in them.
        """
        if dtype not in ("uint8", "float32"):
            raise UsageError(f"dtype is 'uint8' or 'float32', got {dtype!r}")
        z_c = self.spec.validate(latents)
        images = self._draw(z_c) if len(z_c) else self._empty()
        if dtype == "float32":
            return images
        # In place: images are large, and nobody else holds them.
        np.clip(images, 0.0, 1.0, out=images)
        np.multiply(images, 255.0, out=images)
        return np.rint(images, out=images).astype(np.uint8)

    def sample(
        self,
        count: int | None = None,
        *,
        seed: int = 0,
        start: int = 0,
        **codes: ArrayLike,
    ) -> Images:
        """Draw images, with the named codes set; arguments as for ``latents``.

        Returns:
            uint8, (count, height, width) or (count, height, width, 3).
        """
        return self.draw(self.latents(count, seed=seed, start=start, **codes))

    def stream(
        self,
        count: int,
        *,
        seed: int = 0,
        start: int = 0,
        batch_size: int = BATCH,
        **codes: ArrayLike,
    ) -> Iterator[Images]:
        """Draw any number of images, a batch at a time, in bounded memory.

        The images are those of ``sample(count, seed=seed, start=start, ...)``.
        A code's value is one for all images.
        """
        if count < 0:
            raise UsageError(f"a count is 0 or more, got {count}")
        if batch_size < 1:
            raise UsageError(f"a batch has at least 1 image, got {batch_size}")
        if self.spec.count(codes) is not None:
            raise CodeError("a stream takes one value for each code")
        return (
            self.sample(
                min(batch_size, start + count - first), seed=seed, start=first, **codes
            )
            for first in range(start, start + count, batch_size)
        )

    def traverse(
        self,
        name: str,
        *,
        steps: int | None = None,
        low: float | None = None,
        high: float | None = None,
        rows: int = 1,
        seed: int = 0,
        **codes: ArrayLike,
    ) -> Images:
        """Sweep one code while all else is held fixed, once a row.

        Args:
            name: the code to vary.
            steps: images in a row: 11, or all of a code's categories.
            low: where the sweep begins.
            high: where it ends.
            rows: draws of everything held fixed.
            seed: of those draws.
            **codes: other codes to set.

        Returns:
            uint8, (rows, steps, height, width[, 3]).
        """
        if self.spec[name].name in {self.spec[other].name for other in codes}:
            raise CodeError(f"code {name!r} is swept, so it cannot be set as well")
        base = self.latents(rows, seed=seed, start=0, **codes)
        values = traversal.sweep_values(
            self.spec, name, steps=steps, low=low, high=high
        )
        images = self.draw(traversal.traverse(base, self.spec, name, values))
        return images.reshape(rows, len(values), *images.shape[1:])

    def interpolate(self, first: ArrayLike, last: ArrayLike, *, steps: int) -> Images:
        """Images on the way from one latent (dim,) to another, ends included.

        Raises:
            UsageError: fewer than 2 steps.
            CodeError: an end is not one latent of this model.
        """
        _require_steps(steps)
        weights = np.linspace(0.0, 1.0, steps)
        return self.draw(traversal.interpolate(first, last, self.spec, weights))

    def arithmetic(
        self, plus: Sequence[ArrayLike], minus: Sequence[ArrayLike]
    ) -> Images:
        """The image of mean(A) - mean(B) + mean(C); arguments as for `combine`.

        Returns:
            uint8, (1, height, width) or (1, height, width, 3).
        """
        return self.draw(arithmetic.combine(plus, minus, self.spec))

    def recognize(self, images: ArrayLike) -> Recognition:
        """Read the codes of images: Q(c|x).

        Args:
            images: uint8, or floats from 0 to 1: (n, height, width),
                (n, height, width, channels), or one image (height, width).

        Raises:
            UsageError: no images, another shape, or values outside 0 to 1.
            ModelError: the model has no recognition network.
        """
        found = self._read("recognition", self._as_input(images))
        codes: dict[str, Categories | Gaussian] = {}
        for code in self.spec.codes:
            statistics = found[code.name]
            if isinstance(code, CategoricalCode):
                labels = tuple(map(code.label, range(code.size)))
                codes[code.name] = Categories(_softmax(statistics), labels)
            else:
                codes[code.name] = Gaussian(statistics[:, 0], statistics[:, 1])
        return Recognition(self.spec, codes, found["logit"])

    def encode(self, images: ArrayLike) -> Latents:
        """Guess the latents of images, in one pass.

        By the model's encoder; without one by Q, which reads the codes and leaves
        the noise at 0.

        Args:
            images: as for ``recognize``.

        Returns:
            float32, (n, dim), categorical codes as probabilities.

        Raises:
            UsageError: as ``recognize``.
            ModelError: the model has neither network, or those of another model.
        """
        x = self._as_input(images)
        if self._has("encoder"):
            found = self._read("encoder", x)
            latents: Latents = np.concatenate([found["noise"], found["code"]], axis=1)
            return latents
        found = self._read("recognition", x)
        latents = np.zeros((len(x), self.spec.dim), np.float32)
        for code in self.spec.codes:
            read, columns = found[code.name], self.spec.columns(code.name)
            categorical = isinstance(code, CategoricalCode)
            latents[:, columns] = _softmax(read) if categorical else read[:, :1]
        return latents

    def invert(
        self,
        images: ArrayLike,
        *,
        iterations: int = Refinement.iterations,
        tolerance: float = Refinement.tolerance,
        inside: bool = Refinement.inside,
        on_progress: Callable[[int], object] | None = None,
    ) -> Inversion:
        """Find the latents that draw given images, from the guess of ``encode``.

        Where a model has both an encoder and Q, the two settle the category together.

        Args:
            images: as for ``recognize``.
            iterations: steps of refinement at most; 0 keeps the first guess.
            tolerance: an image whose error falls by a smaller share is done.
            inside: keep the latents inside their prior (normal noise within 3
                deviations).
            on_progress: called with the number of images just finished.

        Raises:
            UsageError: as ``recognize``, or an option out of range.
            ModelError: as ``encode``.
        """
        refinement = Refinement(iterations, tolerance, inside)
        x = self._as_input(images)
        return inversion.invert(
            lambda latents: self.draw(latents, dtype="float32").reshape(
                len(latents), -1
            ),
            self.spec,
            x.transpose(0, 2, 3, 1).reshape(len(x), -1),
            self._guess(images),
            refinement,
            on_progress=on_progress,
        )

    def reconstruct(self, images: ArrayLike) -> Images:
        """Draw given images again, from the latents that ``invert`` finds.

        Returns:
            uint8, (n, height, width) or (n, height, width, 3).
        """
        return self.draw(self.invert(images).latents)

    def edit(
        self,
        images: ArrayLike,
        *,
        add: Mapping[str, ArrayLike] | None = None,
        **codes: ArrayLike,
    ) -> Images:
        """Draw given images again with other codes, all else as ``invert`` finds it.

        Args:
            images: as for ``recognize``; one image is drawn once for each value of
                the codes.
            add: amounts by which to move uniform codes: ``add={"slant": 0.5}``.
            **codes: values to set: ``digit=7``, ``digit=range(10)``.

        Returns:
            uint8, (n, height, width) or (n, height, width, 3).

        Raises:
            CodeError: an unknown code, a bad value, or one set and moved at once.
            UsageError, ModelError: as ``invert``.
        """
        spec, moves = self.spec, add or {}
        spec.count(codes)  # refuses bad values before the work
        spec.count(moves)
        latents = self.invert(images).latents
        return self.draw(edited(spec, latents, codes, moves))

    def morph(self, first: ArrayLike, last: ArrayLike, *, steps: int) -> Images:
        """Images on the way from one image to another, both as drawn again.

        Args:
            first: one image, as for ``recognize``.
            last: another.
            steps: images on the way, ends included.

        Returns:
            uint8, (steps, height, width) or (steps, height, width, 3).

        Raises:
            UsageError: fewer than 2 steps, or an end that is not one image.
        """
        _require_steps(steps)
        ends = [self._as_input(image) for image in (first, last)]
        if any(len(end) != 1 for end in ends):
            raise UsageError("a morph goes from one image to another")
        latents = self.invert(np.concatenate(ends).transpose(0, 2, 3, 1)).latents
        return self.interpolate(latents[0], latents[1], steps=steps)

    def _guess(self, images: ArrayLike) -> Latents:
        """What ``encode`` reads, its categories agreed upon with Q."""
        guess = self.encode(images)
        if not (self._has("encoder") and self._has("recognition")):
            return guess
        for name, read in self.recognize(images).codes.items():
            if isinstance(read, Categories):
                columns = self.spec.columns(name)
                both = np.sqrt(guess[:, columns] * read.probabilities) + _TINY
                guess[:, columns] = both / both.sum(axis=1, keepdims=True)
        return guess

    def _has(self, role: Role) -> bool:
        return self._files is not None and getattr(self._files, role) is not None

    def _draw(self, latents: Latents) -> FloatImages:
        noise, code = map(np.ascontiguousarray, self.spec.split(latents))
        image = self._draws.run({"noise": noise, "code": code})["image"]
        if image.shape[1] == 1:
            return image[:, 0]
        return np.ascontiguousarray(image.transpose(0, 2, 3, 1))

    def _empty(self) -> FloatImages:
        channels, height, width = self.image_shape
        colour = () if channels == 1 else (channels,)
        return np.empty((0, height, width, *colour), dtype=np.float32)

    def _as_input(self, images: ArrayLike) -> FloatImages:
        channels, height, width = self.image_shape
        try:
            array = np.asarray(images)
        except ValueError:
            raise UsageError("images are one array, all of the same size") from None
        given = array.shape
        whole = (height, width) if channels == 1 else (height, width, channels)
        if array.shape == whole:
            array = array[None]
        if channels == 1 and array.ndim == 3:
            array = array[..., None]
        if array.ndim != 4 or array.shape[1:] != (height, width, channels):
            raise UsageError(
                f"model {self.name!r} reads images of {height}x{width} with "
                f"{channels} channel(s), got an array {given}"
            )
        if array.dtype == np.uint8:
            x = array.astype(np.float32) / 255.0
        elif array.dtype.kind != "f":
            raise UsageError(f"images are uint8 or float, got {array.dtype}")
        elif array.size and not (array.min() >= 0 and array.max() <= 1):  # NaN too
            raise UsageError("float images hold values from 0 to 1")
        else:
            x = array.astype(np.float32)
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))

    def _read(self, role: Role, x: FloatImages) -> dict[str, NDArray[Any]]:
        """What a network reads in images (n, channels, height, width)."""
        if not len(x):
            raise UsageError("no images to read")
        return BatchRunner(self._other(role)).run({"image": x})

    def _other(self, role: Role) -> Graph:
        """The recognition network or the encoder, opened when first needed."""
        with self._lock:
            if role not in self._others:
                path = None if self._files is None else getattr(self._files, role)
                if path is None or self._files is None:
                    raise ModelError(
                        f"model {self.name!r} has no recognition network; put its "
                        f"{catalog.RECOGNITION} beside its {catalog.GENERATOR}"
                    )
                digest = self._files.digest(role)
                graph = open_graph(path, role, self._options, sha256=digest)
                its = graph.metadata
                inverts = its.training.get("generator_sha256", self.sha256)
                if role == "encoder" and inverts != self.sha256:
                    raise ModelError(
                        f"{path} belongs to another generator, {inverts[:12]}..., not "
                        f"{self.sha256[:12]}..."
                    )
                if (its.spec, its.image_shape) != (self.spec, self.image_shape):
                    raise ModelError(
                        f"{path} belongs to another generator: its codes or images "
                        f"differ"
                    )
                self._others[role] = graph
            return self._others[role]


def _require_steps(steps: int) -> None:
    if steps < 2:
        raise UsageError(f"a way has 2 steps or more, both its ends, got {steps}")


def edited(
    spec: LatentSpec,
    latents: Latents,
    codes: Mapping[str, ArrayLike],
    moves: Mapping[str, ArrayLike],
) -> Latents:
    """Latents with some codes set and others moved; one latent for each value.

    Raises:
        CodeError: as `LatentSpec.assign` and `shift`, or a code set and moved.
    """
    both = {spec[name].name for name in codes} & {spec[name].name for name in moves}
    if both:
        raise CodeError(f"code {sorted(both)[0]!r} is set, and moved as well")
    counts = {spec.count(codes), spec.count(moves)} - {None}
    if len(counts) > 1:
        raise CodeError(f"codes to set and to move differ in length: {counts}")
    if counts and len(latents) == 1:
        latents = np.repeat(latents, counts.pop() or 1, axis=0)
    return spec.shift(spec.assign(latents, codes), moves)


def load(
    model: str
    | os.PathLike[str]
    | onnxruntime.InferenceSession = catalog.DEFAULT_MODEL,
    *,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    session_options: onnxruntime.SessionOptions | None = None,
) -> Model:
    """Open a model by name or path.

    Args:
        model: a name (``infogan-gen models`` lists them), the path of a
            generator's ``.onnx`` file or of its folder, or a ready session.
        threads: for one image operator; by default the CPUs that this process
            may use, by affinity and cgroup quota.
        providers: onnxruntime's execution providers, first choice first.
        session_options: your own, in place of ``threads``.

    Raises:
        UsageError: no such model.
        ModelError: a file that is damaged, foreign, or of a future format.
        ProviderError: a provider that this onnxruntime lacks.
    """
    options = RuntimeOptions(threads, providers, session_options)
    if not isinstance(model, str | os.PathLike):
        if options != RuntimeOptions():
            raise UsageError("a ready session already has its own options")
        return Model(wrap_session(model, "generator", source="the given session"))
    files = catalog.find(model)
    generator = open_graph(
        files.generator, "generator", options, sha256=files.digest("generator")
    )
    name = generator.metadata.name if files.origin == "path" else files.name
    return Model(generator, name=name, files=files, options=options)


def _softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = weights / weights.sum(axis=1, keepdims=True)
    return probabilities
