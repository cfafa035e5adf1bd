"""Train the judge and export it to one ONNX file (needs torch).

Only here are labels seen; the models that it judges never meet them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from infogan_export.atomic import atomic_path
from infogan_export.errors import DataError, ExportError, OutputError, UsageError
from infogan_export.evaluation.judge import (
    METADATA_KEY,
    Judge,
    JudgeReport,
    to_network,
)
from infogan_export.export.onnx_file import serialize, to_onnx
from infogan_export.training.config import Consistency
from infogan_export.training.movement import move

if TYPE_CHECKING:
    from infogan_export.datasets import ImageSet

FEATURES = 128
BATCH_SIZE = 256
PEAK_LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.01
# Enough for codes that lean or stretch a digit, too little to turn a 6 into a 9.
MOVEMENT = Consistency(rotation=12.0, scale=0.12, shift=0.08, shear=0.2)
TOLERANCE = 1e-3  # of a logit, onnxruntime against torch


def train_judge(
    train: ImageSet,
    test: ImageSet,
    *,
    out: Path,
    seed: int = 0,
    epochs: int = 10,
    flip: bool = False,
    labels: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> JudgeReport:
    """Train a small classifier and write it to `out`.

    Args:
        train: labelled images to learn from; height and width divisible by 4.
        test: labelled images to be measured on, never learned from.
        out: the ONNX file to write.
        seed: of weights, order and augmentation.
        epochs: passes over `train`.
        flip: learn from mirrored images as well, half of the time: right for faces,
            wrong for digits.
        labels: what class 0, 1, ... is called; by default its number.
        progress: called after each step with (steps done, steps in all).

    Returns:
        The report that is also inside the file.

    Raises:
        UsageError: a number of labels that is not that of the classes.
        DataError: images without labels, or of sizes that do not fit.
        ExportError: the exported file disagrees with the trained network.
        OutputError: `out` could not be written.
    """
    out = Path(out)
    if not out.parent.is_dir():  # before the minutes of training, not after
        raise OutputError(f"cannot write the judge {out}: no folder {out.parent}")
    classes = _count_classes(train, test)
    if labels and len(labels) != classes:
        raise UsageError(
            f"{classes} classes need {classes} names, got {len(labels)}: "
            f"{', '.join(labels)}"
        )
    _, height, width, channels = train.images.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = JudgeNetwork(channels, (height, width), classes=classes)
        fit(network, train, seed=seed, epochs=epochs, flip=flip, progress=progress)
    unmeasured = JudgeReport(
        accuracy=0.0,
        data=train.name,
        train_sha256=train.sha256(),
        test_sha256=test.sha256(),
        labels=tuple(labels) or tuple(str(label) for label in range(classes)),
        image_shape=(height, width, channels),
        seed=seed,
        epochs=epochs,
    )
    return export_judge(network, unmeasured, test, out=out)


class JudgeNetwork(nn.Module):
    """Four convolutions down to a quarter of the size, then 128 features.

    The stride in the first one keeps an epoch of MNIST at half a minute on
    two cores.
    """

    def __init__(self, channels: int, size: tuple[int, int], *, classes: int) -> None:
        super().__init__()
        height, width = size
        self.trunk = nn.Sequential(
            *_convolution(channels, 32, kernel=5, stride=2),
            *_convolution(32, 64),
            nn.MaxPool2d(2),
            *_convolution(64, 96),
            *_convolution(96, 96),
            nn.Flatten(),
            nn.Linear(96 * (height // 4) * (width // 4), FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) in [0, 1] to logits (n, classes), features (n, 128)."""
        features = self.trunk(image)
        return self.head(features), features


def fit(
    network: JudgeNetwork,
    train: ImageSet,
    *,
    seed: int,
    epochs: int,
    flip: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fit a network to labelled images, each slightly moved, in one cycle.

    Batches are whole (what is left of an epoch's shuffle is passed over), so
    that batch norm never sees a single image.
    """
    assert train.labels is not None
    images = torch.from_numpy(to_network(train.images))
    labels = torch.from_numpy(train.labels.astype(np.int64))
    batch = min(BATCH_SIZE, len(images))
    per_epoch = len(images) // batch
    steps = epochs * per_epoch
    rng = np.random.default_rng(seed)
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=steps
    )
    for step in range(steps):
        start = step % per_epoch * batch
        if start == 0:
            order = torch.randperm(len(images))
        chosen = order[start : start + batch]
        batch_images = images[chosen]
        if flip:
            mirrored = torch.from_numpy(rng.random(batch) < 0.5)[:, None, None, None]
            batch_images = torch.where(mirrored, batch_images.flip(3), batch_images)
        moved = move(batch_images, MOVEMENT, rng).images
        logits, _ = network(moved.contiguous(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(logits, labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    network.eval()


def export_judge(
    network: JudgeNetwork, report: JudgeReport, test: ImageSet, *, out: Path
) -> JudgeReport:
    """Write a trained network to `out`, with its accuracy as onnxruntime has it.

    Raises:
        ExportError: the exported graph disagrees with the network.
        OutputError: `out` could not be written.
    """
    with atomic_path(out) as draft:
        model = _to_onnx(network, report)
        _save(model, report, draft)
        judge = Judge(draft)
        _check_agreement(network, judge, test)
        right = judge.predict(test.images) == test.labels
        measured = replace(report, accuracy=float(right.mean()))
        _save(model, measured, draft)
    return measured


def _to_onnx(network: JudgeNetwork, report: JudgeReport) -> onnx.ModelProto:
    height, width, channels = report.image_shape
    return to_onnx(
        network,
        [torch.zeros(2, channels, height, width)],
        inputs=["image"],
        outputs=["logits", "features"],
    )


def _save(model: onnx.ModelProto, report: JudgeReport, path: Path) -> None:
    path.write_bytes(serialize(model, {METADATA_KEY: report.to_json()}))


def _check_agreement(network: JudgeNetwork, judge: Judge, test: ImageSet) -> None:
    some = test.images[:64]
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(to_network(some)))
    difference = float(np.abs(judge.logits(some) - logits.numpy()).max())
    if difference > TOLERANCE:
        raise ExportError(
            f"the exported judge differs from torch by {difference:.2g} of a logit, "
            f"more than {TOLERANCE:g}"
        )


def _count_classes(train: ImageSet, test: ImageSet) -> int:
    if train.labels is None or test.labels is None:
        raise DataError("a judge learns from labels; these images have none")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"training images are {train.images.shape[1:]} (height, width, channels), "
            f"test images {test.images.shape[1:]}"
        )
    height, width = train.images.shape[1:3]
    if height % 4 or width % 4:
        raise DataError(
            f"a judge needs height and width divisible by 4, got {height}x{width}"
        )
    classes = int(train.labels.max()) + 1
    if classes < 2:
        raise DataError(
            f"a judge tells at least 2 classes apart, and all {len(train)} training "
            f"images have label 0"
        )
    if int(test.labels.max()) >= classes:
        raise DataError(
            f"a test label {int(test.labels.max())} that no training image has; "
            f"those go from 0 to {classes - 1}"
        )
    return classes


def _convolution(
    channels: int, filters: int, *, kernel: int = 3, stride: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
    ]
