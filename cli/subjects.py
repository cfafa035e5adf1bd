"""Reading a user's own images, and telling what was understood of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .output import ProgressBar, tell

if TYPE_CHECKING:
    from infogan_export.inversion import Refinement
    from infogan_export.runtime import Model
    from infogan_export.subjects import Subjects


def read_from(
    model: Model,
    paths: Sequence[Path],
    *,
    prepare: bool,
    refinement: Refinement | None = None,
) -> Subjects:
    """Read and invert image files; what was done, and warnings, go to stderr."""
    from infogan_export.subjects import FAR, distances, read_subjects

    with ProgressBar(len(paths), "images") as advance:
        subjects = read_subjects(
            model,
            paths,
            prepare=prepare,
            refinement=refinement,
            on_progress=advance,
        )
    far = distances(model, subjects.inversion)
    for index, (path, said) in enumerate(
        zip(subjects.paths, subjects.said, strict=True)
    ):
        if said:
            tell(f"{path}: {said}")
        if far is not None and far[index] > FAR:
            tell(
                f"{path}: far from what {model.name!r} knows: its error is "
                f"{far[index]:.1f} times a real image's"
            )
    return subjects
