"""What a run leaves to look at: a CSV, TensorBoard, sample grids, a plot of L_I."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from infogan_export.atomic import atomic_path
from infogan_export.latent import LatentSpec
from infogan_export.render.files import save_image
from infogan_export.render.sheet import contact_sheet

CSV_NAME = "metrics.csv"
PLOT_NAME = "mutual_information.png"


class RunLog:
    """Writes a run's numbers and pictures into its folder."""

    def __init__(self, folder: Path, spec: LatentSpec, *, resumed_at: int) -> None:
        self._folder = folder
        self._spec = spec
        self._rows = [
            row for row in read_metrics(folder) if float(row["step"]) <= resumed_at
        ]
        self._write_csv()
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_at)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Note the figures of a step."""
        self._rows.append(
            {"step": str(step), **{k: f"{v:.6g}" for k, v in values.items()}}
        )
        self._write_csv()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def samples(self, step: int, generator: nn.Module) -> None:
        """Draw a grid: a row of noise each, the first categorical code across."""
        columns = self._spec.categorical[0].size if self._spec.categorical else 10
        rows = 8
        latents = np.repeat(self._spec.sample(rows, seed=0), columns, axis=0)
        if self._spec.categorical:
            across = np.tile(np.arange(columns), rows)
            latents = self._spec.assign(latents, {"cat": across})
        device = next(generator.parameters()).device
        with torch.inference_mode():
            images = generator(torch.from_numpy(latents).to(device)).float().cpu()
        grey = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        sheet = contact_sheet(
            grey[..., 0] if grey.shape[-1] == 1 else grey, columns=columns
        )
        save_image(sheet, self._folder / "samples" / f"{step:07d}.png")
        self._board.add_image(
            "samples", sheet, step, dataformats="HW" if sheet.ndim == 2 else "HWC"
        )

    def close(self) -> None:
        """Draw the plot of L_I and end the TensorBoard file."""
        self._board.close()
        if self._rows:
            plot_mutual_information(
                {"L_I": self._rows}, self._spec, self._folder / PLOT_NAME
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


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's CSV; empty when there is none yet."""
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
        spec: the latent layout, for the ceilings H(c).
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for run, rows in runs.items():
        for code in spec.codes:
            key = f"L_I/{code.name}"
            points = [(float(r["step"]), float(r[key])) for r in rows if r.get(key)]
            if points:
                label = code.name if len(runs) == 1 else f"{run}: {code.name}"
                axes.plot(*zip(*points, strict=True), label=label)
    for entropy in sorted({code.entropy for code in spec.codes}):
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
    ceiling = max((code.entropy for code in spec.codes), default=1.0)
    axes.set(
        xlabel="training step",
        ylabel="L_I, nats",
        ylim=(-0.1, math.ceil(ceiling * 5 + 0.5) / 5),
    )
    axes.legend(loc="center right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150, format="png", metadata={"Software": None})
