"""Where results go: a file, stdout, the terminal, and lines about them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from infogan_export.errors import UsageError

if TYPE_CHECKING:
    from infogan_export.render.files import Target
    from infogan_export.render.pictures import Picture

STDOUT = "-"

_LONG = 5000  # images; drawing fewer is over before anyone looks


def chosen_output(
    output: str | None, default: str, *, show: bool, endings: tuple[str, ...]
) -> str | None:
    """The file to write, ``-`` for stdout, or None when the picture is only shown.

    Raises:
        UsageError: an ending that is none of ``endings``, or stdout is a terminal
            or wanted twice.
    """
    from infogan_export.render.files import require_ending

    if output is None:
        return None if show else default
    if output != STDOUT:
        require_ending(output, endings)
    elif show:
        raise UsageError("--show and -o - both want stdout; give one of them")
    elif sys.stdout.isatty():
        raise UsageError("stdout is a terminal; send it on, or name a file with -o")
    return output


def save(write: Callable[[Target], None], output: str | None, what: str) -> None:
    """Write to the chosen output, and say so in a line unless it is stdout."""
    if output == STDOUT:
        with _binary_stdout() as stdout:
            write(stdout)
    elif output is not None:
        write(output)
        print(f"{output}: {what}")


def show_picture(picture: Picture) -> None:
    """Draw a picture in the terminal."""
    from rich.console import Console

    from infogan_export.render.terminal import show

    show(picture, Console())


def play(frames: Iterable[Picture], *, fps: float) -> None:
    """Play an animation in the terminal once; elsewhere, draw its first frame."""
    from rich.console import Console
    from rich.control import Control

    from infogan_export.render.terminal import show

    out, lines = Console(), 0
    for frame in frames:
        if lines:
            out.control(Control.move(0, -lines))
        with out.capture() as drawn:
            show(frame, out)
        out.file.write(drawn.get())
        out.file.flush()
        lines = drawn.get().count("\n")
        if not out.is_terminal:
            return
        time.sleep(1 / fps)


def print_json(value: object) -> None:
    """Print a value as JSON that people can read too."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for work that takes a while; told of each advance."""
    if total < _LONG or not sys.stderr.isatty():
        yield lambda advance: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda advance: bar.advance(task, advance)


def _binary_stdout() -> BinaryIO:
    # Its own buffer may be none (python -u), and writes then end half-way unheard.
    return os.fdopen(sys.stdout.fileno(), "wb", closefd=False)
