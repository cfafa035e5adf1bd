"""Measure finished runs beside each other: several seeds, or several recipes.

    python benchmarks/recipes.py RUN ... --data-dir FOLDER --judge judge.onnx
    python benchmarks/recipes.py RUN --last --data-dir FOLDER --judge judge.onnx

Each run is exported to a temporary folder and evaluated; a line of Markdown each, then
mean and standard deviation.  The run that `infogan-gen train --seeds` calls the best,
by what can be told without labels, is marked.  --last takes the weights of the last
step in place of the averaged ones, and --reach CODE=VALUE is that of `infogan-gen
export`.  Needs the [train] and [evaluate] extras.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from infogan_export.cli.options import parse_numbers

import infogan_export
from infogan_export.datasets import ImageSet, read_images
from infogan_export.evaluation.evaluate import evaluate
from infogan_export.evaluation.figures import Evaluation
from infogan_export.evaluation.judge import Judge
from infogan_export.export.exporter import ExportOptions, export_checkpoint
from infogan_export.training.checkpoint import (
    Checkpoint,
    checkpoint_path,
    load_checkpoint,
)
from infogan_export.training.selection import score

COLUMNS = (
    "Q's category %",
    "NMI",
    "drawn as asked %",
    "at the ends %",
    "Frechet / floor",
    "recall / floor",
    "coverage / floor",
)


def figures(found: Evaluation) -> list[float]:
    assert found.labels and found.asked and found.quality and found.floor
    drawn = {one.where: one.share for one in found.asked.agreements}
    return [
        100 * found.labels.accuracy,
        found.labels.nmi,
        100 * drawn.get("inner", drawn["prior"]),
        100 * drawn.get("ends", drawn["prior"]),
        found.quality.frechet / found.floor.frechet,
        found.quality.recall / found.floor.recall,
        found.quality.coverage / found.floor.coverage,
    ]


def named_codes(found: Evaluation) -> str:
    """What each uniform code follows, and its rank correlation with that."""
    return ", ".join(
        f"{one.strongest} {abs(one.correlations[one.strongest]):.3f}"
        for one in found.properties or ()
    )


def unaveraged(run: Checkpoint) -> Checkpoint:
    return replace(
        run, generator_ema=run.generator, discriminator_ema=run.discriminator
    )


def exported(
    run: Checkpoint, train: ImageSet, folder: Path, reach: dict[str, float]
) -> infogan_export.Model:
    options = ExportOptions("measured", category_name="digit", reach=reach)
    export_checkpoint(run, folder, options, labelled=train)
    return infogan_export.load(folder)


def row(name: str, *cells: str) -> None:
    print(f"| {' | '.join((name, *cells))} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--last", action="store_true")
    parser.add_argument("--reach", action="append", default=[])
    given = parser.parse_args()
    reach = parse_numbers(given.reach, "--reach", "cont2=1.6")
    train, test = (read_images(given.data_dir, split=s) for s in ("train", "test"))
    judge = Judge(given.judge)
    runs = {run: load_checkpoint(checkpoint_path(run)) for run in given.runs}
    if given.last:
        runs = {run: unaveraged(checkpoint) for run, checkpoint in runs.items()}
    scores = {run: score(checkpoint, train).total for run, checkpoint in runs.items()}
    row("run", "steps", "without labels, nats", *COLUMNS, "codes")
    row("---", *["---:"] * (len(COLUMNS) + 2), "---")
    table = []
    for run, checkpoint in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            model = exported(checkpoint, train, Path(folder), reach)
            found = evaluate(model, test=test, train=train, judge=judge)
        table.append(figures(found))
        best = " (best)" if scores[run] == max(scores.values()) else ""
        row(
            run.name,
            str(checkpoint.step),
            f"{scores[run]:.3f}{best}",
            *(f"{value:.4g}" for value in table[-1]),
            named_codes(found),
        )
    if len(table) > 1:
        columns = list(zip(*table, strict=True))
        for name, summary in (("mean", statistics.mean), ("sd", statistics.stdev)):
            row(name, "", "", *(f"{summary(column):.4g}" for column in columns), "")


if __name__ == "__main__":
    main()
