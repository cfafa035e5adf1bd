"""Where the traversals of a digit run may end: what is drawn there, and how surely.

    python benchmarks/reach.py RUN --data-dir FOLDER [--at 1.3 1.4 1.5]

For each value, in the units of training, the rank correlation per digit of each uniform
code along a traversal that ends there, and the rows of ends.py for both ends.  What is
chosen goes to `infogan-gen export --reach`.  Needs the [train] and [evaluate] extras.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from ends import header, row, sampled
from recipes import exported

from infogan_export.datasets import read_images
from infogan_export.evaluation.naming import describe_uniform_codes
from infogan_export.latent import LatentSpec, UniformCode
from infogan_export.training.checkpoint import checkpoint_path, load_checkpoint

SAMPLES, SHOWN = 10000, 5000


def ending_at(spec: LatentSpec, value: float) -> LatentSpec:
    codes = (
        replace(code, sweep_low=-value, sweep_high=value)
        if isinstance(code, UniformCode)
        else code
        for code in spec.codes
    )
    return replace(spec, codes=tuple(codes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--at", type=float, nargs="+", default=[1.3, 1.4, 1.5])
    given = parser.parse_args()
    train = read_images(given.data_dir, split="train")
    run = load_checkpoint(checkpoint_path(given.run))
    header()
    with tempfile.TemporaryDirectory() as folder:
        model = exported(run, train, Path(folder), {})
    for value in given.at:
        spec = ending_at(model.spec, value)
        latents, asked = sampled(spec, SHOWN)
        for found in describe_uniform_codes(model.draw, spec, count=SAMPLES):
            certain = f"{found.correlations[found.strongest]:.3f}"
            for end in (-value, value):
                drawn = model.draw(spec.assign(latents, {found.code: end}))
                row(f"{found.code} {end:g}, {found.strongest} {certain}", drawn, asked)


if __name__ == "__main__":
    main()
