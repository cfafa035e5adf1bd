"""What a run leaves to look at: a CSV, TensorBoard, pictures, a plot of L_I."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from infogan_export.atomic import atomic_path
from infogan_export.latent import CategoricalCode, Code, Latents, LatentSpec
from infogan_export.render.files import save_image
from infogan_export.render.sheet import contact_sheet

CSV_NAME = "metrics.csv"
PLOT_NAME = "mutual_information.png"
_ROWS, _COLUMNS = 8, 10


class RunLog:
    """Writes a run's numbers and pictures into its folder, as a context.

    Every figure is on the disk as soon as it is noted.  What a run that was cut
    short had noted after its last checkpoint is forgotten when it goes on.
    """

    def __init__(self, folder: Path, *, resumed_at: int) -> None:
        """Begin the log, or go on with it after step ``resumed_at``.

        Raises:
            OutputError: the folder cannot be written.
        """
        self._folder = folder
        self._rows = [
            row for row in read_metrics(folder) if float(row["step"]) <= resumed_at
        ]
        self._write_csv()
        self._board = SummaryWriter(
            str(folder / "tensorboard"), purge_step=resumed_at + 1
        )

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the TensorBoard file."""
        self._board.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Note the figures of a step."""
        self._rows.append(
            {"step": str(step), **{k: f"{v:.6g}" for k, v in values.items()}}
        )
        self._write_csv()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def samples(self, step: int, sheet: NDArray[np.uint8]) -> None:
        """Keep a picture, uint8 (height, width[, 3]), of what can be done by now."""
        save_image(sheet, self._folder / "samples" / f"{step:07d}.png")
        self._board.add_image(
            "samples", sheet, step, dataformats="HW" if sheet.ndim == 2 else "HWC"
        )

    def _write_csv(self) -> None:
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        with (
            atomic_path(self._folder / CSV_NAME) as partial,
            partial.open("w", newline="") as file,
        ):
            writer = csv.DictWriter(file, names or ["step"], restval="")
            writer.writeheader()
            writer.writerows(self._rows)


def sheet_of(images: Tensor, *, columns: int) -> NDArray[np.uint8]:
    """Images (n, channels, H, W) in 0..1 as one picture."""
    whole = (images.float().cpu() * 255).round().to(torch.uint8)
    pixels = whole.permute(0, 2, 3, 1).numpy()
    grey = pixels.shape[-1] == 1
    return contact_sheet(pixels[..., 0] if grey else pixels, columns=columns)


def draw_samples(generator: nn.Module, spec: LatentSpec) -> NDArray[np.uint8]:
    """A grid: a row of noise each, the first category or sweep across."""
    latents, columns = _sample_grid(spec)
    device = next(generator.parameters()).device
    with torch.inference_mode():
        images = generator(torch.from_numpy(latents).to(device))
    return sheet_of(images, columns=columns)


def _sample_grid(spec: LatentSpec) -> tuple[Latents, int]:
    """The same latents at every step, and how many columns they fill."""
    codes: tuple[Code, ...] = (*spec.categorical, *spec.uniform)
    if not codes:
        return spec.sample(_ROWS * _COLUMNS, seed=0), _COLUMNS
    code = codes[0]
    values: NDArray[Any]
    if isinstance(code, CategoricalCode):
        values = np.arange(min(code.size, 2 * _COLUMNS))
    else:
        values = code.sweep(_COLUMNS)
    latents = np.repeat(spec.sample(_ROWS, seed=0), len(values), axis=0)
    return spec.assign(latents, {code.name: np.tile(values, _ROWS)}), len(values)


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's CSV, as text by column; empty when there is none yet."""
    path = folder / CSV_NAME
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def plot_mutual_information(
    runs: Mapping[str, Sequence[Mapping[str, str]]], spec: LatentSpec, path: Path
) -> None:
    """Plot L_I of each code over training, as in the paper's figure 1.

    Args:
        runs: rows of the CSV, by the run's name.
        spec: the latent layout; H(c) of its categorical codes is their ceiling.
        path: the PNG to write.

    Raises:
        OutputError: it cannot be written.

    Source: Chen et al. (2016), figure 1.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for run, rows in runs.items():
        for code in spec.codes:
            key = f"L_I/{code.name}"
            points = [(float(r["step"]), float(r[key])) for r in rows if r.get(key)]
            if points:
                label = code.name if len(runs) == 1 else f"{run}: {code.name}"
                axes.plot(*zip(*points, strict=True), label=label)
    for entropy in sorted({code.entropy for code in spec.categorical}):
        axes.axhline(entropy, color="0.6", linestyle=":", linewidth=1)
        axes.annotate(
            f"H(c) = {entropy:.2f}",
            (1, entropy),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color="0.4",
            fontsize=8,
        )
    axes.set(xlabel="training step", ylabel="L_I, nats")
    axes.margins(y=0.08)
    if spec.codes:
        figure.legend(loc="outside right center", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150, format="png", metadata={"Software": None})
