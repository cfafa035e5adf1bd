"""What a generator's input is: incompressible noise z and named latent codes c.

A ``LatentSpec`` lays out, samples, encodes and validates latents in numpy;
training and runtime share it.  A latent is one float32 row, noise first:

    [ z_1 .. z_Z | one-hot of a categorical code | a uniform code | ... ]

Source: Chen et al. (2016), "InfoGAN", section 4.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infogan_export import philox
from infogan_export.errors import CodeError, unknown

Latents: TypeAlias = NDArray[np.float32]
Distribution = Literal["uniform", "normal"]

# The third counter word of the Philox stream: which part of a latent it draws.
_NOISE, _CODE = 0, 1

# Names that the command line and the Python API use for something else.
_RESERVED = frozenset(
    {"noise", "seed", "count", "start", "latents", "image", "logit", "code"}
    | {"batch_size", "dtype", "steps", "rows", "low", "high", "name", "self", "add"}
)

_MIXTURE_TOLERANCE = 1e-3
_SHARES_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Noise:
    """Incompressible noise: z ~ Unif(-1, 1) or N(0, 1), ``size`` independent draws."""

    size: int
    distribution: Distribution = "uniform"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise CodeError(f"noise size must be at least 1, got {self.size}")
        if self.distribution not in get_args(Distribution):
            raise CodeError(unknown("noise", self.distribution, get_args(Distribution)))


@dataclass(frozen=True)
class CategoricalCode:
    """A discrete latent code, c ~ Cat(K = size, p = shares), or p = 1/K without them.

    Real categories are not equally frequent; shares as in Ojha et al. (2020),
    "Elastic-InfoGAN".
    """

    name: str
    size: int
    labels: tuple[str, ...] = ()
    description: str = ""
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not isinstance(self.size, int) or self.size < 2:
            raise CodeError(
                f"code {self.name!r}: size must be at least 2, got {self.size}"
            )
        if self.labels and not (len(self.labels) == len(set(self.labels)) == self.size):
            raise CodeError(
                f"code {self.name!r}: needs {self.size} different labels, "
                f"got {', '.join(map(str, self.labels))}"
            )
        if self.shares and not (
            len(self.shares) == self.size
            and min(self.shares) >= 0
            and abs(sum(self.shares) - 1) <= _SHARES_TOLERANCE
        ):
            raise CodeError(
                f"code {self.name!r}: needs {self.size} shares, not negative, that sum "
                f"to 1, got {', '.join(map(str, self.shares))}"
            )

    @property
    def width(self) -> int:
        """Columns in the latent."""
        return self.size

    @property
    def entropy(self) -> float:
        """H(c) of the prior, in nats: the ceiling of L_I."""
        if not self.shares:
            return math.log(self.size)
        return -sum(p * math.log(p) for p in self.shares if p > 0)

    def label(self, category: int) -> str:
        """What a category is called: its label, or its number."""
        return self.labels[category] if self.labels else str(category)

    def draw(self, words: philox.Words) -> Latents:
        """Words (n,) to one-hot rows (n, size) of the prior."""
        if self.shares:
            return self.encode(philox.to_share(words, self.shares))
        return self.encode(philox.to_category(words, self.size))

    def encode(self, value: ArrayLike) -> Latents:
        """Categories, labels or mixtures to rows.

        Args:
            value: integers in 0..size-1 (any shape), labels, or mixtures: floats
                of shape (..., size), not negative, that sum to 1.

        Returns:
            float32, (..., size).

        Raises:
            CodeError: out of range, unknown label, or not a mixture.
        """
        try:
            array = np.asarray(value)
        except ValueError:
            raise CodeError(
                f"code {self.name!r}: rows of different lengths, {value!r}"
            ) from None
        if array.dtype.kind == "U":
            array = np.vectorize(self._category, otypes=[np.int64])(array)
        one_number = array.dtype.kind == "f" and array.ndim == 0
        if array.dtype.kind not in "iu" and not (
            one_number and float(array).is_integer()
        ):
            return self._mixture(array)
        bad = array[(array < 0) | (array >= self.size)]
        if bad.size:
            raise CodeError(
                f"code {self.name!r}: categories are 0 to {self.size - 1}, "
                f"got {bad.flat[0]}"
            )
        rows: Latents = np.eye(self.size, dtype=np.float32)[array.astype(np.int64)]
        return rows

    def _category(self, text: str) -> int:
        if text in self.labels:
            return self.labels.index(text)
        if re.fullmatch(r"[+-]?\d{1,9}", text):
            return int(text)
        named = self.labels or [str(k) for k in range(self.size)]
        raise CodeError(unknown("category", text, named, f"code {self.name!r}"))

    def _mixture(self, array: NDArray[Any]) -> Latents:
        if array.dtype.kind != "f" or array.ndim == 0 or array.shape[-1] != self.size:
            raise CodeError(
                f"code {self.name!r}: give a category from 0 to {self.size - 1}, or "
                f"{self.size} weights that sum to 1, got {_brief(array)}"
            )
        total = array.sum(axis=-1)
        fine = (array >= 0).all() and (abs(total - 1) <= _MIXTURE_TOLERANCE).all()
        if not fine:  # a NaN fails both comparisons
            raise CodeError(
                f"code {self.name!r}: a mixture's weights are not negative and sum "
                f"to 1, got {_brief(array)}"
            )
        mixture: Latents = array.astype(np.float32)
        return mixture


@dataclass(frozen=True)
class UniformCode:
    """A continuous latent code, c ~ Unif(low, high).

    Q(c|x) models it as a Gaussian, but the prior stays uniform, so
    H(c) = log(high - low) nats: not the entropy of that Gaussian.

    ``sweep_low`` and ``sweep_high`` bound a default traversal, which may leave
    the prior (the paper's go from -2 to 2); without them it is twice as wide.
    """

    name: str
    low: float = -1.0
    high: float = 1.0
    sweep_low: float | None = None
    sweep_high: float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        for low, high in ((self.low, self.high), self.sweep_range):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise CodeError(
                    f"code {self.name!r}: low must be below high and both finite, "
                    f"got low={low:g}, high={high:g}"
                )

    @property
    def width(self) -> int:
        """Columns in the latent."""
        return 1

    @property
    def entropy(self) -> float:
        """H(c) of the prior, in nats.  A continuous code's L_I may exceed it."""
        return math.log(self.high - self.low)

    @property
    def middle(self) -> float:
        """The centre of the prior."""
        return (self.low + self.high) / 2

    @property
    def sweep_range(self) -> tuple[float, float]:
        """Where a traversal begins and ends unless told otherwise."""
        low = 2 * self.low - self.middle if self.sweep_low is None else self.sweep_low
        top = (
            2 * self.high - self.middle if self.sweep_high is None else self.sweep_high
        )
        return low, top

    def draw(self, words: philox.Words) -> Latents:
        """Words (n,) to rows (n, 1) of the prior."""
        half = (self.high - self.low) / 2
        return self.encode(self.middle + half * philox.to_uniform(words))

    def encode(self, value: ArrayLike) -> Latents:
        """Values (any shape) to float32 rows (..., 1); outside the prior is allowed.

        Raises:
            CodeError: a value is no number, NaN or infinite.
        """
        try:
            given = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise CodeError(
                f"code {self.name!r}: give a number, got {value!r}"
            ) from None
        with np.errstate(over="ignore"):  # too large: infinite, and refused
            array: Latents = given.astype(np.float32)
        finite = np.isfinite(array)
        if not finite.all():
            raise CodeError(
                f"code {self.name!r}: values must be finite in float32, "
                f"got {given[~finite].flat[0]}"
            )
        return array[..., None]

    def sweep(
        self, steps: int, *, low: float | None = None, high: float | None = None
    ) -> NDArray[np.float64]:
        """Evenly spaced values (steps,) from ``low`` to ``high``, ends included.

        Raises:
            CodeError: fewer than 2 steps, or an empty or infinite range.
        """
        first = self.sweep_range[0] if low is None else low
        last = self.sweep_range[1] if high is None else high
        if not (math.isfinite(first) and math.isfinite(last)):
            raise CodeError(
                f"code {self.name!r}: a range needs two finite ends, "
                f"got {first:g} to {last:g}"
            )
        if first == last:
            raise CodeError(
                f"code {self.name!r}: the range from {first:g} to {last:g} is empty; "
                f"give two different ends, for instance -2 2"
            )
        if steps < 2:
            raise CodeError(f"a sweep needs at least 2 steps, got {steps}")
        return np.linspace(first, last, steps)


Code: TypeAlias = CategoricalCode | UniformCode


@dataclass(frozen=True)
class LatentSpec:
    """The whole input of a generator: its noise and its codes, in order."""

    noise: Noise
    codes: tuple[Code, ...] = ()

    def __post_init__(self) -> None:
        names = [code.name for code in self.codes]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise CodeError(f"two codes are named {sorted(twice)[0]!r}")
        for name in names:
            resolved = self._aliases().get(name, name)
            if resolved != name:
                raise CodeError(
                    f"a code may not be named {name!r}: that is another name of "
                    f"{resolved!r}"
                )

    @property
    def noise_dim(self) -> int:
        """Z, the columns of z."""
        return self.noise.size

    @property
    def code_dim(self) -> int:
        """C, the columns of c."""
        return sum(code.width for code in self.codes)

    @property
    def dim(self) -> int:
        """Z + C, the columns of a latent."""
        return self.noise_dim + self.code_dim

    @property
    def categorical(self) -> tuple[CategoricalCode, ...]:
        """The categorical codes, in order."""
        return tuple(c for c in self.codes if isinstance(c, CategoricalCode))

    @property
    def uniform(self) -> tuple[UniformCode, ...]:
        """The uniform codes, in order."""
        return tuple(c for c in self.codes if isinstance(c, UniformCode))

    def _aliases(self) -> dict[str, str]:
        found: dict[str, str] = {}
        kinds: tuple[tuple[str, tuple[Code, ...]], ...] = (
            ("cat", self.categorical),
            ("cont", self.uniform),
        )
        for kind, codes in kinds:
            found |= {f"{kind}{i}": code.name for i, code in enumerate(codes, start=1)}
            if codes:
                found[kind] = codes[0].name
        return found

    def __getitem__(self, name: str) -> Code:
        """The code of that name, or of an alias: ``cat``, ``cat2``, ``cont1`` ...

        Raises:
            CodeError: there is none; the message lists those there are.
        """
        by_name = {code.name: code for code in self.codes}
        wanted = self._aliases().get(name, name)
        if wanted not in by_name:
            raise CodeError(unknown("latent code", name, by_name, "this model"))
        return by_name[wanted]

    def columns(self, name: str) -> slice:
        """Where a code (or ``"noise"``) stands in a latent."""
        if name == "noise":
            return slice(0, self.noise_dim)
        wanted = self[name]
        start = self.noise_dim
        for code in self.codes:
            if code is wanted:
                break
            start += code.width
        return slice(start, start + wanted.width)

    def code_columns(self, name: str) -> slice:
        """Where a code stands in c (n, C), and its statistics in Q's output."""
        columns = self.columns(self[name].name)
        return slice(columns.start - self.noise_dim, columns.stop - self.noise_dim)

    def sample(self, count: int, *, seed: int = 0, start: int = 0) -> Latents:
        """Draw z ~ P(z), c ~ P(c) for images ``start`` ... of a seed.

        Row i depends on the seed and on ``start + i`` alone: not on ``count``,
        the machine, or numpy's version.

        Args:
            count: how many.
            seed: 0 to 2^64 - 1.
            start: the index of the first image.

        Returns:
            float32, (count, dim).
        """
        noise_words = philox.words(seed, start, count, self.noise_dim, _NOISE)
        code_words = philox.words(seed, start, count, len(self.codes), _CODE)
        to_noise = (
            philox.to_uniform
            if self.noise.distribution == "uniform"
            else philox.to_normal
        )
        noise = to_noise(noise_words).astype(np.float32)
        codes = [code.draw(code_words[:, k]) for k, code in enumerate(self.codes)]
        return np.concatenate([noise, *codes], axis=1)

    def assign(self, latents: Latents, values: Mapping[str, ArrayLike]) -> Latents:
        """Latents with the named codes set and all else as it was.

        Args:
            latents: float32, (n, dim).
            values: by code name or alias, one value for all rows or one a row.

        Returns:
            a copy, float32, (n, dim).

        Raises:
            CodeError: an unknown code, a bad value, or a length other than n.
        """
        result: Latents = latents.copy()
        seen: dict[str, str] = {}
        for name, value in values.items():
            code = self[name]
            if code.name in seen:
                raise CodeError(
                    f"code {code.name!r} is set twice, as {seen[code.name]!r} "
                    f"and as {name!r}"
                )
            seen[code.name] = name
            rows = code.encode(value)
            try:
                result[:, self.columns(name)] = rows
            except ValueError:
                raise CodeError(
                    f"code {code.name!r}: one value or {len(latents)} are needed, "
                    f"got {_brief(np.asarray(value))}"
                ) from None
        return result

    def shift(self, latents: Latents, amounts: Mapping[str, ArrayLike]) -> Latents:
        """Latents with the named uniform codes moved and all else as it was.

        Args:
            latents: float32, (n, dim).
            amounts: by code name or alias, one amount for all rows or one a row.

        Returns:
            a copy, float32, (n, dim).

        Raises:
            CodeError: as `assign`, or a categorical code.
        """
        moved = {}
        for name, amount in amounts.items():
            code = self[name]
            if isinstance(code, CategoricalCode):
                raise CodeError(
                    f"code {code.name!r} has categories: it can be set, not moved"
                )
            by = code.encode(amount)[..., 0]
            if by.ndim > 1 or by.size not in (1, len(latents)):
                raise CodeError(
                    f"code {code.name!r}: one amount or {len(latents)} are needed, "
                    f"got {_brief(by)}"
                )
            moved[name] = latents[:, self.columns(name)][:, 0] + by
        return self.assign(latents, moved)

    def count(self, values: Mapping[str, ArrayLike]) -> int | None:
        """How many latents a set of values is for; None when each is for all.

        Raises:
            CodeError: an unknown code, a bad value, or different lengths.
        """
        lengths: dict[str, int] = {}
        for name, value in values.items():
            shape = self[name].encode(value).shape[:-1]
            if len(shape) > 1:
                raise CodeError(f"code {name!r}: values are one row, got {shape}")
            if shape and shape != (1,):
                lengths[name] = shape[0]
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {n}" for name, n in lengths.items())
            raise CodeError(f"code values of different lengths: {told}")
        return next(iter(lengths.values()), None)

    def require_single(self, values: Mapping[str, ArrayLike]) -> None:
        """See to it that each value is for all latents alike, as a record holds it.

        Raises:
            CodeError: as `count`, or several values of one code.
        """
        for name, value in values.items():
            if (several := self.count({name: value})) is not None:
                raise CodeError(
                    f"code {self[name].name!r} takes one value here, got {several}"
                )

    def validate(self, latents: ArrayLike) -> Latents:
        """The array as float32 latents (n, dim), one row given as one latent.

        Raises:
            CodeError: the wrong shape, or a value that is NaN or infinite.
        """
        try:
            with np.errstate(over="ignore"):  # too large: infinite, and refused
                array: Latents = np.asarray(latents, dtype=np.float32)
        except (TypeError, ValueError):
            raise CodeError("latents must be an array of numbers") from None
        array = array[None] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] != self.dim:
            raise CodeError(
                f"latents of this model have the shape (n, {self.dim}): "
                f"{self.noise_dim} noise and {self.code_dim} code columns, "
                f"got {array.shape}"
            )
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise CodeError(f"latents must be finite, row {row} holds NaN or infinity")
        return array

    def split(self, latents: Latents) -> tuple[Latents, Latents]:
        """Latents (n, dim) as z (n, Z) and c (n, C), the two inputs of a graph."""
        return latents[:, : self.noise_dim], latents[:, self.noise_dim :]

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain JSON values."""
        kinds = {CategoricalCode: "categorical", UniformCode: "uniform"}
        return {
            "noise": asdict(self.noise),
            "codes": [{"kind": kinds[type(c)], **asdict(c)} for c in self.codes],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LatentSpec:
        """The inverse of ``to_dict``; unknown keys are errors.

        Raises:
            CodeError: a key is missing, unknown, or has a wrong value.
        """
        kinds: dict[str, type[Code]] = {
            "categorical": CategoricalCode,
            "uniform": UniformCode,
        }
        try:
            codes = []
            for entry in data["codes"]:
                fields = dict(entry)
                kind = fields.pop("kind")
                for name in fields.keys() & {"labels", "shares"}:
                    fields[name] = tuple(fields[name])
                codes.append(kinds[kind](**fields))
            return cls(noise=Noise(**data["noise"]), codes=tuple(codes))
        except CodeError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CodeError(f"not a latent specification: {error}") from None

    def rename(self, codes: Iterable[Code]) -> LatentSpec:
        """The same layout with other names, labels and descriptions.

        Raises:
            CodeError: a code's kind or width differs from the one it replaces.
        """
        new = tuple(codes)
        same = len(new) == len(self.codes) and all(
            type(a) is type(b) and a.width == b.width
            for a, b in zip(self.codes, new, strict=True)
        )
        if not same:
            raise CodeError("renaming may not change the kind or size of a code")
        return LatentSpec(self.noise, new)


def _check_name(name: str) -> None:
    if not name.isidentifier() or name in _RESERVED or name in ("cat", "cont"):
        raise CodeError(
            f"a code's name is a word like 'slant' (letters, digits, underscores; "
            f"not {', '.join(sorted(_RESERVED))}), got {name!r}"
        )


def _brief(array: NDArray[Any]) -> str:
    """A value for an error message: itself when small, else its shape."""
    return str(array.tolist()) if array.size <= 10 else f"an array {array.shape}"
