"""From an image back to its latent: min over z, c of |G(z, c) - x|^2, near a prior.

The codes are read first, by an encoder or by Q; that settles the category, or
leaves a few.  Each of those is then refined by Levenberg-Marquardt,

    u <- clip(u - (J^T J + L + mu D)^-1 (J^T r + L (u - u_0))),

where u is z and the uniform codes, r = G(u) - x, u_0 the first guess, L the weight
that keeps u near it, D the diagonal of J^T J + L.  J is taken by finite differences
through the generator, all images at once, and kept up to date in between by the
drawings that the steps need anyway (Broyden).

Sources: Nocedal and Wright (2006), "Numerical optimization", 10.3; Broyden (1965);
Creswell and Bharath (2018), "Inverting the generator of a GAN".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import UsageError
from infogan_export.latent import Latents, LatentSpec

Floats = NDArray[np.float32]
Draw = Callable[[Latents], Floats]
"""Latents (n, dim) to images as rows, (n, pixels), 0 to 1."""

_CHUNK = 64  # images at a time, fewer where their Jacobians would take more than
_JACOBIANS = 2**24  # floats
_RENEWED = 2  # iterations for which a Jacobian, kept up to date, is good
_DIFFERENCE = 0.02  # of finite differences, in units of the prior
_NEAR_NOISE, _NEAR_CODES = 2.5e-4, 0.025  # L: mean squared error per unit of u^2
_NORMAL_BOUND = 3.0  # deviations of normal noise that count as inside the prior
_CANDIDATES = 3  # categories that are refined at most
_IMPLAUSIBLE = 0.02  # a category less probable than that is not
_PIXEL_VARIANCE = 0.05  # of the error, to weigh it against the log of a probability
_DAMPING, _EASED, _STIFFENED = 0.03, 0.3, 5.0
_TINY = 1e-12


@dataclass(frozen=True)
class Refinement:
    """How far to refine a guess.

    Attributes:
        iterations: steps at most; 0 keeps the guess, at its best category.
        tolerance: an image whose error falls by a smaller share is done.
        inside: keep z and the uniform codes inside their priors (normal noise
            within 3 deviations).
    """

    iterations: int = 12
    tolerance: float = 1e-3
    inside: bool = True

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise UsageError(f"iterations must be 0 or more, got {self.iterations}")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise UsageError(
                f"tolerance must be 0 or more and finite, got {self.tolerance:g}"
            )


@dataclass(frozen=True)
class Inversion:
    """Latents that draw given images again.

    Attributes:
        latents: float32, (n, dim), each categorical code at one category.
        mse: mean squared error of its images, pixels from 0 to 1, (n,).
        first_latents: the guess that it began from, (n, dim).
        first_mse: mean squared error of the guess, (n,).
    """

    latents: Latents
    mse: Floats
    first_latents: Latents
    first_mse: Floats


def invert(
    draw: Draw,
    spec: LatentSpec,
    x: Floats,
    guess: Latents,
    refinement: Refinement | None = None,
    *,
    on_progress: Callable[[int], object] | None = None,
) -> Inversion:
    """Refine a guess until it draws the images, or no better.

    An image's result depends on that image alone.

    Args:
        draw: the generator.
        spec: its latent layout.
        x: the images, (n, pixels), 0 to 1.
        guess: (n, dim), the categories as probabilities.
        refinement: how far to go.
        on_progress: called with the number of images just finished.
    """
    refinement = refinement or Refinement()
    parts = []
    chunk = min(_CHUNK, max(1, _JACOBIANS // (x.shape[1] * spec.dim)))
    for first in range(0, len(x), chunk):
        rows = slice(first, first + chunk)
        parts.append(_solve(draw, spec, x[rows], guess[rows], refinement))
        if on_progress:
            on_progress(len(x[rows]))
    names = [field.name for field in fields(Inversion)]
    return Inversion(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


@dataclass(frozen=True)
class _Problem:
    """What draws, and which columns of a latent may move, how far, how freely."""

    draw: Draw
    free: NDArray[np.int64]  # (k,) columns: z and the uniform codes
    low: Floats  # (k,)
    high: Floats
    near: Floats  # L

    @classmethod
    def of(cls, draw: Draw, spec: LatentSpec, pixels: int, *, inside: bool) -> _Problem:
        bound = 1.0 if spec.noise.distribution == "uniform" else _NORMAL_BOUND
        z = [(column, -bound, bound, _NEAR_NOISE) for column in range(spec.noise_dim)]
        c = [
            (spec.columns(code.name).start, code.low, code.high, _NEAR_CODES)
            for code in spec.uniform
        ]
        free, low, high, near = zip(*z, *c, strict=True)
        if not inside:
            low, high = (-math.inf,) * len(free), (math.inf,) * len(free)
        return cls(
            draw,
            np.array(free, np.int64),
            np.array(low, np.float32),
            np.array(high, np.float32),
            np.array(near, np.float32) * pixels,
        )

    def error(self, latents: Latents, x: Floats) -> Floats:
        """Squared error of each image, summed over its pixels."""
        return _square(self.draw(latents) - x)

    def jacobian(self, latents: Latents, drawn: Floats) -> Floats:
        """dG/du by forward differences, (n, k, pixels)."""
        (n, dim), k = latents.shape, len(self.free)
        # Away from the nearer bound, so that nothing is drawn from outside.
        u = latents[:, self.free]
        sign = np.where(u + _DIFFERENCE > self.high, -1, 1).astype(np.float32)
        step = _DIFFERENCE * sign
        moved = np.repeat(latents[:, None], k, axis=1)
        moved[:, np.arange(k), self.free] += step
        there = self.draw(moved.reshape(n * k, dim)).reshape(n, k, -1)
        slopes: Floats = (there - drawn[:, None]) / step[..., None]
        return slopes


def _solve(
    draw: Draw,
    spec: LatentSpec,
    x: Floats,
    guess: Latents,
    refinement: Refinement,
) -> Inversion:
    iterations, tolerance = refinement.iterations, refinement.tolerance
    problem = _Problem.of(draw, spec, x.shape[1], inside=refinement.inside)
    first = _settled(guess, spec)
    first[:, problem.free] = first[:, problem.free].clip(problem.low, problem.high)
    owner, latents, surprise = _candidates(problem, spec, x, guess, first)
    trial = min(iterations, _RENEWED)
    latents, cost = _refine(problem, x[owner], latents, first[owner], trial, tolerance)
    score = cost / (2 * _PIXEL_VARIANCE) + surprise
    best = np.lexsort((score, owner))[np.searchsorted(owner, np.arange(len(x)))]
    latents = latents[best]
    rest = iterations - trial
    latents, _ = _refine(problem, x, latents, first, rest, tolerance)
    pixels = x.shape[1]
    first_mse = problem.error(first, x) / pixels
    mse = problem.error(latents, x) / pixels
    return Inversion(latents, mse, first, first_mse)


def _settled(guess: Latents, spec: LatentSpec) -> Latents:
    """Each categorical code at its most probable category."""
    latents: Latents = guess.copy()
    for code in spec.categorical:
        columns = spec.columns(code.name)
        latents[:, columns] = np.eye(code.size)[guess[:, columns].argmax(axis=1)]
    return latents


def _candidates(
    problem: _Problem, spec: LatentSpec, x: Floats, guess: Latents, first: Latents
) -> tuple[NDArray[np.int64], Latents, Floats]:
    """Every category of the first categorical code drawn, the best few kept.

    Returns:
        for each candidate: whose image it is for, its latent, and -log p of it.
    """
    if not spec.categorical:
        return np.arange(len(x)), first, np.zeros(len(x), np.float32)
    code = spec.categorical[0]
    columns = spec.columns(code.name)
    every = np.repeat(first, code.size, axis=0)
    every[:, columns] = np.tile(np.eye(code.size), (len(x), 1))
    chances = guess[:, columns]
    surprise: Floats = -np.log(np.maximum(chances, _TINY))
    error = problem.error(every, x.repeat(code.size, axis=0)).reshape(chances.shape)
    score = error / (2 * _PIXEL_VARIANCE) + surprise
    kept = score.argsort(axis=1).argsort(axis=1) < _CANDIDATES
    kept &= chances >= _IMPLAUSIBLE
    kept |= chances == chances.max(axis=1, keepdims=True)
    return np.nonzero(kept)[0], every[kept.ravel()], surprise[kept]


def _refine(
    problem: _Problem,
    x: Floats,
    latents: Latents,
    centre: Latents,
    iterations: int,
    tolerance: float,
) -> tuple[Latents, Floats]:
    """Levenberg-Marquardt on every row until it is done.

    Returns:
        the latents, and |G - x|^2 + (u - u_0)^T L (u - u_0), (n,).
    """
    free = problem.free
    latents, drawn = latents.copy(), problem.draw(latents)

    def among_free(latents: Latents) -> Latents:
        # By take: what an index array gives lies otherwise in memory where there is
        # one row, and its sums are rounded in another order.
        return np.take(latents, free, axis=1)

    def cost_of(latents: Latents, drawn: Floats, rows: NDArray[np.int64]) -> Floats:
        away = among_free(latents - centre[rows])
        total: Floats = _square(drawn - x[rows]) + (problem.near * away**2).sum(axis=1)
        return total

    rows = np.arange(len(x))  # those that go on
    cost = cost_of(latents, drawn, rows)
    damping = np.full(len(x), _DAMPING, np.float32)
    J = np.empty(0, np.float32)
    for iteration in range(iterations):
        renewed = iteration % _RENEWED == 0
        here, seen = latents[rows], drawn[rows]
        if renewed:
            J = problem.jacobian(here, seen)
        pull = problem.near * among_free(here - centre[rows])
        gradient = np.matmul(J, (seen - x[rows])[..., None])[..., 0] + pull
        step = _step(problem, J, gradient, among_free(here), damping[rows])
        there = here.copy()
        there[:, free] = np.clip(here[:, free] + step, problem.low, problem.high)
        drawn_there = problem.draw(there)
        after = cost_of(there, drawn_there, rows)
        better = after < cost[rows]
        gain = np.where(better, 1 - after / np.maximum(cost[rows], _TINY), np.inf)
        moved = rows[better]
        latents[moved], drawn[moved] = there[better], drawn_there[better]
        cost[moved] = after[better]
        damping[rows] *= np.where(better, _EASED, _STIFFENED)
        J = _broyden(J, among_free(there - here), drawn_there - seen)
        if renewed:  # hardly a gain although J was right: done
            going = gain >= tolerance
            rows, J = rows[going], J[going]
        if not len(rows):
            break
    return latents, cost


def _step(
    problem: _Problem, J: Floats, gradient: Floats, u: Floats, damping: Floats
) -> Floats:
    """The damped Gauss-Newton step of each row, (n, k)."""
    A = np.matmul(J, J.transpose(0, 2, 1))
    diagonal = np.arange(A.shape[1])
    A[:, diagonal, diagonal] += problem.near
    A[:, diagonal, diagonal] *= 1 + damping[:, None]
    # What stands at a bound and would leave it is held there.
    held = (u <= problem.low) & (gradient > 0) | (u >= problem.high) & (gradient < 0)
    A[held] = 0
    A.transpose(0, 2, 1)[held] = 0
    A[:, diagonal, diagonal] += held
    step = np.linalg.solve(A, np.where(held, 0, -gradient)[..., None])[..., 0]
    return step.astype(np.float32)


def _broyden(J: Floats, moved: Floats, change: Floats) -> Floats:
    """J, corrected so that it explains what the last step did."""
    length = np.maximum((moved**2).sum(axis=1), _TINY)[:, None]
    surprise = change - np.matmul(moved[:, None], J)[:, 0]
    updated: Floats = J + (moved / length)[..., None] * surprise[:, None]
    return updated


def _square(residual: Floats) -> Floats:
    total: Floats = (residual**2).sum(axis=1)
    return total
