"""Measure inversion and edits: the figures in the README's table.

    python benchmarks/inversion.py --data-dir FOLDER --judge judge.onnx
    python benchmarks/inversion.py --data-dir FOLDER --model faces

On the first 1,000 test images (--count), whose labels only the measures see.  Digits
are read by the judge, which is what `infogan-gen train-judge` wrote; without one,
errors alone are measured, against the mean training image's.  Needs the [evaluate]
extra.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from photos import DIGITS, write

import infogan_export
from infogan_export.datasets import read_images
from infogan_export.evaluation import strokes
from infogan_export.evaluation.association import rank_correlation
from infogan_export.evaluation.judge import Judge
from infogan_export.preparation import prepare_files

BATCH = 64
STYLES = {"slant": strokes.slant, "thickness": strokes.thickness}


def row(what: str, wanted: str, found: str) -> None:
    print(f"| {what} | {wanted} | {found} |", flush=True)


def measure_errors(model: infogan_export.Model, data: Path, count: int) -> None:
    mean = read_images(data, split="train").images.mean(axis=0)
    images = read_images(data, split="test").images[:count]
    found = model.invert(images if images.shape[3] > 1 else images[..., 0])
    around = float((((images - mean) / 255) ** 2).mean())
    for what, wanted, error in (
        ("encoder alone", "", found.first_mse.mean()),
        ("refined", "<= 1/3", found.mse.mean()),
    ):
        row(
            f"{model.name}: mean squared error, {what} / the mean image's",
            wanted,
            f"{error / around:.3f} ({error:.4f} / {around:.4f})",
        )


def measure(model: infogan_export.Model, data: Path, judge: Judge, count: int) -> None:
    test = read_images(data, split="test", channels=1)
    images, labels = test.images[:count, ..., 0], test.labels[:count]
    code = model.spec.categorical[0]
    guess = model.draw(model.encode(images), dtype="float32")
    first = float(((guess - images / np.float32(255)) ** 2).mean())
    began = time.perf_counter()
    found = model.invert(images)
    seconds = (time.perf_counter() - began) / len(images)
    row("mean squared error, encoder alone", "<= 0.018", f"{first:.4f}")
    row("the same, refined", "<= 0.008", f"{found.mse.mean():.4f}")
    kept = judge.predict(model.draw(found.latents)) == labels
    row("digit kept by the refined reconstruction", ">= 98.5%", f"{kept.mean():.1%}")

    every = np.repeat(found.latents, code.size, axis=0)
    targets = np.tile(np.arange(code.size), len(images))
    edits = model.draw(model.spec.assign(every, {code.name: targets}))
    other = targets != np.repeat(labels, code.size)
    right = judge.predict(edits) == targets
    row(
        "edit to each of the nine other digits draws that digit",
        ">= 97%",
        f"{right[other].mean():.1%}",
    )
    edits = edits.reshape(len(images), code.size, *edits.shape[1:])
    for name, style in STYLES.items():
        before = style(images)
        after = np.stack([style(edits[:, k]) for k in range(code.size)], axis=1)
        pairs = list(correlations(before, after, labels))
        targeted = [
            rank_correlation(before[labels != k], after[labels != k, k])
            for k in range(code.size)
        ]
        row(
            f"{name} kept: rank correlation before / after the edit, mean of the "
            f"{len(pairs)} pairs of digits",
            ">= 0.85",
            f"{np.mean(pairs):.3f} (least {np.min(pairs):.3f})",
        )
        row(
            "the same over all sources of each target, mean of the targets",
            "",
            f"{np.mean(targeted):.3f} (least {np.min(targeted):.3f})",
        )
    batch = images[:BATCH]
    each = [timed(model, batch) for _ in range(3)]
    row(
        f"refinement per image, batch of {BATCH}",
        "<= 0.25 s",
        f"{statistics.median(each):.3f} s (in the whole run {seconds:.3f} s)",
    )


def correlations(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray
) -> Iterator[float]:
    """For each source digit and each other target, the rank correlation."""
    for source in np.unique(labels):
        own = labels == source
        for target in range(after.shape[1]):
            if target != source:
                yield rank_correlation(before[own], after[own, target])


def timed(model: infogan_export.Model, images: np.ndarray) -> float:
    began = time.perf_counter()
    model.invert(images)
    return (time.perf_counter() - began) / len(images)


def read_photos(model: infogan_export.Model) -> None:
    code = model.spec.categorical[0].name
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for name in DIGITS:
            path = Path(folder) / f"{name}.jpg"
            write(path, name)
            image = prepare_files([path], model)[0].image
            found = model.invert(image).latents[0, model.spec.columns(code)].argmax()
            if found != int(name[0]):
                wrong.append(f"{name} as {found}")
    told = f" ({', '.join(wrong)})" if wrong else ""
    row(
        "synthetic phone photos read rightly, of 20",
        ">= 18",
        f"{20 - len(wrong)}{told}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--model", default="mnist")
    parser.add_argument("--count", type=int, default=1000)
    given = parser.parse_args()
    print("| what | wanted | found |\n|---|---|---|")
    loaded = infogan_export.load(given.model)
    if given.judge is None:
        measure_errors(loaded, given.data_dir, given.count)
    else:
        read_photos(loaded)
        measure(loaded, given.data_dir, Judge(given.judge), given.count)
