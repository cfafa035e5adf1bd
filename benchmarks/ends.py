"""Count blobs and broken strokes at the ends of a digit model's traversals.

    python benchmarks/ends.py MODEL --data-dir FOLDER

A line of Markdown for each set of images: of the model, each uniform code at either
end of its sweep and all else from the prior; of the training images, all, and those of
each digit that measure the least and the most of what the code is named after.  A digit
is broken if what is brighter than 110 of 255 is more than one piece (a speck counts),
and a loop is filled if a 0, 6 or 9 has no hole, an 8 fewer than two.  Needs the
[evaluate] extra.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import infogan_export
from infogan_export.datasets import read_images
from infogan_export.evaluation.strokes import PROPERTIES
from infogan_export.latent import Latents, LatentSpec

INK = 110  # of 255; the strokes of real digits hang together up to about here
LOOPS = {0: 1, 6: 1, 8: 2, 9: 1}
TOUCHING = np.ones((3, 3), bool)  # ink by its corners too, paper by its sides alone
SEED = 9

Images = NDArray[np.uint8]
Digits = NDArray[np.int64]
Rows = NDArray[np.int64]


def pieces(image: Images) -> tuple[int, int]:
    """How many pieces of ink there are, and how many holes in them."""
    ink = image > INK
    _, strokes = ndimage.label(ink, TOUCHING)
    _, papers = ndimage.label(np.pad(~ink, 1, constant_values=True))
    return strokes, papers - 1


def extremes(measured: NDArray[np.float64], digits: Digits, part: float) -> list[Rows]:
    """Which images measure the least of their digit, and which the most."""
    least, most = [], []
    for digit in np.unique(digits):
        (of_digit,) = np.nonzero(digits == digit)
        order = of_digit[np.argsort(measured[of_digit])]
        count = max(round(part * len(order)), 1)
        least.append(order[:count])
        most.append(order[-count:])
    return [np.concatenate(least), np.concatenate(most)]


def sampled(spec: LatentSpec, count: int) -> tuple[Latents, Digits]:
    """Latents from the prior, and the digits that they ask for."""
    latents = spec.sample(count, seed=SEED)
    return latents, latents[:, spec.columns(spec.categorical[0].name)].argmax(axis=1)


def header() -> None:
    loops = ", ".join(map(str, LOOPS))
    print(f"| images | number | broken | filled loops of {loops} |")
    print("|---|---|---|---|")


def row(name: str, images: Images, digits: Digits) -> None:
    found = np.array([pieces(image) for image in images])
    broken = f"{100 * np.mean(found[:, 0] > 1):.1f}%"
    filled = [
        f"{100 * np.mean(found[digits == digit, 1] < loops):.0f}%"
        for digit, loops in LOOPS.items()
    ]
    print(f"| {name} | {len(images)} | {broken} | {', '.join(filled)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--tail", type=float, default=0.02, help="of each digit")
    given = parser.parse_args()
    model = infogan_export.load(given.model)
    spec = model.spec
    train = read_images(given.data_dir, split="train")
    if train.labels is None:
        parser.error(f"{given.data_dir} has no labels, which tell what loops there are")
    real, labels = train.images[..., 0], np.asarray(train.labels, np.int64)
    latents, asked = sampled(spec, given.samples)

    header()
    row("training images", real, labels)
    row(model.name, model.draw(latents), asked)
    for uniform in spec.uniform:
        if uniform.name not in PROPERTIES:
            continue
        measured = PROPERTIES[uniform.name](real)
        tails = extremes(measured, labels, given.tail)
        for end, side, chosen in zip(
            uniform.sweep_range, ("least", "most"), tails, strict=True
        ):
            named = f"{100 * given.tail:g}% of {side} {uniform.name}"
            row(f"training images, {named}", real[chosen], labels[chosen])
            drawn = model.draw(spec.assign(latents, {uniform.name: end}))
            row(f"{model.name}, {uniform.name} {end:g}", drawn, asked)


if __name__ == "__main__":
    main()
