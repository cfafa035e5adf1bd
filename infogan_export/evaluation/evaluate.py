"""Every figure of an exported model, on one set of samples and one seed.

Nothing here needs torch.  The first categorical code of a model is the one that
stands for classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from itertools import chain
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from infogan_export.datasets import ImageSet
from infogan_export.errors import DataError, MissingExtraError, ModelError, UsageError
from infogan_export.evaluation import association, distances
from infogan_export.evaluation.figures import (
    Agreement,
    AskedDrawn,
    CodeInformation,
    Conditions,
    Evaluation,
    LabelAgreement,
    Leakage,
    Neighbours,
    SetDistance,
    Where,
)
from infogan_export.evaluation.information import (
    information_by_code,
    read_with_noise,
)
from infogan_export.evaluation.judge import JudgeReport
from infogan_export.evaluation.naming import CodeEvidence, describe_uniform_codes
from infogan_export.evaluation.properties import Family, family
from infogan_export.latent import CategoricalCode, Latents, LatentSpec, UniformCode
from infogan_export.limits import require_memory
from infogan_export.runtime import Categories, Model, Recognition
from infogan_export.traversal import traverse

Images = NDArray[np.uint8]
Progress = Callable[[int, int, str], None]
Ranges = Mapping[str, tuple[float, float]]
T = TypeVar("T")

FEWEST_IMAGES = 6  # density and coverage look at the fifth neighbour
FEWEST_SAMPLES = 100
SWEEP_STEPS = 11
PARTS = 10
NEIGHBOURS_SHOWN = 20
_NEIGHBOURS_COMPARED, _NEIGHBOURS_LEAST = 1000, 100
_BLOCK = 5000  # training images in float32 at a time


class FeatureNetwork(Protocol):
    """Anything that turns uint8 images (n, H, W[, 3]) into features (n, f)."""

    @property
    def name(self) -> str:
        """What a report calls it."""

    def features(self, images: Images) -> NDArray[np.float32]:
        """Features, (n, f)."""


class ClassJudge(FeatureNetwork, Protocol):
    """What `evaluate` asks of a judge; ``judge.Judge`` is one."""

    report: JudgeReport
    sha256: str

    def predict(self, images: Images) -> NDArray[np.int64]:
        """The class of each image: int64, (n,)."""


class _Skipped(Exception):
    """Why a part cannot be measured here."""


def evaluate(
    model: Model,
    *,
    test: ImageSet,
    train: ImageSet,
    judge: ClassJudge | None = None,
    features: FeatureNetwork | None = None,
    baseline: Model | None = None,
    seed: int = 0,
    samples: int = 10_000,
    draws: int = 5,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a model against real images.

    A part that needs what is not there (labels, a recognition network, a judge,
    a kind of code) is left out, and `Evaluation.skipped` says why.

    Args:
        model: the generator, with its recognition network if it has one.
        test: real images that it never saw; labels serve to measure only.
        train: those it learned from, for the floor and the neighbours.
        judge: an independent classifier of such images.
        features: the network to take distances in, by default the judge.
        baseline: a model whose distances stand beside.
        seed: the same seed gives the same figures.
        samples: images to generate for each figure.
        draws: of so many images, to take the mean of their Frechet distances.
        progress: called with (parts done, parts in all, the part that begins).

    Raises:
        MissingExtraError: scipy or scikit-learn is not installed.
        UsageError: too few samples or draws.
        DataError: images of another size than the model's, too few of them, or
            labels beyond the code's categories.
    """
    require_extra("scipy", "sklearn")
    _require_alike(model, baseline, judge, test, train)
    spec = model.spec
    fewest = max([FEWEST_SAMPLES, *(SWEEP_STEPS * c.size for c in spec.categorical)])
    if samples < fewest:
        raise UsageError(f"at least {fewest} samples are needed, got {samples}")
    if draws < 1:
        raise UsageError(f"at least 1 draw is needed, got {draws}")
    require_memory(
        samples * (int(np.prod(model.image_shape)) + 4 * spec.dim),
        purpose=f"{samples:,} samples",
        advice="ask for fewer",
    )
    network = features or judge
    latents = spec.sample(samples, seed=seed)
    images = model.draw(latents)
    real, known = as_drawn(test.images), as_drawn(train.images)
    categories = _categories(spec, latents)
    skipped: dict[str, str] = {}
    begun = 0

    def part(name: str, measure: Callable[[], T]) -> T | None:
        nonlocal begun
        if progress is not None:
            progress(begun, PARTS, name)
        begun += 1
        try:
            return measure()
        except _Skipped as reason:
            skipped[name] = str(reason)
            return None

    @cache
    def reality() -> _RealFeatures:
        given = _required(network, "judge or other network of features")
        return _RealFeatures(given, real)

    @cache
    def family_of() -> Family:
        return _family(model).with_smile(judge)

    def drawn_from(generator: Model, first: int = 0) -> Iterator[Images]:
        for k in range(first, draws):
            yield generator.sample(samples, seed=seed, start=k * samples)

    def drawn_baseline() -> Iterator[Images]:
        return drawn_from(_required(baseline, "baseline model"))

    def drawn_training() -> Iterator[Images]:
        order = np.random.default_rng(seed).permutation(len(known))
        for k in range(min(draws, max(len(known) // samples, 1))):
            yield known[np.sort(order[k * samples : (k + 1) * samples])]

    result = Evaluation(
        conditions=Conditions(
            model=model.name,
            model_sha256=model.sha256,
            recognition_sha256=_recognition_digest(model),
            baseline=None if baseline is None else baseline.name,
            baseline_sha256=None if baseline is None else baseline.sha256,
            data=test.name,
            train_images=len(train),
            test_images=len(test),
            train_sha256=train.sha256(),
            test_sha256=test.sha256(),
            labels_sha256=test.labels_sha256(),
            judge=None if judge is None else judge.report,
            judge_sha256=None if judge is None else judge.sha256,
            features=None if network is None else network.name,
            samples=samples,
            seed=seed,
        ),
        labels=part("labels", lambda: _against_labels(model, test)),
        information=part(
            "information", lambda: _information(model, latents, images, seed=seed)
        ),
        asked=part(
            "asked", lambda: _asked_drawn(model, judge, latents, images, seed=seed)
        ),
        quality=part(
            "quality",
            lambda: reality().distance(chain([images], drawn_from(model, 1))),
        ),
        floor=part("floor", lambda: reality().distance(drawn_training())),
        baseline=part("baseline", lambda: reality().distance(drawn_baseline())),
        properties=part(
            "properties", lambda: _evidence(model, family_of(), samples, seed=seed)
        ),
        sweeps=part(
            "sweeps",
            lambda: _evidence(model, family_of(), samples, seed=seed, real=real),
        ),
        leakage=part("leakage", lambda: _leakage(model, judge, samples, seed=seed)),
        neighbours=part(
            "neighbours",
            lambda: _neighbours(images, real, known, categories, seed=seed),
        ),
        skipped=skipped,
    )
    if progress is not None:
        progress(PARTS, PARTS, "done")
    return result


def _recognition_digest(model: Model) -> str | None:
    try:
        return model.recognition_sha256
    except ModelError:  # damaged: the parts that need it are left out
        return None


def require_extra(*modules: str) -> None:
    """See to it, before minutes are spent, that modules can be imported.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    if any(find_spec(module) is None for module in modules):
        raise MissingExtraError("evaluating a model", "evaluate")


def as_drawn(images: Images) -> Images:
    """Images (n, H, W, C) as models draw them: grey ones (n, H, W)."""
    return images[..., 0] if images.shape[3] == 1 else images


class _RealFeatures:
    """The real test images as a network sees them."""

    def __init__(self, network: FeatureNetwork, real: Images) -> None:
        self._network = network
        self._features = network.features(real)
        self._manifold = distances.RealManifold(self._features)

    def distance(self, draws: Iterable[Images]) -> SetDistance:
        """How far draws of images are from the real ones, each in turn."""
        features = [self._network.features(images) for images in draws]
        apart = [distances.frechet_distance(self._features, f) for f in features]
        return SetDistance(
            images=len(features[0]),
            draws=len(features),
            frechet=float(np.mean(apart)),
            frechet_deviation=float(np.std(apart, ddof=1)) if apart[1:] else None,
            **asdict(self._manifold.compare(features[0])),
        )


def nearest_training(
    generated: Images,
    test: Images,
    train: Images,
    categories: NDArray[np.int64] | None = None,
    *,
    seed: int = 0,
) -> Neighbours:
    """Look for memorised training images among the generated ones.

    With `categories` (n,), the closest images are the closest of each: plain
    ones would be nothing but the thinnest strokes.
    """
    count = min(_NEIGHBOURS_COMPARED, len(generated), len(test))
    # A draw of them: an image folder is in the order of its classes.
    chosen = np.sort(np.random.default_rng(seed).permutation(len(test))[:count])
    which, near = _nearest(generated[:count], train)
    _, usual = _nearest(test[chosen], train)
    groups = np.zeros(count, int) if categories is None else categories[:count]
    rank = np.zeros(count, int)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        rank[members[np.argsort(near[members], kind="stable")]] = np.arange(
            len(members)
        )
    closest = np.lexsort((near, groups, rank))[:NEIGHBOURS_SHOWN]

    def pairs(samples: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
        return tuple((int(i), int(which[i])) for i in samples)

    return Neighbours(
        images=count,
        median=float(np.median(near)),
        test_median=float(np.median(usual)),
        closer=float((near < np.quantile(usual, 0.01)).mean()),
        first=pairs(np.arange(min(NEIGHBOURS_SHOWN, count))),
        closest=pairs(closest),
    )


def _neighbours(
    generated: Images,
    test: Images,
    train: Images,
    categories: NDArray[np.int64] | None,
    *,
    seed: int,
) -> Neighbours:
    if len(test) < _NEIGHBOURS_LEAST:
        raise _Skipped(
            f"1% of the test images is less than one; at least {_NEIGHBOURS_LEAST} "
            f"are needed, there are {len(test)}"
        )
    return nearest_training(generated, test, train, categories, seed=seed)


def _nearest(
    images: Images, others: Images
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which of the others is closest to each image, and its distance."""
    points = _pixels(images)
    which, near = np.zeros(len(points), np.int64), np.full(len(points), np.inf)
    for start in range(0, len(others), _BLOCK):
        block = _pixels(others[start : start + _BLOCK])
        found, apart = distances.nearest(points, block)
        closer = apart < near
        which[closer], near[closer] = start + found[closer], apart[closer]
    return which, near


def _pixels(images: Images) -> NDArray[np.float32]:
    """Rows whose Euclidean distance is the root mean square of grey levels."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows /= np.float32(255 * np.sqrt(rows.shape[1]))
    return rows


def _against_labels(model: Model, test: ImageSet) -> LabelAgreement:
    code = _class_code(model.spec)
    if test.labels is None:
        raise _Skipped(f"the test images of {test.name} have no labels")
    read = _recognition(model, as_drawn(test.images))[code.name]
    assert isinstance(read, Categories)
    matching = association.match_categories(read.category, test.labels, code.size)
    return LabelAgreement(
        code=code.name,
        images=len(test),
        accuracy=matching.accuracy,
        nmi=association.normalized_mutual_information(read.category, test.labels),
        ari=association.adjusted_rand_index(read.category, test.labels),
        label_of=tuple(matching.label_of.tolist()),
        confusion=tuple(map(tuple, matching.confusion.tolist())),
    )


def _information(
    model: Model, latents: Latents, images: Images, *, seed: int
) -> tuple[CodeInformation, ...]:
    if not model.spec.codes:
        raise _Skipped("the model has no codes")
    try:
        read = read_with_noise(model, images, seed=seed)
    except ModelError as error:  # it is missing, or damaged
        raise _Skipped(str(error)) from error
    bounds = information_by_code(latents, read)
    return tuple(
        CodeInformation(code.name, code.entropy, bounds[code.name])
        for code in model.spec.codes
    )


def _asked_drawn(
    model: Model,
    judge: ClassJudge | None,
    latents: Latents,
    images: Images,
    *,
    seed: int,
) -> AskedDrawn:
    spec = model.spec
    code = _class_code(spec)
    judge = _required(judge, "judge")
    asked = _categories(spec, latents)
    assert asked is not None
    seen = judge.predict(images)
    labels = tuple(map(code.label, range(code.size)))
    by_name, class_of = _classes_of(code, judge.report.labels, asked, seen)
    expected: NDArray[np.int64] = class_of[asked]

    def agreement(where: Where, ranges: Ranges, right: NDArray[np.bool_]) -> Agreement:
        by_category = tuple(_share(right[asked == k]) for k in range(code.size))
        return Agreement(where, ranges, _share(right), by_category)

    def drawn_right(values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
        drawn = model.draw(spec.assign(latents, values))
        right: NDArray[np.bool_] = judge.predict(drawn) == expected
        return right

    prior = {c.name: (c.low, c.high) for c in spec.uniform}
    inner = {c.name: inner_range(c) for c in spec.uniform}
    ends = {c.name: c.sweep_range for c in spec.uniform}
    own = {name: latents[:, spec.columns(name)][:, 0] for name in prior}
    found = [agreement("prior", prior, seen == expected)]
    if inner != prior:
        nearer = {n: np.interp(own[n], prior[n], inner[n]) for n in prior}
        found.insert(0, agreement("inner", inner, drawn_right(nearer)))
    if not ends:
        return AskedDrawn(code.name, by_name, labels, tuple(found), {}, {})
    rng = np.random.default_rng(seed)
    extreme = {name: rng.choice(pair, len(latents)) for name, pair in ends.items()}
    which = rng.integers(len(ends), size=len(latents))
    alone = {
        name: np.where(which == k, extreme[name], own[name])
        for k, name in enumerate(ends)
    }
    right = drawn_right(alone)
    if len(ends) > 1:
        found.append(agreement("end", ends, right))
    return AskedDrawn(
        code=code.name,
        by_name=by_name,
        labels=labels,
        agreements=(*found, agreement("ends", ends, drawn_right(extreme))),
        at_low={n: _share(right[alone[n] == low]) for n, (low, _) in ends.items()},
        at_high={n: _share(right[alone[n] == high]) for n, (_, high) in ends.items()},
    )


def _classes_of(
    code: CategoricalCode,
    classes: tuple[str, ...],
    asked: NDArray[np.int64],
    seen: NDArray[np.int64],
) -> tuple[bool, NDArray[np.int64]]:
    """Whether categories are called as classes are, and the class of each."""
    if code.labels and set(code.labels) <= set(classes):
        return True, np.array([classes.index(label) for label in code.labels])
    size = max(code.size, len(classes))
    return False, association.match_categories(asked, seen, size).label_of


def _share(right: NDArray[np.bool_]) -> float:
    """How many of them are right, 0 to 1; 0 where there are none."""
    return float(right.sum()) / max(1, len(right))


def inner_range(code: UniformCode) -> tuple[float, float]:
    """The inner half of a code's sweep range: -1..1 of the usual -2..2."""
    low, high = code.sweep_range
    return (3 * low + high) / 4, (low + 3 * high) / 4


def _family(model: Model) -> Family:
    """The properties that the model's codes were named after."""
    try:
        return family(str(model.metadata.export.get("properties", "strokes")))
    except UsageError as error:  # of a later version
        raise _Skipped(str(error)) from error


def _evidence(
    model: Model,
    properties: Family,
    samples: int,
    *,
    seed: int,
    real: Images | None = None,
) -> tuple[CodeEvidence, ...]:
    """Noise and other codes varying; or, with real images, along sweeps."""
    _require_uniform(model.spec)
    deviations = None
    if real is not None and properties.by_shift:
        deviations = properties.deviations(real)
    return tuple(
        describe_uniform_codes(
            model.draw,
            model.spec,
            properties=properties.measures,
            deviations=deviations,
            seed=seed,
            count=samples,
            steps=None if real is None else SWEEP_STEPS,
        )
    )


def _leakage(
    model: Model, judge: ClassJudge | None, samples: int, *, seed: int
) -> tuple[Leakage, ...]:
    spec = model.spec
    _require_uniform(spec)
    judge = _required(judge, "judge")
    sweeps = samples // SWEEP_STEPS
    base = spec.sample(sweeps, seed=seed)
    found = []
    for code in spec.uniform:
        middle = spec.assign(base, {code.name: code.middle})
        expected = judge.predict(model.draw(middle))[:, None]
        prior = (code.low, code.high)
        for low, high in sorted(
            {inner_range(code), prior, code.sweep_range}, reverse=True
        ):
            values = code.sweep(SWEEP_STEPS, low=low, high=high)
            drawn = model.draw(traverse(base, spec, code.name, values))
            changed = judge.predict(drawn).reshape(sweeps, -1) != expected
            found.append(
                Leakage(
                    code=code.name,
                    low=low,
                    high=high,
                    sweeps=sweeps,
                    steps=SWEEP_STEPS,
                    images=float(changed.mean()),
                    any_image=float(changed.any(axis=1).mean()),
                )
            )
    return tuple(found)


def _class_code(spec: LatentSpec) -> CategoricalCode:
    if not spec.categorical:
        raise _Skipped("the model has no categorical code")
    return spec.categorical[0]


def _categories(spec: LatentSpec, latents: Latents) -> NDArray[np.int64] | None:
    """The category of the first categorical code in each latent, if there is one."""
    if not spec.categorical:
        return None
    found: NDArray[np.int64] = latents[
        :, spec.columns(spec.categorical[0].name)
    ].argmax(1)
    return found


def _require_uniform(spec: LatentSpec) -> None:
    if not spec.uniform:
        raise _Skipped("the model has no uniform code")


def _required(given: T | None, what: str) -> T:
    if given is None:
        raise _Skipped(f"no {what} was given")
    return given


def _recognition(model: Model, images: Images) -> Recognition:
    try:
        return model.recognize(images)
    except ModelError as error:  # it is missing, or damaged
        raise _Skipped(str(error)) from error


def _require_alike(
    model: Model,
    baseline: Model | None,
    judge: ClassJudge | None,
    test: ImageSet,
    train: ImageSet,
) -> None:
    """All that must fit together, before minutes are spent.

    Raises:
        DataError: what does not.
    """
    channels, height, width = model.image_shape
    shape = (height, width, channels)
    others: list[tuple[str, tuple[int, ...]]] = [
        ("the test images are", test.images.shape[1:]),
        ("the training images are", train.images.shape[1:]),
    ]
    if judge is not None:
        others.append(("the judge sees images of", judge.report.image_shape))
    if baseline is not None:
        c, h, w = baseline.image_shape
        others.append((f"the baseline {baseline.name!r} draws images of", (h, w, c)))
    for what, other in others:
        if other != shape:
            convert = other[:2] == shape[:2] and what.endswith("images are")
            hint = f"; --channels {channels} converts them" if convert else ""
            raise DataError(
                f"model {model.name!r} draws images of {_times(shape)}, {what} "
                f"{_times(other)} (height x width x channels){hint}"
            )
    for split, found in (("test", test), ("training", train)):
        if len(found) < FEWEST_IMAGES:
            raise DataError(
                f"an evaluation needs at least {FEWEST_IMAGES} {split} images, "
                f"{found.name} has {len(found)}"
            )
    for code in model.spec.categorical[:1]:
        if test.labels is not None and test.labels.max() >= code.size:
            raise DataError(
                f"{test.name}: label {test.labels.max()} is out of range: code "
                f"{code.name!r} has the categories 0 to {code.size - 1}"
            )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
