"""Where results go: a file, stdout, the terminal, and lines about them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, BinaryIO

from infogan_export.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from infogan_export.render.files import Target
    from infogan_export.render.pictures import Picture

STDOUT = "-"

_MOMENT = 1.0  # seconds


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
        say(f"{output}: {what}")


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
            # A frame that scrolls could not be drawn over by the next one.
            show(frame, out, height=max(out.height - 1, 1))
        out.file.write(drawn.get())
        out.file.flush()
        lines = drawn.get().count("\n")
        if not out.is_terminal:
            return
        time.sleep(1 / fps)


def say(line: str) -> None:
    """A line about what was made, on stdout."""
    print(printable(line))


def tell(line: str) -> None:
    """A line about the work, on stderr: stdout may be a file."""
    print(printable(line), file=sys.stderr)


def print_json(value: object) -> None:
    """Print a value as JSON that people can read too."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))


def printable(text: object) -> str:
    """Text from a file, without what could steer a terminal."""
    return "".join(c if c.isprintable() else "�" for c in str(text))


class ProgressBar:
    """A bar on stderr for work that takes more than a moment."""

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what = total, what
        self._done, self._begun = 0, time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Callable[[int], None]:
        return self._advance

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _advance(self, count: int = 1) -> None:
        self._done += count
        if self._bar is None:
            if time.monotonic() - self._begun < _MOMENT or not sys.stderr.isatty():
                return
            self._bar = _new_bar()
            self._bar.add_task(self._what, total=self._total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=self._done)


def _new_bar() -> Progress:
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )


def _binary_stdout() -> BinaryIO:
    # Its own buffer may be none (python -u), and writes then end half-way unheard.
    return os.fdopen(sys.stdout.fileno(), "wb", closefd=False)
